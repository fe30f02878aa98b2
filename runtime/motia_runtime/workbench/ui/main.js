// The page: what is around the pages, and which of them is shown.

import { keepToken, locked, takeToken } from "./lib/api.js";
import { app, load, trouble } from "./lib/data.js";
import { count } from "./lib/format.js";
import { board, connection, follow, standings } from "./lib/live.js";
import { go, Link, route, to } from "./lib/router.js";
import { theme, toggleTheme } from "./lib/theme.js";
import { html, isTyping, render, useEffect, useState, useStore } from "./lib/ui.js";
import { Empty, Loading, Trouble } from "./parts/common.js";
import { Icon } from "./parts/icons.js";
import { Overlay } from "./parts/overlay.js";
import { Palette } from "./parts/palette.js";
import { PAGES } from "./pages/pages.js";

function Lock() {
  const [token, set] = useState("");
  const unlock = (event) => {
    event.preventDefault();
    keepToken(token.trim());
    load();
  };
  return html`<form class="lock" onSubmit=${unlock}><h1>Token</h1><p>This Workbench is for those who know its token: <code>MOTIA_ADMIN_TOKEN</code> of the app, or the one that <code>motia dev</code> has printed.</p>
    <input type="password" autofocus aria-label="Token" autocomplete="off" value=${token} onInput=${(event) => set(event.target.value)} /><button class="primary">Open</button></form>`;
}

function Connection() {
  const state = useStore(connection);
  const words = { live: "live", connecting: "connecting", off: "no answer" }[state];
  return html`<div class=${`connection ${state}`} role="status" data-test="connection" title="The live channel to the app"><i></i>${words}</div>`;
}

function Rail({ current, onPalette }) {
  const known = useStore(app);
  const light = useStore(theme) === "light";
  const found = useStore(board).findings.length;
  let [failed, waiting, dead] = [0, 0, 0];
  for (const each of useStore(standings).values()) [failed, waiting, dead] = [failed + each.failed, waiting + (each.waiting ?? 0), dead + each.dead];
  const queues = dead ? html`<small class="bad" title=${count(dead, "dead letter")}>${dead}</small>` : waiting && html`<small title=${`${waiting} waiting`}>${waiting}</small>`;
  const badge = { traces: failed && html`<small class="bad" title="Attempts that failed in the last minute">${failed}</small>`, queues, spec: found && html`<small class="bad">${found}</small>` };
  return html`<nav class="rail" aria-label="Pages">
    <${Link} class="brand" href=${to(["flows"])}><img src="/__workbench/ui/icon.svg" alt="" width="26" height="26" /><b>${known?.name ?? "Workbench"}</b><//>
    <button class="quiet find" onClick=${onPalette} data-test="open-palette"><${Icon} name="search" size=${14} /><span>Go to …</span><kbd>Ctrl K</kbd></button>
    ${PAGES.map(({ name, title }, index) => html`<${Link} key=${name} href=${to([name])} title=${`${title} (g ${index + 1})`} aria-current=${name === current ? "page" : undefined} data-page=${name}><${Icon} name=${name} size=${17} /><span>${title}</span>${badge[name] || null}<//>`)}
    <div class="rail-end"><${Connection} /><button class="quiet" onClick=${toggleTheme} aria-label=${light ? "Dark" : "Light"} title=${light ? "Dark" : "Light"} data-test="theme"><${Icon} name=${light ? "moon" : "sun"} size=${16} /></button></div>
  </nav>`;
}

function Shell() {
  const { parts } = useStore(route);
  const known = useStore(app);
  const problem = useStore(trouble);
  const shut = useStore(locked);
  const [open, setOpen] = useState(false);
  const page = parts.length ? PAGES.find((each) => each.name === parts[0]) : PAGES[0];

  useEffect(() => {
    let leader = 0;
    const keys = (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        setOpen(true);
      } else if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) {
        if (event.key === "Escape") event.target.blur?.();
      } else if (event.key === "/") {
        const field = document.querySelector("[data-search]");
        if (!(field instanceof HTMLInputElement)) return;
        event.preventDefault();
        field.focus();
        field.select();
      } else if (event.key === "g") leader = Date.now();
      else if (Date.now() - leader < 1500 && PAGES[Number(event.key) - 1]) {
        leader = 0;
        go(to([PAGES[Number(event.key) - 1].name]));
      }
    };
    window.addEventListener("keydown", keys);
    return () => window.removeEventListener("keydown", keys);
  }, []);

  const content = () => {
    if (shut) return html`<${Lock} />`;
    if (!known) return problem ? html`<${Trouble} error=${problem} again=${load} />` : html`<${Loading} />`;
    if (!page) return html`<${Empty} title="No such page">The Workbench has no page at this address. <${Link} href=${to(["flows"])}>Go to the flows<//><//>`;
    return html`<${page.view} />`;
  };
  return html`<${Rail} current=${page?.name} onPalette=${() => setOpen(true)} /><main>${content()}</main>
    ${open && html`<${Palette} pages=${PAGES} onClose=${() => setOpen(false)} />`}<${Overlay} />`;
}

takeToken();
load();
follow();
const root = document.getElementById("root");
root.replaceChildren();
render(html`<${Shell} />`, root);
