"""The codes about topics, steps and handlers (M3xx to M9xx). In examples, `# file: NAME` begins another file of the project."""

from motia_spec.code import Code

_STEP = "steps:\n  A: { type: api, method: GET, path: /a, emits: [a.done] }\n"

RULE_CODES: tuple[Code, ...] = (
    Code(
        "M301",
        "undeclared topic",
        "A step emits or subscribes to a topic that `topics` does not declare. Topics own their schemas, so each is declared once; "
        "`topics: { order.created: {} }` takes any JSON.",
        "topics:\n  order.created: {}\nsteps:\n  A: { type: api, method: GET, path: /a, emits: [order.craeted] }\n",
    ),
    Code(
        "M302",
        "topic without a subscriber",
        "Events of the topic are stored and nothing handles them. Subscribe a step, or say `external: out` when another app does.",
        f"topics:\n  a.done: {{}}\n{_STEP}",
    ),
    Code(
        "M303",
        "topic without an emitter",
        "Nothing in the app emits the topic, so what subscribes to it never runs. Emit it, or say `external: in` when another app does.",
        "topics:\n  a.done: {}\nsteps:\n  A: { type: event, subscribes: [a.done] }\n",
    ),
    Code(
        "M304",
        "unreachable step",
        "No chain of events leads to the step from anything that starts by itself: an api step, a cron step, a noop step without "
        "subscriptions, or an `external: in` topic.",
        "topics:\n  a: {}\n  b: {}\nsteps:\n  A: { type: event, subscribes: [a], emits: [b] }\n  B: { type: event, subscribes: [b], emits: [a] }\n",
    ),
    Code(
        "M305",
        "cycle",
        "Steps feed each other, so one event can go round for ever; so may a step that uses the state or the stream whose changes run it. "
        "When that is meant and ends (a retry loop, an agent's turns, a step that only reads), say "
        "`allowCycle: true` at one of the steps, or at a topic between them.",
        "topics:\n  a: {}\nsteps:\n  Start: { type: api, method: GET, path: /a, emits: [a] }\n"
        "  Loop: { type: event, subscribes: [a], emits: [a] }\n",
    ),
    Code(
        "M306",
        "payload never fits its topic",
        "What a noop step sends on, its `manual.input` or its `onTimeout.data`, can never fit the schema of the topic: another type, a "
        "required property that is not there, a constant that differs.",
        "topics:\n  late: { schema: { type: object, required: [id] } }\nsteps:\n  Ask:\n    type: noop\n    manual:\n      timeout: 1h\n"
        "      onTimeout: { topic: late, data: { reason: too late } }\n",
    ),
    Code(
        "M307",
        "too many edges",
        "The steps and topics make a graph of more than 50,000 edges, which can be neither drawn nor understood. Split the topics, or the app.",
        "topics:\n  a: {}\nsteps:\n"
        + "".join(f"  E{n}: {{ type: api, method: GET, path: /e/{n}, emits: [a] }}\n" for n in range(230))
        + "".join(f"  S{n}: {{ type: event, subscribes: [a] }}\n" for n in range(230)),
    ),
    Code(
        "M401",
        "two steps on one route",
        "Two api steps answer the same method and path. The names of path parameters don't tell requests apart: `/x/{id}` and "
        "`/x/{name}` are one route.",
        "steps:\n  A: { type: api, method: GET, path: '/x/{id}' }\n  B: { type: api, method: GET, path: '/x/{name}' }\n",
    ),
    Code(
        "M402",
        "bad path",
        "The path of an api step can't be read. It starts with a slash and has neither query nor fragment; a parameter is a whole segment, "
        "`{id}` (or `:id`), and `{rest:path}`, as the last segment, takes the rest.",
        "steps:\n  A: { type: api, method: GET, path: orders }\n",
    ),
    Code(
        "M403",
        "reserved path",
        "The runtime serves /__motia, /__workbench, /healthz, /readyz and /schema itself, and what is below them.",
        "steps:\n  A: { type: api, method: GET, path: /healthz }\n",
    ),
    Code(
        "M404",
        "names too alike",
        "Two steps would share a handler file or a generated type, or a step and a schema would be the same type.",
        "steps:\n  create-order: { type: noop }\n  createOrder: { type: noop }\n",
    ),
    Code(
        "M406",
        "unknown retry policy",
        "`retry` names a policy that `policies.retry` does not have. A mapping in its place is a policy of that step alone.",
        "topics: { a: {} }\nsteps:\n  A: { type: event, subscribes: [a], retry: patient }\n",
    ),
    Code(
        "M407",
        "unknown state group or stream",
        "A step uses, or subscribes to, a state group or a stream that the spec does not have.",
        "state:\n  orders: {}\nsteps:\n  A: { type: api, method: GET, path: /a, uses: { state: [order] } }\n",
    ),
    Code(
        "M408",
        "unknown step in a flow",
        "A flow lists a step that the spec does not have.",
        "steps:\n  A: { type: noop }\nflows:\n  main: { steps: [A, B] }\n",
    ),
    Code(
        "M409",
        "secret is not set",
        "`secrets` names a variable that the environment does not set. Handlers that read it would fail.",
        "secrets: [SOME_SECRET_THAT_NOBODY_SETS]\nsteps:\n  A: { type: noop }\n",
    ),
    Code(
        "M410",
        "key is not in the events",
        "`orderBy`, `priority`, `dedupe.key`, `concurrency.key` or `join.by` names a property that the events of a subscribed topic never "
        "have, or `rateLimit.key` a parameter that is not in the path. A key of events starts with `data` and names properties, as in "
        "`data.customer.id`. Of a change of state there is `data.key`, and `data.value` with what is below it.",
        "topics:\n  a: { schema: { type: object, properties: { customerId: { type: string } } } }\n"
        "steps:\n  A: { type: event, subscribes: [a], orderBy: data.custmerId }\n",
    ),
    Code(
        "M411",
        "bad cron expression",
        "A cron expression has five fields, `minute hour day month weekday`, or six with seconds first, or is an alias such as `@hourly`.",
        'steps:\n  A: { type: cron, cron: "61 0 * * *" }\n',
    ),
    Code(
        "M412",
        "cron never fires",
        "No day fits the expression, such as 31 February.",
        'steps:\n  A: { type: cron, cron: "0 0 31 2 *" }\n',
    ),
    Code(
        "M413",
        "unknown time zone",
        "`timezone` is not a name of the IANA data base, such as Europe/Berlin or UTC.",
        'steps:\n  A: { type: cron, cron: "0 0 * * *", timezone: Europe/Berln }\n',
    ),
    Code(
        "M414",
        "cron every second",
        "With six fields the first one is the second; `* * * * * *` fires every second, which is seldom meant.",
        'steps:\n  A: { type: cron, cron: "* * * * * *" }\n',
    ),
    Code(
        "M415",
        "retries outlast their events",
        "All attempts of a step, with the waits between them, may take longer than events are kept (`nats.maxAge`). The event would "
        "vanish before its last attempt, without a dead letter.",
        "nats: { maxAge: 1h }\ntopics: { a: {} }\nsteps:\n"
        "  A: { type: event, subscribes: [a], retry: { attempts: 10, delay: 30m, max: 30m } }\n",
    ),
    Code(
        "M416",
        "bad duration or size",
        "A duration is one or more numbers with ms, s, m, h or d (`500ms`, `1h30m`), a size a number with B, KiB, MiB, GiB, KB, MB or GB. A "
        "timeout or a time to live is never 0.",
        "steps:\n  A: { type: api, method: GET, path: /a, timeout: 0s }\n",
    ),
    Code(
        "M417",
        "manual step that leads nowhere",
        "A noop step has `manual` and emits nothing, or `onTimeout` without `timeout`: filling in its form changes nothing.",
        "steps:\n  Ask: { type: noop, manual: { timeout: 1h } }\n",
    ),
    Code(
        "M418",
        "join that does not fit its topics",
        "A join waits for one event of each topic that the step subscribes to, so there are two or more of them, and no changes of state "
        "among them. `join.topics` may repeat them for the reader; then it names all of them and no other.",
        "topics: { a: {}, b: {} }\nsteps:\n  A: { type: event, subscribes: [a], join: { by: data.id } }\n",
    ),
    Code(
        "M419",
        "keys that exclude each other",
        "Two keys of one step contradict each other, such as `join` and `batch`, or `priority` and `orderBy`: either of them would have to "
        "be ignored. The message says why; leave out one, or make two steps of the one.",
        "topics: { a: {} }\nsteps:\n  A: { type: event, subscribes: [a], batch: { size: 10 }, orderBy: data.id }\n",
    ),
    Code(
        "M420",
        "priority is not a number",
        "`priority` names a property that is never a number in the events of a subscribed topic. Of the events that wait, the one with the "
        "higher number goes first.",
        "topics:\n  a: { schema: { type: object, properties: { urgency: { enum: [low, high] } } } }\n"
        "steps:\n  A: { type: event, subscribes: [a], priority: data.urgency }\n",
    ),
    Code(
        "M501",
        "not a handler",
        "A handler is a file of the project that ends in .py, .ts or .js, with `:function` when the function is not called `handler`. "
        "Modules and commands are not accepted.",
        'steps:\n  A: { type: api, method: GET, path: /a, handler: "os:system" }\n',
    ),
    Code(
        "M502",
        "handler outside of the project",
        "The path of a handler is absolute, climbs out of the project, or goes through a symbolic link that does.",
        "steps:\n  A: { type: api, method: GET, path: /a, handler: ../../a.py }\n",
    ),
    Code(
        "M503",
        "handler file is missing",
        "There is no file where the handler of a step should be: at `handler`, or at `steps/<snake_name>.py`. `motia gen` writes a stub.",
        "steps:\n  A: { type: api, method: GET, path: /a }\n",
    ),
    Code(
        "M504",
        "handler file is not Python",
        "Python can't read the handler's file. The finding stands in that file, where the error is.",
        "steps:\n  A: { type: api, method: GET, path: /a }\n# file: steps/a.py\nasync def handler(request, ctx)\n    pass\n",
    ),
    Code(
        "M505",
        "handler function is missing",
        "The file has no function of that name at its top level, or exports none. Without `:function` in `handler` it is called `handler`.",
        "steps:\n  A: { type: api, method: GET, path: /a }\n# file: steps/a.py\nasync def handle(request, ctx):\n    pass\n",
    ),
    Code(
        "M506",
        "handler is not a function",
        "The name is a class or a value. A handler is a function, async or plain.",
        "steps:\n  A: { type: api, method: GET, path: /a }\n# file: steps/a.py\nclass handler:\n    pass\n",
    ),
    Code(
        "M507",
        "handler takes other arguments",
        "An api handler is given `(request, ctx)`, an event handler `(data, ctx)`, a cron handler `(ctx)`, a middleware "
        "`(request, ctx, next)`. Further parameters need defaults.",
        "steps:\n  A: { type: api, method: GET, path: /a }\n# file: steps/a.py\nasync def handler(request):\n    pass\n",
    ),
    Code(
        "M508",
        "handler is a generator",
        "The function has a `yield`. Only the handler of an api step may be a generator: it streams its answer. With `idempotency` it may not, as that "
        "keeps answers that are given whole. Return the result.",
        'steps:\n  A: { type: cron, cron: "@daily" }\n# file: steps/a.py\nasync def handler(ctx):\n    yield 1\n',
    ),
    Code(
        "M509",
        "config block is not read",
        "A handler file of the original describes its step in `config`. Here motia.yaml does; the block changes nothing. In a Python file it marks the "
        "handler as one of the original's form, which is given dicts and the original's context: remove it when you bring the handler to the form of "
        "this version.",
        "steps:\n  A: { type: cron, cron: '@daily' }\n# file: steps/a.py\nconfig = {'type': 'cron', 'name': 'A', 'cron': '@daily'}\n\n\n"
        "async def handler(ctx):\n    pass\n",
    ),
    Code(
        "M510",
        "function in the wrong language",
        "Workers run handlers in TypeScript and JavaScript, with the middleware right around them and with their conditions. What the app calls itself is "
        "Python: `access`, `streamAuth`, the outer middleware, and all that belongs to a handler in Python.",
        "streams:\n  board: { access: steps/access.ts }\n",
    ),
)
