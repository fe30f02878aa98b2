// Imported once, before any handler.

import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { loaded, resolved } from "./hooks.mjs";
import { compile } from "./typescript.mjs";

if (typeof Module.registerHooks === "function") {
  Module.registerHooks({
    resolve(specifier, context, next) {
      const url = resolved(specifier, context.parentURL);
      return url ? { url, shortCircuit: true } : next(specifier, context);
    },
    load(url, context, next) {
      const own = loaded(url);
      return own ? { ...own, shortCircuit: true } : next(url, context);
    },
  });
} else {
  Module.register("./hooks.mjs", import.meta.url);
  // files that are required, by others and by themselves
  const { _extensions: extensions } = createRequire(import.meta.url)("node:module");
  for (const ending of [".ts", ".cts", ".tsx"]) {
    extensions[ending] = (module, file) => module._compile(compile(readFileSync(file, "utf8"), file, { commonjs: true }), file);
  }
}
