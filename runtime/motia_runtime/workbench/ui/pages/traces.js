// Traces: a list with filters, newest first, and each in full.

import { get, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { count, duration } from "../lib/format.js";
import { running, useRuns } from "../lib/live.js";
import { go, here, route, to } from "../lib/router.js";
import { html, useRef, useState, useStore } from "../lib/ui.js";
import { Ago, Empty, Loaded, Outcome, StepLink } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Trace } from "../parts/trace.js";

const PAGE = 50;
const PACE = 600; // ms between readings of the list while runs come
const TYPED = 250; // ms without a key until what was typed is looked for
const OUTCOMES = [["", "any outcome"], ["ok", "ok"], ["failed,dead,expired", "failed or dead"], ["retry", "being retried"], ["cancelled", "cancelled"], ["running", "running"]];
const LONGER = [["", "any duration"], ["0.1", "over 100 ms"], ["1", "over 1 s"], ["10", "over 10 s"], ["60", "over a minute"]];
const SINCE = [["", "any time"], ["300", "last 5 minutes"], ["3600", "last hour"], ["86400", "last day"]];

function Choice({ label, name, options, query }) {
  return html`<select aria-label=${label} value=${query.get(name) ?? ""} onChange=${(event) => go(here({ [name]: event.target.value }), { replace: true })}>${options.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`;
}

/** What was typed into a search field, in the address once no more is typed. */
export function SearchField({ label, query }) {
  const timer = useRef(0);
  const typed = (event) => {
    const text = event.target.value;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => go(here({ text }), { replace: true }), TYPED);
  };
  return html`<label class="search"><${Icon} name="search" size=${14} /><input type="search" data-search placeholder=${`${label}  /`} aria-label=${label} defaultValue=${query.get("text") ?? ""} onInput=${typed} /></label>`;
}

/** Filters that lists of runs share. */
export function Filters({ query, children }) {
  const known = useStore(app);
  const names = (list) => list.map((each) => [each.name, each.name]);
  return html`<${Choice} label="Flow" name="flow" query=${query} options=${[["", "any flow"], ...names(known.flows)]} />
    <${Choice} label="Step" name="step" query=${query} options=${[["", "any step"], ...names(known.steps)]} />${children}
    <${Choice} label="Time" name="last" query=${query} options=${SINCE} />`;
}

/** The parameters of the API that an address stands for. */
export function wanted(query) {
  const found = Object.fromEntries(["flow", "step", "outcome", "longer", "text", "level"].map((name) => [name, query.get(name) ?? ""]));
  const last = Number(query.get("last"));
  return { ...found, since: last ? Math.floor(Date.now() / 1000) - last : "" };
}

/** A function that runs `work` soon, and not again before the pace is over. */
export function usePaced(work, pace) {
  const timer = useRef(0);
  const current = useRef(work);
  current.current = work;
  return () => {
    if (timer.current) return;
    timer.current = setTimeout(() => {
      timer.current = 0;
      current.current();
    }, pace);
  };
}

/** Whether a run under way is one of those that the filters ask for: what it has in payloads is not known here. */
function asked(run, query) {
  const flow = app.value.flows.find((each) => each.name === query.get("flow"));
  const long = Number(query.get("longer") || 0);
  if (query.get("text") || (query.get("outcome") && query.get("outcome") !== "running")) return false;
  if (query.get("step") && query.get("step") !== run.step) return false;
  return (!flow || app.value.byName.get(run.step)?.flows.includes(flow.name)) && Date.now() / 1000 - run.started >= long;
}

/** Runs under way: what they do is read in their trace. */
function UnderWay({ runs, more }) {
  if (!runs.length) return null;
  const open = (run) => go(to(["traces", run.trace_id], { span: run.span_id, attempt: run.attempt }));
  return html`<table class="rows traces under-way" data-test="under-way"><thead><tr><th>Running now <small class="muted">in this process</small></th><th>Outcome</th><th>Trace</th><th class="right">Attempt</th><th class="right">Log lines</th><th class="right">Began</th></tr></thead>
    <tbody>${runs.map((run) => html`<tr key=${run.span_id + run.attempt} class="link" tabindex="0" data-running=${run.trace_id} onClick=${() => open(run)} onKeyDown=${(event) => event.key === "Enter" && open(run)}>
      <td><${StepLink} name=${run.step} /></td><td><${Outcome} outcome="running" /></td><td class="mono">${run.trace_id.slice(0, 8)}</td><td class="num">${run.attempt}</td><td class="num">${run.lines}</td><td class="right muted"><${Ago} at=${run.started} /></td></tr>`)}</tbody></table>
    ${more > 0 && html`<p class="more muted">and ${count(more, "more run")}</p>`}`;
}

/** Where the list was last, with its filters: the way back from a trace. */
export const listed = { at: to(["traces"]) };

function List({ query }) {
  listed.at = here({});
  const now = useStore(running);
  const underWay = now.runs.filter((run) => asked(run, query));
  const [size, grow] = useState(PAGE);
  const loaded = useLoad((signal) => get(withQuery("traces", { ...wanted(query), limit: size }), { signal }), [query.toString()]);
  const again = usePaced(() => loaded.again(), PACE);
  useRuns(again, []);
  const filtered = [...query.keys()].length > 0;
  const more = () => {
    grow(size + PAGE * 2);
    setTimeout(loaded.again);
  };
  const open = (trace) => go(to(["traces", trace.trace_id]));
  return html`<div class="page"><header class="page-head"><h1>Traces</h1><div class="grow"></div>
      <${Filters} query=${query}><${Choice} label="Outcome" name="outcome" query=${query} options=${OUTCOMES} /><${Choice} label="Duration" name="longer" query=${query} options=${LONGER} /><//>
      <${SearchField} label="Search payloads, errors, logs" query=${query} /></header>
    <div class="scroll"><${UnderWay} runs=${underWay} more=${now.more} /><${Loaded} of=${loaded}>${({ traces, next }) =>
      traces.length === 0
        ? underWay.length ? null : filtered
          ? html`<${Empty} icon="traces" title="Nothing fits">No trace that is kept fits these filters.<//>`
          : html`<${Empty} icon="traces" title="Nothing has run yet">Send a request, or run a step from its flow; its trace appears here.<//>`
        : html`<table class="rows traces" data-test="traces"><thead><tr><th>Began with</th><th>Outcome</th><th>Trace</th><th class="right">Runs</th><th class="right">Took</th><th class="right">When</th></tr></thead>
          <tbody>${traces.map((trace) => html`<tr key=${trace.trace_id} class="link" tabindex="0" data-trace=${trace.trace_id} onClick=${() => open(trace)} onKeyDown=${(event) => event.key === "Enter" && open(trace)}>
            <td><${StepLink} name=${trace.root} /> <small class="muted">${trace.steps.filter((name) => name !== trace.root).join(", ")}</small>${trace.error && html`<div class="bad-text small cause" title=${trace.error}>${trace.error}</div>`}</td><td><${Outcome} outcome=${trace.outcome} /></td><td class="mono">${trace.trace_id.slice(0, 8)}</td>
            <td class="num">${trace.runs}</td><td class="num mono">${duration(trace.duration)}</td><td class="right muted"><${Ago} at=${trace.started} /></td></tr>`)}</tbody></table>
          ${next && html`<p class="more"><button class="quiet" onClick=${more}>Show more</button> <span class="muted">${count(traces.length, "trace")} shown</span></p>`}`}<//></div></div>`;
}

export function Traces() {
  const { parts, query } = useStore(route);
  return parts[1] ? html`<${Trace} key=${parts[1]} id=${parts[1]} query=${query} />` : html`<${List} query=${query} />`;
}
