/** A server of the stream protocol whose every word a test decides: what it holds, when it hangs up, whom it refuses. */

import { WebSocketServer } from "ws";

export async function serve() {
  const server = new Server();
  await new Promise((resolve) => server.wss.once("listening", resolve));
  return server;
}

class Server {
  wss = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: (offered) => [...offered][0] });
  said = []; // messages of clients, in order
  dialled = []; // what each connection came with
  denied = new Set(); // streams
  #items = new Map(); // by place
  #time = 1_800_000_000_000;

  constructor() {
    this.wss.on("connection", (socket, request) => {
      this.dialled.push({ protocols: request.headers["sec-websocket-protocol"]?.split(/, */), path: request.url });
      socket.on("message", (text) => this.#take(socket, JSON.parse(text)));
    });
  }

  get url() {
    return `http://127.0.0.1:${this.wss.address().port}`;
  }

  get now() {
    return this.#time;
  }

  joins(stream) {
    return this.said.filter(({ type, data }) => type === "join" && data.streamName === stream);
  }

  set(stream, group, id, item) {
    const items = this.#group(stream, group);
    const type = items.has(id) ? "update" : "create";
    items.set(id, { ...item, id });
    this.frame(stream, group, id, { type, data: items.get(id) });
  }

  delete(stream, group, id) {
    this.#group(stream, group).delete(id);
    this.frame(stream, group, id, { type: "delete", data: { id } });
  }

  /** Say something to all who are connected. */
  frame(streamName, groupId, id, event, timestamp = (this.#time += 0.25)) {
    this.raw(JSON.stringify({ timestamp, streamName, groupId, ...(id !== undefined && { id }), event }));
  }

  raw(text) {
    for (const socket of this.wss.clients) socket.send(text);
  }

  /** Hang up on everybody, without a word. */
  drop() {
    for (const socket of this.wss.clients) socket.terminate();
  }

  close() {
    this.drop();
    return new Promise((resolve) => this.wss.close(resolve));
  }

  #group(stream, group) {
    const key = `${stream}/${group}`;
    if (!this.#items.has(key)) this.#items.set(key, new Map());
    return this.#items.get(key);
  }

  #take(socket, message) {
    this.said.push(message);
    if (message.type !== "join") return;
    const { streamName, groupId, id, absent } = message.data;
    const say = (event) => socket.send(JSON.stringify({ timestamp: (this.#time += 0.25), streamName, groupId, id, event }));
    if (this.denied.has(streamName)) {
      say({ type: "event", event: { type: "error", data: { code: "STREAM_ACCESS_DENIED", message: "not for you" } } });
      return;
    }
    const items = this.#group(streamName, groupId);
    if (id === undefined) say({ type: "sync", data: [...items.values()] });
    else if (items.has(id)) say({ type: "sync", data: items.get(id) });
    else if (absent) say({ type: "delete", data: { id } });
  }
}

/** Until something is so; 10 seconds at most. */
export async function until(check, what = String(check)) {
  const deadline = Date.now() + 10_000;
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
