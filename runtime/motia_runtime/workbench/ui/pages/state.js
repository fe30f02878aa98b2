// State: groups, keys, and a value with its revisions; changed by hand, and never over somebody else's write.

import { call, get, path, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { app } from "../lib/data.js";
import { diff } from "../lib/diff.js";
import { count, duration, pretty, size, stamp } from "../lib/format.js";
import { useRuns } from "../lib/live.js";
import { go, Link, route, to } from "../lib/router.js";
import { html, useEffect, useState, useStore } from "../lib/ui.js";
import { Empty, Faults, Loaded, Said, SchemaTree, Sure, Tabs, TraceLink } from "../parts/common.js";
import { Editor, sampleText } from "../parts/editor.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { SearchField, usePaced } from "./traces.js";

const PACE = 700; // ms between readings while runs come
const LIMIT = 500;

function Groups({ loaded, current }) {
  return html`<nav class="list" aria-label="State groups"><${Loaded} of=${loaded}>${({ groups }) => groups.map((each) => html`<${Link} key=${each.group} href=${to(["state", each.group])} aria-current=${each.group === current ? "page" : undefined} data-group=${each.group}><b class="clip">${each.group}</b><small class="muted">${count(each.keys, "key")}, ${size(each.bytes)}</small><//>`)}<//></nav>`;
}

function Keys({ group, query, current, turn }) {
  const text = query.get("text") ?? "";
  const loaded = useLoad((signal) => get(withQuery(path("state", group), { text, limit: LIMIT }), { signal }), [group, text]);
  useEffect(() => void (turn && loaded.again()), [turn]);
  return html`<div class="keys"><${Loaded} of=${loaded}>${({ keys, more }) =>
    keys.length === 0
      ? html`<${Empty} icon="state" title=${text ? "Nothing fits" : `${group} is empty`}>${text ? "No key or value has this text." : "Steps that write to it fill it; or add a key by hand."}<//>`
      : html`<table class="rows keys" data-test="keys"><tbody>${keys.map((each) => html`<tr key=${each.key} class="link" tabindex="0" data-key=${each.key} aria-selected=${each.key === current} onClick=${() => go(to(["state", group, each.key], { text }))} onKeyDown=${(event) => event.key === "Enter" && go(to(["state", group, each.key], { text }))}><td><b class="mono">${each.key}</b><br /><small class="muted mono clip">${each.preview}</small></td><td class="num muted">${size(each.size)}</td></tr>`)}</tbody></table>${more > 0 && html`<p class="more muted">${count(more, "more key")} not shown; search for what you look for.</p>`}`}<//></div>`;
}

function History({ revisions }) {
  const [at, pick] = useState(0);
  const text = (index) => (revisions[index] && !revisions[index].deleted ? pretty(revisions[index].value) : "");
  return html`<div class="revisions"><ul>${revisions.map((each, index) => html`<li key=${each.revision}><button class="quiet ${index === at ? "picked" : ""}" aria-pressed=${index === at} onClick=${() => pick(index)}>revision ${each.revision}<small>${stamp(each.at)}${each.deleted ? ", deleted" : ""}</small></button>${each.trace_id && html`<${TraceLink} id=${each.trace_id} />`}</li>`)}</ul>
    <pre class="code diff" data-test="diff">${diff(text(at + 1), text(at)).map(([kind, line]) => html`<span class=${kind}>${{ same: "  ", gone: "- ", new: "+ " }[kind]}${line}${"\n"}</span>`)}</pre>
    <p class="muted small">${revisions[at + 1] ? `against revision ${revisions[at + 1].revision}` : "the oldest that is kept"}</p></div>`;
}

function Value({ group, name, onChange }) {
  const fresh = name === undefined;
  const declared = app.value.state.find((each) => each.name === group);
  const loaded = useLoad((signal) => (fresh ? Promise.resolve({ revision: 0, value: null, history: [], deleted: true }) : get(path("state", group, name), { signal })), [group, name]);
  const [tab, pick] = useState(fresh ? "edit" : "value");
  const [key, setKey] = useState("");
  const [draft, setDraft] = useState(undefined); // text and the revision that it is made from
  const [problem, setProblem] = useState(undefined);
  const again = usePaced(() => loaded.again(), PACE);
  useRuns(() => !fresh && again(), [group, name]);
  const begin = (data) => ({ text: fresh || data.deleted ? sampleText(declared?.schema) : pretty(data.value), revision: data.revision });
  const save = async (event, current) => {
    event.preventDefault();
    setProblem(undefined);
    try {
      const written = await call("PUT", path("state", group, fresh ? key : name), { value: JSON.parse(current.text), revision: current.revision });
      setDraft(undefined);
      onChange(`Saved as revision ${written.revision}`);
      if (fresh) go(to(["state", group, key]));
      else loaded.again();
    } catch (error) {
      setProblem(error);
    }
  };
  const remove = async (revision) => {
    try {
      await call("DELETE", withQuery(path("state", group, name), { revision }));
      onChange(`${name} is deleted`);
      go(to(["state", group]));
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<aside class="side-panel wide" aria-label=${fresh ? "New key" : `Key ${name}`} data-test="value"><${Loaded} of=${loaded}>${(data) => {
    const current = draft ?? begin(data);
    const behind = draft !== undefined && draft.revision !== data.revision;
    return html`<header><div><h2 class="mono">${fresh ? "New key" : name}</h2><p class="muted">${fresh ? group : `revision ${data.revision}${data.deleted ? ", deleted" : ""}${data.ttl ? `, kept ${duration(data.ttl)} after each write` : ""}`}</p></div><button class="quiet" aria-label="Close" onClick=${() => go(to(["state", group]))}><${Icon} name="close" /></button></header>
      <${Tabs} tabs=${[...(fresh ? [] : [["value", "Value"]]), ["edit", "Edit"], ...(fresh ? [] : [["history", "History", data.history.length]]), ["schema", "Schema"]]} current=${tab} onPick=${pick} />
      <div class="side-body">${problem && html`<div class="trouble" role="alert" data-test="state-trouble"><div><b>${problem.title || "Not saved"}</b><p>${problem.message}</p><${Faults} faults=${problem.faults} />${problem.status === 409 && html`<button class="quiet small" onClick=${() => { setDraft(undefined); setProblem(undefined); loaded.again(); }}>Read it again</button>`}</div></div>`}
        ${tab === "value" && (data.deleted ? html`<${Empty} icon="state" title="Deleted">Its revisions are kept under History.<//>` : html`<${Json} value=${data.value} />`)}
        ${tab === "edit" && html`<form class="run-form" onSubmit=${(event) => save(event, current)}>${fresh && html`<label class="field"><span>Key</span><input aria-label="Key" required value=${key} onInput=${(event) => setKey(event.target.value)} /></label>`}
          ${behind && html`<p class="warn-text small">Somebody has written it since you began: revision ${data.revision}.</p>`}
          <${Editor} text=${current.text} onText=${(text) => setDraft({ text, revision: current.revision })} schema=${declared?.schema} site=${declared?.schema ? `state:${group}` : undefined} label="Value" test="state-text" rows=${10} />
          <div class="row"><button class="primary" data-test="save">Save</button>${!fresh && !data.deleted && html`<${Sure} ask="Delete it?" onSure=${() => remove(data.revision)}><${Icon} name="trash" size=${14} />Delete<//>`}</div></form>`}
        ${tab === "history" && html`<${History} revisions=${data.history} />`}
        ${tab === "schema" && html`<${SchemaTree} schema=${declared?.schema ?? true} />`}</div>`;
  }}<//></aside>`;
}

export function State() {
  const { parts, query } = useStore(route);
  const [, group, key] = parts;
  const [said, say] = useState("");
  const [turn, bump] = useState(0);
  const loaded = useLoad((signal) => get("state", { signal }), []);
  const again = usePaced(() => {
    loaded.again();
    bump((number) => number + 1);
  }, PACE);
  useRuns(again, []);
  const chosen = group ?? loaded.data?.groups[0]?.group;
  const fresh = query.has("new");
  if (loaded.data?.groups.length === 0) return html`<${Empty} icon="state" title="No state">Declare a group under <code>state:</code>, or let a step write to one.<//>`;
  return html`<div class="page"><header class="page-head"><h1>State</h1><div class="grow"></div>${chosen && html`<button class="quiet" data-test="new-key" onClick=${() => go(to(["state", chosen], { new: 1 }))}><${Icon} name="plus" size=${14} />New key</button>`}<${SearchField} key=${chosen} label="Search keys and values" query=${query} /></header>
    <div class="split"><${Groups} loaded=${loaded} current=${chosen} /><div class="scroll">${chosen && html`<${Keys} key=${chosen} group=${chosen} query=${query} current=${key} turn=${turn} />`}<${Said} text=${said} onEnd=${() => say("")} /></div>
      ${(key !== undefined || fresh) && html`<${Value} key=${`${chosen}/${key ?? ""}`} group=${chosen} name=${key} onChange=${(text) => { say(text); again(); }} />`}</div></div>`;
}
