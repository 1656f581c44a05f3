"""Touring: a bank and its branch, in the few minutes of a day that show what a ledger does.

The events are of this module: `everlog fold everlog.cli.touring:account account-1 ...` folds what
the tour leaves behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from everlog import EventStore, Projector, Record, Tx, WrongVersion, event, reducer

ACCOUNT = "account-1"
DAY = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
"""When it begins; its clock goes on by minutes, from step to step."""


@event("account:opened")
@dataclass
class Opened:
    owner: str


@event("account:owner-renamed")
@dataclass
class Renamed:
    owner: str


@event("money:deposited")
@dataclass
class Deposited:
    cents: int


@event("money:withdrawn")
@dataclass
class Withdrawn:
    cents: int


EVENTS = [Opened, Renamed, Deposited, Withdrawn]


@dataclass
class Account:
    """What an account is, by its events."""

    owner: str = ""
    cents: int = 0


@reducer("account", initial=Account)
def account(state: Account, record: Record) -> Account:
    """Folds the events of an account."""
    match record.data:
        case Opened(owner=owner) | Renamed(owner=owner):
            state.owner = owner
        case Deposited(cents=cents):
            state.cents += cents
        case Withdrawn(cents=cents):
            state.cents -= cents
        case _:
            pass
    return state


class Step(NamedTuple):
    """What was done, in the words of the tour, and what came of it."""

    name: str
    """For machines."""
    title: str
    text: str
    """Says in a sentence or two what is to be seen."""
    lines: tuple[str, ...]
    facts: dict[str, object]
    """The same for machines; `ok` is False where something is not as the tour says."""


async def tour(folder: Path) -> AsyncGenerator[Step]:
    """Does everything, step by step; leaves the files in a folder that has none of their names."""
    clock = _Clock()
    async with AsyncExitStack() as stack:
        bank = await stack.enter_async_context(_opened(folder / "bank.db", clock))
        yield await _append(bank)
        clock.minutes(5)
        yield await _conflict(bank)
        yield await _fold(bank)
        branch = await stack.enter_async_context(_opened(folder / "branch.db", clock))
        clock.minutes(10)
        yield await _offline(bank, branch, clock)
        clock.minutes(30)
        yield await _sync(bank, branch)
        yield await _late(bank, branch)
        yield await _subscribe(bank)
        yield await _verify(bank)
        yield await _damage(bank, folder / "damaged.db")


def _opened(path: Path, clock: Callable[[], int]) -> AbstractAsyncContextManager[EventStore]:
    return EventStore.open(path, events=EVENTS, clock=clock)


async def _append(bank: EventStore) -> Step:
    records = await bank.append(ACCOUNT, Opened("Jane Doe"), Deposited(50_000), Deposited(7_500))
    return Step(
        "append",
        "Append",
        "Three events in one transaction. They are on the disk when `append` returns.",
        tuple(map(_line, records)),
        {"positions": [record.position for record in records]},
    )


async def _conflict(bank: EventStore) -> Step:
    [paid_in] = await bank.append(ACCOUNT, Deposited(100))
    seen = paid_in.version
    taken = await bank.append(ACCOUNT, Withdrawn(40_000), expect=seen)
    lines = [
        _line(paid_in),
        f"two tellers have seen version {seen}, and each pays out 400.00",
        f"the first one:   version {taken[0].version}",
        _line(taken[0]),
    ]
    actual = None
    try:
        await bank.append(ACCOUNT, Withdrawn(40_000), expect=seen)
    except WrongVersion as error:
        actual = error.actual
        said = str(error).partition(";")[0]
        lines.append(f"the second one:  WrongVersion: {said}")
    return Step(
        "conflict",
        "A conflict",
        "`expect` names the version that was seen. Who comes too late looks again, and "
        "decides anew.",
        tuple(lines),
        {"expected": seen, "actual": actual, "ok": actual == seen + 1},
    )


async def _fold(bank: EventStore) -> Step:
    now = await bank.reduce(account, ACCOUNT)
    before = await bank.reduce(account, ACCOUNT, as_of=DAY)
    assert now is not None
    assert before is not None
    return Step(
        "fold",
        "Fold",
        "A state is what a reducer makes of the events, as of now or of any moment.",
        (
            f"now:        {_state(now)}",
            f"at {DAY:%H:%M}:   {_state(before)}",
        ),
        {"cents": now.cents, "cents_before": before.cents, "ok": now.cents == 17_600},
    )


async def _offline(bank: EventStore, branch: EventStore, clock: _Clock) -> Step:
    first, second = await branch.append(ACCOUNT, Renamed("Jane Smith"), Deposited(2_000))
    clock.minutes(10)
    [then] = await bank.append(ACCOUNT, Renamed("Jane Smith-Doe"))
    return Step(
        "offline",
        "A second store, offline",
        "The branch has a ledger of its own, and no line to the bank. Both are told a new name.",
        (f"branch  {_line(first)}", f"branch  {_line(second)}", f"bank    {_line(then)}"),
        {},
    )


async def _sync(bank: EventStore, branch: EventStore) -> Step:
    done = await branch.sync(bank).once()
    here, there = await bank.reduce(account, ACCOUNT), await branch.reduce(account, ACCOUNT)
    assert here is not None
    assert there is not None
    return Step(
        "sync",
        "In step",
        "`branch.sync(bank)`: what was written in either is in both. Here that is done "
        "once, in one process; with the URL of a hub, over HTTP, it goes on for as long "
        "as the program runs.",
        (
            f"{done.new} new at the branch, {done.pushed} new at the bank",
            f"bank    {_state(here)}",
            f"branch  {_state(there)}",
        ),
        {"new": done.new, "pushed": done.pushed, "ok": here == there},
    )


async def _late(bank: EventStore, branch: EventStore) -> Step:
    renamed = [record async for record in bank.read(ACCOUNT, types=[Renamed])]
    state = await bank.reduce(account, ACCOUNT)
    last = renamed[-1]
    return Step(
        "late",
        "A late event",
        "The branch's event came last to the bank, and had happened before. It is marked "
        "as outdated, and every ledger folds it in its place: by when it was created.",
        tuple(
            f"{_line(record)}  {'outdated' if record.outdated else ''}".rstrip()
            for record in renamed
        ),
        {
            "position": last.position,
            "outdated": last.outdated,
            "owner": None if state is None else state.owner,
            "ok": last.outdated and state is not None and state.owner == "Jane Smith-Doe",
        },
    )


async def _subscribe(bank: EventStore) -> Step:
    projector = Projector()
    handled: list[int] = []
    rows: list[tuple[Any, ...]] = []

    @projector.all(Deposited, Withdrawn)
    async def balance(record: Record[Any], tx: Tx) -> None:
        cents = record.data.cents
        await tx.execute("CREATE TABLE IF NOT EXISTS balances (account PRIMARY KEY, cents)")
        await tx.execute(
            "INSERT INTO balances VALUES (?, ?) "
            "ON CONFLICT (account) DO UPDATE SET cents = cents + excluded.cents",
            (record.stream, cents if isinstance(record.data, Deposited) else -cents),
        )
        rows[:] = await tx.fetch("SELECT account, cents FROM balances")
        handled.append(record.position)

    async with bank.subscription("balances", projector) as subscription:
        await subscription.caught_up()
    first = len(handled)
    [between] = await bank.append(ACCOUNT, Deposited(1_000))
    async with bank.subscription("balances", projector) as subscription:
        await subscription.caught_up()
    state = await bank.reduce(account, ACCOUNT)
    assert state is not None
    return Step(
        "subscription",
        "A subscription",
        "A handler fills a table of balances. How far it has got is kept in the "
        "transaction in which it writes: after a restart or a crash it goes on there, and "
        "counts nothing twice.",
        (
            _line(between),
            f"the first run has handled {first} records, the second {len(handled) - first}",
            *(f"table   {name}: {_money(cents)}" for name, cents in rows),
            f"fold    {ACCOUNT}: {_money(state.cents)}",
        ),
        {
            "handled": [first, len(handled) - first],
            "ok": len(handled) == first + 1 and rows == [(ACCOUNT, state.cents)],
        },
    )


async def _verify(bank: EventStore) -> Step:
    found = await bank.verify()
    return Step(
        "verify",
        "Verify",
        "Every record has a hash, and each is a link of a chain. All are computed again.",
        (f"{found.records} records: {'nothing is wrong' if found.ok else found.problems}",),
        {"records": found.records, "ok": found.ok},
    )


async def _damage(bank: EventStore, path: Path) -> Step:
    await bank.backup(str(path))
    _flip_a_bit(path)
    async with EventStore.open(path, events=EVENTS) as damaged:
        found = await damaged.verify()
    positions = [problem.position for problem in found.problems]
    return Step(
        "damage",
        "A flipped bit",
        "One bit in a copy of the file: 400.00 paid out are 500.00 now. The database "
        "takes no notice; the ledger does.",
        tuple(f"position {problem.position}: {problem.what}" for problem in found.problems),
        {"positions": positions, "ok": positions == [5]},
    )


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b'"cents":40000') + len(b'"cents":')
    content[at] ^= 1  # 40,000 turns into 50,000
    path.write_bytes(content)


class _Clock:
    """A day that goes by in a moment."""

    def __init__(self) -> None:
        self._ms = int(DAY.timestamp() * 1_000)

    def __call__(self) -> int:
        return self._ms

    def minutes(self, number: int) -> None:
        self._ms += number * 60_000


def _line(record: Record[Any]) -> str:
    data = record.data
    said = data.owner if isinstance(data, (Opened, Renamed)) else _money(data.cents)
    return f"{record.position:>2}  {record.created_at:%H:%M}  {record.type:<21}  {said}"


def _state(state: Account) -> str:
    return f"{state.owner}, {_money(state.cents)}"


def _money(cents: int) -> str:
    return f"{cents / 100:,.2f}"
