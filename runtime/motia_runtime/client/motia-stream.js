/**
 * Follows the streams of a Motia app over one WebSocket: an ES module without dependencies, for browsers and Node. Types: motia-stream.d.ts.
 *
 *     const client = connect("https://shop.example", { token: () => session.token });
 *     client.item("orderStatus", "orders", "o-1").subscribe((order) => show(order));
 */

const NOT_OPEN = "motia-stream: the client is closed; connect() makes another";
const CHANGES = new Set(["create", "update", "delete"]);
/** Codes with which the app answers a join that it refuses. */
const REFUSALS = new Set(["STREAM_ACCESS_DENIED", "TOO_MANY_SUBSCRIPTIONS"]);
/** A token that a WebSocket can offer as a subprotocol (RFC 9110, 5.6.2); browsers can set no headers. */
const OFFERED = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** @type {typeof import("./motia-stream.d.ts").connect} */
export const connect = (url, options = {}) => new Client(url, options);

class Client {
  /** @type {import("./motia-stream.d.ts").Status} */
  status = "connecting";
  /** @type {Map<string, Source>} What is followed, by stream, group and id. */
  #sources = new Map();
  /** @type {Set<(status: any) => void>} */
  #watchers = new Set();
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {any} */
  #timer;
  #WebSocket;
  #url;
  #token;
  #first;
  #most;
  #failures = 0;
  #attempt = 0; // counts up; what belongs to an earlier one is of no interest any more

  /** @param {string | URL} url @param {any} options */
  constructor(url, options) {
    const WebSocketClass = options.WebSocket ?? globalThis.WebSocket;
    if (!WebSocketClass) {
      const remedy = 'connect(url, { WebSocket: (await import("ws")).WebSocket })';
      throw new Error(`motia-stream: there is no WebSocket here; pass one, as in ${remedy}`);
    }
    this.#WebSocket = WebSocketClass;
    this.#url = address(url);
    this.#token = options.token;
    this.#first = options.retry?.first ?? 500;
    this.#most = options.retry?.most ?? 30_000;
    globalThis.addEventListener?.("online", this.#online);
    void this.#open();
  }

  /** @param {string} stream @param {string} group @param {string} id */
  item(stream, group, id) {
    return this.#follow(stream, group, id, Item);
  }

  /** @param {string} stream @param {string} group */
  group(stream, group) {
    return this.#follow(stream, group, undefined, Group);
  }

  /** @param {(status: any) => void} listener */
  onStatus(listener) {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  reconnect() {
    if (this.status === "closed") throw new Error(NOT_OPEN);
    this.#failures = 0;
    this.#hangUp();
    void this.#open();
  }

  close() {
    if (this.status === "closed") return;
    globalThis.removeEventListener?.("online", this.#online);
    this.#hangUp();
    this.#sources.clear();
    this.#become("closed");
  }

  /**
   * @param {string} stream @param {string} group @param {string | undefined} id
   * @param {new (place: any) => Source} Kind
   */
  #follow(stream, group, id, Kind) {
    if (this.status === "closed") throw new Error(NOT_OPEN);
    for (const [name, value] of Object.entries({ stream, group, ...(Kind === Item && { id }) })) {
      if (typeof value === "string" && value !== "") continue;
      throw new TypeError(`motia-stream: the ${name} is a string that is not empty, not ${JSON.stringify(value)}`);
    }
    const key = keyOf(stream, group, id);
    let source = this.#sources.get(key);
    if (source === undefined) {
      const place = { streamName: stream, groupId: group, ...(id !== undefined && { id }), subscriptionId: uuid() };
      source = new Kind(place);
      this.#sources.set(key, source);
      this.#send("join", source);
    }
    const followed = source;
    followed.users += 1;
    return new Subscription(followed, () => {
      followed.users -= 1;
      if (followed.users > 0 || this.#sources.get(key) !== followed) return;
      this.#sources.delete(key);
      this.#send("leave", followed);
    });
  }

  /** @param {"join" | "leave"} type @param {Source} source */
  #send(type, source) {
    if (this.status !== "open") return; // what is followed by then is joined when it opens
    const asks = type === "join" && source.place.id !== undefined ? { ...source.place, absent: true } : source.place;
    this.#socket?.send(JSON.stringify({ type, data: asks }));
  }

  async #open() {
    const attempt = ++this.#attempt;
    clearTimeout(this.#timer);
    this.#become("connecting");
    let socket;
    try {
      const token = typeof this.#token === "function" ? await this.#token() : this.#token;
      if (attempt !== this.#attempt) return;
      socket = this.#dial(token);
    } catch (problem) {
      if (attempt === this.#attempt) this.#retry(problem);
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (attempt !== this.#attempt) return;
      this.#become("open");
      for (const source of this.#sources.values()) this.#send("join", source);
    };
    socket.onmessage = (/** @type {MessageEvent} */ message) => {
      if (attempt !== this.#attempt) return;
      this.#failures = 0;
      this.#take(message.data);
    };
    socket.onclose = (/** @type {unknown} */ event) => {
      if (attempt === this.#attempt) this.#retry(event);
    };
    socket.onerror = () => {}; // a close always follows, and browsers tell nothing more
  }

  /** @param {string | null | undefined} token */
  #dial(token) {
    if (token == null || token === "") return new this.#WebSocket(this.#url);
    if (OFFERED.test(token)) return new this.#WebSocket(this.#url, ["Authorization", token]);
    const url = new URL(this.#url);
    url.searchParams.set("authToken", token);
    return new this.#WebSocket(url.href);
  }

  /** @param {unknown} reason */
  #retry(reason) {
    this.#hangUp();
    const most = Math.min(this.#most, this.#first * 2 ** this.#failures);
    this.#failures += 1;
    const pause = most * (0.5 + Math.random() / 2); // so that not all clients come back at once
    this.#timer = setTimeout(() => void this.#open(), pause);
    this.#become("waiting", reason);
  }

  #online = () => {
    if (this.status === "waiting") this.reconnect();
  };

  /** Have nothing of the present connection count any more. */
  #hangUp() {
    this.#attempt += 1;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket !== undefined && socket.readyState < 2) socket.close();
    for (const source of this.#sources.values()) source.lost();
  }

  /** @param {any} status @param {unknown} [reason] */
  #become(status, reason) {
    if (this.status === status) return;
    this.status = status;
    for (const watcher of [...this.#watchers]) guarded(watcher, status, reason);
  }

  /** @param {string} text */
  #take(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // not of this protocol
    }
    const { streamName, groupId, id, event } = frame ?? {};
    if (typeof event?.type !== "string") return;
    if (id !== undefined) this.#sources.get(keyOf(streamName, groupId, id))?.take(frame);
    const alone = id !== undefined && (event.type === "sync" || refusalOf(event));
    if (!alone) this.#sources.get(keyOf(streamName, groupId, undefined))?.take(frame);
  }
}

/** One item or group as it is followed, by however many subscriptions. */
class Source {
  users = 0;
  live = false;
  /** @type {{code: string, message: string} | undefined} */
  error = undefined;
  /** @type {Set<() => void>} */
  changed = new Set();
  /** @type {Map<string, Set<(data: any, event: any) => void>>} */
  listeners = new Map();

  /** @param {{streamName: string, groupId: string, id?: string, subscriptionId: string}} place */
  constructor(place) {
    this.place = place;
  }

  /** @returns {any} */
  get value() {
    return undefined;
  }

  /** Another connection has to tell everything anew. */
  lost() {
    if (this.live) this.tell(() => (this.live = false));
  }

  /** @param {any} frame */
  take(frame) {
    const { event, id, timestamp } = frame;
    if (event.type === "event") {
      const refusal = refusalOf(event);
      if (refusal) this.tell(() => ((this.error = refusal), (this.live = false)));
      const { type, data } = event.event ?? {};
      for (const listener of [...(this.listeners.get(type) ?? [])]) guarded(listener, data, { type, id, timestamp });
    } else if (event.type === "sync") {
      this.tell(() => {
        this.error = undefined;
        this.live = true;
        this.replace(event.data, timestamp);
      });
    } else if (CHANGES.has(event.type) && this.isNewer(frame)) {
      this.tell(() => this.change(event, id));
    }
  }

  /** @param {() => void} change */
  tell(change) {
    change();
    for (const listener of [...this.changed]) guarded(listener);
  }

  /** @param {any} _data @param {number} _timestamp */
  replace(_data, _timestamp) {}

  /** @param {any} _event @param {string} _id */
  change(_event, _id) {}

  /** @param {any} _frame @returns {boolean} */
  isNewer(_frame) {
    return true;
  }
}

class Item extends Source {
  /** @type {any} */
  #value = undefined; // null: there is none
  #last = -Infinity; // timestamp of the newest frame of this connection

  get value() {
    return this.#value;
  }

  lost() {
    this.#last = -Infinity;
    super.lost();
  }

  /** @param {any} data @param {number} timestamp */
  replace(data, timestamp) {
    if (timestamp < this.#last) return; // an update of it came by way of its group
    this.#last = timestamp;
    this.#value = data;
  }

  /** @param {any} event */
  change(event) {
    this.live = true;
    this.#value = event.type === "delete" ? null : event.data;
  }

  /** @param {any} frame */
  isNewer({ timestamp }) {
    if (!(timestamp > this.#last)) return false;
    this.#last = timestamp;
    return true;
  }
}

class Group extends Source {
  /** @type {Map<string, any>} */
  #items = new Map();
  /** @type {Map<string, number>} */
  #last = new Map();
  /** @type {readonly any[] | undefined} */
  #list = undefined; // made when somebody looks
  #known = false;

  get value() {
    if (this.#known) this.#list ??= Object.freeze([...this.#items.values()]);
    return this.#list;
  }

  /** @param {any} data */
  replace(data) {
    this.#known = true;
    this.#list = undefined;
    this.#last.clear();
    this.#items = new Map(data.map((/** @type {any} */ item) => [item.id, item]));
  }

  /** @param {any} event @param {string} id */
  change(event, id) {
    this.#list = undefined;
    if (event.type === "delete") this.#items.delete(id);
    else this.#items.set(id, event.data);
  }

  /** @param {any} frame */
  isNewer({ id, timestamp, event }) {
    if (!this.#known || !(timestamp > (this.#last.get(id) ?? -Infinity))) return false;
    if (event.type === "delete" && !this.#items.has(id)) return false; // told to who asked for that item
    this.#last.set(id, timestamp);
    return true;
  }
}

/** What `item` and `group` give. */
class Subscription {
  #source;
  #release;
  #open = true;
  /** @type {(() => void)[]} */
  #offs = [];

  /** @param {Source} source @param {() => void} release */
  constructor(source, release) {
    this.#source = source;
    this.#release = release;
  }

  get value() {
    return this.#source.value;
  }

  get live() {
    return this.#open && this.#source.live;
  }

  get error() {
    return this.#source.error;
  }

  /** @param {(value: any, subscription: any) => void} listener */
  subscribe(listener) {
    const tell = () => listener(this.value, this);
    const off = this.#add(this.#source.changed, tell);
    if (this.value !== undefined) guarded(tell);
    return off;
  }

  /** @param {string} type @param {(...told: any[]) => void} listener */
  on(type, listener) {
    const all = this.#source.listeners;
    let those = all.get(type);
    if (those === undefined) all.set(type, (those = new Set()));
    return this.#add(those, (/** @type {any[]} */ ...told) => listener(...told));
  }

  close() {
    if (!this.#open) return;
    this.#open = false;
    for (const off of this.#offs) off();
    this.#offs = [];
    this.#release();
  }

  /** @param {Set<any>} listeners @param {any} listener */
  #add(listeners, listener) {
    if (!this.#open) throw new Error("motia-stream: the subscription is closed");
    listeners.add(listener);
    const off = () => void listeners.delete(listener);
    this.#offs.push(off);
    return off;
  }
}

/** The refusal of a join, which comes as an event. @param {any} event */
function refusalOf(event) {
  const { type, data } = event.event ?? {};
  return event.type === "event" && type === "error" && REFUSALS.has(data?.code) ? data : undefined;
}

/** @param {string} stream @param {string} group @param {string | undefined} id */
function keyOf(stream, group, id) {
  return JSON.stringify([stream, group, id]);
}

/** What a WebSocket is opened on; an http address means the same host. @param {string | URL} url */
function address(url) {
  const found = new URL(url, globalThis.location?.href);
  if (found.protocol === "http:") found.protocol = "ws:";
  if (found.protocol === "https:") found.protocol = "wss:";
  if (found.protocol !== "ws:" && found.protocol !== "wss:") {
    throw new TypeError(`motia-stream: ${found.href} is no http, https, ws or wss address`);
  }
  found.hash = "";
  return found.href;
}

/**
 * One listener's error is not the others': it goes to where uncaught ones go.
 *
 * @param {(...args: any[]) => void} call
 * @param {any[]} args
 */
function guarded(call, ...args) {
  try {
    call(...args);
  } catch (problem) {
    queueMicrotask(() => {
      throw problem;
    });
  }
}

/** Version 4 (RFC 9562); `crypto.randomUUID` is missing on pages without https. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
