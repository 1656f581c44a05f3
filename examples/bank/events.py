"""What happens to an account. Amounts are whole cents."""

from __future__ import annotations

from dataclasses import dataclass

from everlog import event


@event("account:opened")
@dataclass(frozen=True)
class AccountOpened:
    """Somebody has an account from now on."""

    owner: str


@event("account:deposited")
@dataclass(frozen=True)
class MoneyDeposited:
    """Money came in over the counter."""

    amount: int


@event("account:transfer-sent")
@dataclass(frozen=True)
class TransferSent:
    """Money left for another account of this bank."""

    to: str
    amount: int


@event("account:transfer-received")
@dataclass(frozen=True)
class TransferReceived:
    """Money came from another account of this bank."""

    sender: str
    amount: int


@event("account:payment-ordered")
@dataclass(frozen=True)
class PaymentOrdered:
    """Money is to leave for another bank: it is off the account, and has to be sent."""

    payee: str
    amount: int


@event("account:payment-made")
@dataclass(frozen=True)
class PaymentMade:
    """The other bank has the money, and gave a receipt."""

    receipt: str


EVENTS = [
    AccountOpened,
    MoneyDeposited,
    TransferSent,
    TransferReceived,
    PaymentOrdered,
    PaymentMade,
]
