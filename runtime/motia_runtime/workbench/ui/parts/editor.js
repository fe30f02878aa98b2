// A field for JSON: coloured as it is typed, completed and checked by its schema. The check is the app's own, so what passes here passes there.

import { post } from "../lib/api.js";
import { app } from "../lib/data.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/ui.js";
import { Faults } from "./common.js";
import { choices } from "./complete.js";
import { Coloured } from "./json.js";

const WAIT = 250; // ms without a key until the text is checked

/** Text that stands for a value of a schema: its first example, or one made to fit. */
export function sampleText(schema) {
  const sample = app.value.schemas.sample(schema ?? true);
  return JSON.stringify(sample === undefined ? {} : sample, null, 2);
}

/**
 * `site`: where in the spec the schema is; without it nothing is checked but that it is JSON. `onText` is called with the text and whether it is fine.
 */
export function Editor({ text, onText, schema, site, label, rows = 8, test }) {
  const field = useRef(null);
  const under = useRef(null);
  const [offered, offer] = useState(undefined);
  const [state, setState] = useState({ problem: "", faults: [] });

  useEffect(() => {
    let value = text.trim();
    try {
      JSON.parse(value);
    } catch (error) {
      setState({ problem: value ? `Not JSON: ${error.message}` : "", faults: [] });
      return undefined;
    }
    if (!site) {
      setState({ problem: "", faults: [] });
      return undefined;
    }
    const abort = new AbortController();
    const timer = setTimeout(async () => {
      try {
        const found = await post("check", `{"site":${JSON.stringify(site)},"value":${value}}`);
        if (!abort.signal.aborted) setState({ problem: "", faults: found.faults });
      } catch {
        // the app is away; what is sent is checked there anyhow
      }
    }, WAIT);
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [text, site]);

  useLayoutEffect(() => {
    if (under.current && field.current) under.current.scrollTop = field.current.scrollTop;
  }, [text]);

  const suggest = (forced) => {
    const area = field.current;
    if (!schema || !area || area.selectionStart !== area.selectionEnd) return offer(undefined);
    const found = choices(app.value.schemas, schema, area.value, area.selectionStart);
    const typed = area.selectionStart - found.begin;
    if (!found.list.length || (!forced && typed < 1)) return offer(undefined);
    const before = area.value.slice(0, area.selectionStart).split("\n");
    return offer({ ...found, at: 0, line: before.length, column: before[before.length - 1].length });
  };

  const insert = (choice) => {
    const area = field.current;
    let end = area.selectionStart;
    if (area.value[end] === '"') end += 1;
    let added = choice.insert;
    if (/^\s*:/.test(area.value.slice(end))) added = added.replace(/: $/, "");
    area.setRangeText(added, offered.begin, end, "end");
    offer(undefined);
    onText(area.value);
    area.focus();
  };

  const keys = (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      suggest(true);
      return;
    }
    if (offered) {
      const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (move) {
        event.preventDefault();
        offer({ ...offered, at: (offered.at + move + offered.list.length) % offered.list.length });
      } else if (event.key === "Enter" || event.key === "Tab") {
        event.preventDefault();
        insert(offered.list[offered.at]);
      } else if (event.key === "Escape") {
        event.preventDefault();
        event.stopPropagation();
        offer(undefined);
      }
      return;
    }
    if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) {
      const area = field.current;
      const line = area.value.slice(0, area.selectionStart).split("\n").pop() ?? "";
      const opens = /[{[]\s*$/.test(line);
      const indent = (/^\s*/.exec(line)?.[0] ?? "") + (opens ? "  " : "");
      event.preventDefault();
      area.setRangeText(`\n${indent}`, area.selectionStart, area.selectionEnd, "end");
      onText(area.value);
    }
  };

  const typed = (event) => {
    onText(event.target.value);
    suggest(false);
  };
  const lines = Math.min(22, Math.max(rows, text.split("\n").length + 1));
  return html`<div class="editor">
    <div class="editor-field" style=${{ "--lines": lines }}>
      <pre ref=${under} aria-hidden="true"><${Coloured} text=${text} />${"\n"}</pre>
      <textarea ref=${field} value=${text} aria-label=${label} data-test=${test} spellcheck="false" autocomplete="off" autocapitalize="off" wrap="off"
        onInput=${typed} onKeyDown=${keys} onBlur=${() => setTimeout(() => offer(undefined), 120)}
        onScroll=${(event) => { under.current.scrollTop = event.target.scrollTop; under.current.scrollLeft = event.target.scrollLeft; }}></textarea>
      ${offered && html`<ul class="offered" role="listbox" style=${{ "--line": offered.line, "--column": offered.column, "--scroll": `${field.current.scrollTop}px` }}>
        ${offered.list.map((choice, index) => html`<li role="option" aria-selected=${index === offered.at} onMouseDown=${(event) => { event.preventDefault(); insert(choice); }}><b>${choice.text}</b><small>${choice.note}</small></li>`)}
      </ul>`}
    </div>
    ${state.problem ? html`<p class="bad-text small" role="status">${state.problem}</p>` : html`<${Faults} faults=${state.faults} />`}
  </div>`;
}
