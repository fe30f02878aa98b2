// The API page: reads the OpenAPI document beside it and lets you read, search and try its operations. Needs nothing else.

import { h } from "./dom.js";
import { Schemas } from "./schema.js";
import { tryIt } from "./try.js";

const response = await fetch(new URL("openapi.json", import.meta.url));
const spec = await response.json();
const schemas = new Schemas(spec.components?.schemas ?? {});
const operations = Object.entries(spec.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ id: operation.operationId, path, method, operation })),
);
const place = ({ operation }) => (operation.tags ? spec.tags.findIndex((tag) => tag.name === operation.tags[0]) : spec.tags.length);
operations.sort((a, b) => place(a) - place(b)); // as they are listed
const main = document.querySelector("main");
const nav = document.querySelector("nav");
const search = document.querySelector("input[type=search]");
document.title = `${spec.info.title} API`;
document.querySelector("h1").textContent = spec.info.title;
document.querySelector("header p").textContent = spec.info.description ?? "";

function list() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = ({ id, path, method, operation }) => [id, path, method, operation.summary, operation.description, ...(operation.tags ?? []), ...(operation["x-motia-emits"] ?? [])].join(" ").toLowerCase();
  const found = operations.filter((each) => words.every((word) => text(each).includes(word)));
  const tags = [...spec.tags.map((tag) => tag.name), undefined];
  const parts = tags.map((tag) => {
    const group = found.filter(({ operation }) => (tag === undefined ? !operation.tags?.length : operation.tags?.includes(tag)));
    const title = tag ?? (spec.tags.length ? "Other" : "Endpoints");
    return group.length ? h("section", null, h("h3", null, title), group.map(link)) : undefined;
  });
  nav.replaceChildren(...parts.filter(Boolean));
  if (!found.length) nav.append(h("p", { class: "muted small box" }, operations.length ? "Nothing found" : "This app has no api steps"));
}

function link({ id, path, method, operation }) {
  const current = id === selected()?.id && "page";
  return h("a", { href: `#${encodeURIComponent(id)}`, title: operation.summary ?? id, "aria-current": current }, h("span", { class: `method ${method}` }, method.toUpperCase()), h("span", { class: "path" }, path));
}

function selected() {
  let id = location.hash.slice(1);
  try {
    id = decodeURIComponent(id);
  } catch {
    // not ours; the first operation is shown
  }
  return operations.find((each) => each.id === id) ?? operations[0];
}

function detail({ path, method, operation }) {
  const parameters = operation.parameters ?? [];
  const emits = operation["x-motia-emits"] ?? [];
  const media = operation.requestBody?.content?.["application/json"];
  const title = h(
    "div",
    { class: "title" },
    h("div", { class: "line" }, h("span", { class: `method ${method}` }, method.toUpperCase()), h("span", { class: "path" }, path)),
    h("p", null, operation.description ?? operation.summary),
    h("div", { class: "facts small" }, h("span", { class: "muted" }, "step"), h("span", { class: "chip mono" }, operation["x-motia-step"]), emits.length > 0 && h("span", { class: "muted" }, "emits"), emits.map((topic) => h("span", { class: "chip mono" }, topic))),
  );
  return h(
    "article",
    { class: "operation" },
    title,
    h(
      "div",
      { class: "column" },
      parameters.length > 0 && section("Parameters", h("div", { class: "panel box" }, h("ul", { class: "tree" }, parameters.map(parameter)))),
      media && section("Body", h("div", { class: "panel box" }, schemas.tree(media.schema))),
      section("Responses", Object.entries(operation.responses).map(([status, each]) => answer(status, each))),
    ),
    tryIt({ method, path, operation, schemas }),
  );
}

const section = (title, ...content) => h("section", { class: "section" }, h("h3", null, title), content);

function parameter(each) {
  const row = schemas.row({ schema: each.schema ?? true, label: each.name, required: each.required === true, above: [], depth: 1 });
  const place = h("span", { class: "limit" }, each.in === "path" ? "in the path" : each.in);
  row.querySelector(".name").after(place);
  const said = row.querySelector(".says");
  if (each.description && !said) row.append(h("span", { class: "says" }, each.description));
  return row;
}

function answer(status, each) {
  const [type, media] = Object.entries(each.content ?? {})[0] ?? [];
  const problem = type === "application/problem+json";
  const head = [h("span", { class: `status ${status < 400 ? "good" : "bad"}` }, status), h("span", { class: "small muted" }, each.description)];
  if (!media) return h("div", { class: "panel response box gap" }, head);
  return h("details", { class: "panel response", open: !problem && status < 300 }, h("summary", null, head), h("div", null, schemas.tree(media.schema)));
}

function route() {
  list();
  const found = selected();
  if (found) main.replaceChildren(detail(found));
  else main.replaceChildren(h("p", { class: "muted" }, "This app has no api steps. Add one to motia.yaml and it is here."));
  main.scrollTop = 0;
}

addEventListener("hashchange", route);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  search.focus();
});
search.addEventListener("input", list);
route();
