// One trace: its runs in time, and all about the one that is picked.

import { get, path } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { count, duration, stamp } from "../lib/format.js";
import { running, useRuns } from "../lib/live.js";
import { go, here, Link, to } from "../lib/router.js";
import { html, useEffect, useRef, useState, useStore } from "../lib/ui.js";
import { listed, usePaced } from "../pages/traces.js";
import { Copy, Empty, Loaded, Outcome } from "./common.js";
import { Gantt, keyOf } from "./gantt.js";
import { Icon } from "./icons.js";
import { RunPanel } from "./runpanel.js";

const PACE = 400; // ms between readings while its runs come

const TICK = 1000; // ms between readings while a run is under way
const GRACE = 5_000; // ms that a run which has just ended is shown as it was, until its record has come

/** Read a trace, over and over: a run stands as it last was between its end and its record. */
function reader(id) {
  const seen = new Map(); // of runs under way: when they were last seen at work
  let shown;
  const missing = (runs) => (shown?.runs ?? []).filter((run) => run.outcome === "running" && Date.now() - seen.get(keyOf(run)) < GRACE && !runs.some((each) => each.span_id === run.span_id && (each.attempt ?? 1) === (run.attempt ?? 1)));
  return async (signal) => {
    let found;
    try {
      found = await get(path("traces", id), { signal });
    } catch (error) {
      if (error.status !== 404 || !missing([]).length) throw error;
      return shown;
    }
    for (const run of found.runs) if (run.outcome === "running") seen.set(keyOf(run), Date.now());
    const waiting = missing(found.runs);
    shown = waiting.length ? { ...found, runs: [...found.runs, ...waiting] } : found;
    return shown;
  };
}

/** Step by step, how two traces went. */
function Compare({ ours, theirs }) {
  const rows = new Map();
  for (const [side, runs] of [[0, ours], [1, theirs]])
    for (const run of runs) {
      const key = `${run.step} ${run.attempt ?? 1}`;
      const row = rows.get(key) ?? { step: run.step, attempt: run.attempt ?? 1, sides: [[], []] };
      row.sides[side].push(run);
      rows.set(key, row);
    }
  const cell = (runs) => html`<td>${runs.length === 0 ? html`<span class="muted">did not run</span>` : runs.map((run) => html`<span class="row"><${Outcome} outcome=${run.outcome} /><span class="mono">${duration(run.duration)}</span>${run.error && html`<small class="bad-text clip">${run.error.type}: ${run.error.message}</small>`}</span>`)}</td>`;
  const differs = ({ sides }) => sides[0].map((run) => run.outcome).join() !== sides[1].map((run) => run.outcome).join();
  return html`<table class="rows compare" data-test="compare"><thead><tr><th>Step</th><th>This trace</th><th>The other</th></tr></thead><tbody>
    ${[...rows.values()].map((row) => html`<tr key=${row.step + row.attempt} class=${differs(row) ? "differs" : ""}><td><b>${row.step}</b>${row.attempt > 1 ? html` <small class="muted">attempt ${row.attempt}</small>` : ""}</td>${cell(row.sides[0])}${cell(row.sides[1])}</tr>`)}</tbody></table>`;
}

function Other({ id, runs }) {
  const loaded = useLoad((signal) => get(path("traces", id), { signal }), [id]);
  return html`<section class="other"><header class="row"><h2>Compared with <${Link} class="mono" href=${to(["traces", id])}>${id.slice(0, 8)}<//></h2><button class="quiet small" onClick=${() => go(here({ with: "" }), { replace: true })}>Close</button></header>
    <${Loaded} of=${loaded}>${(other) => html`<${Compare} ours=${runs} theirs=${other.runs} />`}<//></section>`;
}

/** Another trace to hold this one against: by its id, or the newest other that began with the same step. */
function Pick({ trace }) {
  const [text, set] = useState("");
  const [said, say] = useState("");
  const compare = async (event) => {
    event.preventDefault();
    if (text.trim()) {
      go(here({ with: text.trim() }), { replace: true });
      return;
    }
    const { traces } = await get(`traces?step=${encodeURIComponent(trace.summary.root)}&limit=20`);
    const other = traces.find((each) => each.trace_id !== trace.summary.trace_id && each.root === trace.summary.root);
    if (other) go(here({ with: other.trace_id }), { replace: true });
    else say("There is no other");
  };
  return html`<form class="row" onSubmit=${compare}><input class="short" aria-label="Trace to compare with" placeholder="id, or the newest other" value=${text} onInput=${(event) => set(event.target.value)} /><button class="quiet" data-test="compare-with">Compare</button><small class="muted">${said}</small></form>`;
}

const BAD = new Set(["dead", "failed", "expired"]); // for good

/** The run that is shown when none was picked: the last that failed for good, or the only one there is. */
const telling = (runs) => runs.filter((run) => BAD.has(run.outcome)).at(-1) ?? (runs.length === 1 ? runs[0] : undefined);

/** `id`: of the trace, or how it begins. `query`: `span` and `attempt` of the run that is picked, `with`: a trace to compare with. */
export function Trace({ id, query }) {
  const [closed, close] = useState(false);
  const read = useRef(undefined);
  read.current ??= reader(id); // another trace is another component
  const loaded = useLoad(read.current, [id]);
  const now = useStore(running);
  const again = usePaced(() => loaded.again(), PACE);
  useRuns((runs) => runs.some((run) => run.trace_id.startsWith(id)) && again(), [id]);
  useEffect(() => {
    const keys = (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && go(query.get("span") ? here({ span: "", attempt: "" }) : listed.at);
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, [query]);
  useEffect(() => void (now.runs.some((run) => run.trace_id.startsWith(id)) && again()), [now]);
  const atWork = loaded.data?.runs.some((run) => run.outcome === "running");
  useEffect(() => {
    if (!atWork) return undefined;
    const timer = setInterval(loaded.again, TICK);
    return () => clearInterval(timer);
  }, [atWork]);
  const waiting = loaded.error?.status === 404 && loaded.data === undefined;
  useEffect(() => {
    // it may have begun this moment: its first record comes when its first run has ended
    if (!waiting) return undefined;
    const timer = setInterval(loaded.again, 1000);
    return () => clearInterval(timer);
  }, [waiting]);
  return html`<div class="page"><${Loaded} of=${loaded}>${(trace) => {
    const { runs, summary } = trace;
    const span = query.get("span");
    const picked = span ? runs.find((run) => run.span_id === span && String(run.attempt ?? 1) === (query.get("attempt") ?? String(run.attempt ?? 1))) ?? runs.find((run) => run.span_id === span) : closed ? undefined : telling(runs);
    const replayOf = runs.find((run) => run.replay_of)?.replay_of;
    return html`<header class="page-head"><${Link} class="back" href=${listed.at} aria-label="Back to the list"><${Icon} name="back" /><//>
        <div class="grow"><h1>${summary.root} <${Outcome} outcome=${summary.outcome} /></h1><p class="muted"><span class="mono">${summary.trace_id}</span> · ${stamp(summary.started)} · ${duration(summary.duration)}${replayOf ? html` · replay of <${Link} class="mono" href=${to(["traces", replayOf])}>${replayOf.slice(0, 8)}<//>` : ""}</p></div>
        <${Copy} text=${summary.trace_id} label="Copy id" /><${Pick} trace=${trace} /></header>
      ${trace.letters.length > 0 && html`<div class="notice bad">${trace.letters.map((letter) => html`<span key=${letter.id}><${Icon} name="warning" size=${14} /> ${letter.step} gave up after ${count(letter.attempts, "attempt")}: <${Link} href=${to(["queues"], { letter: letter.id })} data-test="to-letter">dead letter ${letter.id}<//></span>`)}</div>`}
      <div class="trace-body"><div class="trace-main"><${Gantt} runs=${runs} picked=${picked && keyOf(picked)} onPick=${(run) => go(here({ span: run.span_id, attempt: run.attempt ?? 1 }), { replace: Boolean(span) })} />
        ${query.get("with") && html`<${Other} id=${query.get("with")} runs=${runs} />`}</div>
        ${picked ? html`<${RunPanel} key=${keyOf(picked)} run=${picked} trace=${trace} onClose=${() => (close(true), go(here({ span: "", attempt: "" })))} />` : html`<aside class="side-panel hint-panel"><${Empty} icon="traces" title="Pick a run">Its input, what it did in order, its log and its error are shown here.<//></aside>`}</div>`;
  }}<//></div>`;
}
