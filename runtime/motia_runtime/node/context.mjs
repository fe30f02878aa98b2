// What a handler gets as its second argument (a cron handler as its first), in the original's form.

/** `run`: as it came; `line`: to its engine. */
export function contextOf(run, line, signal) {
  const { config, trigger } = run;
  return {
    emit: async (event) => emit(line, run, event),
    cancelEmit: async (topic, key) => line.effect(JSON.stringify(["cancel_emit", topic, key])),
    state: new State(line),
    streams: streamsOf(line, config.streams),
    logger: new Logger(line),
    flush: async () => {
      await line.ask("flush");
    },
    traceId: run.traceparent.split("-")[1],
    traceparent: run.traceparent,
    tracestate: run.tracestate ?? "",
    step: run.step,
    flows: config.flows,
    attempt: run.attempt,
    trigger,
    topic: trigger.topic,
    idempotencyKey: run.run,
    signal,
  };
}

function emit(line, run, event) {
  const { topic, data, delay, at, key } = event ?? {};
  if (!run.config.emits.includes(topic)) {
    const declared = [...run.config.emits].sort().join(", ") || "none";
    const problem = new Error(`this step does not emit ${JSON.stringify(topic)} (it declares: ${declared}); add the topic to the step's \`emits\``);
    problem.name = "InvalidTopic";
    throw problem;
  }
  const more = delay === undefined && at === undefined && key === undefined ? "" : `,${[delay, at, key].map((x) => json(x)).join(",")}`;
  line.effect(`["emit",${JSON.stringify(topic)},${json(data)}${more}]`);
}

/** The value as it is at this moment. */
function json(value) {
  return JSON.stringify(value) ?? "null";
}

class State {
  #line;
  constructor(line) {
    this.#line = line;
  }

  /** The value, or null. A key that is read and then written is written only if nobody else wrote it in between. */
  get(group, key) {
    return this.#line.ask("get", group, key);
  }

  async set(group, key, value, options) {
    const ttl = options?.ttl === undefined ? "" : `,${json(options.ttl)}`;
    this.#line.effect(`["set",${json(group)},${json(key)},${json(value)}${ttl}]`);
    return value;
  }

  /** Gives what was there, or null. */
  async delete(group, key) {
    const old = await this.get(group, key);
    this.#line.effect(JSON.stringify(["delete", group, key]));
    return old;
  }

  /** Read, change, write: never loses a concurrent update. */
  async update(group, key, change) {
    return this.set(group, key, await change(await this.get(group, key)));
  }

  async getGroup(group) {
    return Object.values(await this.#line.ask("items", group));
  }

  async clear(group) {
    for (const key of Object.keys(await this.#line.ask("items", group))) this.#line.effect(JSON.stringify(["delete", group, key]));
  }
}

class Stream {
  #line;
  #name;
  constructor(line, name) {
    this.#line = line;
    this.#name = name;
  }

  get(group, id) {
    return this.#line.ask("stream_get", this.#name, group, id);
  }

  /** Written at once, not when the run commits. */
  async set(group, id, item) {
    await this.#line.ask("stream_set", this.#name, group, id, item);
    return item;
  }

  /** Gives what was there, or null. */
  async delete(group, id) {
    const old = await this.get(group, id);
    if (old !== null) await this.#line.ask("stream_delete", this.#name, group, id);
    return old;
  }

  getGroup(group) {
    return this.#line.ask("stream_group", this.#name, group);
  }

  /** Tell those who follow the group, or that item of it, at this moment; stored nowhere. */
  async send(channel, event) {
    await this.#line.ask("stream_send", this.#name, channel.groupId, channel.id ?? null, event.type, event.data ?? null);
  }
}

function streamsOf(line, names) {
  const made = {};
  return new Proxy(made, {
    get(_, name) {
      if (typeof name !== "string" || name === "then" || name === "toJSON") return undefined;
      if (!names.includes(name)) {
        throw new Error(`no stream ${JSON.stringify(name)} (declared: ${names.join(", ") || "none"}); add it under \`streams\` in the spec`);
      }
      return (made[name] ??= new Stream(line, name));
    },
    has: (_, name) => names.includes(name),
    ownKeys: () => [...names],
    getOwnPropertyDescriptor: (_, name) => (names.includes(name) ? { configurable: true, enumerable: true, value: undefined } : undefined),
  });
}

class Logger {
  #line;
  constructor(line) {
    this.#line = line;
    // handlers take it apart: const { info } = logger
    for (const level of ["debug", "info", "error"]) this[level] = (message, fields) => this.#say(level, message, fields);
    this.warn = this.warning = (message, fields) => this.#say("warning", message, fields);
  }

  #say(level, message, fields) {
    const text = typeof message === "string" ? message : (JSON.stringify(message) ?? String(message));
    this.#line.say(level, text, plain(fields));
  }
}

/** As an object of JSON; what JSON can't say is left as its text, so that a log line never fails a run. */
function plain(fields) {
  if (fields === undefined || fields === null) return undefined;
  try {
    const told = JSON.parse(JSON.stringify(fields, (_, value) => (value instanceof Error ? { name: value.name, message: value.message } : typeof value === "bigint" ? String(value) : value)));
    return typeof told === "object" && told !== null && !Array.isArray(told) ? told : { value: told };
  } catch {
    return { value: String(fields) };
  }
}
