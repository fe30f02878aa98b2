// The Workbench's HTTP API (docs/workbench-api.md): one function for all of it.

import { Store } from "./ui.js";

export const ROOT = "/__workbench";
const KEY = "motia.workbench.token";

/** Set while the API asks for a token that the page does not have. */
export const locked = new Store(false);

/** What the API refused, in its own words (RFC 9457). */
export class Fault extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `status ${status}`);
    this.status = status;
    this.title = problem.title ?? "";
    /** @type {{pointer: string, keyword: string, detail: string}[]} */
    this.faults = problem.errors ?? [];
  }
}

/** The token comes once, behind the # that no server sees, and is taken out of the address at once. */
export function takeToken() {
  const found = /^#token=([^&]+)$/.exec(location.hash);
  if (found) {
    keepToken(decodeURIComponent(found[1]));
    history.replaceState(null, "", location.pathname + location.search);
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
  locked.set(false);
}

/** null: this page has none. */
export const token = () => sessionStorage.getItem(KEY);

export function headers() {
  const found = { "x-motia-workbench": "1" };
  if (token()) found.authorization = `Bearer ${token()}`;
  return found;
}

/** A path of the API from its segments, each encoded: `path("state", group, key)`. */
export const path = (...segments) => segments.map((segment) => encodeURIComponent(segment)).join("/");

/** `path?a=1`, without the parameters that say nothing. */
export function withQuery(base, parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined && value !== null && value !== "") query.set(name, String(value));
  const text = query.toString();
  return text ? `${base}?${text}` : base;
}

/** One request. `body`: plain JSON, or text that is JSON already (`{raw: text}`). Throws `Fault`, or TypeError when nobody answers. */
export async function call(method, address, body, options = {}) {
  const sent = headers();
  if (body !== undefined) sent["content-type"] = "application/json";
  const response = await fetch(`${ROOT}/api/${address}`, {
    method,
    headers: sent,
    body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
    cache: "no-store",
    signal: options.signal,
  });
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  if (response.status === 401) locked.set(true);
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    problem = { detail: `The app answered with status ${response.status}.` };
  }
  throw new Fault(response.status, problem);
}

export const get = (address, options) => call("GET", address, undefined, options);
export const post = (address, body) => call("POST", address, body ?? {});
