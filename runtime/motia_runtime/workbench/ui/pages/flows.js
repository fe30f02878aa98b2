// Flows: the graph of each, live, and all about the step that is picked.

import { call, get, path } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { count } from "../lib/format.js";
import { standings } from "../lib/live.js";
import { go, here, Link, route, to } from "../lib/router.js";
import { html, useEffect, useState, useStore } from "../lib/ui.js";
import { Empty, Loaded, Said } from "../parts/common.js";
import { Graph } from "../parts/graph.js";
import { Icon } from "../parts/icons.js";
import { StepPanel, stepsIn } from "../parts/step.js";

/** Runs of the last minute of all its steps, failures, and dead letters. */
function total(flow, standing) {
  let [runs, failed, dead] = [0, 0, 0];
  for (const name of flow.steps) {
    runs += standing.get(name)?.runs ?? 0;
    failed += standing.get(name)?.failed ?? 0;
    dead += standing.get(name)?.dead ?? 0;
  }
  return { runs, failed, dead };
}

function Chooser({ flows, current }) {
  const standing = useStore(standings);
  return html`<nav class="flow-list" aria-label="Flows">${flows.map((flow) => {
    const { runs, failed, dead } = total(flow, standing);
    return html`<${Link} key=${flow.name} href=${to(["flows", flow.name])} aria-current=${flow.name === current ? "page" : undefined} title=${flow.description}>
      <b>${flow.name}</b><small>${stepsIn(flow)}${runs ? html`, ${runs}/min` : ""}${failed ? html`, <span class="bad-text">${failed} failed</span>` : ""}${dead ? html`, <span class="bad-text">${count(dead, "dead letter")}</span>` : ""}</small><//>`;
  })}</nav>`;
}

export function Flows() {
  const known = useStore(app);
  const { parts, query } = useStore(route);
  const [find, setFind] = useState("");
  const [said, say] = useState("");
  const flow = known.flows.find((each) => each.name === parts[1]) ?? (parts[1] ? undefined : known.flows[0]);
  const triggered = flow?.steps.some((name) => known.byName.get(name)?.subscribes.some((each) => each.kind !== "topic"));
  const data = query.get("data") ?? (triggered ? "1" : "0");
  const loaded = useLoad((signal) => (flow ? get(`${path("flows", flow.name)}?data=${data}`, { signal }) : Promise.resolve(null)), [flow?.name, data]);
  const picked = query.get("step");

  useEffect(() => {
    const keys = (event) => event.key === "Escape" && picked && !document.querySelector("dialog[open]") && go(here({ step: "", tab: "" }));
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, [picked]);

  if (!known.flows.length) return html`<${Empty} icon="flows" title="No steps yet">Add one under <code>steps:</code> in motia.yaml; it appears here as you save.<//>`;
  if (!flow) return html`<${Empty} icon="flows" title="No such flow">The spec that runs has none of that name. <${Link} href=${to(["flows"])}>See those it has<//><//>`;
  const pick = (box) => {
    if (!box) go(here({ step: "", tab: "" }));
    else if (box.id.startsWith("step:")) go(here({ step: box.name }));
    else if (box.id.startsWith("state:")) go(to(["state", box.name]));
    else if (box.id.startsWith("stream:")) go(to(["streams", box.name]));
  };
  const keep = async (positions) => {
    if (!known.dev) return;
    const moved = Object.fromEntries(Object.entries(positions).map(([id, { x, y }]) => [id, { x, y }]));
    try {
      await call("PUT", path("flows", flow.name, "positions"), { positions: moved });
      say(Object.keys(moved).length ? "Positions kept in motia-workbench.json" : "Positions reset");
    } catch (error) {
      say(error.message);
    }
  };
  return html`<div class="page flows">
    <header class="page-head">
      <div class="grow"><h1>${flow.name}</h1><p class="muted">${flow.description}</p></div>
      <label class="search"><${Icon} name="search" size=${14} /><input type="search" data-search placeholder="Find a step  /" aria-label="Find a step" value=${find} onInput=${(event) => setFind(event.target.value)} /></label>
      <button class="quiet" aria-pressed=${data === "1"} title="State groups and streams" onClick=${() => go(here({ data: data === "1" ? "0" : "1" }), { replace: true })}><${Icon} name="data" size=${14} />Data</button>
    </header>
    ${known.flows.length > 1 && html`<${Chooser} flows=${known.flows} current=${flow.name} />`}
    <div class="flows-body">
      <div class="flows-main"><${Loaded} of=${loaded}>${(drawn) => drawn && html`<${Graph} drawn=${drawn} picked=${picked && `step:${picked}`} find=${find} onPick=${pick} onMove=${keep} />`}<//>
        <${Said} text=${said} onEnd=${() => say("")} />
        <${Legend} /></div>
      ${picked && html`<${StepPanel} key=${picked} name=${picked} tab=${query.get("tab") ?? "about"} onClose=${() => pick(undefined)} />`}
    </div>
  </div>`;
}

const Legend = () => html`<div class="legend" aria-hidden="true"><span class="event">event</span><span class="conditional">conditional</span><span class="virtual">drawn only</span><span class="state">state, stream</span></div>`;
