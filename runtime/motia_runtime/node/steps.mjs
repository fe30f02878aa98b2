// The functions of the steps that a worker serves: imported, put together with their middleware, called.

import path from "node:path";
import { pathToFileURL } from "node:url";

/** Can't be loaded. The message says which and why. */
export class HandlerError extends Error {
  name = "HandlerError";
}

/** Those of a manifest by the name of their step, ready to be called as `handler(input, ctx)` or `condition(input, ctx)`. Throws `HandlerError`. */
export async function loadSteps(manifest) {
  const loaded = new Map();
  for (const step of manifest.steps) {
    const who = step.name;
    const handler = await functionOf(manifest.root, step.handler, who);
    const middleware = [];
    for (const one of step.middleware) middleware.push(await functionOf(manifest.root, one, `middleware of ${who}`));
    const condition = step.condition && (await functionOf(manifest.root, step.condition, `condition of ${who}`));
    loaded.set(step.name, { ...step, call: callOf(step.kind, handler, middleware), ask: condition && ((input, ctx) => condition(input, ctx)) });
  }
  return loaded;
}

async function functionOf(root, { file, name }, who) {
  const where = `${file}:${name}`;
  let module;
  try {
    module = await import(pathToFileURL(path.join(root, file)).href);
  } catch (problem) {
    throw new HandlerError(`${who}: ${file} can't be imported: ${explained(problem, root)}`);
  }
  const inner = module.default;
  const found = module[name] ?? inner?.[name] ?? (name === "handler" && typeof inner === "function" ? inner : undefined);
  if (typeof found !== "function") {
    const names = [...new Set([...Object.keys(module), ...Object.keys(Object(inner))])].filter((one) => one !== "default" && one !== "module.exports");
    const what = found === undefined ? `exports no ${name} (it exports: ${names.sort().join(", ") || "nothing"})` : `exports a ${typeof found} as ${name}, not a function`;
    throw new HandlerError(`${who}: ${file} ${what}`);
  }
  Object.defineProperty(found, "where", { value: where, configurable: true });
  return found;
}

/** The error with its place in the project's file. */
function explained(problem, root) {
  if (!(problem instanceof Error)) return String(problem);
  const lines = String(problem.stack ?? "").split("\n");
  const inside = (line) => line.includes(root + path.sep) && !line.includes("node_modules");
  // of a syntax error Node tells the file first, then the line with a caret
  const syntax = problem instanceof SyntaxError && inside(lines[0]) && !lines[0].startsWith("SyntaxError") ? lines[0] : "";
  const place = syntax || lines.find((line) => /^\s+at /.test(line) && inside(line)) || "";
  const at = /([^\s()]+?):(\d+)(?::\d+)?\)?$/.exec(place.replace("file://", ""));
  const shown = at ? ` (${path.relative(root, at[1])}, line ${at[2]})` : "";
  return `${problem.name}: ${problem.message.split(root + path.sep).join("")}${shown}`;
}

function callOf(kind, handler, middleware) {
  if (kind === "cron") return (_, ctx) => handler(ctx);
  if (kind === "event") return (input, ctx) => handler(input, ctx);
  let call = (request, ctx) => handler(request, ctx);
  for (const around of [...middleware].reverse()) {
    const inner = call;
    call = (request, ctx) => around(request, ctx, async (changed) => inner(changed ?? request, ctx));
  }
  return call;
}

/** What an api handler is given. */
export function requestOf(input) {
  const { rawBodyBase64, rawBody = "", body, pathParams, queryParams, headers, method, path: asked } = input;
  return { pathParams, queryParams, body, headers, rawBody: rawBodyBase64 === undefined ? rawBody : Buffer.from(rawBodyBase64, "base64"), method, path: asked };
}

/** The member `result` of a message, with the comma before it. */
export function resultOf(value) {
  if (value === undefined) return "";
  const isAnswer = typeof value === "object" && value !== null && Number.isInteger(value.status) && !(value instanceof Uint8Array);
  const { status, headers, body } = isAnswer ? value : { body: value };
  const told = isAnswer ? `"status":${status},` : "";
  const named = headers === undefined || headers === null ? "" : `"headers":${JSON.stringify(headers)},`;
  if (body instanceof Uint8Array) {
    const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString("base64");
    return `,"result":{${told}${named}"base64":true,"body":"${text}"}`;
  }
  return `,"result":{${told}${named}"body":${JSON.stringify(body) ?? "null"}}`;
}
