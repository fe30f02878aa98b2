/** The client against a server that a test scripts. With BUILTIN set, over Node's own WebSocket. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { connect } from "motia-stream";
import * as ws from "ws";
import { serve, until } from "./server.mjs";

const WebSocket = process.env.BUILTIN ? globalThis.WebSocket : ws.WebSocket;
assert.ok(WebSocket, "no WebSocket to test with");
const SOON = { first: 5, most: 20 };

let server;
let clients;

beforeEach(async () => {
  server = await serve();
  clients = [];
});

afterEach(async () => {
  for (const client of clients) client.close();
  await server.close();
});

function open(options = {}) {
  const client = connect(server.url, { WebSocket, retry: SOON, ...options });
  clients.push(client);
  return client;
}

test("an item: its value, each change of it, its end", async () => {
  server.set("chat", "g", "a", { n: 1 });
  const item = open().item("chat", "g", "a");
  const seen = [];
  item.subscribe((value) => seen.push(value));
  assert.equal(item.value, undefined);
  assert.equal(item.live, false);
  await until(() => item.live);
  assert.deepEqual(item.value, { id: "a", n: 1 });
  const before = item.value;
  server.set("chat", "g", "a", { n: 2 });
  server.delete("chat", "g", "a");
  server.set("chat", "g", "a", { n: 3 });
  server.set("chat", "g", "b", { n: 9 });
  server.set("chat", "other", "a", { n: 9 });
  server.set("news", "g", "a", { n: 9 });
  server.frame("chat", "g", "a", { type: "event", event: { type: "end", data: null } });
  await new Promise((resolve) => item.on("end", resolve));
  assert.deepEqual(seen, [{ id: "a", n: 1 }, { id: "a", n: 2 }, null, { id: "a", n: 3 }]);
  assert.notEqual(item.value, before);
});

test("an item that is not there is null, and comes when it is made", async () => {
  const client = open();
  const group = client.group("chat", "g");
  await until(() => group.live);
  const told = [];
  group.subscribe((value) => told.push(value));
  const item = client.item("chat", "g", "none");
  await until(() => item.live);
  assert.equal(item.value, null);
  server.set("chat", "g", "none", { n: 1 });
  await until(() => item.value?.n === 1 && told.length === 2);
  assert.deepEqual(told, [[], [{ id: "none", n: 1 }]]); // nothing of the answer to the item's join
});

test("an item of a server that says nothing of what is not there", async () => {
  const item = open().item("silent", "g", "a");
  server.denied.add("silent");
  await until(() => item.error);
  assert.equal(item.value, undefined);
  server.frame("silent", "g", "a", { type: "create", data: { id: "a" } });
  await until(() => item.live);
  assert.deepEqual(item.value, { id: "a" });
});

test("a group: a new list for each change, and the same until then", async () => {
  const group = open().group("chat", "g");
  await until(() => group.live);
  assert.deepEqual(group.value, []);
  server.set("chat", "g", "b", { n: 1 });
  server.set("chat", "g", "a", { n: 2 });
  server.set("chat", "g", "b", { n: 3 });
  server.set("chat", "h", "b", { n: 9 });
  await until(() => group.value.length === 2 && group.value[0].n === 3);
  assert.deepEqual(group.value, [{ id: "b", n: 3 }, { id: "a", n: 2 }]);
  assert.equal(group.value, group.value);
  assert.throws(() => group.value.push(1), TypeError);
  const before = group.value;
  server.delete("chat", "g", "b");
  await until(() => group.value !== before);
  assert.deepEqual(group.value, [{ id: "a", n: 2 }]);
});

test("whoever follows the same shares one join, and leaves with the last", async () => {
  server.set("chat", "g", "a", { n: 1 });
  const client = open();
  const one = client.item("chat", "g", "a");
  const two = client.item("chat", "g", "a");
  await until(() => two.live);
  const late = [];
  two.subscribe((value) => late.push(value.n)); // at once, as it is known
  assert.deepEqual(late, [1]);
  one.close();
  one.close();
  server.set("chat", "g", "a", { n: 2 });
  await until(() => late.at(-1) === 2);
  assert.equal(server.joins("chat").length, 1);
  assert.equal(one.live, false);
  two.close();
  await until(() => server.said.at(-1).type === "leave");
  const [{ data: joined }] = server.joins("chat");
  const { absent, ...place } = joined;
  assert.equal(absent, true);
  assert.match(place.subscriptionId, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(server.said.at(-1), { type: "leave", data: place });
  server.set("chat", "g", "a", { n: 3 });
  const again = client.item("chat", "g", "a");
  await until(() => again.live);
  assert.deepEqual([late, again.value.n], [[1, 2], 3]);
  assert.throws(() => two.on("x", () => {}), /closed/);
});

test("after a lost connection everything is joined again, and the answer replaces what was known", async () => {
  for (const id of ["a", "b", "c"]) server.set("chat", "g", id, { n: 1 });
  const client = open();
  const states = [];
  client.onStatus((status) => states.push(status));
  const [a, b, group] = [client.item("chat", "g", "a"), client.item("chat", "g", "b"), client.group("chat", "g")];
  await until(() => a.live && b.live && group.live);
  const asked = server.joins("chat").map(({ data }) => data.subscriptionId);
  server.denied.add("never"); // nobody is told of what happens now
  server.drop();
  server.set("chat", "g", "a", { n: 2 });
  server.delete("chat", "g", "b");
  server.delete("chat", "g", "c");
  await until(() => !a.live && !group.live);
  assert.equal(a.value.n, 1);
  await until(() => a.live && b.live && group.live);
  assert.deepEqual([a.value, b.value, group.value], [{ id: "a", n: 2 }, null, [{ id: "a", n: 2 }]]);
  assert.deepEqual(states, ["open", "waiting", "connecting", "open"]);
  assert.deepEqual(server.joins("chat").slice(3).map(({ data }) => data.subscriptionId), asked);
  server.set("chat", "g", "a", { n: 3 });
  await until(() => a.value.n === 3 && group.value[0].n === 3);
});

test("what is followed and left while there is no connection is joined, or not, by the next", async () => {
  const client = open();
  await until(() => client.status === "open");
  server.drop();
  await until(() => client.status !== "open");
  const one = client.item("chat", "g", "a");
  client.item("news", "g", "a").close();
  await until(() => one.live);
  assert.equal(server.joins("chat").length, 1);
  assert.equal(server.joins("news").length, 0);
});

test("an update that came by way of the group is not undone by an older answer to the item's join", async () => {
  const client = open();
  const group = client.group("chat", "g");
  await until(() => group.live);
  server.denied.add("chat"); // this test answers the item's join itself
  const item = client.item("chat", "g", "a");
  await until(() => server.joins("chat").length === 2);
  const now = server.now;
  server.frame("chat", "g", "a", { type: "create", data: { id: "a", n: 2 } }, now + 10);
  server.frame("chat", "g", "a", { type: "sync", data: { id: "a", n: 1 } }, now + 5);
  server.frame("chat", "g", "a", { type: "update", data: { id: "a", n: 0 } }, now + 9);
  server.frame("chat", "g", "a", { type: "event", event: { type: "end" } }, now + 11);
  await new Promise((resolve) => item.on("end", resolve));
  assert.equal(item.value.n, 2);
  assert.deepEqual(group.value, [{ id: "a", n: 2 }]);
});

test("events of a group, and of its items", async () => {
  const client = open();
  const [item, group] = [client.item("chat", "g", "a"), client.group("chat", "g")];
  await until(() => item.live && group.live);
  const heard = [];
  item.on("typing", (data, { id }) => heard.push(["item", data, id]));
  const off = group.on("typing", (data, { id, type, timestamp }) => heard.push(["group", data, id, type, typeof timestamp]));
  server.frame("chat", "g", "a", { type: "event", event: { type: "typing", data: { who: "x" } } });
  server.frame("chat", "g", undefined, { type: "event", event: { type: "typing", data: 1 } });
  server.frame("chat", "g", "a", { type: "event", event: { type: "other", data: 1 } });
  await until(() => heard.length === 3);
  off();
  item.close();
  server.frame("chat", "g", "a", { type: "event", event: { type: "typing", data: 2 } });
  const last = new Promise((resolve) => group.on("end", resolve));
  server.frame("chat", "g", undefined, { type: "event", event: { type: "end" } });
  await last;
  assert.deepEqual(heard, [
    ["item", { who: "x" }, "a"],
    ["group", { who: "x" }, "a", "typing", "number"],
    ["group", 1, undefined, "typing", "number"],
  ]);
});

test("a refusal is told to whom it is for, and the next connection asks again", async () => {
  server.denied.add("secret");
  const client = open();
  const [item, group] = [client.item("secret", "g", "a"), client.group("open", "g")];
  const told = [];
  item.subscribe((value, subscription) => told.push(subscription.error?.code));
  await until(() => item.error);
  assert.deepEqual(item.error, { code: "STREAM_ACCESS_DENIED", message: "not for you" });
  assert.deepEqual([item.live, item.value, client.status], [false, undefined, "open"]);
  server.frame("open", "g", "a", { type: "event", event: { type: "error", data: { code: "STREAM_ACCESS_DENIED" } } }); // of some item
  server.frame("open", "g", undefined, { type: "event", event: { type: "error", data: { code: "MINE" } } }); // of the app itself
  await until(() => group.live);
  server.denied.clear();
  server.set("secret", "g", "a", { n: 1 });
  client.reconnect();
  await until(() => item.live && group.live);
  assert.deepEqual([item.value.n, item.error, group.error], [1, undefined, undefined]);
  assert.equal(told[0], "STREAM_ACCESS_DENIED");
});

test("a token is asked for at each attempt, and goes as a subprotocol or in the query", async () => {
  const tokens = ["first", "se=cond/+", "", undefined];
  const client = open({ token: async () => tokens[server.dialled.length] });
  for (let n = 1; n <= 4; n++) {
    await until(() => client.status === "open" && server.dialled.length === n);
    if (n < 4) client.reconnect();
  }
  assert.deepEqual(server.dialled, [
    { protocols: ["Authorization", "first"], path: "/" },
    { protocols: undefined, path: "/?authToken=se%3Dcond%2F%2B" },
    { protocols: undefined, path: "/" },
    { protocols: undefined, path: "/" },
  ]);
});

test("a token that can't be had is asked for again", async () => {
  let asked = 0;
  const reasons = [];
  const client = open({
    token: () => {
      if (++asked < 3) throw new Error("logged out");
      return "t";
    },
  });
  client.onStatus((status, reason) => status === "waiting" && reasons.push(reason.message));
  await until(() => client.status === "open");
  assert.equal(asked, 3);
  assert.equal(reasons.at(-1), "logged out");
  assert.equal(server.dialled.length, 1);
});

test("a server that is away is asked less and less often", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  t.mock.method(Math, "random", () => 1);
  const dialled = [];
  class Nobody {
    readyState = 3;
    constructor(url) {
      dialled.push(url);
      Nobody.last = this;
    }
  }
  const client = connect("https://shop.example/live#x", { WebSocket: Nobody });
  return (async () => {
    for (const pause of [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]) {
      await null;
      const before = dialled.length;
      Nobody.last.onclose({ code: 1006 });
      assert.equal(client.status, "waiting");
      t.mock.timers.tick(pause - 1);
      await null;
      assert.equal(dialled.length, before);
      t.mock.timers.tick(1);
      await null;
      assert.equal(dialled.length, before + 1);
    }
    assert.equal(new Set(dialled).size, 1);
    assert.equal(dialled[0], "wss://shop.example/live");
    Nobody.last.onopen();
    Nobody.last.onmessage({ data: "{}" });
    Nobody.last.onclose({ code: 1006 }); // it was there: from the beginning again
    t.mock.timers.tick(500);
    await null;
    assert.equal(dialled.length, 10);
    client.close();
    Nobody.last.onclose({ code: 1006 });
    t.mock.timers.tick(100_000);
    assert.equal(dialled.length, 10);
  })();
});

test("what is not of the protocol is passed over", async () => {
  const client = open();
  const group = client.group("chat", "g");
  await until(() => group.live);
  const texts = ["", "nonsense", "null", "1", "[]", "{}", '{"event":null}', '{"event":{"type":1}}', '{"event":{"type":"event"}}'];
  for (const text of texts) server.raw(text);
  server.frame("chat", "g", "a", { type: "surprise", data: { id: "a" } });
  server.set("chat", "g", "b", {});
  await until(() => group.value.length > 0);
  assert.deepEqual(group.value, [{ id: "b" }]);
  assert.equal(client.status, "open");
});

test("a listener that throws is reported, and the others are told", async (t) => {
  const thrown = [];
  t.mock.method(globalThis, "queueMicrotask", (call) => {
    try {
      call();
    } catch (problem) {
      thrown.push(problem.message);
    }
  });
  const item = open().item("chat", "g", "a");
  const told = [];
  item.subscribe(() => {
    throw new Error("mine");
  });
  item.subscribe((value) => told.push(value));
  await until(() => told.length === 1);
  assert.deepEqual([told, thrown], [[null], ["mine"]]);
});

test("a client that is closed is silent and of no further use", async () => {
  const client = open();
  const item = client.item("chat", "g", "a");
  await until(() => item.live);
  client.close();
  client.close();
  assert.deepEqual([client.status, item.live], ["closed", false]);
  await until(() => server.wss.clients.size === 0);
  assert.throws(() => client.item("chat", "g", "a"), /the client is closed/);
  assert.throws(() => client.reconnect(), /the client is closed/);
  item.close();
});

test("mistakes are told at once", () => {
  const client = open();
  assert.throws(() => client.item("chat", "g"), /the id is a string that is not empty, not undefined/);
  assert.throws(() => client.item("chat", 7, "a"), /the group is a string that is not empty, not 7/);
  assert.throws(() => client.group("", "g"), /the stream is a string/);
  assert.throws(() => connect("ftp://shop.example", { WebSocket }), /no http, https, ws or wss address/);
  assert.throws(() => connect("/live", { WebSocket }), /Invalid URL/);
  const own = globalThis.WebSocket;
  globalThis.WebSocket = undefined;
  try {
    assert.throws(() => connect("http://shop.example"), /there is no WebSocket here; pass one/);
  } finally {
    globalThis.WebSocket = own;
  }
});
