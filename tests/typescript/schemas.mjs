// Reads {expressions, values} as JSON from stdin: zod expressions, and values to try them with. Prints for each expression the JSON Schema that
// zod itself makes of it, and which of the values it takes: [[schema, [true, false, ...]], ...].
import { readFileSync } from "node:fs";
import { z } from "zod";

const { expressions, values } = JSON.parse(readFileSync(0, "utf8"));
const made = expressions.map((expression) => {
  const schema = new Function("z", `return ${expression}`)(z);
  const taken = values.map((value) => schema.safeParse(value).success);
  return [z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }), taken];
});
console.log(JSON.stringify(made));
