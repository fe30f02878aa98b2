// All about one step, beside the graph.

import { get, path, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { clock, count, duration } from "../lib/format.js";
import { standings, useRuns } from "../lib/live.js";
import { here, Link, go, to } from "../lib/router.js";
import { html, useRef, useStore } from "../lib/ui.js";
import { Empty, Kind, Loaded, Outcome, SchemaTree, Tabs } from "./common.js";
import { Icon } from "./icons.js";
import { Run } from "./run.js";
import { Source } from "./source.js";

const PACE = 700; // ms between readings of the runs while they come

function Policies({ step }) {
  if (!step.policies.length) return null;
  return html`<section><h3>Policies in force</h3><table class="facts"><tbody>${step.policies.map((line) => html`<tr><th scope="row">${line.name}</th><td>${line.value}
    <small class="origin">${line.from === "built in" ? "built in" : html`${line.policy ? html`policy ${line.policy}, ` : line.from === "defaults" ? "defaults, " : ""}<code>${line.place.file}:${line.place.line}</code>`}</small></td></tr>`)}</tbody></table></section>`;
}

function Ends({ title, names, children }) {
  return names.length ? html`<section><h3>${title}</h3><div class="chips">${names.map(children)}</div></section>` : null;
}

function About({ step }) {
  const standing = useStore(standings).get(step.name);
  return html`<div class="about">
    ${step.description && html`<p class="lead">${step.description}</p>`}
    ${standing && step.kind !== "noop" && html`<div class="meters">
      <div><b>${standing.runs}</b><span>runs, last minute</span></div><div class=${standing.failed ? "bad" : ""}><b>${standing.failed}</b><span>failed attempts</span></div>
      ${standing.waiting !== null && html`<div><b>${standing.waiting}</b><span>waiting</span></div><div><b>${standing.in_flight}</b><span>in flight</span></div>`}
      ${standing.dead > 0 && html`<${Link} class="bad" href=${to(["queues"], { step: step.name, tab: "dead" })}><b>${standing.dead}</b><span>${standing.dead === 1 ? "dead letter" : "dead letters"} →</span><//>`}</div>`}
    <${Ends} title="Listens to" names=${step.subscribes}>${(each) => html`<span class="chip mono">${each.kind === "topic" ? "" : `${each.kind} `}${each.name}</span>`}<//>
    <${Ends} title="Emits" names=${step.outputs.filter((each) => each.what === "topic")}>${(each) => html`<span class=${`chip mono ${each.conditional ? "dashed" : ""}`} title=${each.label}>${each.name}</span>`}<//>
    <${Ends} title="Uses" names=${[...step.uses.state.map((name) => ["state", name]), ...step.uses.streams.map((name) => ["streams", name])]}>${([part, name]) => html`<${Link} class="chip mono" href=${to([part, name])}><${Icon} name=${part} size=${12} />${name}<//>`}<//>
    <${Policies} step=${step} />
    ${step.guarantees.length > 0 && html`<section><h3>Guarantees</h3><ul class="promises">${step.guarantees.map((text) => html`<li><${Icon} name="check" size=${14} />${text}</li>`)}</ul></section>`}
    <section><h3>Written in</h3><p><code>${step.place.file}:${step.place.line}</code>${step.handler && html` handled by <code>${step.handler.path}</code>`}</p></section>
  </div>`;
}

function Schemas({ step }) {
  const part = (title, list) => list.map((each) => html`<section key=${title + each.what + each.name}><h3>${title} <span>${each.what === each.name ? each.what : `${each.what} ${each.name}`}</span></h3><${SchemaTree} schema=${each.schema} /></section>`);
  if (!step.inputs.length && !step.outputs.length) return html`<${Empty} icon="spec" title="No schemas">This step takes and gives nothing that the spec describes.<//>`;
  return html`${part("Takes", step.inputs)}${part("Gives", step.outputs)}`;
}

function Runs({ step }) {
  const loaded = useLoad((signal) => get(withQuery("runs", { step: step.name, limit: 50 }), { signal }), [step.name]);
  const timer = useRef(0);
  useRuns((runs) => {
    if (timer.current || !runs.some((run) => run.step === step.name)) return;
    timer.current = setTimeout(() => {
      timer.current = 0;
      loaded.again();
    }, PACE);
  }, [step.name]);
  return html`<${Loaded} of=${loaded}>${({ runs }) =>
    runs.length === 0
      ? html`<${Empty} icon="traces" title="No runs yet">Run it now, or wait for what starts it.<//>`
      : html`<table class="rows" data-test="step-runs"><thead><tr><th>Began</th><th>Outcome</th><th>Attempt</th><th class="right">Took</th></tr></thead><tbody>
        ${runs.map((run) => html`<tr key=${run.span_id + run.attempt} tabindex="0" class="link" onClick=${() => go(to(["traces", run.trace_id], { span: run.span_id }))} onKeyDown=${(event) => event.key === "Enter" && go(to(["traces", run.trace_id], { span: run.span_id }))}>
          <td class="mono">${clock(run.started)}</td><td><${Outcome} outcome=${run.outcome} /> ${run.error && html`<small class="muted clip">${run.error}</small>`}</td><td>${run.attempt}</td><td class="right mono">${duration(run.duration)}</td></tr>`)}</tbody></table>`}<//>`;
}

/** `name`: of the step; `tab`: which part of it. */
export function StepPanel({ name, tab, onClose }) {
  const loaded = useLoad((signal) => get(path("steps", name), { signal }), [name]);
  const tabs = (step) => [["about", "About"], ["run", "Run"], ...(step.handler ? [["source", "Source"]] : []), ["schemas", "Schemas"], ...(step.kind === "noop" ? [] : [["runs", "Runs"]])];
  return html`<aside class="side-panel" aria-label=${`Step ${name}`} data-test="step-panel">
    <${Loaded} of=${loaded}>${(step) => html`
      <header><${Kind} kind=${step.kind} /><div><h2>${step.name}</h2><p class="mono muted">${step.trigger}</p></div><button class="quiet" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
      <${Tabs} tabs=${tabs(step)} current=${tab} onPick=${(key) => go(here({ tab: key === "about" ? "" : key }), { replace: true })} />
      <div class="side-body" key=${tab}>
        ${tab === "run" ? html`<${Run} step=${step} />` : tab === "source" && step.handler
          ? html`<p class="row"><code>${step.handler.path}</code><span class="chip">${step.handler.language}</span><span class="muted">read only</span></p>${step.handler.source === null ? html`<${Empty} icon="spec" title="No source to show">The file is not there, is too large, or leads out of the project.<//>` : html`<${Source} text=${step.handler.source} language=${step.handler.language} name=${step.handler.function} />`}`
          : tab === "schemas" ? html`<${Schemas} step=${step} />` : tab === "runs" ? html`<${Runs} step=${step} />` : html`<${About} step=${step} />`}
      </div>`}<//>
  </aside>`;
}

export const stepsIn = (flow) => count(flow.steps.length, "step");
