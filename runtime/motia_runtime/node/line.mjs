// What a run says to its engine, and asks of it. Effects wait for the next message; the engine takes them before it answers.

import { Refused } from "./errors.mjs";

const ROOM = 4_096; // bytes of a message left for subject and headers
const PIECE = "Motia-Piece";

/** Of one run, from its beginning to its end. */
export class Line {
  constructor(nats, to, timeout) {
    this.nats = nats;
    this.to = to;
    this.timeout = timeout * 1000 + 5_000; // milliseconds that an answer may take: the engine ends the run before
    this.effects = []; // JSON texts
    this.asked = 0;
    this.over = false;
  }

  /** Something that the run changes, when it ends well: a JSON text of what to do. */
  effect(text) {
    if (this.over) throw ended();
    this.effects.push(text);
  }

  /** The answer of the engine, decoded. Rejects with what it refuses. */
  async ask(what, ...args) {
    if (this.over) throw ended();
    const id = ++this.asked;
    const message = `{"type":"ask","id":${id},"what":"${what}","args":${JSON.stringify(args)}${this.takeEffects()}}`;
    let reply = JSON.parse(await this.#request(message));
    if (reply.type === "claim") reply = JSON.parse(await this.fetch(reply));
    if (reply.refusal) throw new Refused(reply.refusal, id);
    return reply.value ?? null;
  }

  say(level, message, fields) {
    if (!this.over) this.send(JSON.stringify({ type: "say", level, message, ...(fields === undefined ? {} : { fields }) }));
  }

  /** The last word. */
  end(message) {
    this.over = true;
    this.send(message);
  }

  /** As a member of a message, with the comma before it. */
  takeEffects() {
    if (this.effects.length === 0) return "";
    const text = `,"effects":[${this.effects.join(",")}]`;
    this.effects = [];
    return text;
  }

  send(text) {
    this.#post(text, "");
  }

  /** The message that a claim stands for. */
  async fetch({ claim, pieces }) {
    const found = [];
    for (let number = 0; number < pieces; number++) {
      found.push(await this.#request(`{"type":"ask","what":"piece","args":[${claim},${number}]}`));
    }
    return Buffer.concat(found);
  }

  #request(text) {
    return this.nats.request(this.to, text, { timeout: this.timeout, send: (reply) => this.#post(text, reply) });
  }

  /** In pieces what is too large; only the last has a reply subject. */
  #post(text, reply) {
    const room = this.nats.maxPayload - ROOM;
    if (text.length * 3 <= room || Buffer.byteLength(text) <= room) {
      this.nats.publish(this.to, text, { reply });
      return;
    }
    const data = Buffer.from(text);
    const count = Math.ceil(data.length / room);
    for (let number = 1; number <= count; number++) {
      const piece = data.subarray((number - 1) * room, number * room);
      const last = number === count;
      this.nats.publish(this.to, piece, { reply: last ? reply : "", head: { [PIECE]: `${number}/${count}` } });
    }
  }
}

const ended = () => new Error("the run has ended; nothing can be asked of its ctx any more");
