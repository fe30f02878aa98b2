from __future__ import annotations

from motia_types import NotifyCustomer, Order, Rejection


# A plain function: it runs in a thread, so it may block (an SMTP library, say).
def handler(event: Order | Rejection, ctx: NotifyCustomer.SyncContext) -> None:
    if isinstance(event, Order):
        ctx.logger.info("your order is paid", order=event.id, total=event.total)
    else:
        ctx.logger.info("your order was rejected", order=event.order_id, reason=event.reason)
