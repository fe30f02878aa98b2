// All about one run: what it got, what it did in order, what it said, how it failed; and giving its event again.

import { path, post } from "../lib/api.js";
import { app, step as stepOf } from "../lib/data.js";
import { clock, duration } from "../lib/format.js";
import { go, Link, to } from "../lib/router.js";
import { html, useState } from "../lib/ui.js";
import { Empty, Faults, Kind, Outcome, StepLink, Tabs } from "./common.js";
import { Editor } from "./editor.js";
import { Icon } from "./icons.js";
import { Json } from "./json.js";

const FRAME = /^([^\n:]+):(\d+) in /gm;

/** Everything that the run did, by time: {at, kind, ...}. */
export function happened(run) {
  const found = [
    ...(run.state ?? []).map((each) => ({ at: each.offset ?? 0, kind: "state", each })),
    ...(run.emits ?? []).map((each) => ({ at: each.offset ?? 0, kind: "emit", each })),
    ...(run.streams ?? []).map((each) => ({ at: each.offset ?? 0, kind: "stream", each })),
    ...(run.logs ?? []).map((each) => ({ at: each.time - run.started, kind: "log", each })),
  ];
  return found.sort((a, b) => a.at - b.at);
}

const Payload = ({ value }) => (value === undefined ? null : value?.$cut !== undefined ? html`<pre class="code">${value.$cut}… <span class="muted">${value.bytes} bytes in all</span></pre>` : html`<${Json} value=${value} />`);

function State({ each }) {
  return html`<div class="what"><${Link} class="mono" href=${to(["state", each.group, each.key])}>state.${each.op} ${each.group}/${each.key}<//></div>
    ${each.op === "get" ? html`<details><summary>found</summary><${Payload} value=${each.before ?? null} /></details>` : html`<div class="before-after">
      <div><small class="muted">before</small><${Payload} value=${each.before ?? null} /></div><div><small class="muted">after</small><${Payload} value=${each.op === "delete" ? null : (each.data ?? null)} /></div></div>`}`;
}

const SHORT = 60; // characters of a value that stands in its line

/** Fields of a log line: in the line when they are few and short, else as a tree below it. */
function Fields({ fields }) {
  const list = Object.entries(fields ?? {});
  if (!list.length) return null;
  if (list.length > 6 || list.some(([, value]) => (value !== null && typeof value === "object") || String(value).length > SHORT)) return html`<${Json} value=${fields} />`;
  return html`<div class="mono small fields">${list.map(([name, value]) => html`<span key=${name}><span class="muted">${name}=</span>${String(value)} </span>`)}</div>`;
}

function Happening({ one }) {
  const { kind, each } = one;
  const said = { emit: () => html`<div class="what"><span class="mono">emit ${each.topic}</span>${each.at ? html` <small class="muted">at ${clock(each.at)}</small>` : ""}</div><${Payload} value=${each.data} />`, state: () => html`<${State} each=${each} />`, stream: () => html`<div class="what"><${Link} class="mono" href=${to(["streams", each.stream, each.group])}>${each.op} ${each.stream}/${each.group}/${each.id}<//></div><${Payload} value=${each.data} />`, log: () => html`<div class=${`what level-${each.level}`}>${each.message}</div><${Fields} fields=${each.fields} />` };
  const icon = { emit: "event", state: "state", stream: "streams", log: "logs" }[kind];
  return html`<li class=${`happening ${kind}`}><span class="at mono">+${duration(Math.max(0, one.at))}</span><span class=${`kind ${{ emit: "event", state: "state", stream: "stream", log: "topic" }[kind]}`}><${Icon} name=${icon} size=${12} /></span><div>${said[kind]()}</div></li>`;
}

function Failure({ run, places }) {
  const { type, message, stack } = run.error;
  const frames = [...(stack ?? "").matchAll(FRAME)].map(([, file, line]) => places[`${file}:${line}`]).filter(Boolean);
  const shown = frames[frames.length - 1];
  return html`<section class="failure" data-test="failure"><h3>Error</h3><p class="bad-text"><b>${type}</b>: ${message}</p>
    ${shown && html`<pre class="code excerpt"><span class="muted">${shown.file}:${shown.line}${"\n"}</span>${shown.lines.map(([number, text]) => html`<span class=${number === shown.line ? "marked" : ""}><i>${number}</i>${text}${"\n"}</span>`)}</pre>`}
    ${stack && html`<details><summary>Stack</summary><pre class="code">${stack}</pre></details>`}
    ${run.input !== undefined && html`<h3>${run.trigger.type === "api" ? "Body" : "Event"} <small class="muted">that it was given</small></h3><${Payload} value=${run.input} />`}</section>`;
}

/** Give the run's event again: as it was, or changed; to its step alone, or to all. */
function Replay({ run }) {
  const numeric = /^\d+$/.test(run.trigger.event_id ?? "");
  const topic = app.value.topics.find((each) => each.name === run.trigger.topic);
  const whole = run.input !== undefined && run.input?.$cut === undefined;
  const [text, setText] = useState(() => (whole ? JSON.stringify(run.input, null, 2) : ""));
  const [alone, setAlone] = useState(true);
  const [problem, setProblem] = useState(undefined);
  if (run.trigger.type === "api")
    return html`<p>It began with a request. <${Link} href=${to(["endpoints", run.step], { from: run.trace_id, span: run.span_id })} data-test="again">Send it again, as it was or changed<//></p>`;
  if (run.trigger.type === "cron") return html`<p>It began with a tick. <${Link} href=${to(["flows", stepOf(run.step)?.flows[0] ?? ""], { step: run.step, tab: "run" })}>Run it now<//></p>`;
  if (!topic) return html`<p class="muted">Its event came from a change, which is not given again; run the step from its flow.</p>`;
  const again = async (event) => {
    event.preventDefault();
    setProblem(undefined);
    try {
      const edited = whole && text !== JSON.stringify(run.input, null, 2);
      const data = edited || !numeric ? JSON.parse(text) : undefined;
      const step = alone ? run.step : undefined;
      const done = numeric
        ? await post(path("events", run.trigger.event_id, "replay"), { step, ...(edited ? { data } : {}) })
        : alone ? await post(path("steps", run.step, "run"), { data, source: topic.name }) : await post("emit", { topic: topic.name, data });
      go(to(["traces", done.trace_id]));
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<form class="run-form" onSubmit=${again}>
    ${whole ? html`<${Editor} text=${text} onText=${setText} schema=${topic.schema} site=${topic.schema ? `topic:${topic.name}` : undefined} label="Event data" test="replay-data" rows=${4} />` : html`<p class="muted">Its payload is too large to be changed here; it is given again as it was.</p>`}
    <label class="tick"><input type="checkbox" checked=${alone} onChange=${(event) => setAlone(event.target.checked)} /> for ${run.step} alone</label>
    <p class="muted small">It is a run as any other, in a new trace: what it writes and emits becomes true when it ends well.</p>
    <div class="row"><button class="primary" data-test="replay">Replay</button></div>
    ${problem && html`<div class="trouble"><div><b>${problem.title || "Not done"}</b><p>${problem.message}</p><${Faults} faults=${problem.faults} /></div></div>`}</form>`;
}

/** `trace`: of `api/traces/ID`. */
export function RunPanel({ run, trace, onClose }) {
  const atWork = run.outcome === "running";
  const list = happened(run);
  const [tab, pick] = useState("events");
  const trigger = run.trigger;
  const step = stepOf(run.step);
  const by = trigger.type === "api" ? `${trigger.method} ${trigger.path}${run.query ? `?${run.query}` : ""}` : trigger.topic ?? trigger.type;
  const from = !run.parent_id && app.value.topics.some((each) => each.name === trigger.topic && each.external === "in") ? " · from outside" : "";
  const children = trace.runs.filter((each) => each.parent_id === run.span_id);
  return html`<aside class="side-panel wide" aria-label=${`Run of ${run.step}`} data-test="run-panel">
    <header><${Kind} kind=${step?.kind ?? "event"} /><div><h2>${run.step} <${Outcome} outcome=${run.outcome} /></h2><p class="mono muted">${by}${from}${step?.language && html` · <${Link} href=${to(["flows", step.flows[0] ?? ""], { step: run.step, tab: "source" })} data-test="to-source">source<//>`}</p></div><button class="quiet" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <div class="side-facts"><span><small>attempt</small> ${run.attempt ?? 1}</span><span><small>waited</small> ${duration(run.queued ?? 0)}</span><span><small>${atWork ? "for" : "took"}</small> ${duration(run.duration)}</span>${run.status && html`<span><small>status</small> ${run.status}</span>`}${run.conflicts ? html`<span><small>began again</small> ${run.conflicts}×</span>` : ""}<span><small>began</small> ${clock(run.started)}</span></div>
    <${Tabs} tabs=${[["events", "Events", list.length], ["input", "Input"], ...(atWork ? [] : [["replay", "Replay"]])]} current=${tab} onPick=${pick} />
    <div class="side-body">
      ${tab === "events" && html`${run.error && html`<${Failure} run=${run} places=${trace.places} />`}
        ${atWork && html`<p class="muted small">It is at work still. What it writes and emits comes true, and is listed, when it has ended well.</p>`}
        ${list.length ? html`<ol class="happenings">${list.map((one, index) => html`<${Happening} key=${index} one=${one} />`)}</ol>` : !run.error && html`<${Empty} icon="traces" title=${atWork ? "Nothing yet" : "It changed nothing"}>No emits, no state, no log lines.<//>`}
        ${(run.more_effects || run.more_logs) && html`<p class="muted small">${run.more_effects ?? 0} effects and ${run.more_logs ?? 0} log lines are not listed.</p>`}
        ${children.length > 0 && html`<section><h3>Set off</h3><div class="chips">${children.map((each) => html`<${StepLink} key=${each.span_id + (each.attempt ?? 1)} name=${each.step} />`)}</div></section>`}`}
      ${tab === "input" && html`${run.headers && html`<section><h3>Headers</h3><pre class="code">${Object.entries(run.headers).map(([name, value]) => html`<span class="j-name">${name}</span>: ${value}${"\n"}`)}</pre></section>`}<section><h3>${trigger.type === "api" ? "Body" : "Event"}</h3>${run.input === undefined ? html`<p class="muted">none</p>` : html`<${Payload} value=${run.input} />`}</section>`}
      ${tab === "replay" && html`<${Replay} run=${run} />`}
    </div></aside>`;
}
