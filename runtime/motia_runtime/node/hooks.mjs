// How Node finds and reads the project's files: TypeScript compiled, imports without an ending or with that of the compiled file found,
// `.js` files taken for what they are written as. Files in node_modules are left alone.
//
// On a Node with `module.registerHooks` these are called in place, otherwise in the thread of `module.register`; both call the same functions.

import { readFileSync, existsSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compile, hasModuleSyntax, isTypeScript } from "./typescript.mjs";

const OURS = new URL("./motia.mjs", import.meta.url).href;
const ENDINGS = [".ts", ".mts", ".cts", ".tsx", ".js", ".mjs", ".cjs", ".json"];
const COMPILED = { ".js": [".ts", ".tsx"], ".mjs": [".mts"], ".cjs": [".cts"], ".jsx": [".tsx"] };

const COMMONJS = /\b(?:module\.exports|exports\.\w+\s*=|require\s*\()/;

const ZOD = /^zod(?:\/(?:v3|v4|mini|v4-mini))?$/;
const NO_ZOD = new URL("./zod.cjs", import.meta.url).href;

const isOwn = (url) => url.startsWith("file:") && !url.includes("/node_modules/");

/** The file that a relative specifier means, or undefined. */
export function found(specifier, parent) {
  if (!/^\.{0,2}\/|^file:/.test(specifier) || (parent && !isOwn(parent))) return undefined;
  const clean = specifier.replace(/[?#].*$/, "");
  let file;
  try {
    file = fileURLToPath(new URL(clean, parent));
  } catch {
    return undefined;
  }
  const isFile = (name) => existsSync(name) && statSync(name).isFile();
  if (isFile(file)) return undefined; // Node finds it
  const ending = path.extname(file);
  const candidates = [
    ...(COMPILED[ending] ?? []).map((other) => file.slice(0, -ending.length) + other),
    ...ENDINGS.map((other) => file + other),
    ...ENDINGS.map((other) => path.join(file, `index${other}`)),
  ];
  const name = candidates.find(isFile);
  return name && pathToFileURL(name).href;
}

/** What stands before Node's own resolution: a URL, or undefined. */
export const resolved = (specifier, parent) => (specifier === "motia" ? OURS : found(specifier, parent));

/** What stands in for a package that Node has not found: a URL. Throws Node's `problem` when nothing does. */
export function absent(specifier, parent, problem) {
  if (ZOD.test(specifier) && parent && isOwn(parent) && /MODULE_NOT_FOUND$/.test(problem?.code)) return NO_ZOD;
  throw problem;
}

/** Format and source of a file of the project that Node would read otherwise; undefined for all else. */
export function loaded(url) {
  if (!isOwn(url)) return undefined;
  const file = fileURLToPath(url.replace(/[?#].*$/, ""));
  const typescript = isTypeScript(file);
  if (!typescript && !/\.jsx?$/.test(file)) return undefined;
  const source = readFileSync(file, "utf8");
  if (typescript) {
    const code = compile(source, file);
    if (/\.cts$/.test(file) || (!hasModuleSyntax(code) && COMMONJS.test(code))) {
      return { format: "commonjs", source: compile(source, file, { commonjs: true }) };
    }
    return { format: "module", source: code };
  }
  return hasModuleSyntax(source) && url !== OURS ? { format: "module", source } : undefined;
}

// -- as `module.register` calls them

export async function resolve(specifier, context, next) {
  const url = resolved(specifier, context.parentURL);
  try {
    return await next(url ?? specifier, context);
  } catch (problem) {
    return { url: absent(specifier, context.parentURL, problem), format: "commonjs", shortCircuit: true };
  }
}

export async function load(url, context, next) {
  const own = loaded(url);
  return own && own.format === "module" ? { ...own, shortCircuit: true } : next(url, own ? { ...context, format: own.format } : context);
}
