// Compiles each of the folders named with tsc's own library, as `tsc --strict --noEmit` would, and prints what it finds as JSON:
// {folder: [[file, line, code, message], ...]}. One process for all: the types of JavaScript itself and of packages are read once.
import { readdirSync } from "node:fs";
import { join, relative } from "node:path";
import ts from "typescript";

const options = {
  strict: true,
  noEmit: true,
  allowJs: true,
  checkJs: true,
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2022.d.ts"],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  types: [],
};
const kept = new Map();
const host = ts.createCompilerHost(options);
const read = host.getSourceFile;
host.getSourceFile = (name, ...rest) => {
  if (!name.includes("/node_modules/")) return read(name, ...rest);
  if (!kept.has(name)) kept.set(name, read(name, ...rest));
  return kept.get(name);
};
const found = {};
for (const folder of process.argv.slice(2)) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && /\.(ts|js)$/.test(e.name) && !e.parentPath.includes("node_modules"))
    .map((e) => join(e.parentPath, e.name));
  const program = ts.createProgram(files, options, host);
  found[folder] = ts.getPreEmitDiagnostics(program).map((d) => [
    d.file ? relative(folder, d.file.fileName) : "",
    d.file ? d.file.getLineAndCharacterOfPosition(d.start).line + 1 : 0,
    d.code,
    ts.flattenDiagnosticMessageText(d.messageText, " "),
  ]);
}
console.log(JSON.stringify(found));
