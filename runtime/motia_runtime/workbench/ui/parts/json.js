// JSON to read: coloured, foldable, and never more of it than a page can hold.

import { html, useState } from "../lib/ui.js";

const SHOWN = 200; // entries of a list or object
const COLOURED = 30_000; // characters; longer text is shown plain
const DEEP = 2; // levels that are open at first
const SMALL = 40; // entries of a value that is open as a whole

/** Tokens of JSON text: [kind, text]. Text that is no JSON is one token after the other all the same. */
export function tokens(text) {
  const found = [];
  const pattern = /("(?:[^"\\]|\\.)*"?)(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(true|false|null)|([{}[\],:])|(\s+)|(.)/gs;
  for (const [all, string, colon, number, word, mark] of text.matchAll(pattern)) {
    if (string !== undefined && colon !== undefined) found.push(["name", string], ["mark", colon]);
    else if (string !== undefined) found.push(["string", string]);
    else if (number !== undefined) found.push(["number", number]);
    else if (word !== undefined) found.push(["word", word]);
    else found.push([mark === undefined ? "" : "mark", all]);
  }
  return found;
}

export const Coloured = ({ text }) => (text.length > COLOURED ? text : coloured(text));

const coloured = (text) => tokens(text).map(([kind, part]) => (kind ? html`<span class=${`j-${kind}`}>${part}</span>` : part));

function Scalar({ value }) {
  const kind = typeof value === "string" ? "string" : typeof value === "number" ? "number" : "word";
  return html`<span class=${`j-${kind}`}>${JSON.stringify(value)}</span>`;
}

/** How many entries a value has in all, as far as `most`. */
function count(value, most) {
  if (value === null || typeof value !== "object") return 0;
  let found = 0;
  for (const each of Object.values(value)) {
    found += 1 + count(each, most - found);
    if (found > most) break;
  }
  return found;
}

function Entry({ name, value, depth }) {
  const label = name === undefined ? null : html`<span class="j-name">${typeof name === "number" ? name : JSON.stringify(name)}</span><span class="j-mark">: </span>`;
  if (value === null || typeof value !== "object") return html`<div class="j-line">${label}<${Scalar} value=${value} /></div>`;
  return html`<${Branch} label=${label} value=${value} depth=${depth} />`;
}

function Branch({ label, value, depth }) {
  const entries = Array.isArray(value) ? value.map((each, index) => [index, each]) : Object.entries(value);
  const [open, set] = useState(depth < DEEP);
  const [all, showAll] = useState(false);
  const [left, right] = Array.isArray(value) ? "[]" : "{}";
  if (!entries.length) return html`<div class="j-line">${label}<span class="j-mark">${left}${right}</span></div>`;
  const shown = all ? entries : entries.slice(0, SHOWN);
  return html`<div class=${`j-branch ${open ? "open" : ""}`}>
    <button type="button" class="j-fold" aria-expanded=${open} onClick=${() => set(!open)}>${label}<span class="j-mark">${left}</span>${!open && html`<span class="j-more">${entries.length}</span><span class="j-mark">${right}</span>`}</button>
    ${open && html`<div class="j-inside">${shown.map(([key, each]) => html`<${Entry} key=${key} name=${key} value=${each} depth=${depth + 1} />`)}
      ${shown.length < entries.length && html`<button type="button" class="quiet small" onClick=${() => showAll(true)}>${entries.length - shown.length} more</button>`}</div><span class="j-mark">${right}</span>`}
  </div>`;
}

export const Json = ({ value }) => html`<div class="json"><${Entry} value=${value} depth=${count(value, SMALL) <= SMALL ? -Infinity : 0} /></div>`;
