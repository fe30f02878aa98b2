// What may come next in JSON that is being written, by its schema.

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

/**
 * Where the caret is: the path to it, whether a property's name or a value is being written, what of it is there, and which names the object has.
 * @param {string} text
 * @param {number} caret
 */
export function place(text, caret) {
  /** @type {{list: boolean, key: string|number, naming: boolean, names: string[]}[]} */
  const stack = [];
  let at = 0;
  let begin = caret;
  let partial = "";
  let quoted = false;
  while (at < caret) {
    const char = text[at];
    const top = stack[stack.length - 1];
    if (char === '"') {
      let end = at + 1;
      while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      if (end >= caret) {
        begin = at;
        partial = text.slice(at + 1, caret);
        quoted = true;
        break;
      }
      if (top && !top.list && top.naming) {
        top.key = read(text.slice(at, end + 1));
        top.names.push(String(top.key));
      }
      at = end + 1;
      continue;
    }
    if (char === "{") stack.push({ list: false, key: "", naming: true, names: [] });
    else if (char === "[") stack.push({ list: true, key: 0, naming: false, names: [] });
    else if (char === "}" || char === "]") stack.pop();
    else if (char === ":" && top) top.naming = false;
    else if (char === "," && top) {
      if (top.list) top.key = Number(top.key) + 1;
      else top.naming = true;
    }
    at += 1;
  }
  if (!quoted) {
    const word = /[A-Za-z0-9_.+-]*$/.exec(text.slice(0, caret))?.[0] ?? "";
    begin = caret - word.length;
    partial = word;
  }
  const top = stack[stack.length - 1];
  const naming = Boolean(top && !top.list && top.naming);
  const parents = naming ? stack.slice(0, -1) : stack;
  return { path: parents.map((each) => each.key), naming, begin, partial, quoted, names: naming ? top.names : [] };
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(1, -1);
  }
}

/** Every schema that may say something of a value at a path. */
export function schemasAt(schemas, schema, path) {
  let found = spread(schemas, schema, 0);
  for (const key of path) {
    found = found.flatMap((each) => {
      const below = typeof key === "number" ? (each.prefixItems?.[key] ?? each.items) : (each.properties?.[key] ?? each.additionalProperties);
      return isMap(below) ? spread(schemas, below, 0) : [];
    });
  }
  return found;
}

function spread(schemas, schema, depth) {
  const full = schemas.resolve(schema).schema;
  if (!isMap(full) || depth > 6) return [];
  const parts = [...(full.allOf ?? []), ...(full.oneOf ?? []), ...(full.anyOf ?? []), ...(isMap(full.then) ? [full.then] : [])];
  return [full, ...parts.flatMap((part) => spread(schemas, part, depth + 1))];
}

/** What may be written at the caret: [{text, insert, note}], the likeliest first. */
export function choices(schemas, schema, text, caret) {
  const where = place(text, caret);
  const found = new Map();
  const add = (shown, insert, note) => found.has(shown) || found.set(shown, { text: shown, insert, note });
  for (const each of schemasAt(schemas, schema, where.path)) {
    if (where.naming) {
      for (const [name, part] of Object.entries(each.properties ?? {})) {
        if (where.names.includes(name)) continue;
        const must = (each.required ?? []).includes(name) ? "required" : "";
        add(name, `${JSON.stringify(name)}: `, [schemas.type(part), must].filter(Boolean).join(", "));
      }
      continue;
    }
    const values = "const" in each ? [each.const] : (each.enum ?? []);
    for (const value of values) add(JSON.stringify(value), JSON.stringify(value), "");
    if (each.type === "boolean") for (const value of ["true", "false"]) add(value, value, "");
    for (const value of each.examples ?? []) if (!isMap(value) && !Array.isArray(value)) add(JSON.stringify(value), JSON.stringify(value), "example");
    if ("default" in each && !isMap(each.default)) add(JSON.stringify(each.default), JSON.stringify(each.default), "default");
  }
  const wanted = where.partial.toLowerCase();
  const list = [...found.values()].filter(({ text: shown }) => shown.toLowerCase().includes(wanted) && shown !== where.partial);
  list.sort((a, b) => Number(b.note.includes("required")) - Number(a.note.includes("required")));
  return { list: list.slice(0, 12), begin: where.begin };
}
