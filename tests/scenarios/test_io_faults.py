"""I/O faults: whichever call to the disk fails, what callers are told is true, also after a crash.

Every call that an operation makes is made to fail, the first to the last, once or from then on.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import stat
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from everlog import EventStore
from everlog.adapters.sqlite import ledger as sqlite_ledger
from everlog.adapters.sqlite import writing
from everlog.adapters.sqlite.failures import as_storage_error
from everlog.errors import CannotOpen
from everlog.ports.unsettled import Unsettled
from tests.faulty_disk import trying
from tests.faulty_disk.exploring import scratch
from tests.faulty_disk.faults import CALLS, WRITER, Kind, Plan
from tests.faulty_disk.trying import Operation, Tally, fill, try_every_call
from tests.faulty_disk.trying_files import (
    LOOKS,
    files_in,
    image_of_a_killed_store,
    try_every_backup_call,
    try_every_opening,
    try_every_read,
)
from tests.faulty_disk.workload import NAME, Noted, small_checkpoints

WRITES: list[Operation] = [
    trying.append,
    trying.append_several,
    trying.append_together,
    trying.import_late,
    trying.relate,
    trying.snapshot,
]
CHECKPOINTS = {"no checkpoint": None, "our checkpoints": True, "sqlite's checkpoints": False}
NO_ROOM: list[Kind] = ["ENOSPC on write", "short write"]
NOT_SYNCED: list[Kind] = ["EIO on sync", "EIO on sync, unsynced lost"]


@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.__name__)
def test_what_a_write_is_told_is_true_whichever_of_its_calls_fails(
    rng: random.Random, operation: Operation
) -> None:
    tally = run_writes(operation, rng)
    # Nothing is opened, cut off or deleted by a write.
    assert {kind for kind, count in tally.fired.items() if count} == CALLS.keys() - {
        "EIO elsewhere"
    }
    # Of several calls the first is committed at once and the others as one; after that has failed,
    # each is tried by itself.
    fine = {"nothing"} if operation is trying.append_together else set[str]()
    assert told(tally, NO_ROOM) - fine == {"StorageFull"}
    assert told(tally, NOT_SYNCED) - fine == {"OutcomeUnknown"}
    assert told(tally, ["EIO on read"]) - fine == {"StorageFailed"}
    assert tally.come_back, "no write of unknown outcome was found after a crash: nothing was tried"


def test_what_the_first_write_of_a_wal_is_told_is_true_whichever_of_its_calls_fails(
    rng: random.Random,
) -> None:
    tally = run_writes(trying.append, rng, cold=True)
    assert told(tally, NO_ROOM) == {"StorageFull"}
    assert told(tally, NOT_SYNCED) == {"OutcomeUnknown"}
    assert tally.calls["append", "EIO on sync"] == 2, "the WAL's header is synced, and the commit"


@pytest.mark.parametrize("guarded", [True, False], ids=["our checkpoints", "sqlite's checkpoints"])
def test_a_checkpoint_that_fails_takes_nothing_from_the_append_before_it(
    rng: random.Random, guarded: bool
) -> None:
    with small_checkpoints(guarded=guarded, every_commit=True):
        tally = run_writes(trying.append, rng)
    assert all(tally.fired[kind] for kind in CALLS)
    for kind in CALLS:
        assert "nothing" in told(tally, [kind]), "a call of the checkpoint failed, not the append"
    assert told(tally, NO_ROOM) == {"StorageFull", "nothing"}


def test_a_ledger_can_be_set_up_whichever_call_of_an_earlier_try_failed() -> None:
    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        await try_every_opening(folder / "new", "set-up", {}, 0, plan, tally)

    tally = run(go)
    assert all(tally.fired[kind] and "CannotOpen" in told(tally, [kind]) for kind in CALLS)


def test_a_ledger_loses_nothing_whichever_call_of_its_recovery_failed() -> None:
    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        image = await image_of_a_killed_store(folder / "killed")
        await try_every_opening(folder / "found", "recovery", image, 28, plan, tally)

    tally = run(go)
    assert all(tally.fired[kind] for kind in CALLS)
    assert "CannotOpen" in told(tally, ["EIO on read"])


def test_a_backup_that_fails_leaves_no_file_and_disturbs_nobody() -> None:
    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        await try_every_backup_call(folder / "ledger", plan, tally)

    tally = run(go)
    assert all(tally.fired[kind] for kind in CALLS)
    assert told(tally, CALLS) <= {"StorageFailed", "StorageFull", "CannotOpen", "nothing"}
    assert told(tally, NO_ROOM) == {"StorageFull"}


@pytest.mark.parametrize("call", ["chmod", "fsync", "link", "fsync of the folder"])
def test_a_backup_that_fails_outside_of_sqlite_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    name, _, of_folder = call.partition(" ")
    real: Callable[..., object] = getattr(os, name)

    def fail(first: object, *rest: object) -> object:
        if of_folder and not (isinstance(first, int) and stat.S_ISDIR(os.fstat(first).st_mode)):
            return real(first, *rest)
        raise OSError(errno.EIO, "Input/output error")

    async def main() -> None:
        await fill(tmp_path)
        async with EventStore.open(tmp_path / NAME, events=[Noted]) as store:
            beside = files_in(tmp_path)
            with monkeypatch.context() as patched:
                patched.setattr(os, name, fail)
                with pytest.raises(CannotOpen, match="Input/output error"):
                    await store.backup(str(tmp_path / "copy.db"))
            assert files_in(tmp_path) == beside
            await store.backup(str(tmp_path / "copy.db"))

    asyncio.run(main())


@pytest.mark.parametrize("look", LOOKS)
def test_a_read_that_fails_says_why_and_can_be_repeated(look: str) -> None:
    kinds: list[Kind] = ["EIO on read", "EIO elsewhere", "EIO on everything"]

    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        await try_every_read(folder / "ledger", look, plan, tally)

    tally = run(go, kinds)
    assert all(tally.fired[kind] for kind in kinds)
    assert told(tally, kinds) == {"StorageFailed"}


@pytest.mark.soak
@pytest.mark.parametrize("checkpoints", CHECKPOINTS)
@pytest.mark.parametrize("operation", WRITES, ids=lambda operation: operation.__name__)
def test_what_a_write_is_told_is_true_after_each_of_many_crashes(
    rng: random.Random, operation: Operation, checkpoints: str
) -> None:
    guarded = CHECKPOINTS[checkpoints]
    often: AbstractContextManager[None] = nullcontext()
    for _ in range(2):
        if guarded is not None:
            often = small_checkpoints(guarded=guarded, every_commit=True)
        with often:
            run_writes(operation, rng, care=1.0)


# --- the tests of the tests ---


def test_a_write_that_is_said_to_have_failed_and_comes_back_is_seen(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surely_rolled_back(_error: Exception) -> bool:
        return True

    monkeypatch.setattr(writing, "surely_rolled_back", surely_rolled_back)
    with pytest.raises(AssertionError, match=r"was told StorageFailed.* then came a crash"):
        run_writes(trying.append, rng, ["EIO on sync"])


def test_a_second_try_that_is_said_to_have_failed_and_comes_back_is_seen(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_one_of(_self: Unsettled, _requests: object) -> bool:
        return False

    monkeypatch.setattr(Unsettled, "has_one_of", has_one_of)
    with pytest.raises(AssertionError, match=r"was told StorageFull.* then came a crash"):
        run_writes(trying.append, rng, ["EIO on sync"])


def test_a_write_that_is_half_there_is_seen(
    rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def append_apart(_: EventStore, n: int) -> list[trying.Write]:
        [write] = await trying.append_several(_, n)

        async def do(store: EventStore) -> None:
            for number, id in enumerate(write.ids):
                await store.append(f"stream-{number}", Noted(number, "x"), ids=[id])

        return [trying.Write(do, write.is_there, write.ids)]

    with pytest.raises(AssertionError, match="half of"):
        run_writes(append_apart, rng, ["ENOSPC on write"])


def test_a_backup_that_leaves_something_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        await try_every_backup_call(folder / "ledger", plan, tally)

    def leave(_path: str) -> None:
        pass

    monkeypatch.setattr(sqlite_ledger, "_remove", leave)
    with pytest.raises(AssertionError, match="a failed backup leaves"):
        run(go, ["ENOSPC on write"])


def test_an_opening_that_fails_with_another_error_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        await try_every_opening(folder / "new", "set-up", {}, 0, plan, tally)

    monkeypatch.setattr(sqlite_ledger, "as_opening_error", as_storage_error)
    with pytest.raises(AssertionError, match="StorageFailed"):
        run(go, ["EIO on read"])


# --- running them ---


def run_writes(
    operation: Operation,
    rng: random.Random,
    kinds: Iterable[Kind] = CALLS,
    *,
    cold: bool = False,
    care: float = 0.2,
) -> Tally:
    """Tries every call of an operation with every kind of fault."""

    async def go(folder: Path, plan: Plan, tally: Tally) -> None:
        name = operation.__name__
        place = folder / "ledger"
        await try_every_call(place, name, operation, plan, tally, rng, cold=cold, care=care)

    return run(go, kinds)


def run(go: Callable[[Path, Plan, Tally], Awaitable[None]], kinds: Iterable[Kind] = CALLS) -> Tally:
    """Tries kinds of faults, each once and lasting, and prints how often they came."""
    tally = Tally()
    with asyncio.Runner() as runner:
        for kind in kinds:
            for lasting in (False, True):
                with scratch() as folder:
                    plan = Plan(kind, 1, lasting, WRITER)
                    runner.run(_as_coroutine(go(folder, plan, tally)))
    print(tally)
    return tally


async def _as_coroutine(doing: Awaitable[None]) -> None:
    await doing


def told(tally: Tally, kinds: Iterable[Kind]) -> set[str]:
    """What callers were told for these kinds of faults."""
    wanted = set(kinds)
    return {what for (kind, what), count in tally.told.items() if kind in wanted and count}
