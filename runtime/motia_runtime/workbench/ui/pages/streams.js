// Streams: groups and items, as they change.

import { call, get, path } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { count } from "../lib/format.js";
import { audience, useRuns } from "../lib/live.js";
import { go, Link, route, to } from "../lib/router.js";
import { html, useEffect, useState, useStore } from "../lib/ui.js";
import { Ago, Empty, Loaded, Said, SchemaTree, Sure } from "../parts/common.js";
import { Json } from "../parts/json.js";
import { usePaced } from "./traces.js";

const PACE = 400; // ms between readings while runs come
const POLL = 2_000; // ms between looks at what changes without a run, such as the end of a ttl

function Items({ stream, group, say }) {
  const loaded = useLoad((signal) => get(path("streams", stream, group), { signal }), [stream, group]);
  useRuns(usePaced(() => loaded.again(), PACE), []);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || loaded.again(), POLL);
    return () => clearInterval(timer);
  }, [stream, group]);
  const remove = async (id) => {
    try {
      await call("DELETE", path("streams", stream, group, id));
      say(`${id} is removed`);
    } catch (error) {
      say(error.message);
    }
    loaded.again();
  };
  return html`<${Loaded} of=${loaded}>${({ items }) =>
    items.length === 0
      ? html`<${Empty} icon="streams" title="No items">Nothing is in ${group} now.<//>`
      : html`<div class="cards" data-test="items">${items.map((each) => html`<article class="card" key=${`${each.id} ${each.revision}`} data-item=${each.id}><header class="row"><b class="mono">${each.id}</b><small class="muted">revision ${each.revision}, <${Ago} at=${each.at} /></small><span class="grow"></span><${Sure} ask="Remove it?" onSure=${() => remove(each.id)}>Remove<//></header><${Json} value=${each.value} /></article>`)}</div>`}<//>`;
}

export function Streams() {
  const known = useStore(app);
  const { parts } = useStore(route);
  const [said, say] = useState("");
  const loaded = useLoad((signal) => get("streams", { signal }), []);
  useRuns(usePaced(() => loaded.again(), PACE), []);
  if (!known.streams.length) return html`<${Empty} icon="streams" title="No streams">Declare one under <code>streams:</code>; its items are pushed to browsers as they change, and shown here.<//>`;
  const stream = parts[1] ?? known.streams[0].name;
  const declared = known.streams.find((each) => each.name === stream);
  const connected = useStore(audience);
  const followed = new Map(connected.groups.filter((each) => each.stream === stream).map((each) => [each.group, each.clients]));
  const held = loaded.data?.streams.find((each) => each.name === stream)?.groups ?? [];
  const empty = [...followed.keys()].filter((name) => !held.some((each) => each.group === name)).map((name) => ({ group: name, items: 0 })); // followed before anything is in it
  const groups = [...held, ...empty].sort((a, b) => (a.group < b.group ? -1 : 1));
  const group = parts[2] ?? groups[0]?.group;
  return html`<div class="page"><header class="page-head"><h1>Streams</h1><span class="muted" data-test="clients">${count(connected.clients, "client")} connected</span><div class="grow"></div>${known.streams.length > 1 && html`<select class="short" aria-label="Stream" value=${stream} onChange=${(event) => go(to(["streams", event.target.value]))}>${known.streams.map((each) => html`<option value=${each.name}>${each.name}</option>`)}</select>`}</header>
    ${declared ? html`<div class="split"><nav class="list" aria-label="Groups"><h3>${stream}</h3><${Loaded} of=${loaded}>${() => groups.map((each) => html`<${Link} key=${each.group} href=${to(["streams", stream, each.group])} aria-current=${each.group === group ? "page" : undefined} data-stream-group=${each.group}><b class="clip">${each.group}</b><small class="muted">${count(each.items, "item")}${followed.has(each.group) ? `, ${count(followed.get(each.group), "client")}` : ""}</small><//>`)}<//>
        <details><summary class="muted small">Schema</summary><${SchemaTree} schema=${declared.schema ?? true} /></details></nav>
      <div class="scroll">${group ? html`<${Items} key=${`${stream}/${group}`} stream=${stream} group=${group} say=${say} />` : html`<${Empty} icon="streams" title="Nothing in it yet">${stream} has no items. A step sets one with <code>ctx.streams.${stream}.set(group, id, value)</code>.<//>`}<${Said} text=${said} onEnd=${() => say("")} /></div></div>` : html`<${Empty} icon="streams" title="No such stream">The spec that runs has none of that name.<//>`}</div>`;
}
