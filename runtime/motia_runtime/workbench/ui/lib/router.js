// Addresses: every page, and what it shows, has one. They are paths below /__workbench, so that they can be sent to somebody.

import { ROOT } from "./api.js";
import { html, Store } from "./ui.js";

function read() {
  const rest = location.pathname.startsWith(ROOT) ? location.pathname.slice(ROOT.length) : "";
  let parts;
  try {
    parts = rest.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    parts = []; // not ours
  }
  return { parts, query: new URLSearchParams(location.search) };
}

/** Where the page is. `parts`: segments, decoded. */
export const route = new Store(read());
window.addEventListener("popstate", () => route.set(read()));

/** An address from segments, each encoded, and parameters; those that say nothing are left out. */
export function to(parts, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  const text = query.toString();
  return `${ROOT}/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/** Go there. `replace`: without a step in the history, for what people type. */
export function go(address, { replace = false } = {}) {
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route.set(read());
}

/** Where the page is, with some parameters changed. */
export function here(parameters) {
  const { parts, query } = route.value;
  return to(parts, { ...Object.fromEntries(query), ...parameters });
}

export function Link({ href, children, ...rest }) {
  const follow = (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(href);
  };
  return html`<a href=${href} ...${rest} onClick=${follow}>${children}</a>`;
}
