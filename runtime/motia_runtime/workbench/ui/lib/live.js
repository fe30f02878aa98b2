// The live channel: what happens in the app, as it happens. Read with fetch, so that it carries what the API asks for.

import { headers, locked, ROOT } from "./api.js";
import { Store, useEffect } from "./ui.js";

const WAITS = [300, 700, 1500, 3000, 5000]; // ms before trying again
const HIDDEN = 30_000; // ms that a page may be out of sight before it lets go of its connection

/** "live", "connecting" or "off" (nobody answers). */
export const connection = new Store("connecting");
/** Goes up when another version of the app runs, or events were missed: what is shown is to be read anew. */
export const version = new Store(0);
/** How the last save was. */
export const board = new Store({ broken: "", saves: 0, findings: [] });
/** How each step stands, by name. @type {Store<Map<string, any>>} */
export const standings = new Store(new Map());

/** @type {Set<(runs: any[]) => void>} */
const listeners = new Set();

/** Have `seen` called with the runs that have ended. */
export function useRuns(seen, inputs) {
  useEffect(() => {
    listeners.add(seen);
    return () => listeners.delete(seen);
  }, inputs);
}

function take(event) {
  if (event.type === "runs") for (const listener of [...listeners]) listener(event.runs);
  else if (event.type === "steps") standings.set(new Map(event.steps.map((step) => [step.step, step])));
  else if (event.type === "board") board.set(event.board);
  else if (event.type === "hello") {
    board.set(event.board);
    version.set(version.value + 1);
  } else if (event.type === "lost") version.set(version.value + 1);
}

async function listen(signal) {
  const response = await fetch(`${ROOT}/api/live`, { headers: headers(), cache: "no-store", signal });
  if (response.status === 401) locked.set(true);
  if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
  connection.set("live");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop() ?? "";
    for (const part of parts) if (part.startsWith("data: ")) take(JSON.parse(part.slice(6)));
  }
}

/** Connect, and again whenever the connection ends, for as long as the page is there. */
export async function follow() {
  let failures = 0;
  let leave = new AbortController();
  let timer = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) timer = setTimeout(() => leave.abort(), HIDDEN);
  });
  window.addEventListener("pagehide", () => leave.abort()); // a page that the browser keeps for "back" shall hold no connection
  for (;;) {
    if (document.hidden && leave.signal.aborted) await once(document, "visibilitychange");
    if (locked.value) await unlocked();
    leave = new AbortController();
    try {
      await listen(leave.signal);
      failures = 0;
      connection.set("connecting");
    } catch {
      failures += 1;
      connection.set(failures > 1 && !leave.signal.aborted ? "off" : "connecting");
    }
    await new Promise((resolve) => setTimeout(resolve, WAITS[Math.min(failures, WAITS.length - 1)]));
  }
}

const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, { once: true }));

function unlocked() {
  return new Promise((resolve) => {
    const stop = locked.subscribe(() => {
      if (locked.value) return;
      stop();
      resolve(undefined);
    });
  });
}
