// Endpoints: api steps by flow, and requests to them.

import { get, path } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { Link, route, to } from "../lib/router.js";
import { html, useState, useStore } from "../lib/ui.js";
import { Empty, Loaded, Method, SchemaTree, Tabs } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Request } from "../parts/request.js";

function List({ steps, flows, current, find }) {
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (step) => words.every((word) => `${step.name} ${step.trigger} ${step.description}`.toLowerCase().includes(word));
  const groups = flows.map((flow) => [flow.name, steps.filter((step) => step.flows[0] === flow.name && fits(step))]).filter(([, list]) => list.length);
  if (!groups.length) return html`<${Empty} title="Nothing found">No endpoint has these words.<//>`;
  return groups.map(([flow, list]) => html`<section key=${flow}><h3>${flow}</h3>${list.map((step) => html`<${Link} key=${step.name} href=${to(["endpoints", step.name])} title=${step.description} aria-current=${step.name === current ? "page" : undefined} data-endpoint=${step.name}><span>${step.methods.map((method) => html`<${Method} key=${method} method=${method} />`)}</span><span class="mono clip">${step.path}</span><//>`)}</section>`);
}

/** The request that a run got, to begin with. */
async function first(from, span, signal) {
  if (!from) return undefined;
  const trace = await get(path("traces", from), { signal });
  return trace.runs.find((run) => run.span_id === span);
}

function Detail({ name, query }) {
  const [tab, pick] = useState("request");
  const from = query.get("from");
  const loaded = useLoad(async (signal) => ({ step: await get(path("steps", name), { signal }), run: await first(from, query.get("span"), signal) }), [name, from]);
  return html`<div class="endpoint"><${Loaded} of=${loaded}>${({ step, run }) => html`
    <header><div class="row">${step.methods.map((method) => html`<${Method} key=${method} method=${method} />`)}<h2 class="mono">${step.path}</h2></div><p class="muted">${step.description}</p>
      <div class="row"><${Link} href=${to(["flows", step.flows[0] ?? ""], { step: step.name })}>${step.name} in its flow →<//><${Link} href=${to(["traces"], { step: step.name })}>Its traces →<//></div></header>
    <${Tabs} tabs=${[["request", "Request"], ["schemas", "Schemas"]]} current=${tab} onPick=${pick} />
    <div class="endpoint-body">${tab === "request" ? html`<${Request} key=${`${name} ${from ?? ""}`} step=${step} run=${run} />` : [...step.inputs.map((each) => ["Takes", each]), ...step.outputs.filter((each) => each.what === "response").map((each) => ["Answers", each])].map(([title, each]) => html`<section><h3>${title} <span>${each.what === each.name ? each.what : each.name}</span></h3><${SchemaTree} schema=${each.schema} /></section>`)}</div>`}<//></div>`;
}

export function Endpoints() {
  const known = useStore(app);
  const { parts, query } = useStore(route);
  const [find, setFind] = useState("");
  const steps = known.steps.filter((step) => step.kind === "api");
  const name = parts[1] ?? steps[0]?.name;
  if (!steps.length) return html`<${Empty} icon="endpoints" title="No endpoints">Steps of type api stand here, ready to be tried.<//>`;
  return html`<div class="page"><header class="page-head"><h1>Endpoints</h1><div class="grow"></div><a href="/schema" target="_blank" rel="noopener">OpenAPI reference ↗</a>
      <label class="search"><${Icon} name="search" size=${14} /><input type="search" data-search placeholder="Find an endpoint  /" aria-label="Find an endpoint" value=${find} onInput=${(event) => setFind(event.target.value)} /></label></header>
    <div class="split"><nav class="list" aria-label="Endpoints"><${List} steps=${steps} flows=${known.flows} current=${name} find=${find} /></nav><div class="scroll"><${Detail} key=${name} name=${name} query=${query} /></div></div></div>`;
}
