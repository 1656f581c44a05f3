"""The effect: a payment that is ordered is sent to the other bank, once."""

from __future__ import annotations

import os
import signal
from typing import Any

from everlog import Outcome, Projector, Record
from examples.bank.events import PaymentMade, PaymentOrdered
from examples.bank.other_bank import pay


def projector(url: str, *, dies_after: int | None = None) -> Projector:
    """Returns the projector that sends payments. `dies_after`: so many, and their process is gone.

    It dies in the worst moment: the other bank has the money, and nobody here knows. The call is
    made again then, as it says it is idempotent, with the same key; the other bank sees that.
    """
    payments = Projector()
    sent = 0

    async def made(record: Record[Any], receipt: str, outcome: Outcome) -> None:
        # Committed with the outcome: it is in the log once, if and only if the payment was made.
        outcome.append(record.stream, PaymentMade(receipt))

    @payments.once(PaymentOrdered, name="send", idempotent=True, on_success=made)
    def send(record: Record[PaymentOrdered]) -> str:
        nonlocal sent
        data = record.data
        receipt = pay(url, record.idempotency_key, data.payee, data.amount)
        sent += 1
        if sent == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt

    return payments
