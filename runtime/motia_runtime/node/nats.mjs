// One connection to NATS: publish, subscribe, request, over reconnects. What a worker needs of the client protocol
// (https://docs.nats.io/reference/reference-protocols/nats-protocol), and no more. docs/decisions/0015 says why it is our own.

import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import net from "node:net";
import tls from "node:tls";
import { signNonce, readCreds, readSeed } from "./nkeys.mjs";
import { CRLF, Parser } from "./parser.mjs";

const CONNECT = 10_000; // milliseconds that a connection may take
const AGAIN = [200, 5_000]; // milliseconds between attempts, first and longest
const PING = 5_000; // milliseconds between pings; two without an answer end the connection

/** There is no connection, or it broke before the answer came. */
export class Disconnected extends Error {
  name = "Disconnected";
}

/** Nobody listens to what was asked. */
export class NoResponders extends Error {
  name = "NoResponders";
}

/** The servers of a URL list, with what stands in them of credentials. */
export function serversOf(urls) {
  return urls.split(",").map((text) => {
    const url = new URL(text.trim().includes("://") ? text.trim() : `nats://${text.trim()}`);
    if (!["nats:", "tls:"].includes(url.protocol)) {
      throw new Error(`${url.protocol}// can't be used by this worker; nats:// and tls:// can`);
    }
    return {
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: Number(url.port || 4222),
      tls: url.protocol === "tls:",
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
    };
  });
}

/** How to reach a broker, from the environment, as the Python side has it. */
export function settingsFrom(environ) {
  const read = (name) => (environ[name] ? readFileSync(environ[name]) : undefined);
  return {
    servers: serversOf(environ.NATS_URL || "nats://127.0.0.1:4222"),
    user: environ.NATS_USER,
    password: environ.NATS_PASSWORD,
    token: environ.NATS_TOKEN,
    creds: environ.NATS_CREDS,
    nkey: environ.NATS_NKEY,
    tls: environ.NATS_CA || environ.NATS_CERT ? { ca: read("NATS_CA"), cert: read("NATS_CERT"), key: read("NATS_KEY") } : undefined,
  };
}

export class Nats {
  /** `log(level, message)` is told of what happens to the connection; `rights` knows what to say of what the server refuses. Call `connect` once. */
  constructor(settings, { name, rights = { message: (text) => `NATS: ${text}` }, log = () => {} }) {
    this.settings = settings;
    this.name = name;
    this.log = log;
    this.rights = rights;
    this.servers = [...settings.servers];
    this.up = false;
    this.maxPayload = 1 << 20;
    this.inbox = `_INBOX.${randomBytes(11).toString("hex")}.`;
    this.subscriptions = new Map(); // sid -> { subject, queue, heard }
    this.sid = 0;
    this.token = 0;
    this.asks = new Map(); // token -> { resolve, reject, timer }
    this.pongs = [];
    this.out = [];
    this.outBytes = false; // whether a Buffer is among what waits to be written
    this.closing = false;
    this.socket = undefined;
    this.subscribe(`${this.inbox}*`, (subject, reply, data, head, status) => this.#answered(subject, data, status));
  }

  /** Resolves with the first connection; rejects when no server can be reached or lets us in. */
  async connect() {
    let last;
    for (const server of [...this.servers]) {
      try {
        await this.#dial(server);
        return this;
      } catch (problem) {
        last = problem;
      }
    }
    throw last;
  }

  /** Queue a message; dropped while there is no connection. `data`: text or bytes. */
  publish(subject, data = "", { reply = "", head } = {}) {
    if (!this.up) return;
    if (head === undefined && typeof data === "string") {
      this.#write(`PUB ${subject} ${reply} ${Buffer.byteLength(data)}\r\n${data}\r\n`);
      return;
    }
    const body = typeof data === "string" ? Buffer.from(data) : data;
    if (head === undefined) {
      this.#write(`PUB ${subject} ${reply} ${body.length}\r\n`);
    } else {
      const lines = Object.entries(head).map(([key, value]) => `${key}: ${value}\r\n`);
      const block = `NATS/1.0\r\n${lines.join("")}\r\n`;
      const size = Buffer.byteLength(block);
      this.#write(`HPUB ${subject} ${reply} ${size} ${size + body.length}\r\n${block}`);
    }
    this.#write(body);
    this.#write(CRLF);
  }

  /** The answer to a message, as bytes. `send(reply)` sends it, if it is more than one publish. */
  request(subject, data, { timeout = 5_000, send } = {}) {
    return new Promise((resolve, reject) => {
      if (!this.up) {
        reject(new Disconnected("there is no connection to NATS"));
        return;
      }
      const token = String(++this.token);
      const timer = setTimeout(() => {
        this.asks.delete(token);
        reject(new Disconnected(`no answer within ${timeout / 1000} s`));
      }, timeout);
      timer.unref();
      this.asks.set(token, { resolve, reject, timer });
      const reply = this.inbox + token;
      if (send) send(reply);
      else this.publish(subject, data, { reply });
    });
  }

  /** Have `heard(subject, reply, data, head, status)` called with each message. Gives a number for `unsubscribe`. */
  subscribe(subject, heard, { queue = "" } = {}) {
    const sid = ++this.sid;
    this.subscriptions.set(String(sid), { subject, queue, heard });
    if (this.up) this.#write(`SUB ${subject} ${queue} ${sid}\r\n`);
    return sid;
  }

  /** Resolves when nothing more comes; what the broker had sent before was heard. */
  async unsubscribe(sid) {
    if (this.up) {
      this.#write(`UNSUB ${sid}\r\n`);
      await this.flush().catch(() => {});
    }
    this.subscriptions.delete(String(sid));
  }

  /** Resolves when the broker has taken all that was sent before. */
  flush() {
    return new Promise((resolve, reject) => {
      if (!this.up) {
        reject(new Disconnected("there is no connection to NATS"));
        return;
      }
      this.pongs.push({ resolve, reject });
      this.#write("PING\r\n");
    });
  }

  async close() {
    if (this.up) await Promise.race([this.flush().catch(() => {}), new Promise((done) => setTimeout(done, 1_000).unref())]);
    this.closing = true;
    this.socket?.destroy();
    this.#lost();
  }

  // -- the life of a connection

  #dial(server) {
    return new Promise((resolve, reject) => {
      let socket = net.connect({ host: server.host, port: server.port, noDelay: true });
      let settled = false;
      const late = setTimeout(() => fail(new Error(`no connection to NATS at ${where(server)} within ${CONNECT / 1000} s`)), CONNECT);
      const fail = (problem) => {
        clearTimeout(late);
        socket.destroy();
        if (!settled) {
          settled = true;
          reject(problem);
        }
      };
      const failed = (problem) => fail(new Error(`no connection to NATS at ${where(server)}: ${problem.message || problem.code}`));
      socket.once("error", failed);
      socket.once("close", () => fail(new Error(`NATS at ${where(server)} closed the connection`)));
      let head = Buffer.alloc(0);
      const first = (chunk) => {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf(CRLF);
        if (end < 0) return;
        socket.removeListener("data", first);
        const info = JSON.parse(head.subarray(5, end).toString());
        const rest = head.subarray(end + 2);
        if (info.tls_required || server.tls || this.settings.tls) {
          socket.removeAllListeners("close");
          socket.removeListener("error", failed);
          const secure = { ...this.settings.tls, socket, servername: net.isIP(server.host) ? undefined : server.host, host: server.host };
          socket = tls.connect(secure, () => greet(info, rest));
          socket.once("error", failed);
          socket.once("close", () => fail(new Error(`NATS at ${where(server)} closed the connection`)));
        } else greet(info, rest);
      };
      socket.on("data", first);

      const greet = (info, rest) => {
        let options;
        try {
          options = this.#options(info, server);
        } catch (problem) {
          fail(problem);
          return;
        }
        const parser = new Parser(this, socket);
        const welcome = {
          pong: () => {
            clearTimeout(late);
            settled = true;
            socket.removeAllListeners("error");
            socket.removeAllListeners("close");
            this.#cameUp(socket, info, parser);
            resolve();
          },
          err: (text) => fail(new Error(`NATS at ${where(server)} refuses the connection: ${text}`)),
        };
        parser.welcome = welcome;
        socket.on("data", (chunk) => parser.take(chunk));
        socket.write(`CONNECT ${JSON.stringify(options)}\r\nPING\r\n`);
        if (rest.length) parser.take(rest);
      };
    });
  }

  #options(info, server) {
    const settings = this.settings;
    const options = {
      verbose: false,
      pedantic: false,
      lang: "motia-node",
      version: process.versions.node,
      protocol: 1,
      headers: true,
      no_responders: true,
      name: this.name,
      tls_required: Boolean(info.tls_required),
    };
    const user = settings.user || server.user;
    if (settings.creds) {
      const { jwt, seed } = readCreds(settings.creds); // read again each time: they may have been renewed
      options.jwt = jwt;
      options.sig = signNonce(seed, info.nonce ?? "").signature;
    } else if (settings.nkey) {
      const { signature, nkey } = signNonce(readSeed(settings.nkey), info.nonce ?? "");
      options.nkey = nkey;
      options.sig = signature;
    } else if (settings.token || (user && !settings.password && !server.password)) options.auth_token = settings.token || user;
    else if (user) {
      options.user = user;
      options.pass = settings.password || server.password;
    }
    return options;
  }

  #cameUp(socket, info, parser) {
    parser.welcome = undefined;
    this.socket = socket;
    this.up = true;
    this.took(info);
    this.out = [];
    for (const [sid, { subject, queue }] of this.subscriptions) this.#write(`SUB ${subject} ${queue} ${sid}\r\n`);
    socket.on("error", () => {}); // "close" follows
    let missed = 0;
    parser.alive = () => (missed = 0);
    const pinging = setInterval(() => {
      if (missed++ >= 2) socket.destroy();
      else this.flush().catch(() => {});
    }, PING);
    pinging.unref();
    socket.once("close", () => {
      clearInterval(pinging);
      this.#lost();
      if (!this.closing) {
        this.log("warning", "lost the connection to NATS, reconnecting");
        void this.#reconnect();
      }
    });
  }

  /** What an error of the server's says. */
  refused(text) {
    const message = this.rights.message(text);
    if (message) this.log("error", message);
  }

  /** What an INFO of the server's says. */
  took(info) {
    this.maxPayload = info.max_payload ?? this.maxPayload;
    for (const url of info.connect_urls ?? []) {
      const [found] = serversOf(url);
      if (!this.servers.some((known) => known.host === found.host && known.port === found.port)) {
        this.servers.push({ ...found, tls: this.servers[0].tls, user: this.servers[0].user, password: this.servers[0].password });
      }
    }
  }

  #lost() {
    this.up = false;
    const asks = [...this.asks.values()];
    this.asks.clear();
    for (const { reject, timer } of asks) {
      clearTimeout(timer);
      reject(new Disconnected("the connection to NATS broke"));
    }
    const pongs = this.pongs;
    this.pongs = [];
    for (const { reject } of pongs) reject(new Disconnected("the connection to NATS broke"));
  }

  async #reconnect() {
    let [wait, longest] = AGAIN;
    while (!this.closing) {
      for (const server of [...this.servers]) {
        try {
          await this.#dial(server);
          this.log("info", "connected to NATS again");
          return;
        } catch (problem) {
          if (wait >= longest) this.log("warning", problem.message);
        }
        if (this.closing) return;
      }
      await new Promise((done) => setTimeout(done, wait));
      wait = Math.min(wait * 2, longest);
    }
  }

  // -- bytes

  /** All that one turn of the event loop produces goes out in one piece. */
  #write(data) {
    if (this.out.length === 0) queueMicrotask(() => this.#flush());
    if (typeof data !== "string") this.outBytes = true;
    this.out.push(data);
  }

  #flush() {
    const out = this.out;
    this.out = [];
    const bytes = this.outBytes;
    this.outBytes = false;
    if (!out.length || !this.up || this.socket.destroyed) return;
    if (!bytes) this.socket.write(out.length === 1 ? out[0] : out.join(""));
    else this.socket.write(Buffer.concat(out.map((one) => (typeof one === "string" ? Buffer.from(one) : one))));
  }

  pong() {
    this.pongs.shift()?.resolve();
  }

  ping() {
    this.#write("PONG\r\n");
  }

  message(sid, subject, reply, data, head, status) {
    const subscription = this.subscriptions.get(sid);
    if (subscription === undefined) return;
    try {
      subscription.heard(subject, reply, data, head, status);
    } catch (problem) {
      this.log("error", `a message could not be handled: ${problem.stack ?? problem}`);
    }
  }

  #answered(subject, data, status) {
    const token = subject.slice(this.inbox.length);
    const ask = this.asks.get(token);
    if (ask === undefined) return;
    this.asks.delete(token);
    clearTimeout(ask.timer);
    if (status === 503) ask.reject(new NoResponders("nobody listens to what was asked"));
    else ask.resolve(data);
  }
}

const where = (server) => `${server.host}:${server.port}`;
