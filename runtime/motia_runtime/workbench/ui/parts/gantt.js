// Runs in time: how long each waited and took, and which run set it off.

import { duration, tone } from "../lib/format.js";
import { html } from "../lib/ui.js";
import { Kind } from "./common.js";
import { step as stepOf } from "../lib/data.js";

const TICKS = 5;
const STEPS = [1, 2, 2.5, 5, 10];

export const keyOf = (run) => `${run.span_id}-${run.attempt ?? 1}-${run.outcome === "running" ? "now" : run.started}`;

/** Runs with their depth below the runs that set them off, in the order in which they began. */
function ordered(runs) {
  const spans = new Map(runs.map((run) => [run.span_id, run]));
  const depth = (run, seen = new Set()) => {
    const parent = spans.get(run.parent_id);
    if (!parent || seen.has(parent.span_id)) return 0;
    seen.add(parent.span_id);
    return 1 + depth(parent, seen);
  };
  return [...runs].sort((a, b) => a.started - b.started).map((run) => ({ run, depth: Math.min(8, depth(run)) }));
}

/** Round distances for the ruler. */
function pace(length) {
  const rough = length / TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * (STEPS.find((step) => step * power >= rough) ?? 10);
}

/** How long it took, beside its bar where there is room, else in it. `from`, `to`: shares of the lane. */
function Label({ run, from, to }) {
  const text = `${duration(run.duration)}${run.outcome === "ok" ? "" : ` · ${run.outcome}`}`;
  const percent = (part) => `${100 * part}%`;
  if (to < 0.75) return html`<small class="label" style=${{ left: percent(to) }}>${text}</small>`;
  if (from > 0.25) return html`<small class="label" style=${{ right: percent(1 - from) }}>${text}</small>`;
  return html`<small class="label inside" style=${{ right: percent(1 - to) }}>${text}</small>`;
}

export function Gantt({ runs, picked, onPick }) {
  const begin = Math.min(...runs.map((run) => run.started - (run.queued ?? 0)));
  const end = Math.max(...runs.map((run) => run.started + run.duration));
  const length = Math.max(end - begin, 0.0005);
  const share = (seconds) => `${(100 * seconds) / length}%`;
  const every = pace(length);
  const ticks = Array.from({ length: Math.floor(length / every) + 1 }, (_, index) => index * every);
  const keys = (event, index, list) => {
    const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (move && list[index + move]) {
      event.preventDefault();
      onPick(list[index + move].run);
      event.currentTarget.parentElement.children[index + move + 1]?.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      onPick(list[index].run);
    }
  };
  return html`<div class="gantt" role="listbox" aria-label="Runs">
    <div class="gantt-row ruler" aria-hidden="true"><span></span><div class="lane">${ticks.map((at) => html`<i style=${{ left: share(at) }}><small>${duration(at)}</small></i>`)}</div></div>
    ${ordered(runs).map(({ run, depth }, index, list) => {
      const queued = run.queued ?? 0;
      return html`<div class=${`gantt-row ${picked === keyOf(run) ? "picked" : ""}`} role="option" key=${keyOf(run)} tabindex="0" aria-selected=${picked === keyOf(run)} data-run=${run.step} onClick=${() => onPick(run)} onKeyDown=${(event) => keys(event, index, list)}>
        <span class="who" style=${{ paddingLeft: `${depth * 0.9}rem` }}><${Kind} kind=${stepOf(run.step)?.kind ?? "event"} /><b>${run.step}</b>${(run.attempt ?? 1) > 1 && html`<small class="pill warn" title=${`attempt ${run.attempt}`}>#${run.attempt}</small>`}</span>
        <div class="lane">${ticks.map((at) => html`<i style=${{ left: share(at) }}></i>`)}
          ${queued > 0 && html`<span class="queued" style=${{ left: share(run.started - queued - begin), width: share(queued) }} title=${`waited ${duration(queued)}`}></span>`}
          <span class=${`bar ${tone(run.outcome)}`} style=${{ left: share(run.started - begin), width: share(run.duration) }}></span>
          <${Label} run=${run} from=${(run.started - queued - begin) / length} to=${(run.started + run.duration - begin) / length} /></div></div>`;
    })}
  </div>`;
}
