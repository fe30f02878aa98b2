// The live channel: what happens in the app, as it happens, over a WebSocket.

import { locked, ROOT, token } from "./api.js";
import { Store, useEffect } from "./ui.js";

const WAITS = [300, 700, 1500, 3000, 5000]; // ms before trying again
const HIDDEN = 30_000; // ms that a page may be out of sight before it lets go of its connection
const LOCKED = 4401; // close code: the token is missing or wrong

/** "live", "connecting" or "off" (nobody answers). */
export const connection = new Store("connecting");
/** Goes up when another version of the app runs, or events were missed: what is shown is to be read anew. */
export const version = new Store(0);
/** How the last save was. */
export const board = new Store({ broken: "", saves: 0, findings: [] });
/** How each step stands, by name. @type {Store<Map<string, any>>} */
export const standings = new Store(new Map());

/** Who follows streams, by group. */
export const audience = new Store({ clients: 0, groups: [] });

/** Runs under way for a while in the process that serves this page, in short, and how many more there are. */
export const running = new Store({ runs: [], more: 0 });

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
  else if (event.type === "running") running.set(event);
  else if (event.type === "clients") audience.set(event);
  else if (event.type === "board") board.set(event.board);
  else if (event.type === "hello") {
    board.set(event.board);
    running.set({ runs: [], more: 0 });
    version.set(version.value + 1);
  } else if (event.type === "lost") version.set(version.value + 1);
}

/** One connection, until it ends. Throws when it ended before anything was told. */
function listen(signal) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}${ROOT}/api/live`);
    signal.addEventListener("abort", () => socket.close());
    socket.addEventListener("open", () => socket.send(JSON.stringify({ token: token() })));
    socket.addEventListener("message", (message) => {
      connection.set("live");
      take(JSON.parse(message.data));
    });
    socket.addEventListener("close", (event) => {
      if (event.code === LOCKED) locked.set(true);
      if (connection.value === "live") resolve(undefined);
      else reject(new Error(`closed with ${event.code}`));
    });
  });
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
