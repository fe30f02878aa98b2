/** The hooks in a real React with a DOM, against a server that a test scripts. */

import assert from "node:assert/strict";
import { after, afterEach, beforeEach, test } from "node:test";
import { JSDOM } from "jsdom";
import { connect } from "motia-stream";
import { WebSocket } from "ws";
import { serve, until } from "./server.mjs";

const { window } = new JSDOM("<!doctype html><main></main>");
globalThis.window = window;
globalThis.document = window.document;
globalThis.navigator ??= window.navigator; // Node 21 and newer have one
globalThis.IS_REACT_ACT_ENVIRONMENT = false; // updates come from a socket, when they come
const { createElement: h, StrictMode } = await import("react");
const { createRoot } = await import("react-dom/client");
const { StreamProvider, useStreamGroup, useStreamItem } = await import("motia-stream/react");

let server;
let client;
let root;
const main = window.document.querySelector("main");
const problems = [];

beforeEach(async () => {
  server = await serve();
  client = connect(server.url, { WebSocket, retry: { first: 5, most: 20 } });
  root = createRoot(main, { onUncaughtError: (problem) => problems.push(problem.message) });
});

afterEach(async () => {
  root.unmount();
  client.close();
  await server.close();
});

after(() => window.close());

function render(element, around = client) {
  root.render(h(StrictMode, null, around ? h(StreamProvider, { client: around }, element) : element));
}

function Order({ id, ...options }) {
  const { value, live, error } = useStreamItem("orders", "g", id, options.client ? options : undefined);
  return h("p", null, error ? error.code : value === undefined ? "..." : value === null ? "none" : `${value.id} ${value.status}`, live ? "" : "?");
}

let renders = 0;

function Orders({ group = "g" }) {
  renders += 1;
  const { value, live } = useStreamGroup("orders", group);
  return h("p", null, value === undefined ? "..." : value.map(({ id, status }) => `${id} ${status}`).join(), live ? "" : "?");
}

const shows = (text) => until(() => main.textContent === text, `"${main.textContent}" becomes "${text}"`);
const followed = () => server.said.reduce((n, { type }) => n + (type === "join" ? 1 : -1), 0);

test("an item: shown, changed, gone, left when nobody shows it", async () => {
  server.set("orders", "g", "o-1", { status: "new" });
  render(h(Order, { id: "o-1" }));
  await shows("...?");
  await shows("o-1 new");
  server.set("orders", "g", "o-1", { status: "paid" });
  await shows("o-1 paid");
  server.delete("orders", "g", "o-1");
  await shows("none");
  render(h("i"));
  await until(() => followed() === 0);
});

test("a group, by whom the connection comes back to", async () => {
  server.set("orders", "g", "o-1", { status: "new" });
  render(h(Orders));
  await shows("o-1 new");
  server.set("orders", "g", "o-2", { status: "new" });
  await shows("o-1 new,o-2 new");
  server.drop();
  server.delete("orders", "g", "o-1");
  await shows("o-1 new,o-2 new?");
  await shows("o-2 new");
  const before = renders;
  server.set("orders", "other", "o-9", { status: "new" });
  server.set("orders", "g", "o-3", { status: "new" });
  await shows("o-2 new,o-3 new");
  assert.equal(renders - before, 2); // one update, rendered twice by StrictMode
});

test("another id is another item; none is none", async () => {
  for (const id of ["o-1", "o-2"]) server.set("orders", "g", id, { status: "new" });
  render(h(Order, { id: "o-1" }));
  await shows("o-1 new");
  render(h(Order, { id: "o-2" }));
  await shows("o-2 new");
  await until(() => followed() === 1);
  render(h(Order, { id: null }));
  await shows("...?");
  await until(() => followed() === 0);
  render(h(Orders, { group: null }));
  await shows("...?");
});

test("components that show the same share one join", async () => {
  server.set("orders", "g", "o-1", { status: "new" });
  render([h(Order, { id: "o-1", key: 1 }), h(Order, { id: "o-1", key: 2 })]);
  await shows("o-1 newo-1 new");
  await until(() => followed() === 1);
  render([h(Order, { id: "o-1", key: 2 })]);
  await shows("o-1 new");
  assert.equal(followed(), 1);
});

test("a refusal", async () => {
  server.denied.add("orders");
  render(h(Order, { id: "o-1" }));
  await shows("STREAM_ACCESS_DENIED?");
});

test("a client that is passed goes before the provider's; without either it is an error", async () => {
  server.set("orders", "g", "o-1", { status: "new" });
  render(h(Order, { id: "o-1", client }), null);
  await shows("o-1 new");
  render(h(Order, { id: "o-1" }), null);
  await until(() => problems.length > 0);
  assert.match(problems[0], /there is no client; put <StreamProvider client=\{client\}> around, or pass \{ client \}/);
});
