// Imported once, before any handler.

import { readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { absent, loaded, resolved } from "./hooks.mjs";
import { compile } from "./typescript.mjs";

if (typeof Module.registerHooks === "function") {
  Module.registerHooks({
    resolve(specifier, context, next) {
      const url = resolved(specifier, context.parentURL);
      if (url) return { url, shortCircuit: true };
      try {
        return next(specifier, context);
      } catch (problem) {
        return { url: absent(specifier, context.parentURL, problem), format: "commonjs", shortCircuit: true };
      }
    },
    load(url, context, next) {
      const own = loaded(url);
      return own ? { ...own, shortCircuit: true } : next(url, context);
    },
  });
} else {
  Module.register("./hooks.mjs", import.meta.url);
  // files that are required, by others and by themselves
  const CommonJS = createRequire(import.meta.url)("node:module");
  const { _extensions: extensions, _resolveFilename: find } = CommonJS;
  CommonJS._resolveFilename = function (specifier, parent, ...rest) {
    try {
      return find.call(this, specifier, parent, ...rest);
    } catch (problem) {
      return fileURLToPath(absent(specifier, parent?.filename && pathToFileURL(parent.filename).href, problem));
    }
  };
  for (const ending of [".ts", ".cts", ".tsx"]) {
    extensions[ending] = (module, file) => module._compile(compile(readFileSync(file, "utf8"), file, { commonjs: true }), file);
  }
}
