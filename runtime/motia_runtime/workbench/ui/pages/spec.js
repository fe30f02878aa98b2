// Spec: what is wrong with it, what it says when all is merged, and where each value comes from.

import { get } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { board } from "../lib/live.js";
import { go, here, route } from "../lib/router.js";
import { html, useState, useStore } from "../lib/ui.js";
import { Copy, Empty, Loaded, Tabs } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Finding } from "../parts/overlay.js";

const SHOWN = 500; // values in the list

function Problems() {
  const { broken, findings } = useStore(board);
  if (!broken && !findings.length) return html`<${Empty} icon="check" title="No problems">The last save was fine. Problems appear here as you save.<//>`;
  return html`<div class="findings" data-test="problems">${broken && html`<p class="bad-text">${broken}</p>`}${findings.map((each, index) => html`<${Finding} key=${index} finding=${each} />`)}</div>`;
}

function Values({ values }) {
  const [find, set] = useState("");
  const words = find.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = values.filter((each) => words.every((word) => `${each.path.join(".")} ${JSON.stringify(each.value)} ${each.file}`.toLowerCase().includes(word)));
  return html`<div class="toolbar"><label class="search"><${Icon} name="search" size=${14} /><input type="search" data-search placeholder="Find a value  /" aria-label="Find a value" value=${find} onInput=${(event) => set(event.target.value)} /></label><span class="muted">${rows.length} values</span></div>
    <table class="rows" data-test="values"><thead><tr><th>Value</th><th></th><th class="right">From</th></tr></thead><tbody>${rows.slice(0, SHOWN).map((each) => html`<tr key=${each.path.join("/")}><td class="mono">${each.path.join(".")}</td><td class="mono wide">${typeof each.value === "string" ? each.value : JSON.stringify(each.value)}</td><td class="right mono muted">${each.file}:${each.line}</td></tr>`)}</tbody></table>
    ${rows.length > SHOWN && html`<p class="more muted">The first ${SHOWN} are shown; search for what you look for.</p>`}`;
}

/** What the app serves for other programs to read. */
function Document({ name }) {
  const loaded = useLoad((signal) => fetchDocument(`/schema/${name}.json`, signal), [name]);
  return html`<${Loaded} of=${loaded}>${(data) => html`<div class="merged" data-test="document"><${Copy} text=${() => JSON.stringify(data, null, 2)} label="Copy as JSON" /><${Json} value=${data} /></div>`}<//>`;
}

async function fetchDocument(address, signal) {
  const response = await fetch(address, { signal });
  if (!response.ok) throw new Error(`${address} was answered with status ${response.status}; a step of the app may have that path.`);
  return response.json();
}

export function Spec() {
  const { query } = useStore(route);
  const found = useStore(board);
  const tab = query.get("tab") ?? (found.findings.length ? "problems" : "values");
  const loaded = useLoad((signal) => get("spec", { signal }), [found.saves]);
  return html`<div class="page"><header class="page-head"><h1>Spec</h1><p class="muted grow">${loaded.data?.files.join(", ")}</p><a href="/schema" target="_blank" rel="noopener">API reference ↗</a><a href="/schema/openapi.json" download>openapi.json</a><a href="/schema/asyncapi.json" download data-test="download">asyncapi.json</a></header>
    <${Tabs} tabs=${[["problems", "Problems", found.findings.length], ["values", "Values and origins"], ["merged", "Merged"], ["openapi", "OpenAPI"], ["asyncapi", "AsyncAPI"]]} current=${tab} onPick=${(key) => go(here({ tab: key }), { replace: true })} />
    <div class="scroll">${tab === "problems" ? html`<${Problems} />` : tab === "openapi" || tab === "asyncapi" ? html`<${Document} key=${tab} name=${tab} />` : html`<${Loaded} of=${loaded}>${(data) => (tab === "merged" ? html`<div class="merged"><${Copy} text=${() => JSON.stringify(data.merged, null, 2)} label="Copy as JSON" /><${Json} value=${data.merged} /></div>` : html`<${Values} values=${data.values} />`)}<//>`}</div></div>`;
}
