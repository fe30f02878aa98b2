// Handlers of the golden project `shop`, in the original's form. No line may be an error.
import { NonRetryable, RetryLater } from "motia";
import type { ApiMiddleware, FlowContext, Handlers, Logger, MotiaStream, Order, Rejected } from "motia";

export const createOrder: Handlers["CreateOrder"] = async (req, { emit, state, streams, logger, traceId }) => {
  const { customerId, items, note } = req.body;
  logger.info("new order", { customerId, note: note?.toUpperCase(), traceId });
  if (req.queryParams.dryRun) {
    const rejected: Rejected = { orderId: "1", reason: "dry" };
    return { status: 409, body: rejected };
  }
  const order: Order = { id: "1", customerId, items, total: items.reduce((sum, i) => sum + i.price * i.qty, 0) };
  await state.set("orders", order.id, order);
  await state.set<Order>("orders", order.id, order);
  const again = await state.get("orders", order.id);
  const named = await state.get<Order>("orders", order.id);
  const all: Order[] = await state.getGroup("orders");
  await streams.orderStatus.set("all", order.id, { status: "new", progress: all.length });
  await streams.orderStatus.send({ groupId: "all" }, { type: "hint", data: { total: again?.total ?? named?.total } });
  await emit({ topic: "order.created", data: order });
  return { status: 201, headers: { location: `/orders/${order.id}` }, body: order };
};

export const getOrder: Handlers["GetOrder"] = async ({ pathParams, headers, rawBody }, { state }) => {
  const order = await state.get("orders", pathParams.id);
  if (!order) return { status: 404, body: { error: headers["x-a"] ?? rawBody.length } };
  return { status: 200, body: order };
};

export const screen: Handlers["ScreenOrder"] = async (order, { emit }) => {
  await emit({ topic: order.total > 1000 ? "order.review" : "order.paid", data: order } as const);
  await emit(order.total > 1000 ? { topic: "order.review", data: order } : { topic: "order.paid", data: order });
};

export const notify: Handlers["NotifyCustomer"] = async (input, { logger }) => {
  if ("reason" in input && input.reason === "lost") throw new NonRetryable("nothing to tell");
  if ("reason" in input && input.reason === "busy") throw new RetryLater(60);
  logger.info("reason" in input ? input.reason : input.customerId);
};

export const audit: Handlers["AuditOrders"] = async ({ key, value, previous }, { logger }) => {
  logger.warn(`${key}: ${previous?.total ?? 0} -> ${value?.total ?? 0}`);
};

export const nightly: Handlers["NightlyReport"] = async ({ emit, state, streams }) => {
  await emit({ topic: "report.requested", data: { day: "2026-01-01" } });
  await state.set("any group", "key", { any: "value" });
  const status: MotiaStream<{ status: "new" | "review" | "paid" | "rejected"; progress: number }> = streams.orderStatus;
  await status.getGroup("all");
};

export const later: Handlers["NightlyReport"] = async ({ emit, cancelEmit, flush, signal, attempt, trigger, topic, state }) => {
  await cancelEmit("report.requested", "daily");
  await emit({ topic: "report.requested", data: {}, delay: 60 * attempt, key: "daily" });
  await state.set("any", trigger.type, topic ?? "", { ttl: 60 });
  await state.update<number>("any", "count", (n) => (n ?? 0) + 1);
  if (!signal.aborted) await flush();
};

export const measure: ApiMiddleware = async (req, ctx, next) => {
  const response = await next();
  return { ...response, headers: { "x-path": Object.keys(req.pathParams).join() } };
};

const helper = async (ctx: FlowContext, logger: Logger) => ctx.emit({ topic: "any", data: 1 }).then(() => logger.info("x"));
export const report: Handlers["BuildReport"] = async (input, { logger, state }) => {
  logger.info(input.day ?? "today", { orders: (await state.getGroup("orders")).length, helper });
};
