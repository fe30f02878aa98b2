// TypeScript to JavaScript, line by line in place, so that positions in errors are those of the file. The same on every Node from 20 on.

import { createRequire } from "node:module";
import { transform } from "./vendor/sucrase.mjs";

const SOURCE = /\.[mc]?tsx?$/;
const SYNTAX = /^[ \t]*(?:import(?:\s*[*{"']|\s+[\w$]|\.meta)|export(?:\s*[*{]|\s+[\w$]))/m; // of a module
const NAMESPACE = /^[ \t]*(?:export\s+)?(?:namespace|module)\s+[\w.]+\s*\{/m;
const DECORATOR = /^[ \t]*@[A-Za-z_$][\w$.]*(?:\(|\s*$|\s+[A-Za-z_$])/m;

export const isTypeScript = (file) => SOURCE.test(file.replace(/\?.*$/, ""));
export const hasModuleSyntax = (source) => SYNTAX.test(source);

/** JavaScript of a file. `commonjs`: with its imports as `require`. Throws SyntaxError that names the place. */
export function compile(source, file, { commonjs = false } = {}) {
  if (NAMESPACE.test(source) || DECORATOR.test(source)) {
    const ts = typescriptOf(file);
    if (ts) return transpile(ts, source, file, commonjs);
    if (NAMESPACE.test(source)) {
      const line = source.slice(0, source.search(NAMESPACE)).split("\n").length;
      throw new SyntaxError(`${file}:${line}: a namespace needs the project's own compiler: npm install typescript, or use a module`);
    }
  }
  const transforms = ["typescript"];
  if (file.endsWith("x")) transforms.push("jsx");
  if (commonjs) transforms.push("imports");
  try {
    return transform(source, {
      transforms,
      filePath: file,
      disableESTransforms: true,
      preserveDynamicImport: true,
      production: true,
      enableLegacyTypeScriptModuleInterop: commonjs,
    }).code;
  } catch (problem) {
    const place = /\((\d+):(\d+)\)\s*$/.exec(problem.message);
    const what = problem.message.replace(/^Error transforming [^:]*: /, "").replace(/\s*\(\d+:\d+\)\s*$/, "");
    throw new SyntaxError(`${file}${place ? `:${place[1]}:${place[2]}` : ""}: ${what}`);
  }
}

/** The project's own compiler, for decorators and namespaces. */
function typescriptOf(file) {
  try {
    return createRequire(file)("typescript");
  } catch {
    return undefined;
  }
}

function transpile(ts, source, file, commonjs) {
  return ts.transpileModule(source, {
    fileName: file,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: commonjs ? ts.ModuleKind.CommonJS : ts.ModuleKind.ESNext,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      inlineSourceMap: true,
      esModuleInterop: true,
      jsx: ts.JsxEmit.React,
    },
  }).outputText;
}
