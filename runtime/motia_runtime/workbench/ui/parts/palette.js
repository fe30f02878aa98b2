// The command palette: Ctrl-K, a few letters, Enter.

import { app } from "../lib/data.js";
import { go, to } from "../lib/router.js";
import { toggleTheme } from "../lib/theme.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState, useStore } from "../lib/ui.js";
import { Icon } from "./icons.js";

const SHOWN = 40;
const TRACE = /^[0-9a-f]{6,32}$/i;

/** Everything that can be gone to or done: {icon, text, note, act}. */
function commands(known, pages) {
  const found = pages.map(({ name, title }) => ({ icon: name, text: title, note: "page", act: () => go(to([name])) }));
  if (!known) return found;
  for (const flow of known.flows) found.push({ icon: "flows", text: flow.name, note: "flow", act: () => go(to(["flows", flow.name])) });
  for (const step of known.steps) {
    found.push({ icon: step.kind, text: step.name, note: step.trigger, act: () => go(to(["flows", step.flows[0] ?? ""], { step: step.name })) });
    found.push({ icon: "play", text: `Run ${step.name}`, note: step.kind, act: () => go(to(["flows", step.flows[0] ?? ""], { step: step.name, tab: "run" })) });
    if (step.kind === "api") found.push({ icon: "endpoints", text: step.trigger, note: "endpoint", act: () => go(to(["endpoints", step.name])) });
    else found.push({ icon: "traces", text: `Traces of ${step.name}`, note: "traces", act: () => go(to(["traces"], { step: step.name })) });
  }
  for (const group of known.state) found.push({ icon: "state", text: group.name, note: "state group", act: () => go(to(["state", group.name])) });
  for (const stream of known.streams) found.push({ icon: "streams", text: stream.name, note: "stream", act: () => go(to(["streams", stream.name])) });
  found.push({ icon: "warning", text: "Failed traces", note: "traces", act: () => go(to(["traces"], { outcome: "failed,dead" })) });
  found.push({ icon: "sun", text: "Switch between dark and light", note: "theme", act: toggleTheme });
  return found;
}

/** How well the letters fit, in their order: lower is better; undefined: not at all. */
export function rank(text, letters) {
  const [where, wanted] = [text.toLowerCase(), letters.toLowerCase().replace(/\s+/g, "")];
  const whole = where.indexOf(letters.toLowerCase().trim());
  if (whole >= 0) return whole;
  let at = -1;
  let gaps = 0;
  for (const letter of wanted) {
    const next = where.indexOf(letter, at + 1);
    if (next < 0) return undefined;
    gaps += next - at - 1;
    at = next;
  }
  return 100 + gaps;
}

/** The commands for what was typed, the likeliest first. */
function fitting(every, text) {
  const trimmed = text.trim();
  if (!trimmed) return every.slice(0, SHOWN);
  const found = every.map((each) => ({ each, rank: rank(`${each.text} ${each.note}`, trimmed) })).filter((one) => one.rank !== undefined);
  const shown = found.sort((a, b) => a.rank - b.rank).map((one) => one.each);
  if (TRACE.test(trimmed)) shown.unshift({ icon: "traces", text: `Trace ${trimmed}`, note: "open", act: () => go(to(["traces", trimmed.toLowerCase()])) });
  return [...shown.slice(0, SHOWN), { icon: "search", text: `Search traces for “${trimmed}”`, note: "traces", act: () => go(to(["traces"], { text: trimmed })) }];
}

export function Palette({ pages, onClose }) {
  const known = useStore(app);
  const every = useMemo(() => commands(known, pages), [known]);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const dialog = useRef(null);
  const list = useRef(null);
  useLayoutEffect(() => dialog.current.showModal(), []); // at once, so that no letter is lost
  useEffect(() => list.current?.querySelector("[aria-selected=true]")?.scrollIntoView({ block: "nearest" }), [at]);
  const shown = fitting(every, text);
  const choose = (command) => {
    onClose();
    command?.act();
  };
  const keys = (event) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move) {
      event.preventDefault();
      setAt((at + move + shown.length) % Math.max(1, shown.length));
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(fitting(every, event.target.value)[at]); // what is typed by now, drawn or not
    }
  };
  return html`<dialog class="palette" ref=${dialog} onClose=${onClose} onClick=${(event) => event.target === dialog.current && onClose()} aria-label="Command palette">
    <div class="palette-in"><label><${Icon} name="search" /><input autofocus placeholder="Go to a step, flow, trace, state group …" aria-label="Command" data-test="palette" value=${text} spellcheck="false" autocomplete="off" onInput=${(event) => { setText(event.target.value); setAt(0); }} onKeyDown=${keys} /><kbd>Esc</kbd></label>
    <ul role="listbox" ref=${list}>${shown.map((each, index) => html`<li role="option" key=${each.text + each.note} aria-selected=${index === at} onMouseMove=${() => setAt(index)} onClick=${() => choose(each)}><${Icon} name=${each.icon} size=${15} /><span>${each.text}</span><small>${each.note}</small></li>`)}</ul></div>
  </dialog>`;
}
