// Source to read: numbered lines, coloured as far as a few patterns go.

import { html, useEffect, useRef } from "../lib/ui.js";

const WORDS =
  "and as assert async await break case catch class const continue def default del elif else except export extends finally for from function global if import in interface is lambda let match new None nonlocal not null or pass raise return switch throw True False true false try type typeof undefined var while with yield";
const TOKEN = new RegExp(`("""[\\s\\S]*?"""|'''[\\s\\S]*?'''|"(?:[^"\\\\\\n]|\\\\.)*"|'(?:[^'\\\\\\n]|\\\\.)*'|\`(?:[^\`\\\\]|\\\\.)*\`)|(#[^\\n]*|//[^\\n]*)|\\b(${WORDS.split(" ").join("|")})\\b|\\b(\\d[\\d_.]*)\\b`, "g");

/** Pieces of the text: [kind, text]. */
function pieces(text, python) {
  const found = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [all, string, comment, word] = match;
    if (comment && comment.startsWith(python ? "//" : "#")) continue;
    if (match.index > last) found.push(["", text.slice(last, match.index)]);
    found.push([string ? "string" : comment ? "comment" : word ? "keyword" : "number", all]);
    last = match.index + all.length;
  }
  found.push(["", text.slice(last)]);
  return found;
}

/** `name`: of the function that is called; it is scrolled to. `line`: one that is marked. */
export function Source({ text, language, name, line }) {
  const mark = useRef(null);
  const rows = [[]];
  for (const [kind, part] of pieces(text, language === "python"))
    part.split("\n").forEach((each, index) => {
      if (index) rows.push([]);
      if (each) rows[rows.length - 1].push(kind ? html`<span class=${`s-${kind}`}>${each}</span>` : each);
    });
  const lines = text.split("\n");
  const start = line ?? lines.findIndex((each) => new RegExp(`\\b(def|function|const|class)\\s+${name?.replace(/\W/g, "")}\\b`).test(each)) + 1;
  useEffect(() => mark.current?.scrollIntoView({ block: "center" }), [text, line]);
  return html`<pre class="source" tabindex="0">${rows.map((row, index) => html`<span class=${`s-line ${index + 1 === start ? "marked" : ""}`} ref=${index + 1 === start && start > 12 ? mark : undefined}><i>${index + 1}</i><span>${row}${"\n"}</span></span>`)}</pre>`;
}
