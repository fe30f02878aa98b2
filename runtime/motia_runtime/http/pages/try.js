// A form that sends one request to the app itself and shows what came back.

import { h } from "./dom.js";

const ROOT = new URL("../", import.meta.url); // works behind a prefix as well
const SHOWN = 200_000; // characters of a body

export function tryIt({ method, path, operation, schemas }) {
  const parameters = operation.parameters ?? [];
  const inputs = new Map(parameters.map((parameter) => [parameter, field(parameter)]));
  const media = operation.requestBody?.content?.["application/json"];
  const withBody = !["get", "head", "delete", "options"].includes(method) || media;
  const example = media && (Object.values(media.examples ?? {})[0]?.value ?? schemas.sample(media.schema));
  const body = withBody && h("textarea", { "aria-label": "Body", spellcheck: "false", oninput: check });
  const hint = h("span", { class: "bad small", role: "status" });
  if (body) body.value = example === undefined ? "" : JSON.stringify(example, null, 2);
  const send = h("button", { type: "submit" }, "Send");
  const answer = h("div", { class: "section", "aria-live": "polite" });

  function check() {
    hint.textContent = "";
    if (!body || !body.value.trim()) return;
    try {
      JSON.parse(body.value);
    } catch (fault) {
      hint.textContent = `Not JSON: ${fault.message}`;
    }
  }

  function request() {
    let target = path.slice(1);
    const url = () => new URL(target, ROOT);
    const headers = new Headers();
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      const value = input.value;
      if (parameter.in === "path") {
        const encoded = parameter.description?.includes("slashes") ? value.split("/").map(encodeURIComponent).join("/") : encodeURIComponent(value);
        target = target.replace(`{${parameter.name}}`, () => encoded);
      } else if (value === "") continue;
      else if (parameter.in === "header") headers.set(parameter.name, value);
      else if (schemas.type(schemas.resolve(parameter.schema).schema).startsWith("array")) for (const part of value.split(",")) query.append(parameter.name, part.trim());
      else query.append(parameter.name, value);
    }
    if (body && body.value) headers.set("content-type", "application/json");
    const found = url();
    found.search = query.toString();
    return { url: found, options: { method: method.toUpperCase(), headers, body: body && body.value ? body.value : undefined, cache: "no-store" } };
  }

  async function submit(event) {
    event.preventDefault();
    send.disabled = true;
    const began = performance.now();
    try {
      const { url, options } = request();
      const response = await fetch(url, options);
      const text = await response.text();
      answer.replaceChildren(...shown(response, text, performance.now() - began));
    } catch (fault) {
      answer.replaceChildren(h("p", { class: "bad small" }, `No answer: ${fault.message}`));
    } finally {
      send.disabled = false;
    }
  }

  async function copy() {
    const { url, options } = request();
    const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const parts = ["curl", "-i", "-X", options.method, ...[...options.headers].flatMap(([key, value]) => ["-H", quote(`${key}: ${value}`)])];
    if (options.body) parts.push("-d", quote(options.body));
    await navigator.clipboard.writeText([...parts, quote(url.href)].join(" "));
    copied.textContent = "Copied";
    setTimeout(() => (copied.textContent = "Copy as curl"), 1500);
  }
  const copied = h("button", { type: "button", class: "quiet", onclick: copy }, "Copy as curl");

  check();
  return h(
    "form",
    { class: "panel try", onsubmit: submit },
    h("h2", null, "Try it"),
    [...inputs].map(([parameter, input]) =>
      h("label", null, h("span", { class: "gap" }, h("code", null, parameter.name), h("span", { class: "muted" }, parameter.in), parameter.required && h("span", { class: "bad" }, "required")), input),
    ),
    body && h("div", { class: "section" }, h("span", { class: "small" }, "Body"), body, hint),
    h("div", { class: "row" }, send, navigator.clipboard && copied),
    answer,
  );

  function field(parameter) {
    const { schema } = schemas.resolve(parameter.schema ?? true);
    const choices = schema.type === "boolean" ? ["true", "false"] : schema.enum?.map(String);
    const required = parameter.required === true;
    if (choices) return h("select", { required }, h("option", { value: "" }, required ? "choose" : "not sent"), choices.map((each) => h("option", { value: each }, each)));
    const placeholder = "default" in Object(schema) ? JSON.stringify(schema.default) : schemas.type(parameter.schema ?? true);
    return h("input", { required, placeholder, autocomplete: "off", spellcheck: "false" });
  }
}

function shown(response, text, took) {
  const type = response.headers.get("content-type") ?? "";
  let body = text;
  if (/[/+]json/.test(type)) {
    try {
      body = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      // shown as it came
    }
  }
  const size = new Blob([text]).size;
  return [
    h("div", { class: "row" }, h("span", { class: `status ${response.ok ? "good" : "bad"}` }, `${response.status} ${response.statusText}`.trim()), h("span", { class: "muted small" }, `${took.toFixed(took < 10 ? 1 : 0)} ms, ${size.toLocaleString()} bytes`)),
    h("details", null, h("summary", { class: "small muted" }, "Headers"), h("pre", null, [...response.headers].map(([key, value]) => `${key}: ${value}`).join("\n"))),
    body ? h("pre", null, body.length > SHOWN ? `${body.slice(0, SHOWN)}\n… ${body.length - SHOWN} more characters` : body) : h("p", { class: "muted small" }, "No body"),
  ];
}
