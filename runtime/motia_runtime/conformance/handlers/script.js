// The handlers of the conformance app, in JavaScript: `handler` does what its input says, and keeps what it has seen.
import { appendFileSync, existsSync } from "node:fs"
import { NonRetryable, RetryLater } from "motia"

class Broken extends Error {}
class Skipped extends Broken {}

const ERRORS = {
  plain: () => new Broken("as told"),
  skipped: () => new Skipped("as told"),
  final: () => new NonRetryable("as told"),
  later: () => new RetryLater(100, "as told"),
}
const sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000))

const ACTS = {
  get: ({ state }, ...args) => state.get(...args),
  set: ({ state }, ...args) => state.set(...args),
  delete: async ({ state }, ...args) => (await state.delete(...args)) !== null,
  group: ({ state }, ...args) => state.getGroup(...args),
  clear: ({ state }, ...args) => state.clear(...args),
  emit: ({ emit }, topic, data) => emit({ topic, data }),
  "emit later": ({ emit }, topic, data, delay) => emit({ topic, data, delay }),
  flush: ({ flush }) => flush(),
  "stream get": ({ streams }, name, ...args) => streams[name].get(...args),
  "stream set": ({ streams }, name, ...args) => streams[name].set(...args),
  "stream delete": async ({ streams }, name, ...args) => (await streams[name].delete(...args)) !== null,
  "stream group": ({ streams }, name, ...args) => streams[name].getGroup(...args),
  "stream send": ({ streams }, name, groupId, type, data) => streams[name].send({ groupId }, { type, data }),
  log: ({ logger }, level, message, fields) => logger[level](message, fields),
  context: (ctx) => [ctx.step, ctx.attempt, ctx.traceId.length, ctx.topic, ctx.trigger.type, ctx.idempotencyKey],
  sleep: (_, seconds) => sleep(seconds),
  hold: async (_, file) => {
    appendFileSync(`${file}.begun`, `${process.pid}\n`)
    while (!existsSync(file)) await sleep(0.01)
  },
  compute: (_, seconds) => {
    const end = Date.now() + seconds * 1000
    while (Date.now() < end);
  },
  raise: (_, kind) => {
    throw ERRORS[kind]()
  },
  try: (ctx, command) => act(ctx, command).catch((problem) => problem.name),
}
const act = async (ctx, [what, ...args]) => ACTS[what](ctx, ...args)

export const handler = async (data, ctx) => {
  const saw = []
  for (const command of data.do) saw.push((await act(ctx, command)) ?? null)
  if (!data.quiet) await ctx.state.set("seen", data.id, saw)
}

export const wanted = async (data) => !data.unwanted

export const note = async (data, ctx) => {
  if (data.value?.sleep) await sleep(data.value.sleep)
  await ctx.state.set("seen", ctx.step, data)
}

export const tick = async (ctx) => {
  await ctx.state.set("seen", ctx.step, ctx.trigger.type)
}

export const answer = async (req, ctx) => {
  const given = req.body?.answer ?? {}
  for (const command of req.body?.do ?? []) await act(ctx, command)
  if (given.bytes) return { status: 200, headers: { "content-type": "image/png" }, body: Buffer.from(given.bytes) }
  if (given.echo) return { status: 200, body: [req.pathParams, req.queryParams, req.headers["x-a"] ?? null, Buffer.byteLength(req.rawBody)] }
  return given
}
