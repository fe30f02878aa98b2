"""A bank for the example: `tok_flaky` fails twice before it works, `tok_declined` never works."""

from __future__ import annotations

import asyncio


class CardDeclined(Exception):
    """The bank says no. Asking again does not help."""


class BankUnavailable(Exception):
    """The bank did not answer. Asking again may help."""


async def charge(card: str, amount: float, *, key: str, attempt: int) -> str:
    """Charge a card and give the receipt's number. Raises CardDeclined, BankUnavailable."""
    await asyncio.sleep(0.05)
    if card == "tok_declined":
        raise CardDeclined(f"card declined for {amount:.2f}")
    if card == "tok_flaky" and attempt < 3:
        raise BankUnavailable("no answer from the bank")
    return f"receipt-{key}"
