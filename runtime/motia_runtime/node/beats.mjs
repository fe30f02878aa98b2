// Signs of life of long runs, from a thread and a connection of its own: a handler that blocks the main thread is alive all the same.
//
// Main thread and this one share a table: for each run under way its subject and when its time is over. When the main thread stands still and a run is past its
// time, which no timer can end any more, the process is killed: whoever started it starts another, and its runs go elsewhere.

import { writeSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const TICK = 250; // milliseconds between signs of the main thread, and between looks at them
const STILL = 2_000; // milliseconds without one after which it counts as blocked
const PAST = 1_000; // milliseconds beyond the end of a run's time
const SUBJECT = 256; // bytes
const SLOT = SUBJECT + 32; // state, length, began, deadline, subject
const HEAD = 16; // bytes: ticks

/** The main thread's end. Lives as long as the worker. */
export class Beats {
  constructor(settings, capacity, heartbeat) {
    this.shared = new SharedArrayBuffer(HEAD + capacity * SLOT);
    this.ints = new Int32Array(this.shared);
    this.floats = new Float64Array(this.shared);
    this.bytes = Buffer.from(this.shared);
    this.free = Array.from({ length: capacity }, (_, slot) => capacity - 1 - slot);
    this.ticking = setInterval(() => Atomics.add(this.ints, 0, 1), TICK);
    this.ticking.unref();
    this.thread = new Worker(new URL(import.meta.url), {
      workerData: { settings: { ...settings, tls: settings.tls }, shared: this.shared, capacity, heartbeat },
      stdout: false,
      stderr: false,
    });
    this.thread.unref();
    this.ready = new Promise((resolve, reject) => {
      this.thread.once("message", resolve);
      this.thread.once("error", reject);
    });
  }

  /** Begin to show signs of life of a run. Gives a number for `end`. */
  begin(subject, timeout) {
    const slot = this.free.pop();
    if (slot === undefined) return -1;
    const at = HEAD + slot * SLOT;
    const now = Date.now();
    this.ints[at / 4 + 1] = this.bytes.write(subject, at + 32, SUBJECT, "latin1");
    this.floats[at / 8 + 1] = now;
    this.floats[at / 8 + 2] = now + timeout * 1000;
    Atomics.store(this.ints, at / 4, 1);
    return slot;
  }

  end(slot) {
    if (slot < 0) return;
    Atomics.store(this.ints, (HEAD + slot * SLOT) / 4, 0);
    this.free.push(slot);
  }

  async close() {
    clearInterval(this.ticking);
    await this.thread.terminate();
  }
}

async function watch({ settings, shared, capacity, heartbeat }) {
  const { Nats } = await import("./nats.mjs");
  const nats = await new Nats(settings, { name: "motia worker (signs of life)" }).connect();
  const ints = new Int32Array(shared);
  const floats = new Float64Array(shared);
  const bytes = Buffer.from(shared);
  const every = heartbeat * 1000;
  let seen = Atomics.load(ints, 0);
  let moved = Date.now();
  let told = 0;
  const parent = process.ppid;
  parentPort.postMessage("ready");
  setInterval(() => {
    const now = Date.now();
    const ticks = Atomics.load(ints, 0);
    if (ticks !== seen) {
      seen = ticks;
      moved = now;
    }
    if (process.ppid !== parent) process.kill(process.pid, "SIGKILL"); // who started us is gone
    const due = now - told >= every - TICK / 2;
    if (due) told = now;
    for (let slot = 0; slot < capacity; slot++) {
      const at = HEAD + slot * SLOT;
      if (!Atomics.load(ints, at / 4)) continue;
      if (due && now - floats[at / 8 + 1] >= every / 2) {
        const subject = bytes.latin1Slice(at + 32, at + 32 + ints[at / 4 + 1]);
        if (Atomics.load(ints, at / 4)) nats.publish(subject, '{"type":"alive"}');
      }
      if (now - moved > STILL && now - floats[at / 8 + 2] > PAST) {
        writeSync(2, `a handler has blocked this worker for ${Math.round((now - moved) / 1000)} s, past the timeout of its run; the process is killed\n`);
        process.kill(process.pid, "SIGKILL");
      }
    }
  }, TICK);
}

if (!isMainThread && workerData?.shared) await watch(workerData);
