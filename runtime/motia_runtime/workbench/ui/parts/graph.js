// The drawing of a flow: boxes and arrows where Graphviz, or somebody's hand, has put them, and what happens in them now.

import { count } from "../lib/format.js";
import { standings, useRuns } from "../lib/live.js";
import { html, useEffect, useRef, useState, useStore } from "../lib/ui.js";
import { step as stepOf } from "../lib/data.js";
import { Icon, iconPath } from "./icons.js";
import { useView } from "./view.js";

const PULSE = 900; // ms that an event takes along an arrow
const PULSES = 60; // at once
const DRAG = 4; // pixels until a press is a drag

const textOf = (list) => list.join(" ");

/** The curve of an arrow: as laid out, or a plain one when an end was dragged. */
function curve(arrow, boxes, moved) {
  if (!moved.has(arrow.source) && !moved.has(arrow.target)) {
    const [first, ...rest] = arrow.points;
    const parts = [`M${textOf(first)}`];
    for (let at = 0; at + 2 < rest.length; at += 3) parts.push(`C${textOf(rest[at])} ${textOf(rest[at + 1])} ${textOf(rest[at + 2])}`);
    return { path: parts.join(""), at: arrow.at };
  }
  const source = boxes.get(arrow.source);
  const target = boxes.get(arrow.target);
  const from = [source.x + source.width, source.y + source.height / 2];
  const end = [target.x - (arrow.head ? 8.5 : 0), target.y + target.height / 2];
  const reach = Math.max(40, Math.abs(end[0] - from[0]) / 2);
  const path = `M${textOf(from)}C${from[0] + reach} ${from[1]} ${end[0] - reach} ${end[1]} ${textOf(end)}`;
  return { path, at: arrow.at && [(from[0] + end[0]) / 2, (from[1] + end[1]) / 2] };
}

function Label({ arrow, at }) {
  const lines = arrow.labels.flatMap(({ topic, label }) => [...(topic ? [["topic", topic]] : []), ...(label ? [["note", label]] : [])]);
  const top = at[1] - ((lines.length - 1) * 15) / 2;
  return html`<g class="arrow-label">${lines.map(([kind, text], index) => html`<text class=${kind} x=${at[0]} y=${top + index * 15 + 3.5}>${text}</text>`)}</g>`;
}

function Arrow({ arrow, shape, pulses, quiet }) {
  const classes = ["arrow", arrow.kind, arrow.conditional ? "conditional" : "", quiet ? "quiet" : ""].join(" ");
  return html`<g class=${classes} data-arrow=${`${arrow.source}>${arrow.target}`}>
    <path class="line" d=${shape.path} marker-end=${arrow.head ? `url(#tip-${arrow.kind})` : undefined} />
    ${shape.at && html`<${Label} arrow=${arrow} at=${shape.at} />`}
    ${pulses.map((id) => html`<circle class="pulse" key=${id} r="5"><animateMotion dur=${`${PULSE}ms`} path=${shape.path} fill="freeze" calcMode="spline" keyTimes="0;1" keySplines="0.4 0 0.3 1" /></circle>`)}
  </g>`;
}

function Counter({ x, y, kind, text, title }) {
  const width = text.length * 6.4 + 12;
  return html`<g class=${`counter ${kind}`} transform=${`translate(${x - width} ${y})`}><title>${title}</title><rect width=${width} height="17" rx="8.5" /><text x=${width / 2} y="12.2">${text}</text></g>`;
}

function Counters({ box, standing }) {
  if (!standing) return null;
  const shown = [];
  if (standing.paused_until) shown.push(["paused", "paused", "Nothing is handed to this step"]);
  if (standing.dead) shown.push(["failed", count(standing.dead, "dead letter"), "Events that it gave up: see Queues"]);
  if (standing.failed) shown.push(["failed", `${standing.failed} failed`, "Attempts that failed in the last minute"]);
  if (standing.waiting) shown.push(["waiting", `${standing.waiting} waiting`, "Events that are not delivered yet"]);
  if (standing.in_flight) shown.push(["flight", `${standing.in_flight} in flight`, "Delivered, and not ended"]);
  if (standing.runs) shown.push(["runs", `${standing.runs}/min`, `${count(standing.runs, "run")} in the last minute`]);
  let right = box.width + 6;
  return shown.reverse().map(([kind, text, title]) => {
    const x = right;
    right -= text.length * 6.4 + 16;
    return html`<${Counter} key=${kind} x=${x} y=${box.height - 8} kind=${kind} text=${text} title=${title} />`;
  });
}

function Box({ box, picked, standing, dim, onPress, onOpen }) {
  const step = stepOf(box.name);
  const isStep = box.id.startsWith("step:");
  const language = isStep && step?.language ? step.language.replace("mjs", "js") : "";
  const classes = ["box", box.kind, box.outside ? "outside" : "", picked ? "picked" : "", dim ? "dim" : ""].join(" ");
  const keys = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    onOpen(box);
  };
  const middle = box.height / 2;
  return html`<g class=${classes} transform=${`translate(${box.x} ${box.y})`} data-box=${box.id} tabindex="0" role="button" aria-label=${`${box.kind} ${box.name}`}
      onPointerDown=${(event) => onPress(event, box)} onKeyDown=${keys}>
    ${step?.description && html`<title>${step.description}</title>`}
    <rect class="frame" width=${box.width} height=${box.height} rx=${isStep ? 10 : box.height / 2} />
    <rect class="chip" x="10" y=${middle - 15} width="30" height="30" rx="8" />
    <g class="glyph" transform=${`translate(16.5 ${middle - 8.5}) scale(.71)`}><path d=${iconPath(box.kind)} /></g>
    <text class="name" x="50" y=${middle - 3}>${box.name}</text>
    <text class="says" x="50" y=${middle + 14}>${box.line}</text>
    ${language && html`<text class="language" x=${box.width - 9} y="15">${language}</text>`}
    ${isStep && html`<${Counters} box=${box} standing=${standing} />`}
  </g>`;
}

const Tip = ({ kind }) => html`<marker id=${`tip-${kind}`} class=${`tip ${kind}`} viewBox="0 0 10 10" refX="0" refY="5" markerWidth="8.5" markerHeight="8.5" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0.8L10 5L0 9.2z" /></marker>`;

/** `drawn`: of `api/flows/NAME`. `onPick` gets a box, `onMove` all positions that differ from the layout. */
export function Graph({ drawn, picked, find, onPick, onMove }) {
  const frame = useRef(null);
  const chosen = drawn.boxes.find((box) => box.id === picked);
  const { view, current, fit, zoom, move } = useView(frame, drawn, chosen && [chosen.x + chosen.width / 2, chosen.y + chosen.height / 2], drawn.name);
  const standing = useStore(standings);
  const [places, setPlaces] = useState(drawn.positions);
  const [pulses, setPulses] = useState([]);
  const serial = useRef(0);
  useEffect(() => setPlaces(drawn.positions), [drawn]);

  useRuns((runs) => {
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const fresh = [];
    for (const run of runs)
      for (const arrow of drawn.arrows)
        if (arrow.source === `step:${run.step}` && arrow.topics.some((topic) => run.emits.includes(topic)) && fresh.length < PULSES)
          fresh.push({ id: (serial.current += 1), arrow });
    if (!fresh.length) return;
    setPulses((old) => [...old, ...fresh].slice(-PULSES));
    setTimeout(() => setPulses((old) => old.filter((each) => !fresh.includes(each))), PULSE + 100);
  }, [drawn]);

  const boxes = new Map(drawn.boxes.map((box) => [box.id, { ...box, ...places[box.id] }]));
  const moved = new Set(Object.keys(places).filter((id) => boxes.has(id)));

  const press = (event, box) => {
    if (event.button !== 0) return;
    event.stopPropagation();
    drag(event, (dx, dy, end) => {
      const place = { x: box.x + dx / current.current.scale, y: box.y + dy / current.current.scale };
      const next = { ...places, [box.id]: { x: Math.round(place.x), y: Math.round(place.y) } };
      setPlaces(next);
      if (end) onMove(next);
    }, () => onPick(box));
  };
  const pan = (event) => {
    if (event.button !== 0) return;
    let last = [0, 0];
    drag(event, (dx, dy) => {
      move(dx - last[0], dy - last[1]);
      last = [dx, dy];
    }, () => onPick(undefined));
  };
  const keys = (event) => {
    if (event.target !== frame.current) return;
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
    if (step) move(...step);
    else if (event.key === "+" || event.key === "=") zoom(1.25);
    else if (event.key === "-") zoom(0.8);
    else if (event.key === "0") fit();
    else return;
    event.preventDefault();
  };
  const dim = (box) => find && !`${box.name} ${box.line}`.toLowerCase().includes(find.toLowerCase());
  const kinds = ["event", "virtual", "state", "stream"];
  return html`<div class="graph" ref=${frame} tabindex="0" aria-label=${`Graph of ${drawn.name ?? "all flows"}`} onPointerDown=${pan} onKeyDown=${keys}>
    <svg width="100%" height="100%" aria-hidden="false">
      <defs>${kinds.map((kind) => html`<${Tip} key=${kind} kind=${kind} />`)}
        <pattern id="dots" width="22" height="22" patternUnits="userSpaceOnUse" patternTransform=${`translate(${view.x} ${view.y}) scale(${view.scale})`}><circle cx="1" cy="1" r="1" /></pattern></defs>
      <rect class="ground" width="100%" height="100%" fill="url(#dots)" />
      <g transform=${`translate(${view.x} ${view.y}) scale(${view.scale})`}>
        ${drawn.arrows.map((arrow, index) => html`<${Arrow} key=${index} arrow=${arrow} shape=${curve(arrow, boxes, moved)} quiet=${picked && arrow.source !== picked && arrow.target !== picked}
          pulses=${pulses.filter((each) => each.arrow === arrow).map((each) => each.id)} />`)}
        ${[...boxes.values()].map((box) => html`<${Box} key=${box.id} box=${box} picked=${picked === box.id} dim=${dim(box)} standing=${standing.get(box.name)} onPress=${press} onOpen=${onPick} />`)}
      </g>
    </svg>
    <div class="graph-tools" onPointerDown=${(event) => event.stopPropagation()}>
      <button class="quiet" title="Zoom in (+)" aria-label="Zoom in" onClick=${() => zoom(1.25)}><${Icon} name="plus" /></button>
      <button class="quiet" title="Zoom out (-)" aria-label="Zoom out" onClick=${() => zoom(0.8)}><${Icon} name="minus" /></button>
      <button class="quiet" title="Fit (0)" aria-label="Fit" onClick=${fit}><${Icon} name="fit" /></button>
      ${moved.size > 0 && html`<button class="quiet" title="Put the boxes back where they were laid out" aria-label="Reset positions" onClick=${() => { setPlaces({}); onMove({}); }}><${Icon} name="reset" /></button>`}
    </div>
  </div>`;
}

/** Follow the pointer from a press on: `onDrag(dx, dy, end)` once it has moved, else `onClick`. */
function drag(event, onDrag, onClick) {
  const start = [event.clientX, event.clientY];
  let dragging = false;
  const moving = (each) => {
    const [dx, dy] = [each.clientX - start[0], each.clientY - start[1]];
    dragging ||= Math.hypot(dx, dy) > DRAG;
    if (dragging) onDrag(dx, dy, false);
  };
  const done = (each) => {
    window.removeEventListener("pointermove", moving);
    window.removeEventListener("pointerup", done);
    window.removeEventListener("pointercancel", done);
    if (dragging) onDrag(each.clientX - start[0], each.clientY - start[1], true);
    else if (each.type === "pointerup") onClick();
  };
  window.addEventListener("pointermove", moving);
  window.addEventListener("pointerup", done);
  window.addEventListener("pointercancel", done);
}
