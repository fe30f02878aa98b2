// Handlers of the golden project `shop` with one mistake on each marked line.
import type { Handlers, Order } from "motia";
import type { Missing } from "motia"; // wrong: no such type

export const createOrder: Handlers["CreateOrder"] = async (req, { emit, state, streams }) => {
  const { customerId, items } = req.body;
  const order: Order = { id: "1", customerId, items, total: 1 };
  const short: Order = { id: "1", items, total: 1 }; // wrong: a required property is missing
  await emit({ topic: "order.creatd", data: order }); // wrong: no such topic
  await emit({ topic: "order.paid", data: order }); // wrong: a topic of other steps
  await emit({ topic: "order.created", data: { day: "x" } }); // wrong: another payload
  await emit({ topic: "order.created", data: short, key: 1 }); // wrong: no such key
  await emit({ topic: "order.created" }); // wrong: no payload
  await emit("order.created", order); // wrong: another form
  await state.set("orders", "1", 5); // wrong: another value
  await state.set("orders", "1", { id: "1" }); // wrong: another value
  await state.set("carts", "1", {}); // wrong: a group the step does not use
  await state.get("carts", "1"); // wrong: a group the step does not use
  await state.getGroup("carts"); // wrong: a group the step does not use
  await streams.orders.get("a", "b"); // wrong: no such stream
  await streams.orderStatus.set("a", "b", { status: "lost", progress: 1 }); // wrong: no such status
  await streams.orderStatus.set("a", "b", { status: "new" }); // wrong: a required property is missing
  console.log(req.body.nothing); // wrong: no such property (and no console)
  req.body.note.length; // wrong: it may be absent
  req.queryParams.dry; // wrong: no such parameter
  (await state.get("orders", "1")).total; // wrong: it may be null
  return { status: 201, body: order };
};

// The type of each handler is a whole: what is wrong in an answer, the compiler reports at the handler's name.
export const status: Handlers["CreateOrder"] = async () => ({ status: 200, body: {} as Order }); // wrong: an undeclared status
export const body: Handlers["CreateOrder"] = async () => ({ status: 201, body: { id: 1 } }); // wrong: another body
export const none: Handlers["CreateOrder"] = async () => {}; // wrong: no answer
export const bare: Handlers["CreateOrder"] = async () => ({}) as Order; // wrong: no status
export const swapped: Handlers["CreateOrder"] = async () => ({ status: 409, body: {} as Order }); // wrong: the body of 201
export const event: Handlers["ScreenOrder"] = async (order: { no: string }) => {}; // wrong: another input
export const more: Handlers["ScreenOrder"] = async (order, ctx, next) => {}; // wrong: an event handler has no next
export const unknown: Handlers["Nobody"] = async () => {}; // wrong: no such step

export const getOrder: Handlers["GetOrder"] = async (req, { emit, streams }) => {
  req.pathParams.order; // wrong: no such parameter
  await emit({ topic: "order.created", data: {} as Order }); // wrong: the step emits nothing
  await streams.none.get("a", "b"); // wrong: no such stream
  return { status: 404, body: {} };
};

export const notify: Handlers["NotifyCustomer"] = async (input) => {
  input.reason; // wrong: only one of the two has it
};

export const nightly: Handlers["NightlyReport"] = async ({ emit, cancelEmit }) => {
  await emit({ topic: "report.requested", data: { day: 5 } }); // wrong: another payload
  await emit({ topic: "report.requested", data: {}, delay: "1s" }); // wrong: seconds are a number
  await cancelEmit("order.created", "daily"); // wrong: a topic of other steps
};
