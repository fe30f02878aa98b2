// A broken save, over everything, until it is mended or put aside.

import { board } from "../lib/live.js";
import { html, useLayoutEffect, useState, useStore } from "../lib/ui.js";
import { Icon } from "./icons.js";

/** A finding with the lines around its place. */
export function Finding({ finding }) {
  const { place } = finding;
  return html`<article class=${`finding ${finding.severity}`} data-test="finding">
    <header><span class=${`pill ${finding.severity === "error" ? "bad" : "warn"}`}>${finding.severity} ${finding.code}</span><code>${place.file}:${place.line}:${place.column}</code></header>
    <p>${finding.message}</p>
    ${finding.lines.length > 0 && html`<pre class="code excerpt">${finding.lines.map(([number, text]) => html`<span class=${number === place.line ? "marked" : ""}><i>${number}</i>${number === place.line ? html`${text.slice(0, place.column - 1)}<mark>${text.slice(place.column - 1, place.column - 1 + place.width) || " "}</mark>${text.slice(place.column - 1 + place.width)}` : text}${"\n"}</span>`)}</pre>`}
    ${finding.hint && html`<p class="hint">${finding.hint}</p>`}
    ${finding.related.map((each) => html`<p class="muted small"><code>${each.place.file}:${each.place.line}</code> ${each.message}</p>`)}
  </article>`;
}

export function Overlay() {
  const { broken, findings, saves } = useStore(board);
  const [aside, put] = useState(-1);
  useLayoutEffect(() => {
    const keys = (event) => event.key === "Escape" && put(saves);
    if (broken) window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, [broken, saves]);
  if (!broken || aside === saves) return null;
  const errors = findings.filter((each) => each.severity === "error");
  return html`<div class="overlay" role="alertdialog" aria-label="The last save does not run" data-test="overlay"><div class="overlay-in">
    <header><${Icon} name="warning" size=${22} /><div><h1>The last save does not run</h1><p class="muted">The version before it goes on serving. This goes away as soon as it is mended.</p></div><button class="quiet" onClick=${() => put(saves)} aria-label="Put aside"><${Icon} name="close" /></button></header>
    ${errors.length ? errors.map((each, index) => html`<${Finding} key=${index} finding=${each} />`) : html`<p>${broken}</p>`}
  </div></div>`;
}
