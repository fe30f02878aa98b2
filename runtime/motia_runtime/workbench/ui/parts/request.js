// A request to an api step: filled in from its schemas, sent as anybody would send it, with a trace of its own that is found again.

import { app } from "../lib/data.js";
import { duration, size } from "../lib/format.js";
import { Link, to } from "../lib/router.js";
import { html, useEffect, useMemo, useRef, useState } from "../lib/ui.js";
import { Copy, Tabs } from "./common.js";
import { Editor, sampleText } from "./editor.js";
import { Coloured } from "./json.js";

const SHOWN = 300_000; // characters of a body
const SAVED = "motia.workbench.requests";

const hex = (bytes) => Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** What a step's path and query want: [{name, where, schema, required}]. */
function fields(step) {
  const path = [...step.path.matchAll(/\{([^}:]+)(:path)?\}/g)].map(([, name, rest]) => ({ name, where: "path", schema: { type: "string" }, required: true, rest: Boolean(rest) }));
  const query = step.inputs.find((input) => input.what === "query");
  const full = query ? app.value.schemas.resolve(query.schema).schema : {};
  const names = Object.entries(full.properties ?? {}).map(([name, schema]) => ({ name, where: "query", schema, required: (full.required ?? []).includes(name) }));
  return [...path, ...names];
}

function saved(step) {
  try {
    return JSON.parse(localStorage.getItem(SAVED) ?? "{}")[`${app.value.name}/${step}`] ?? [];
  } catch {
    return [];
  }
}

function save(step, list) {
  let every = {};
  try {
    every = JSON.parse(localStorage.getItem(SAVED) ?? "{}");
  } catch {
    // begun anew
  }
  every[`${app.value.name}/${step}`] = list;
  localStorage.setItem(SAVED, JSON.stringify(every));
}

function Field({ field, value, onValue }) {
  const { schema } = app.value.schemas.resolve(field.schema);
  const choices = schema.type === "boolean" ? ["true", "false"] : schema.enum?.map(String);
  const hint = "default" in Object(schema) ? `default ${JSON.stringify(schema.default)}` : app.value.schemas.type(field.schema);
  const label = `${field.where} ${field.name}`;
  return html`<label class="field"><span><code>${field.name}</code> <small>${field.where}${field.required ? ", required" : ""}</small></span>
    ${choices
      ? html`<select aria-label=${label} value=${value} onChange=${(event) => onValue(event.target.value)}><option value="">not sent</option>${choices.map((each) => html`<option value=${each}>${each}</option>`)}</select>`
      : html`<input aria-label=${label} value=${value} placeholder=${hint} autocomplete="off" spellcheck="false" onInput=${(event) => onValue(event.target.value)} />`}
  </label>`;
}

/** The path and query that a run got, as values of the fields; what its body was. */
function given(step, run) {
  const values = {};
  const segments = run.trigger.path.split("/").map(decodeURIComponent);
  step.path.split("/").forEach((segment, index) => {
    const found = /^\{([^}:]+)(:path)?\}$/.exec(segment);
    if (found) values[found[1]] = found[2] ? segments.slice(index).join("/") : (segments[index] ?? "");
  });
  for (const [name, value] of new URLSearchParams(run.query ?? "")) values[name] = name in values ? `${values[name]},${value}` : value;
  const whole = run.input !== undefined && run.input?.$cut === undefined;
  return { method: run.trigger.method, values, ...(whole ? { text: JSON.stringify(run.input, null, 2) } : {}) };
}

/** `step`: of `api/steps/NAME`; another one is another component (`key`). `run`: a run of it whose request is to begin with. */
export function Request({ step, run }) {
  const body = step.inputs.find((input) => input.what === "body");
  const wanted = useMemo(() => fields(step), [step]);
  const fresh = () => ({
    method: step.methods[0],
    values: {},
    headers: step.policies.some((line) => line.name === "idempotency") ? [["idempotency-key", ""]] : [],
    text: body ? sampleText(body.schema) : "",
    ...(run ? given(step, run) : {}),
  });
  const [request, set] = useState(fresh);
  const [answer, setAnswer] = useState(undefined);
  const [list, setList] = useState(() => saved(step.name));
  const [busy, setBusy] = useState(undefined);
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const change = (part) => set((old) => ({ ...old, ...part }));
  const withBody = Boolean(body) || !["GET", "HEAD", "DELETE"].includes(request.method);

  const prepared = () => {
    let target = step.path;
    const query = new URLSearchParams();
    for (const field of wanted) {
      const value = request.values[field.name] ?? "";
      if (field.where === "path") target = target.replace(/\{[^}]+\}/, () => (field.rest ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value)));
      else if (value !== "") {
        const many = app.value.schemas.type(app.value.schemas.resolve(field.schema).schema).startsWith("array");
        for (const part of many ? value.split(",") : [value]) query.append(field.name, part.trim());
      }
    }
    const headers = Object.fromEntries(request.headers.filter(([name, value]) => name.trim() && value.trim()));
    if (withBody && request.text.trim()) headers["content-type"] = "application/json";
    const text = query.toString();
    return { url: location.origin + target + (text ? `?${text}` : ""), method: request.method, headers, body: withBody && request.text.trim() ? request.text : undefined };
  };

  const send = async (event) => {
    event?.preventDefault();
    const abort = new AbortController();
    setBusy(abort);
    const trace = hex(16);
    const began = performance.now();
    const shown = (part) => alive.current && setAnswer((old) => ({ trace, ...old, ...part, took: (performance.now() - began) / 1000 }));
    setAnswer(undefined);
    try {
      const { url, ...options } = prepared();
      const response = await fetch(url, { ...options, headers: { ...options.headers, traceparent: `00-${trace}-${hex(8)}-01` }, cache: "no-store", signal: abort.signal });
      shown({ trace, status: response.status, reason: response.statusText, headers: [...response.headers], text: "", ended: false });
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { done, value } = (await reader?.read()) ?? { done: true };
        if (done) break;
        text += value;
        shown({ text });
      }
      shown({ text, ended: true });
    } catch (error) {
      shown({ trace, problem: abort.signal.aborted ? "Stopped." : `No answer: ${error.message}`, ended: true });
    } finally {
      if (alive.current) setBusy(undefined);
    }
  };
  const curl = () => {
    const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const { url, method, headers, body: sent } = prepared();
    const parts = ["curl", "-i", "-X", method, ...Object.entries(headers).flatMap(([name, value]) => ["-H", quote(`${name}: ${value}`)])];
    if (sent !== undefined) parts.push("--data-raw", quote(sent));
    return [...parts, quote(url)].join(" ");
  };
  const keep = () => {
    const next = [...list, { ...request, name: `Request ${list.length + 1}` }];
    setList(next);
    save(step.name, next);
  };
  const drop = (index) => {
    const next = list.filter((_, at) => at !== index);
    setList(next);
    save(step.name, next);
  };
  const keys = (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && send(event);

  return html`<form class="request" onSubmit=${send} onKeyDown=${keys}>
    ${list.length > 0 && html`<div class="saved">${list.map((each, index) => html`<span class="chip"><button type="button" class="bare" onClick=${() => set(each)}>${each.name}</button><button type="button" class="bare" aria-label=${`Forget ${each.name}`} onClick=${() => drop(index)}>×</button></span>`)}</div>`}
    ${step.methods.length > 1 && html`<label class="field"><span>Method</span><select aria-label="Method" value=${request.method} onChange=${(event) => change({ method: event.target.value })}>${step.methods.map((each) => html`<option value=${each}>${each}</option>`)}</select></label>`}
    ${wanted.map((field) => html`<${Field} key=${field.where + field.name} field=${field} value=${request.values[field.name] ?? ""} onValue=${(value) => change({ values: { ...request.values, [field.name]: value } })} />`)}
    ${withBody && html`<div class="field"><span>Body <small>JSON${body ? ", Ctrl-Space completes" : ""}</small></span><${Editor} text=${request.text} onText=${(text) => change({ text })} schema=${body?.schema} site=${body?.site} label="Body" test="body" /></div>`}
    <details class="headers" open=${request.headers.length > 0}><summary>Headers <small>${request.headers.length || ""}</small></summary>
      ${request.headers.map(([name, value], index) => html`<div class="header-row">
        <input aria-label="Header name" placeholder="name" value=${name} onInput=${(event) => change({ headers: request.headers.map((each, at) => (at === index ? [event.target.value, value] : each)) })} />
        <input aria-label="Header value" placeholder="value" value=${value} onInput=${(event) => change({ headers: request.headers.map((each, at) => (at === index ? [name, event.target.value] : each)) })} />
        <button type="button" class="quiet" aria-label="Remove header" onClick=${() => change({ headers: request.headers.filter((_, at) => at !== index) })}>×</button></div>`)}
      <button type="button" class="quiet small" onClick=${() => change({ headers: [...request.headers, ["", ""]] })}>Add a header</button>
    </details>
    <div class="row">
      ${busy ? html`<button type="button" class="quiet" onClick=${() => busy.abort()}>Stop</button>` : html`<button type="submit" class="primary" data-test="send">Send</button>`}
      <${Copy} text=${curl} label="Copy as curl" />
      <button type="button" class="quiet small" onClick=${keep}>Save</button>
      <small class="muted">Ctrl-Enter sends</small>
    </div>
    ${answer && html`<${Answer} answer=${answer} />`}
  </form>`;
}

function Answer({ answer }) {
  const [tab, pick] = useState("body");
  if (answer.problem) return html`<div class="answer" data-test="answer"><p class="bad-text">${answer.problem}</p></div>`;
  const type = answer.headers.find(([name]) => name === "content-type")?.[1] ?? "";
  let text = answer.text;
  if (answer.ended && /[/+]json/.test(type)) {
    try {
      text = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // shown as it came
    }
  }
  const cut = text.length > SHOWN;
  return html`<div class="answer" data-test="answer" aria-live="polite">
    <div class="row"><b class=${`status ${answer.status < 400 ? "good-text" : "bad-text"}`}>${answer.status} ${answer.reason}</b>
      <span class="muted">${duration(answer.took)}, ${size(new Blob([answer.text]).size)}${answer.ended ? "" : ", still coming"}</span><span class="grow"></span>
      <${Link} href=${to(["traces", answer.trace])} data-test="to-trace">Trace ${answer.trace.slice(0, 8)} →<//></div>
    <${Tabs} tabs=${[["body", "Body"], ["headers", "Headers", answer.headers.length]]} current=${tab} onPick=${pick} />
    ${tab === "body" ? html`<pre class="code">${text ? html`<${Coloured} text=${cut ? text.slice(0, SHOWN) : text} />` : html`<span class="muted">no body</span>`}${cut ? "\n…" : ""}</pre>` : html`<pre class="code">${answer.headers.map(([name, value]) => html`<span class="j-name">${name}</span>${": "}${value}${"\n"}`)}</pre>`}
  </div>`;
}
