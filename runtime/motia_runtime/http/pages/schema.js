// JSON Schemas as trees to read, and as sample values to start from.

import { h, show } from "./dom.js";

const LIMITS = [
  ["minimum", "≥ "], ["exclusiveMinimum", "> "], ["maximum", "≤ "], ["exclusiveMaximum", "< "], ["multipleOf", "multiple of "],
  ["minLength", "min length "], ["maxLength", "max length "], ["minItems", "min items "], ["maxItems", "max items "],
  ["minProperties", "min properties "], ["maxProperties", "max properties "], ["pattern", "matches "], ["contentMediaType", "holds "],
];
const FLAGS = [["uniqueItems", "unique"], ["readOnly", "read only"], ["writeOnly", "write only"], ["deprecated", "deprecated"]];
const OPEN_DEPTH = 2; // levels that are unfolded at first
const SAMPLE_DEPTH = 6;

const name = (ref) => decodeURIComponent(ref.slice(ref.lastIndexOf("/") + 1)).replaceAll("~1", "/").replaceAll("~0", "~");
const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

export class Schemas {
  constructor(components) {
    this.components = components;
  }

  resolve(schema) {
    const refs = [];
    while (isMap(schema) && typeof schema.$ref === "string" && !refs.includes(schema.$ref)) {
      refs.push(schema.$ref);
      const { $ref, ...beside } = schema;
      const target = Object.hasOwn(this.components, name($ref)) ? this.components[name($ref)] : true;
      schema = Object.keys(beside).length ? { ...(isMap(target) ? target : {}), ...beside } : target;
    }
    return { schema, refs };
  }

  type(schema) {
    if (schema === true) return "anything";
    if (schema === false) return "nothing";
    if (typeof schema.$ref === "string") return name(schema.$ref);
    if ("const" in schema) return `always ${show(schema.const)}`;
    const types = [schema.type ?? []].flat();
    if (types.includes("array") && isMap(schema.items)) {
      const items = `array of ${this.type(schema.items)}`;
      return [items, ...types.filter((type) => type !== "array")].join(" or ");
    }
    if (types.length) return types.join(" or ");
    for (const [keyword, words] of [["oneOf", "one of"], ["anyOf", "any of"], ["allOf", "all of"], ["enum", "one of"]])
      if (schema[keyword]) return words;
    return schema.properties ? "object" : "anything";
  }

  tree(schema) {
    return h("ul", { class: "tree" }, this.row({ schema, label: undefined, required: false, above: [], depth: 0 }));
  }

  row({ schema, label, required, above, depth }) {
    const { schema: full, refs } = this.resolve(schema);
    const again = refs.find((ref) => above.includes(ref));
    const children = again ? [] : this.children(full, [...above, ...refs], depth + 1);
    const head = [
      label !== undefined && h("span", { class: "name" }, label),
      h("span", { class: refs.length ? "type ref" : "type" }, this.type(schema), again && " ↻"),
      isMap(full) && full.format && h("span", { class: "limit" }, show(full.format)),
      required && h("span", { class: "must" }, "required"),
      isMap(full) && this.limits(full),
    ];
    const says = isMap(full) && typeof full.description === "string" && h("span", { class: "says" }, full.description);
    if (!children.length) return h("li", { class: "gap" }, head, says);
    return h("li", null, h("details", { open: depth < OPEN_DEPTH }, h("summary", { class: "gap" }, head, says), h("ul", null, children)));
  }

  limits(schema) {
    const found = LIMITS.filter(([key]) => key in schema).map(([key, words]) => words + show(schema[key]));
    found.push(...FLAGS.filter(([key]) => schema[key] === true).map(([, words]) => words));
    if (Array.isArray(schema.enum)) found.push(schema.enum.map(show).join(" | "));
    if ("default" in schema) found.push(`default ${JSON.stringify(schema.default)}`);
    if (Array.isArray(schema.examples) && !isMap(schema.examples[0])) found.push(`e.g. ${schema.examples.map(show).join(", ")}`);
    if (schema.additionalProperties === false) found.push("no other properties");
    return found.map((text) => h("span", { class: "limit" }, text));
  }

  children(schema, above, depth) {
    if (!isMap(schema)) return [];
    const rows = [];
    const add = (label, part, required = false) => rows.push(this.row({ schema: part, label, required, above, depth }));
    const branch = (words, part) =>
      rows.push(h("li", null, h("span", { class: "branch" }, words), h("ul", null, this.row({ schema: part, label: undefined, required: false, above, depth }))));
    for (const [key, part] of Object.entries(schema.properties ?? {})) add(key, part, (schema.required ?? []).includes(key));
    for (const [key, part] of Object.entries(schema.patternProperties ?? {})) add(`/${key}/`, part);
    if (isMap(schema.additionalProperties)) add("any other", schema.additionalProperties);
    for (const [index, part] of (schema.prefixItems ?? []).entries()) add(`[${index}]`, part);
    if (isMap(schema.items)) {
      const items = this.resolve(schema.items);
      if (this.hasMore(items.schema)) add("each", schema.items);
    }
    for (const [keyword, words] of [["oneOf", "one of"], ["anyOf", "any of"], ["allOf", "and"]])
      for (const [index, part] of (schema[keyword] ?? []).entries()) branch(index === 0 || keyword === "allOf" ? words : "or", part);
    for (const [keyword, words] of [["not", "but not"], ["if", "if"], ["then", "then"], ["else", "else"], ["contains", "with at least one"], ["propertyNames", "names"]])
      if (schema[keyword] !== undefined) branch(words, schema[keyword]);
    return rows;
  }

  hasMore(schema) {
    return isMap(schema) && Object.keys(schema).some((key) => key !== "type" && key !== "title");
  }

  // A value that fits, as far as can be told without solving the schema: first what the spec itself gives.
  sample(schema, above = []) {
    const { schema: full, refs } = this.resolve(schema);
    if (!isMap(full) || above.length > SAMPLE_DEPTH || refs.some((ref) => above.includes(ref))) return undefined;
    const inside = [...above, ...(refs.length ? refs : ["-"])];
    if ("const" in full) return full.const;
    if (Array.isArray(full.examples) && full.examples.length) return full.examples[0];
    if ("default" in full) return full.default;
    if (Array.isArray(full.enum)) return full.enum[0];
    const branch = (full.oneOf ?? full.anyOf)?.[0];
    const merged = [...(full.allOf ?? []), ...(branch === undefined ? [] : [branch])].map((part) => this.sample(part, inside));
    const type = [full.type ?? []].flat().find((each) => each !== "null") ?? (full.properties ? "object" : undefined);
    if (type === "object" || (type === undefined && merged.some(isMap))) {
      const own = Object.entries(full.properties ?? {}).map(([key, part]) => [key, this.sample(part, inside)]);
      return Object.assign({}, ...merged.filter(isMap), Object.fromEntries(own.filter(([, value]) => value !== undefined)));
    }
    if (type === undefined) return merged[0];
    return this.simple(type, full, inside);
  }

  simple(type, schema, inside) {
    if (type === "array") {
      if (schema.prefixItems) return schema.prefixItems.map((part) => this.sample(part, inside) ?? null);
      const item = schema.items === undefined ? undefined : this.sample(schema.items, inside);
      return item === undefined ? [] : Array.from({ length: Math.min(Math.max(schema.minItems ?? 1, 1), 5) }, () => item);
    }
    if (type === "boolean") return false;
    if (type === "integer" || type === "number") {
      if (schema.minimum !== undefined) return schema.minimum;
      if (schema.exclusiveMinimum !== undefined) return schema.exclusiveMinimum + 1;
      return Math.min(schema.multipleOf ?? 1, schema.maximum ?? Infinity);
    }
    if (type !== "string") return null;
    const now = new Date().toISOString();
    const formats = { date: now.slice(0, 10), "date-time": now, email: "someone@example.org", uuid: "00000000-0000-4000-8000-000000000000", ipv4: "192.0.2.1", ipv6: "2001:db8::1" };
    return Object.hasOwn(formats, schema.format ?? "") ? formats[schema.format] : "text".padEnd(Math.min(schema.minLength ?? 0, 64), "x").slice(0, schema.maxLength ?? Infinity);
  }
}
