// A worker as a NATS micro service (ADR-32 of NATS): what `nats micro ls|info|stats` show.

const TYPE = "io.nats.micro.v1.";
export const QUEUE = "work";

/** One step: counts what becomes of its runs. */
export class Endpoint {
  constructor(name, subject, step) {
    Object.assign(this, { name, subject, step, requests: 0, errors: 0, lastError: "", spent: 0 });
  }

  count(milliseconds, error) {
    this.requests += 1;
    this.spent += milliseconds;
    if (error !== undefined) {
      this.errors += 1;
      this.lastError = error;
    }
  }

  get place() {
    return { name: this.name, subject: this.subject, queue_group: QUEUE };
  }
}

export class Service {
  constructor(nats, { id, name, version, description, metadata, endpoints }) {
    this.nats = nats;
    this.who = { name, id, version, metadata };
    this.description = description;
    this.endpoints = endpoints;
    this.started = new Date().toISOString();
    this.listening = [];
  }

  start() {
    const { name, id } = this.who;
    const verbs = { PING: () => this.#ping(), INFO: () => this.#info(), STATS: () => this.#stats() };
    for (const [verb, answer] of Object.entries(verbs)) {
      const heard = (_, reply) => reply && this.nats.publish(reply, JSON.stringify(answer()));
      for (const subject of [`$SRV.${verb}`, `$SRV.${verb}.${name}`, `$SRV.${verb}.${name}.${id}`]) {
        this.listening.push(this.nats.subscribe(subject, heard));
      }
    }
  }

  async stop() {
    await Promise.all(this.listening.map((sid) => this.nats.unsubscribe(sid)));
  }

  #ping() {
    return { type: `${TYPE}ping_response`, ...this.who };
  }

  #info() {
    const endpoints = this.endpoints.map((one) => ({ ...one.place, metadata: { step: one.step } }));
    return { type: `${TYPE}info_response`, ...this.who, description: this.description, endpoints };
  }

  #stats() {
    const endpoints = this.endpoints.map((one) => ({
      ...one.place,
      num_requests: one.requests,
      num_errors: one.errors,
      last_error: one.lastError,
      processing_time: Math.round(one.spent * 1e6),
      average_processing_time: one.requests ? Math.round((one.spent * 1e6) / one.requests) : 0,
    }));
    return { type: `${TYPE}stats_response`, ...this.who, started: this.started, endpoints };
  }
}
