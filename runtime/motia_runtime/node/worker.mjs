// The worker for TypeScript and JavaScript: `node worker.mjs`, started by `motia dev`, `motia start` and `motia worker`.
//
// stdin: a manifest (JSON, one line), then lines that say what to do: "serve", "leave SECONDS". Its end means that whoever started us is gone.
// stdout: lines that begin with the control character RS are for whoever started us; all else is what handlers print.
// NATS_URL and its like in the environment say how to reach the broker. docs/worker-protocol.md is the rest.

import { randomBytes } from "node:crypto";
import readline from "node:readline";
import "./loader.mjs";
import { Beats } from "./beats.mjs";
import { contextOf } from "./context.mjs";
import { failed, placed } from "./errors.mjs";
import { Line } from "./line.mjs";
import { Nats, settingsFrom } from "./nats.mjs";
import { Rights } from "./rights.mjs";
import { Endpoint, QUEUE, Service } from "./service.mjs";
import { HandlerError, loadSteps, requestOf, resultOf } from "./steps.mjs";

const PROTOCOL = 1;
const HEARTBEAT = 1; // seconds
const FETCH = 30; // seconds that a piece of a large run may take

const exit = process.exit.bind(process);
const tell = (message) => process.stdout.write(`\x1e${JSON.stringify(message)}\n`);
const log = (level, message) => tell({ log: level, message });

/** Serves the steps of a manifest, once `serve` is called, until it leaves. */
class Worker {
  constructor(manifest, nats, steps, beats) {
    this.manifest = manifest;
    this.nats = nats;
    this.steps = steps;
    this.beats = beats;
    this.running = new Map(); // by the subject of the run
    this.fetching = 0;
    this.quiet = () => {};
    this.listening = [];
    for (const step of steps.values()) step.endpoint = new Endpoint(step.endpoint, step.subject, step.name);
    this.service = new Service(nats, {
      id: randomBytes(11).toString("hex"),
      name: `${manifest.prefix}_node`,
      version: manifest.version,
      description: `TypeScript and JavaScript steps of ${manifest.app}`,
      metadata: { "Motia-Protocol": String(PROTOCOL), "Motia-Capacity": String(manifest.capacity), node: process.versions.node },
      endpoints: [...steps.values()].map((step) => step.endpoint),
    });
  }

  async serve() {
    for (const step of this.steps.values()) {
      this.nats.subscribe(step.cancel, (_, __, data) => this.#cancelled(data));
      this.listening.push(this.nats.subscribe(step.subject, (_, to, data) => to && this.#heard(to, data), { queue: QUEUE }));
    }
    this.service.start();
    await this.nats.flush();
  }

  /** Take no more, let what runs finish for so many seconds, give back the rest. */
  async leave(grace) {
    await Promise.all([this.service.stop(), ...this.listening.map((sid) => this.nats.unsubscribe(sid))]);
    if (this.running.size || this.fetching) {
      let late;
      await Promise.race([
        new Promise((done) => (this.quiet = done)),
        new Promise((done) => (late = setTimeout(done, grace * 1000))),
      ]);
      clearTimeout(late);
    }
    for (const [to, { line }] of this.running) {
      line.end('{"type":"refused","why":"draining"}');
      this.#drop(to, "the worker leaves");
    }
    await this.beats.close();
    await this.nats.close();
  }

  // -- runs

  #heard(to, data) {
    let run;
    try {
      run = JSON.parse(data);
    } catch (problem) {
      this.#refuse(to, "protocol", `what came is no run: ${problem.message}`);
      return;
    }
    if (run?.protocol !== PROTOCOL) {
      this.#refuse(to, "protocol", `the engine speaks protocol ${run?.protocol}, this worker ${PROTOCOL}; update the older one`);
    } else if (this.running.size + this.fetching >= this.manifest.capacity) this.#refuse(to, "busy");
    else if (run.type === "claim") void this.#fetch(run, to);
    else if (run.type === "run") this.#begin(run, to);
    else this.#refuse(to, "protocol", `what came is no run: ${run.type}`);
  }

  #refuse(to, why, message) {
    this.nats.publish(to, JSON.stringify({ type: "refused", why, ...(message ? { message } : {}) }));
  }

  async #fetch(claim, to) {
    this.fetching++;
    try {
      this.#begin(JSON.parse(await new Line(this.nats, to, FETCH).fetch(claim)), to);
    } catch (problem) {
      log("warning", `a large run could not be read: ${problem.message}`); // its engine will find that nobody has it
    } finally {
      this.fetching--;
      this.#settle();
    }
  }

  #begin(run, to) {
    const step = this.steps.get(run.step);
    if (step === undefined) {
      this.#refuse(to, "unknown", `this worker has no step ${JSON.stringify(run.step)}`);
      return;
    }
    const line = new Line(this.nats, to, run.timeout);
    const abort = new AbortController();
    const running = { line, abort, step, began: performance.now(), slot: this.beats.begin(to, run.timeout) };
    this.running.set(to, running);
    this.#call(run, running).then(
      (result) => this.#ended(to, running, `{"type":"done"${result}${line.takeEffects()}}`),
      (problem) => {
        const told = failed(problem, this.manifest.root);
        this.#ended(to, running, JSON.stringify(told), told.message);
      },
    );
  }

  /** The member `result` of what is said in the end. */
  async #call(run, { line, step, abort }) {
    const ctx = contextOf(run, line, abort.signal);
    if (run.function === "condition") {
      if (!step.ask) throw new HandlerError(`${run.step} has no condition here`);
      return resultOf(await step.ask(run.input, ctx));
    }
    if (run.config.kind !== "api") {
      await step.call(run.input, ctx);
      return "";
    }
    return resultOf(await step.call(requestOf(run.input), ctx));
  }

  #ended(to, running, message, error) {
    if (this.running.get(to) !== running) return; // cancelled, or given back
    this.running.delete(to);
    this.beats.end(running.slot);
    running.step.endpoint.count(performance.now() - running.began, error);
    running.line.end(message);
    this.#settle();
  }

  #cancelled(data) {
    this.#drop(JSON.parse(data).run, "the run was cancelled");
  }

  #drop(to, why) {
    const running = this.running.get(to);
    if (running === undefined) return;
    this.running.delete(to);
    this.beats.end(running.slot);
    running.line.over = true;
    running.step.endpoint.count(performance.now() - running.began, why);
    running.abort.abort(new Error(why));
    this.#settle();
  }

  #settle() {
    if (!this.running.size && !this.fetching) this.quiet();
  }
}

/** A handler may end its run, not the process of all of them. */
function keepProcess(root) {
  process.exit = (code) => {
    const problem = new Error(`the handler called process.exit(${code ?? ""})`);
    problem.name = "HandlerExited";
    throw problem;
  };
  process.on("unhandledRejection", (problem) => log("error", `a promise that nobody awaits was rejected: ${placed(problem, root)}`));
  process.on("uncaughtException", (problem) => {
    log("error", `an error outside of any run ends the worker: ${placed(problem, root)}`);
    process.stdout.write("", () => exit(1));
  });
}

async function main() {
  // ^C and SIGTERM reach whoever started us, who says when to leave
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => {});
  const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const manifest = JSON.parse((await lines.next()).value);
  keepProcess(manifest.root);
  let worker;
  try {
    const steps = await loadSteps(manifest);
    const noZod = globalThis[Symbol.for("motia.zod")]; // zod.cjs has stood in
    if (noZod) {
      noZod.loaded = true;
      log("info", "zod is not installed: handlers run, since their config blocks are not read (the schemas are in motia.yaml); to use it in handlers: npm install zod");
    }
    const settings = settingsFrom(process.env);
    const nats = await new Nats(settings, { name: `motia worker ${manifest.app}`, rights: new Rights(manifest.prefix), log }).connect();
    const beats = new Beats(settings, manifest.capacity, HEARTBEAT);
    await beats.ready;
    worker = new Worker(manifest, nats, steps, beats);
  } catch (problem) {
    tell({ broken: problem instanceof HandlerError ? problem.message : (problem?.message ?? String(problem)), handler: problem instanceof HandlerError });
    process.stdout.write("", () => exit(1));
    return;
  }
  tell({ ready: true });
  for await (const line of { [Symbol.asyncIterator]: () => lines }) {
    const [word, seconds] = line.split(" ");
    if (word === "serve") {
      await worker.serve();
      tell({ serving: true });
    } else if (word === "leave") {
      await worker.leave(Number(seconds));
      process.stdout.write("", () => exit(0));
      return;
    }
  }
  exit(0); // whoever started us is gone
}

await main();
