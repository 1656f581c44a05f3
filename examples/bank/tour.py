"""The tour: transfers that conflict, a crash in the middle of a payment, what stands after it."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from everlog import EventStore
from examples.bank.account import Account, NotEnough
from examples.bank.bank import load, open_account, order_payment, transfer
from examples.bank.events import EVENTS, PaymentMade, PaymentOrdered
from examples.bank.other_bank import OtherBank
from examples.bank.reading import balances_of

ROOT = Path(__file__).resolve().parents[2]
ACCOUNTS = ("anna", "ben", "cleo", "dan")
DEPOSIT = 100_000
TRANSFERS = 200
TELLERS = 8
PAYMENTS = 12
DIES_AFTER = 5

Say = Callable[[str], None]


class Service:
    """The service in a process of its own."""

    def __init__(self, url: str, other_bank: str, *, dies_after: int | None = None) -> None:
        command = [sys.executable, "-m", "examples.bank.service", url, other_bank]
        if dies_after is not None:
            command.append(str(dies_after))
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )

    def wait_until_it_works(self) -> None:
        """Returns when its subscriptions have begun."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def wait(self) -> int:
        """Waits for its end; returns its exit code, below 0 for a signal."""
        return self._process.wait(60)

    def stop(self) -> None:
        """Has it stop after what it is at."""
        self._process.communicate(timeout=60)

    def end(self) -> None:
        """Ends it, if it still runs."""
        self._process.kill()
        self._process.communicate()


async def tour(url: str, say: Say) -> None:
    """Tells the story of a bank's day."""
    with OtherBank() as other_bank:
        async with EventStore.open(url, events=EVENTS) as store:
            await _transfers(store, say)
            await _payments(store, url, other_bank, say)
            await _closing(store, url, other_bank, say)


async def _transfers(store: EventStore, say: Say) -> None:
    for owner in ACCOUNTS:
        await open_account(store, owner, owner.title(), DEPOSIT)
    say(f"{len(ACCOUNTS)} accounts are open, with {DEPOSIT} cents each.")
    chance = random.Random(4711)

    async def teller(transfers: int) -> int:
        lost = 0
        for _ in range(transfers):
            sender, receiver = chance.sample(ACCOUNTS, 2)
            with suppress(NotEnough):
                lost += await transfer(store, sender, receiver, chance.randint(1, 20_000))
        return lost

    lost = await asyncio.gather(*(teller(TRANSFERS // TELLERS) for _ in range(TELLERS)))
    total = sum([(await load(store, owner)).balance for owner in ACCOUNTS])
    say(
        f"{TELLERS} tellers make {TRANSFERS} transfers, each over two streams: {sum(lost)} times "
        "somebody else was faster,\n  and it was decided anew. "
        f"All accounts together hold {total}: not a cent was made, and none lost."
    )
    assert total == DEPOSIT * len(ACCOUNTS)


async def _payments(store: EventStore, url: str, other_bank: OtherBank, say: Say) -> None:
    for number in range(PAYMENTS):
        owner = max([await load(store, owner) for owner in ACCOUNTS], key=_balance).log.stream
        await order_payment(store, owner, f"payee {number}", 100 + number)
    say(f"{PAYMENTS} payments to the other bank are ordered. The service begins to send them ...")
    service = Service(url, other_bank.url, dies_after=DIES_AFTER)
    try:
        code = await asyncio.to_thread(service.wait)
    finally:
        service.end()
    made = [record async for record in store.read(types=[PaymentMade])]
    say(
        f"... and dies (signal {-code}): the other bank has {len(other_bank.payments)} payments, "
        f"and the log knows of {len(made)}.\n"
        "  Of the rest nobody here can say whether they have left. That is kept as it is:"
    )
    for effect in await store.subscriptions.effects("payments"):
        if effect.status == "intent":
            say(f"    {effect.stream}, position {effect.position}: begun, and no outcome")


def _balance(account: Account) -> int:
    return account.balance


async def _closing(store: EventStore, url: str, other_bank: OtherBank, say: Say) -> None:
    service = Service(url, other_bank.url)
    try:
        await asyncio.to_thread(service.wait_until_it_works)
        async with asyncio.timeout(60):
            while True:
                ordered = [record async for record in store.read(types=[PaymentOrdered])]
                made = [record async for record in store.read(types=[PaymentMade])]
                behind = [status.lag for status in await store.subscriptions.status()]
                if len(made) == len(ordered) and not any(behind):
                    break
                await asyncio.sleep(0.05)
        service.stop()
    finally:
        service.end()
    again = sum(other_bank.calls.values()) - len(other_bank.calls)
    say(
        f"The service runs again. It asked the other bank {again} more time(s) for what may have "
        "left before, with the same key:\n"
        f"  {len(other_bank.payments)} payments were made, and {len(made)} receipts are in the log."
    )
    assert len(other_bank.payments) == len(made) == PAYMENTS
    stored = await balances_of(url)
    folded = {owner: (await load(store, owner)).balance for owner in ACCOUNTS}
    assert stored == folded, (stored, folded)
    say("The balances in SQL are those of the log, to the cent:")
    for owner, balance in sorted(stored.items()):
        say(f"    {owner:<6}{balance:>10}")
