"""The account: what it allows, and what it is after what has happened."""

from __future__ import annotations

from typing import Self

from everlog import AggregateRoot, Record
from examples.bank.events import (
    AccountOpened,
    MoneyDeposited,
    PaymentOrdered,
    TransferReceived,
    TransferSent,
)


class NotEnough(Exception):
    """There is less on the account than is to leave it."""


class Account(AggregateRoot, name="account"):
    """One account, loaded from its stream; what it does is pushed, and saved by the bank."""

    owner: str = ""
    balance: int = 0

    def apply(self, record: Record) -> None:
        """Takes in what has happened."""
        match record.data:
            case AccountOpened(owner=owner):
                self.owner = owner
            case MoneyDeposited(amount=amount) | TransferReceived(amount=amount):
                self.balance += amount
            case TransferSent(amount=amount) | PaymentOrdered(amount=amount):
                self.balance -= amount
            case _:
                pass

    def open(self, owner: str) -> Self:
        """Opens it for its owner."""
        return self.push(AccountOpened(owner))

    def deposit(self, amount: int) -> Self:
        """Takes money in."""
        return self.push(MoneyDeposited(amount))

    def send(self, to: str, amount: int) -> Self:
        """Lets money go to another account; raises `NotEnough`."""
        self._require(amount)
        return self.push(TransferSent(to, amount))

    def receive(self, sender: str, amount: int) -> Self:
        """Takes money from another account."""
        return self.push(TransferReceived(sender, amount))

    def order_payment(self, payee: str, amount: int) -> Self:
        """Lets money go to another bank; raises `NotEnough`."""
        self._require(amount)
        return self.push(PaymentOrdered(payee, amount))

    def _require(self, amount: int) -> None:
        if amount > self.balance:
            raise NotEnough(f"{self.owner} has {self.balance} and not {amount}")
