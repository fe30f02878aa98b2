// What `import { z } from "zod"` finds where zod is not installed. Projects of the original describe their steps with zod, in blocks that nobody reads any
// more: motia.yaml has the schemas. So these can be put together while files are loaded. Whoever uses one afterwards is told what is missing.

const state = (globalThis[Symbol.for("motia.zod")] ??= { loaded: false });
const USES = /^(?:(?:safe)?(?:parse|decode|encode)(?:Async)?|spa|toJSONSchema)$/;

const missing = (what) => new Error(`${what} needs the npm package zod, which is not installed: npm install zod`);

const schema = new Proxy(function schema() {}, {
  get(_, name) {
    if (typeof name === "symbol" || name === "then" || name === "__esModule") return undefined; // whoever awaits or prints it
    if (state.loaded || USES.test(name)) throw missing(name);
    return schema;
  },
  apply() {
    if (state.loaded) throw missing("a schema");
    return schema;
  },
  construct() {
    throw missing("a schema");
  },
});

module.exports = schema;
// the names that can be imported one by one
module.exports.z = module.exports.ZodError = module.exports.ZodSchema = module.exports.ZodType = schema;
