// What handlers raise and meet, and what is said of it: the names of its classes, its words, the user's own frames.

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const MESSAGE_LENGTH = 10_000;
const FRAMES = 20;
const FRAME = /^\s+at (?:async )?(?:(.*?) \()?((?:file:\/\/)?[^()]+?):(\d+):(\d+)\)?$/;

export const ASK = Symbol("motia.ask"); // the request that an error comes from

/** Trying again would not help: the event becomes a dead letter at once. */
export class NonRetryable extends Error {
  name = "NonRetryable";
}

/** Not now: try this event again after `delay` seconds. Counts as a failed attempt. */
export class RetryLater extends Error {
  name = "RetryLater";
  constructor(delay, message) {
    super(message ?? `to be tried again in ${delay} s`);
    if (!(delay >= 0)) throw new RangeError(`RetryLater: the delay is at least 0 seconds, not ${delay}`);
    this.delay = delay;
  }
}

/** What the engine has refused; `name` says which kind of error it is there. */
export class Refused extends Error {
  constructor(refusal, ask) {
    super(refusal.kind === "ValidationFailed" ? unfit(refusal) : refusal.message);
    this.name = refusal.kind;
    if (refusal.faults?.length) this.faults = refusal.faults;
    Object.defineProperty(this, ASK, { value: ask });
  }
}

const unfit = ({ what, faults = [] }) => `${what}: ${faults.map((f) => `${f.pointer || "/"} ${f.detail}`).join("; ")}`;

/** The message `failed` for something that a handler has thrown. `root`: of the project. */
export function failed(problem, root) {
  if (!(problem instanceof Error)) {
    return { type: "failed", names: ["Error"], message: `the handler threw ${inWords(problem)}, which is no Error` };
  }
  const names = [];
  for (let kind = Object.getPrototypeOf(problem); kind && kind !== Object.prototype; kind = Object.getPrototypeOf(kind)) {
    const name = kind.constructor?.name;
    if (name && !names.includes(name)) names.push(name);
  }
  // a name that no class of its has was given to it: `problem.name = "CardDeclined"`
  if (typeof problem.name === "string" && problem.name && !names.includes(problem.name)) names.unshift(problem.name);
  const told = {
    type: "failed",
    names: names.length ? names : ["Error"],
    message: inWords(problem.message).slice(0, MESSAGE_LENGTH),
    stack: userStack(problem, root),
  };
  if (names.includes("NonRetryable")) told.final = true;
  if (names.includes("RetryLater") && Number.isFinite(Number(problem.delay))) told.delay = Number(problem.delay);
  if (problem[ASK] !== undefined) told.ask = problem[ASK];
  return told;
}

/** The frames in files of the project, innermost last: "steps/pay.ts:7 in handler: throw new Declined(card)". */
export function userStack(problem, root) {
  const frames = [];
  for (const line of String(problem.stack ?? "").split("\n")) {
    const found = FRAME.exec(line);
    if (!found) continue;
    const file = found[2].startsWith("file:") ? fileURLToPath(found[2].replace(/\?.*$/, "")) : found[2];
    const inside = path.relative(root, file);
    if (inside.startsWith("..") || path.isAbsolute(inside) || inside.split(path.sep).includes("node_modules")) continue;
    const name = found[1]?.replace(/^(?:Object|exports|module\.exports)\./, "") ?? "module";
    frames.push(`${inside.split(path.sep).join("/")}:${found[3]} in ${name}: ${lineOf(file, Number(found[3]))}`);
  }
  return frames.slice(0, FRAMES).reverse().join("\n");
}

/** An error that belongs to no run, in one line: "TypeError: later, at steps/pay.ts:7 in handler: later()". One without a frame of the user's: its whole stack. */
export function placed(problem, root) {
  if (!(problem instanceof Error)) return inWords(problem);
  const at = userStack(problem, root).split("\n").at(-1);
  return at ? `${problem.name}: ${inWords(problem.message).slice(0, MESSAGE_LENGTH)}, at ${at}` : inWords(problem.stack ?? problem);
}

/** The text of a line, as the file is now; empty when it can't be read. */
function lineOf(file, line) {
  try {
    return (readFileSync(file, "utf8").split("\n")[line - 1] ?? "").trim();
  } catch {
    return "";
  }
}

export function inWords(value) {
  try {
    return String(value);
  } catch {
    return "something without a text";
  }
}
