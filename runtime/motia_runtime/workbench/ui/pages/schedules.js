// Schedules: cron steps, when they run next, how they ran last.

import { get, path, post, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { ago, stamp } from "../lib/format.js";
import { useRuns } from "../lib/live.js";
import { Link, to } from "../lib/router.js";
import { html, useEffect, useState } from "../lib/ui.js";
import { Ago, Empty, Loaded, Outcome, Said, StepLink } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { usePaced } from "./traces.js";

const PACE = 700; // ms between readings while they run

function Last({ step, turn }) {
  const loaded = useLoad((signal) => get(withQuery("runs", { step, limit: 1 }), { signal }), [step]);
  useEffect(() => void (turn && loaded.again()), [turn]);
  const run = loaded.data?.runs[0];
  if (!loaded.data) return null;
  if (!run) return html`<span class="muted">has not run yet</span>`;
  return html`<${Outcome} outcome=${run.outcome} /> <${Link} href=${to(["traces", run.trace_id], { span: run.span_id })}><${Ago} at=${run.started} /><//>`;
}

export function Schedules() {
  const loaded = useLoad((signal) => get("schedules", { signal }), []);
  const [said, say] = useState("");
  const [turn, bump] = useState(0);
  const again = usePaced(() => {
    loaded.again();
    bump((number) => number + 1);
  }, PACE);
  useRuns((runs) => runs.some((run) => loaded.data?.schedules.some((each) => each.step === run.step)) && again(), [loaded.data]);
  const act = (work, text) => async () => {
    try {
      await work();
      say(text);
    } catch (error) {
      say(error.message);
    }
    again();
  };
  return html`<div class="page"><header class="page-head"><h1>Schedules</h1></header><div class="scroll"><${Loaded} of=${loaded}>${({ schedules }) =>
    schedules.length === 0
      ? html`<${Empty} icon="schedules" title="No schedules">Steps of type cron stand here with their next times.<//>`
      : html`<div class="cards" data-test="schedules">${schedules.map((each) => html`<article class="card" key=${each.step} data-schedule=${each.step}>
        <header class="row"><${StepLink} name=${each.step} /><code>${each.cron}</code><span class="muted">${each.timezone}</span>${each.paused_until && html`<span class="pill warn">paused</span>`}<span class="grow"></span>
          <button class="quiet small" data-test="run" onClick=${act(() => post(path("steps", each.step, "run")), `${each.step} runs now`)}><${Icon} name="play" size=${12} />Run now</button>
          ${each.paused_until ? html`<button class="quiet small" onClick=${act(() => post(path("queues", each.step, "resume")), `${each.step} goes on`)}>Resume</button>` : html`<button class="quiet small" onClick=${act(() => post(path("queues", each.step, "pause")), `${each.step} is paused`)}><${Icon} name="pause" size=${12} />Pause</button>`}</header>
        ${each.description && html`<p class="muted">${each.description}</p>`}
        <dl><dt>Last</dt><dd><${Last} step=${each.step} turn=${turn} /></dd><dt>Next</dt><dd>${each.next.length ? each.next.map(({ at, local }) => html`<div><span class="mono">${local.replace("T", " ").slice(0, 19)}</span> <small class="muted" title=${`${stamp(at)} here`}>${local.slice(19)} · ${ago(at)}</small></div>`) : html`<span class="muted">never</span>`}</dd>
          <dt>Overlap</dt><dd>${each.overlap}</dd><dt>Catch up</dt><dd>${each.catch_up ? `within ${each.catch_up / 60} minutes` : "no"}</dd></dl></article>`)}</div>`}<//><${Said} text=${said} onEnd=${() => say("")} /></div></div>`;
}
