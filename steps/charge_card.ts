import { type Handlers, NonRetryable } from "motia";
import { CardDeclined, charge } from "./bank";

const day = new Intl.DateTimeFormat("sv-SE", { timeZone: "Europe/Berlin" }); // 2026-11-22

export const handler: Handlers["ChargeCard"] = async (decision, { state, emit, attempt, idempotencyKey }) => {
  const order = await state.get("orders", decision.orderId);
  if (order === null) throw new NonRetryable(`there is no order ${decision.orderId}`);
  let reason = decision.approved ? "" : "not approved";
  if (decision.approved) {
    try {
      // the bank ignores a repeated key, so an attempt that is repeated charges once
      await charge(order.card, order.total, { key: idempotencyKey, attempt });
    } catch (problem) {
      if (!(problem instanceof CardDeclined)) throw problem;
      reason = problem.message;
    }
  }
  order.status = reason ? "rejected" : "paid";
  if (reason) {
    await emit({ topic: "order.rejected", data: { orderId: order.id, reason } });
  } else {
    order.paidOn = day.format(new Date());
    await emit({ topic: "order.paid", data: order });
  }
  await state.set("orders", order.id, order);
};
