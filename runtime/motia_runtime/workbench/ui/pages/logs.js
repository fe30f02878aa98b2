// Logs: what runs have said, as they say it, also those that have not ended yet. Only the lines that are seen are drawn, so that a hundred thousand scroll as ten do.

import { get, withQuery } from "../lib/api.js";
import { useLoad } from "../lib/load.js";
import { clock, count } from "../lib/format.js";
import { running, useRuns } from "../lib/live.js";
import { go, here, Link, route, to } from "../lib/router.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState, useStore } from "../lib/ui.js";
import { Empty, Loaded } from "../parts/common.js";
import { Icon } from "../parts/icons.js";
import { Json } from "../parts/json.js";
import { Filters, SearchField, usePaced, wanted } from "./traces.js";

const PAGE = 1_000; // lines read at a time
const KEPT = 100_000; // lines held in the page; the oldest go
const HEIGHT = 24; // pixels of a line
const SPARE = 12; // lines drawn beyond what is seen
const PACE = 250; // ms between readings while runs come
const LEVELS = [["", "all levels"], ["info", "info and worse"], ["warning", "warnings and worse"], ["error", "errors"]];

const GRACE = 5_000; // ms that lines of a run stand which has ended, until its record has come

const Fields = ({ fields }) => Object.entries(fields).map(([name, value]) => html` <span class="muted">${name}=</span>${typeof value === "string" ? value : JSON.stringify(value)}`);

function Line({ line, top, picked, onPick }) {
  return html`<div class=${`log-line level-${line.level} ${picked ? "picked" : ""}`} style=${{ top: `${top}px` }} role="row" data-log=${line.id} onClick=${() => onPick(line)}>
    <time class="mono muted">${clock(line.time)}</time><span class=${`level ${line.level}`}>${line.level}</span><span class="step clip">${line.step}</span><${Link} class="mono trace" href=${to(["traces", line.trace_id], { span: line.span_id, attempt: line.attempt })}>${line.trace_id.slice(0, 8)}<//><span class="message clip">${line.message}<${Fields} fields=${line.fields} /></span></div>`;
}

const runOf = (line) => `${line.span_id}-${line.attempt}`;

/** Lines of runs under way, newest first, as they stand in the list: with a key each, and when their run was last seen at work. */
function named(lines) {
  const counts = new Map();
  return lines.reverse().map((line) => {
    const key = `${runOf(line)}-${line.time}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    return { ...line, id: `${key}-${counts.get(key)}`, seen: Date.now() };
  });
}

/** Both, oldest first. A run that has just ended keeps the lines that it had under way until those of its record are there. */
function joined(ended, underWay) {
  if (!underWay.length) return ended;
  const recorded = new Set(ended.slice(-2 * PAGE).map(runOf));
  return [...ended, ...underWay.filter((line) => !recorded.has(runOf(line)))].sort((a, b) => a.time - b.time);
}

/** `lines`: oldest first. Stays at the end while it is there. */
function Tail({ lines, picked, onPick, onTop }) {
  const frame = useRef(null);
  const atEnd = useRef(true);
  const [seen, see] = useState({ top: 0, height: 600 });
  const scrolled = () => {
    const { scrollTop, clientHeight, scrollHeight } = frame.current;
    atEnd.current = scrollHeight - scrollTop - clientHeight < HEIGHT * 1.5;
    see({ top: scrollTop, height: clientHeight });
    if (scrollTop < HEIGHT * 10) onTop();
  };
  const oldest = lines[0]?.id;
  const before = useRef({ oldest, length: lines.length });
  useLayoutEffect(() => {
    const { current } = before;
    if (atEnd.current) frame.current.scrollTop = frame.current.scrollHeight;
    else if (current.oldest !== oldest && lines.length > current.length) {
      const added = lines.findIndex((line) => line.id === current.oldest); // older ones came above: what is read stays where it is
      if (added > 0) frame.current.scrollTop += added * HEIGHT;
    }
    before.current = { oldest, length: lines.length };
    see({ top: frame.current.scrollTop, height: frame.current.clientHeight });
  }, [lines]);
  const first = Math.max(0, Math.floor(seen.top / HEIGHT) - SPARE);
  const last = Math.min(lines.length, Math.ceil((seen.top + seen.height) / HEIGHT) + SPARE);
  return html`<div class="log-frame" ref=${frame} onScroll=${scrolled} tabindex="0" role="table" aria-label="Log" aria-rowcount=${lines.length} data-test="logs"><div class="log-all" style=${{ height: `${lines.length * HEIGHT}px` }}>
    ${lines.slice(first, last).map((line, index) => html`<${Line} key=${line.id} line=${line} top=${(first + index) * HEIGHT} picked=${picked?.id === line.id} onPick=${onPick} />`)}</div></div>`;
}

function Detail({ line, onClose }) {
  return html`<aside class="side-panel" data-test="log-detail"><header><div><h2>${line.step}</h2><p class="muted">${clock(line.time)}, ${line.level}</p></div><button class="quiet" aria-label="Close" onClick=${onClose}><${Icon} name="close" /></button></header>
    <div class="side-body"><pre class="code">${line.message}</pre><${Json} value=${line.fields} /><p><${Link} href=${to(["traces", line.trace_id], { span: line.span_id, attempt: line.attempt })}>Its run →<//></p></div></aside>`;
}

export function Logs() {
  const { query } = useStore(route);
  const [ended, setEnded] = useState([]);
  const [underWay, setUnderWay] = useState([]);
  const lines = useMemo(() => joined(ended, underWay), [ended, underWay]);
  const now = useStore(running);
  const [picked, pick] = useState(undefined);
  const [paused, pause] = useState(false);
  const older = useRef({ next: "", busy: false });
  const newest = useRef(0);
  const filter = () => wanted(query);
  const loaded = useLoad(async (signal) => {
    const { lines: found, next, running: atWork } = await get(withQuery("logs", { ...filter(), limit: PAGE }), { signal });
    older.current = { next, busy: false };
    newest.current = Math.max(0, ...found.map((line) => line.id));
    setEnded(found.reverse());
    setUnderWay(named(atWork));
    return { ready: true };
  }, [query.toString()]);
  const more = usePaced(async () => {
    if (paused || loaded.data === undefined) return;
    const { lines: found, running: atWork } = await get(withQuery("logs", { ...filter(), limit: PAGE, newer: newest.current }));
    const fresh = named(atWork);
    setUnderWay((old) => {
      const working = new Set(fresh.map(runOf));
      const left = old.filter((line) => !working.has(runOf(line)) && Date.now() - line.seen < GRACE);
      return left.length || fresh.length || old.length ? [...left, ...fresh] : old;
    });
    if (!found.length) return;
    newest.current = Math.max(newest.current, ...found.map((line) => line.id));
    setEnded((old) => [...old, ...found.reverse()].sort((a, b) => a.time - b.time || a.id - b.id).slice(-KEPT));
  }, PACE);
  useRuns(more, [loaded.data, paused, query.toString()]);
  useEffect(() => void more(), [now]);
  useEffect(() => void (paused || more()), [paused, loaded.data]); // also what came while it was read
  const back = async () => {
    const state = older.current;
    if (!state.next || state.busy || ended.length >= KEPT) return;
    state.busy = true;
    try {
      const { lines: found, next } = await get(withQuery("logs", { ...filter(), limit: PAGE, after: state.next }));
      if (older.current !== state) return;
      older.current = { next, busy: false };
      setEnded((old) => [...found.reverse(), ...old]);
    } catch {
      state.busy = false; // asked for again with the next scroll
    }
  };
  return html`<div class="page"><header class="page-head"><h1>Logs</h1><span class="muted">${count(lines.length, "line")}</span><div class="grow"></div>
      <button class="quiet" aria-pressed=${paused} onClick=${() => pause(!paused)} data-test="hold"><${Icon} name=${paused ? "play" : "pause"} size=${13} />${paused ? "Follow" : "Hold"}</button>
      <${Filters} query=${query}><select aria-label="Level" value=${query.get("level") ?? ""} onChange=${(event) => go(here({ level: event.target.value }), { replace: true })}>${LEVELS.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select><//><${SearchField} label="Search" query=${query} /></header>
    <div class="split"><div class="log-main"><${Loaded} of=${loaded}>${() =>
      lines.length === 0
        ? html`<${Empty} icon="logs" title=${[...query.keys()].length ? "Nothing fits" : "Nothing was logged yet"}>Lines of <code>ctx.logger</code> stand here as they are logged, and the errors of runs. Those of runs in other processes come when the run has ended.<//>`
        : html`<${Tail} lines=${lines} picked=${picked} onPick=${pick} onTop=${back} />`}<//></div>${picked && html`<${Detail} line=${picked} onClose=${() => pick(undefined)} />`}</div></div>`;
}
