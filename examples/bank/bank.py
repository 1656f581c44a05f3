"""What one can ask of the bank. Each is all or nothing, however many ask at the same moment."""

from __future__ import annotations

from everlog import EventStore, NotFound, WrongVersion
from examples.bank.account import Account

TRIES = 50
"""So often a transfer is decided anew where others were faster."""


async def open_account(store: EventStore, number: str, owner: str, deposit: int) -> None:
    """Opens an account with money on it."""
    account = store.new(Account, id=number)
    await account.open(owner).deposit(deposit).save()


async def transfer(store: EventStore, sender: str, receiver: str, amount: int) -> int:
    """Moves money between two accounts, in one transaction over two streams.

    Returns how often it lost against others who changed one of them, and was decided anew. Raises
    `NotEnough`.
    """
    for lost in range(TRIES):
        source, target = await load(store, sender), await load(store, receiver)
        source.send(receiver, amount)
        target.receive(sender, amount)
        try:
            # Each at the version that it was loaded at: both are saved, or neither.
            await store.save(source, target)
        except WrongVersion:
            continue
        return lost
    raise TimeoutError(f"{sender} and {receiver} were busy {TRIES} times")


async def order_payment(store: EventStore, number: str, payee: str, amount: int) -> None:
    """Takes money off an account that is to be sent to another bank; raises `NotEnough`."""
    await store.retrying(Account, number, lambda account: account.order_payment(payee, amount))


async def load(store: EventStore, number: str) -> Account:
    """Returns an account as it is now; raises `NotFound`."""
    account = await store.get(Account, number)
    if account is None:
        raise NotFound(f"there is no account {number!r}")
    return account
