// Queues: what waits before each step, and dead letters: looked at, redriven, purged.

import { call, get, path, post, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { clock, count, stamp } from "../lib/format.js";
import { standings, useRuns } from "../lib/live.js";
import { go, here, Link, route, to } from "../lib/router.js";
import { html, useEffect, useState, useStore } from "../lib/ui.js";
import { Ago, Empty, Loaded, Said, StepLink, Sure, Tabs, TraceLink } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { usePaced } from "./traces.js";

const PACE = 700; // ms between readings while things happen
const PAUSES = [["", "until resumed"], ["60", "1 minute"], ["600", "10 minutes"], ["3600", "1 hour"]];

/** Do something, then say what came of it and read anew. */
function useActs(again, say) {
  return async (work) => {
    try {
      say(await work());
    } catch (error) {
      say(error.message);
    }
    again();
  };
}

function Pause({ each, act }) {
  const [seconds, set] = useState("");
  if (each.paused_until) {
    const end = each.paused_until > 2e11 ? "paused" : html`paused, ends <${Ago} at=${each.paused_until} />`;
    return html`<span class="row"><span class="pill warn">${end}</span><button class="quiet small" data-test="resume" onClick=${() => act(async () => ((await post(path("queues", each.step, "resume"))).resumed ? `${each.step} goes on` : `${each.step} was not paused`))}><${Icon} name="play" size=${12} />Resume</button></span>`;
  }
  return html`<span class="row nowrap"><select class="short" aria-label="For how long" value=${seconds} onChange=${(event) => set(event.target.value)}>${PAUSES.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>
    <button class="quiet small" data-test="pause" onClick=${() => act(async () => { await post(path("queues", each.step, "pause"), seconds ? { seconds: Number(seconds) } : {}); return `${each.step} is paused`; })}><${Icon} name="pause" size=${12} />Pause</button></span>`;
}

function Steps({ loaded, act }) {
  useStore(standings); // drawn anew when anything waits
  return html`<${Loaded} of=${loaded}>${({ steps }) => {
    const shown = steps.filter((each) => each.kind === "event" || each.kind === "cron");
    if (!shown.length) return html`<${Empty} icon="queues" title="No queues">Event and cron steps have one each; this app has none.<//>`;
    return html`<table class="rows" data-test="queues"><thead><tr><th>Step</th><th class="right">Waiting</th><th class="right">In flight</th><th class="right" title="Of those in flight, delivered more than once">Redelivered</th><th class="right" title="Lag: when the oldest event that has not ended was stored">Oldest</th><th class="right">Dead letters</th><th></th></tr></thead><tbody>
      ${shown.map((each) => {
        const live = standings.value.get(each.step) ?? each;
        return html`<tr key=${each.step} data-queue=${each.step}><td><${StepLink} name=${each.step} /></td><td class=${`num ${live.waiting ? "warn-text" : ""}`}>${live.waiting ?? "–"}</td><td class="num">${live.in_flight ?? "–"}</td><td class=${`num ${live.redelivered ? "warn-text" : ""}`}>${live.redelivered ?? "–"}</td><td class="right muted" data-test="oldest">${live.oldest ? html`<${Ago} at=${live.oldest} />` : "–"}</td>
          <td class="num">${each.dead ? html`<${Link} class="bad-text" href=${to(["queues"], { tab: "dead", step: each.step })}>${each.dead}<//>` : 0}</td><td class="right">${live.waiting === null ? html`<span class="muted">never ran</span>` : html`<${Pause} each=${{ ...each, paused_until: each.paused_until }} act=${act} />`}</td></tr>`;
      })}</tbody></table>`;
  }}<//>`;
}

function Letters({ query, turn, act }) {
  const filter = { step: query.get("step"), topic: query.get("topic"), error: query.get("error") };
  const [chosen, choose] = useState(new Set());
  const loaded = useLoad((signal) => get(withQuery("dead", { ...filter, limit: 200 }), { signal }), [query.toString()]);
  useEffect(() => void (turn && loaded.again()), [turn]);
  useEffect(() => choose(new Set()), [query.toString()]);
  const set = Object.values(filter).some(Boolean);
  const words = chosen.size ? count(chosen.size, "letter") : set ? "all that fit" : "all";
  const body = () => (chosen.size ? { ids: [...chosen] } : set ? { where: Object.fromEntries(Object.entries(filter).filter(([, value]) => value)) } : { all: true });
  const after = (work) => act(async () => {
    const text = await work();
    choose(new Set());
    setTimeout(loaded.again, 50);
    return text;
  });
  const redrive = () => after(async () => {
    const { redriven, failed } = await post("dead/redrive", body());
    return `Redriven: ${redriven}${failed.length ? `; not: ${failed.map((each) => each.problem).join("; ")}` : ""}`;
  });
  const purge = () => after(async () => `Purged: ${(await post("dead/purge", body())).purged}`);
  const tick = (id) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    choose(next);
  };
  const field = (name, options) => html`<select aria-label=${name} class="short" value=${filter[name] ?? ""} onChange=${(event) => go(here({ [name]: event.target.value }), { replace: true })}><option value="">any ${name}</option>${options.map((each) => html`<option value=${each}>${each}</option>`)}</select>`;
  return html`<${Loaded} of=${loaded}>${({ letters, next }) => html`
    <div class="toolbar">${field("step", app.value.steps.filter((each) => each.kind !== "api").map((each) => each.name))}${field("topic", app.value.topics.map((each) => each.name))}${field("error", [...new Set([...letters.map((each) => each.error.type), ...(filter.error ? [filter.error] : [])])])}
      <span class="grow"></span>${letters.length > 0 && html`<button class="primary" data-test="redrive" onClick=${redrive}><${Icon} name="redo" size=${14} />Redrive ${words}</button><${Sure} ask=${`Purge ${words} for good?`} onSure=${purge}><${Icon} name="trash" size=${14} />Purge ${words}<//>`}</div>
    ${letters.length === 0 ? html`<${Empty} icon="check" title=${set ? "Nothing fits" : "No dead letters"}>${set ? "No dead letter fits these filters." : "An event whose last attempt fails is kept here for 30 days."}<//>` : html`<table class="rows" data-test="letters"><thead><tr><th><input type="checkbox" aria-label="All that are shown" checked=${chosen.size === letters.length} onChange=${(event) => choose(new Set(event.target.checked ? letters.map((each) => each.id) : []))} /></th><th>Step</th><th>Topic</th><th>Error</th><th class="right">Attempts</th><th class="right">Failed</th></tr></thead><tbody>
      ${letters.map((each) => html`<tr key=${each.id} class="link" tabindex="0" data-letter=${each.id} aria-selected=${query.get("letter") === String(each.id)} onClick=${(event) => event.target.type === "checkbox" || go(here({ letter: each.id }))} onKeyDown=${(event) => event.key === "Enter" && go(here({ letter: each.id }))}>
        <td><input type="checkbox" aria-label=${`Letter ${each.id}`} checked=${chosen.has(each.id)} onChange=${() => tick(each.id)} /></td><td><${StepLink} name=${each.step} /></td><td class="mono">${each.topic}</td><td class="wide"><b class="bad-text">${each.error.type}</b> <span class="clip">${each.error.message}</span></td><td class="num">${each.attempts}</td><td class="right muted"><${Ago} at=${each.failed_at} /></td></tr>`)}</tbody></table>${next && html`<p class="more muted">The newest 200 are shown; actions without a choice mean all that fit.</p>`}`}`}<//>`;
}

function Letter({ id, act, onClose }) {
  const loaded = useLoad((signal) => get(path("dead", id), { signal }), [id]);
  const one = { ids: [Number(id)] };
  const close = (text) => {
    onClose();
    return text;
  };
  return html`<aside class="side-panel wide" aria-label=${`Dead letter ${id}`} data-test="letter"><${Loaded} of=${loaded}>${(letter) => html`
    <header><div><h2>Dead letter ${letter.id}</h2><p class="muted">${letter.step || "(outside)"} · ${letter.topic} · ${stamp(letter.failed_at)}</p></div><button class="quiet" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <div class="side-body"><div class="row"><button class="primary" data-test="redrive-one" onClick=${() => act(async () => { const { redriven, failed } = await post("dead/redrive", one); if (failed.length) throw new Error(failed[0].problem); return close(redriven ? "Redriven: it has all its attempts again" : "Somebody else has"); })}><${Icon} name="redo" size=${14} />Redrive</button>
        <${Sure} ask="Purge it for good?" onSure=${() => act(async () => close(`Purged: ${(await post("dead/purge", one)).purged}`))}>Purge<//><${Link} href=${to(["traces", letter.trace_id], { span: letter.span_id })}>Its trace →<//></div>
      <section class="failure"><h3>Error</h3><p class="bad-text"><b>${letter.error.type}</b>: ${letter.error.message}</p>${letter.error.stack && html`<details open><summary>Stack</summary><pre class="code">${letter.error.stack}</pre></details>`}</section>
      <section><h3>Event ${letter.event_id}, ${count(letter.attempts, "attempt")}${letter.redrives ? `, redriven ${letter.redrives}×` : ""}</h3>${letter.data_left_out ? html`<p class="muted">Its data is too large to be kept here.</p>` : letter.data_base64 === undefined ? html`<${Json} value=${letter.data} />` : html`<pre class="code">${letter.data_base64}</pre>`}</section>
      ${letter.history?.length > 0 && html`<section><h3>Before</h3><ul class="history">${letter.history.map((round) => html`<li><span class="muted">${clock(round.failed_at, 0)}</span> ${count(round.attempts, "attempt")}: <span class="bad-text">${round.error.type}: ${round.error.message}</span></li>`)}</ul></section>`}</div>`}<//></aside>`;
}

function Delayed({ act }) {
  const loaded = useLoad((signal) => get("delayed?limit=500", { signal }), []);
  return html`<${Loaded} of=${loaded}>${({ delayed }) =>
    delayed.length === 0
      ? html`<${Empty} icon="schedules" title="Nothing waits for its time">Emits with a delay or a time stand here until then.<//>`
      : html`<table class="rows" data-test="delayed"><thead><tr><th>Due</th><th>Topic</th><th>Key</th><th>Trace</th><th></th></tr></thead><tbody>${delayed.map((each) => html`<tr key=${each.slot}><td><${Ago} at=${each.at} /></td><td class="mono">${each.topic}</td><td class="mono">${each.key ?? ""}</td><td>${each.trace_id && html`<${TraceLink} id=${each.trace_id} />`}</td><td class="right"><${Sure} ask="Take it out for good?" onSure=${() => act(async () => { await call("DELETE", path("delayed", each.slot)); loaded.again(); return "Cancelled"; })}>Cancel<//></td></tr>`)}</tbody></table>`}<//>`;
}

export function Queues() {
  const { query } = useStore(route);
  const letter = query.get("letter");
  const tab = query.get("tab") ?? (letter ? "dead" : "steps");
  const [said, say] = useState("");
  const [turn, bump] = useState(0);
  const loaded = useLoad((signal) => get("queues", { signal }), []);
  const again = usePaced(() => {
    loaded.again();
    bump((number) => number + 1);
  }, PACE);
  useRuns((runs) => runs.some((run) => run.outcome === "dead") && again(), []);
  const act = useActs(() => { loaded.again(); again(); }, say);
  const dead = loaded.data?.steps.reduce((sum, each) => sum + each.dead, 0);
  return html`<div class="page"><header class="page-head"><h1>Queues</h1></header>
    <${Tabs} tabs=${[["steps", "Steps"], ["dead", "Dead letters", dead], ["delayed", "Delayed"]]} current=${tab} onPick=${(key) => go(to(["queues"], { tab: key === "steps" ? "" : key }), { replace: true })} />
    <div class="split"><div class="scroll">${tab === "steps" ? html`<${Steps} loaded=${loaded} act=${act} />` : tab === "dead" ? html`<${Letters} query=${query} turn=${turn} act=${act} />` : html`<${Delayed} act=${act} />`}<${Said} text=${said} onEnd=${() => say("")} /></div>
      ${letter && html`<${Letter} key=${letter} id=${letter} act=${act} onClose=${() => go(here({ letter: "", tab: "dead" }), { replace: true })} />`}</div></div>`;
}
