// Small things that all pages are made of.

import { Fault } from "../lib/api.js";
import { ago, stamp, tone } from "../lib/format.js";
import { Link, to } from "../lib/router.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib/ui.js";
import { app } from "../lib/data.js";
import { Icon } from "./icons.js";

/** What is shown where there is nothing: what would be here, and how it gets here. */
export function Empty({ icon = "search", title, children }) {
  return html`<div class="empty" data-test="empty"><${Icon} name=${icon} size=${28} /><h2>${title}</h2>${children && html`<p>${children}</p>`}</div>`;
}

/** What went wrong, in the API's own words, and a way to try again. */
export function Trouble({ error, again }) {
  if (!error) return null;
  const gone = error instanceof Fault && error.status === 404;
  const title = error instanceof Fault ? error.title || `Status ${error.status}` : "The app does not answer";
  const text = error instanceof Fault ? error.message : "It may be stopped or restarting. This page goes on as soon as it is back.";
  return html`<div class=${`trouble ${gone ? "calm" : ""}`} role="alert" data-test="trouble">
    <${Icon} name="warning" size=${20} />
    <div><b>${gone ? "Nothing here" : title}</b><p>${text}</p><${Faults} faults=${error.faults} /></div>
    ${again && html`<button class="quiet" onClick=${again}>Try again</button>`}
  </div>`;
}

/** Every fault of a value, with its place in it. */
export function Faults({ faults }) {
  if (!faults?.length) return null;
  return html`<ul class="faults" data-test="faults">${faults.map((fault) => html`<li><code>${fault.pointer || "/"}</code> ${fault.detail}</li>`)}</ul>`;
}

export const Loading = () => html`<div class="loading" aria-busy="true"><i></i><i></i><i></i></div>`;

/** A result of `useLoad`: loading, trouble, or `children(data)`. */
export function Loaded({ of, children }) {
  if (of.error && of.data === undefined) return html`<${Trouble} error=${of.error} again=${of.again} />`;
  if (of.data === undefined) return html`<${Loading} />`;
  return html`${of.error && html`<${Trouble} error=${of.error} again=${of.again} />`}${children(of.data)}`;
}

export const Outcome = ({ outcome }) => html`<span class=${`pill ${tone(outcome)}`}>${outcome}</span>`;

export const Kind = ({ kind }) => html`<span class=${`kind ${kind}`} title=${kind}><${Icon} name=${kind} size=${13} /></span>`;

export const Method = ({ method }) => html`<span class=${`method ${method.toLowerCase()}`}>${method}</span>`;

/** A step by name, as a link to where it is drawn. */
export function StepLink({ name }) {
  const step = app.value?.byName.get(name);
  if (!step) return html`<span class="mono">${name || "(outside)"}</span>`;
  return html`<${Link} class="step-link" href=${to(["flows", step.flows[0] ?? ""], { step: name })}><${Kind} kind=${step.kind} />${name}<//>`;
}

export const TraceLink = ({ id, span }) => html`<${Link} class="mono" href=${to(["traces", id], { span })} title=${id}>${id.slice(0, 8)}<//>`;

/** A time that keeps saying how long ago it is. */
export function Ago({ at }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 5000);
    return () => clearInterval(timer);
  }, []);
  return html`<time title=${stamp(at)}>${ago(at)}</time>`;
}

export function Copy({ text, label = "Copy" }) {
  const [done, set] = useState(false);
  if (!navigator.clipboard) return null;
  const copy = async () => {
    await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return html`<button type="button" class="quiet small" onClick=${copy}><${Icon} name=${done ? "check" : "copy"} size=${13} />${done ? "Copied" : label}</button>`;
}

/** `tabs`: [key, label, number?]. */
export function Tabs({ tabs, current, onPick }) {
  const keys = (event) => {
    const at = tabs.findIndex(([key]) => key === current);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1 }[event.key];
    if (next === undefined || !tabs[next]) return;
    event.preventDefault();
    onPick(tabs[next][0]);
  };
  return html`<div class="tabs" role="tablist" onKeyDown=${keys}>
    ${tabs.map(([key, label, number]) => html`<button type="button" role="tab" key=${key} aria-selected=${key === current} tabindex=${key === current ? 0 : -1} data-tab=${key} onClick=${() => onPick(key)}>${label}${number ? html`<small>${number}</small>` : null}</button>`)}
  </div>`;
}

/** A button that asks once more before it does what can't be undone. */
export function Sure({ children, ask, onSure, disabled }) {
  const [asked, set] = useState(false);
  useEffect(() => {
    if (!asked) return undefined;
    const timer = setTimeout(() => set(false), 4000);
    return () => clearTimeout(timer);
  }, [asked]);
  const press = () => {
    set(!asked);
    if (asked) onSure();
  };
  return html`<button type="button" class=${`quiet danger ${asked ? "asked" : ""}`} disabled=${disabled} onClick=${press}>${asked ? ask : children}</button>`;
}

/** A JSON Schema as a tree to read. */
export function SchemaTree({ schema }) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    ref.current.replaceChildren(app.value.schemas.tree(schema ?? true));
  }, [schema]);
  return html`<div class="schema" ref=${ref}></div>`;
}

/** One line of what an action has done; `onEnd` is called when it has been read. */
export function Said({ text, onEnd }) {
  useEffect(() => {
    if (!text) return undefined;
    const timer = setTimeout(onEnd, 6000);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<div class="said" role="status">${text}</div>`;
}
