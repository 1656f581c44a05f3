"""The programs that scenarios run as processes: `python -m tests.scenarios.programs NAME JSON`.

Each says what it does in lines of JSON, one as soon as there is something to say.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from everlog import EventStore, EverlogError, WrongVersion, event, to
from tests.scenarios.checkpointing import claim_slices, die_in_a_transaction, fight_for_slices
from tests.scenarios.follower import Follower


@event("scenario:moved")
@dataclass
class Moved:
    """Something that happened, and which process says so."""

    process: int
    number: int


EVENTS = [Moved]


def say(value: object) -> None:
    print(json.dumps(value), flush=True)


async def hear() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def compete(path: str, process: int, appends: int, streams: int, lanes: int) -> None:
    """Appends to streams that others append to as well, each time at the version just read."""
    rng = random.Random(process)
    ids: list[str] = []
    conflicts: list[tuple[str, int, int]] = []
    attempts = started = 0

    async def lane(store: EventStore) -> None:
        nonlocal attempts, started
        while started < appends:
            started += 1
            moved = Moved(process, started)
            stream = f"stream-{rng.randrange(streams)}"
            while True:
                last = await store.read(stream, backwards=True, limit=1).first()
                version = 0 if last is None else last.version
                attempts += 1
                try:
                    [record] = await store.append(stream, moved, expect=version)
                except WrongVersion as error:
                    conflicts.append((stream, version, error.actual))
                else:
                    assert record.version == version + 1
                    ids.append(record.id)
                    break

    async with EventStore.open(f"sqlite:///{path}", events=EVENTS, timeout_s=100) as store:
        say("ready")
        await hear()
        await asyncio.gather(*(lane(store) for _ in range(lanes)))
    say({"ids": ids, "conflicts": conflicts, "attempts": attempts})


async def follow(path: str, until: int) -> None:
    """Reads on and on while others write, up to a position, and judges what it sees."""
    follower = Follower()
    polls = looked_back = 0
    async with EventStore.open(f"sqlite:///{path}", events=EVENTS, timeout_s=100) as store:
        say("ready")
        while follower.position < until and not follower.problems:
            polls += 1
            seen = follower.position
            async for record in store.read(after=seen):
                follower.take(record.stored)
            if follower.position == seen:
                await asyncio.sleep(0.001)  # nothing new: the next poll may find something
            else:
                # What was read stays as it was read: nothing comes in at or below it.
                looked_back += 1
                window = store.read(after=max(0, follower.position - 100), until=follower.position)
                follower.compare([record.stored async for record in window])
        follower.compare([record.stored async for record in store.read()])
    say(
        {
            "position": follower.position,
            "polls": polls,
            "looked_back": looked_back,
            "problems": follower.problems,
            "ids": follower.ids,
        }
    )


async def write(path: str, process: int, seed: str) -> None:
    """Appends for ever, and says each time what has been acknowledged."""
    rng = random.Random(seed)
    number = 0
    async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:

        async def lane() -> None:
            nonlocal number
            while True:
                count = rng.choice((1, 1, 2, 5, 30))
                number += 1
                # One number for all events of a call: it must be found so often or not at all.
                items = [
                    to(f"stream-{rng.randrange(8)}", Moved(process, number * 100 + count))
                    for _ in range(count)
                ]
                records = await store.append_many(items)
                say([record.id for record in records])

        await asyncio.gather(*(lane() for _ in range(3)))


async def append_when_told(url: str) -> None:
    """Appends one event for every line that it hears, and says at which position it is."""
    async with EventStore.open(url, events=EVENTS) as store:
        say("ready")
        while await hear():
            [record] = await store.append("stream", Moved(os.getpid(), 0))
            say(record.position)


async def append_until_told(url: str) -> None:
    """Appends as fast as it can until it hears a line, and says then how many events it wrote."""
    async with EventStore.open(url, events=EVENTS) as store:
        say("ready")
        told = asyncio.create_task(hear())
        appended = 0
        while not told.done():
            await store.append("elsewhere", Moved(os.getpid(), appended))
            appended += 1
        say(appended)


async def commit(path: str, appends: int, durability: str) -> None:
    """Appends one by one, so that each is a commit of its own."""
    url = f"sqlite:///{path}"
    async with EventStore.open(url, events=EVENTS, durability=durability) as store:
        for number in range(appends):
            await store.append("stream", Moved(0, number))
        say((await store.info()).position)
        await hear()


async def commit_counting(path: str, appends: int, durability: str) -> None:
    """Does as `commit` does, and counts what SQLite asks of its files from below."""
    from tests.scenarios.syncs import count_vfs_syncs

    with count_vfs_syncs() as counted:
        await commit(path, appends, durability)
    say(counted())


async def hold_lock(path: str, fork: bool, planted: bool) -> None:
    """Stops in the middle of a checkpoint with the side file locked; with `fork`, a child lives on.

    `planted` takes the defence away: the child keeps the lock that it inherited.
    """
    from everlog.adapters.sqlite import file_lock, writing
    from everlog.adapters.sqlite.ledger import SqliteLedger

    def stop(writer: writing.Writer) -> None:
        child = 0
        if fork:
            if planted:
                file_lock._open_locks.clear()  # pyright: ignore[reportPrivateUsage]
            child = os.fork()
            if child == 0:
                _until_the_test_ends()
        say(child)
        _until_the_test_ends()

    setattr(writing.Writer, "_checkpoint", stop)  # noqa: B010
    setattr(writing, "CHECKPOINT_BYTES", 0)  # noqa: B010
    ledger = await SqliteLedger.open(path, guard_checkpoints=True)
    store = EventStore(ledger, events=EVENTS)
    await store.append("stream", Moved(0, 1))


async def open_as(path: str, user: int | None) -> None:
    """Opens a file as another user, and says how that ended."""
    # Everything is imported before: the other user may not read where it lies.
    importlib.import_module("everlog.adapters.sqlite.ledger")
    async with EventStore.open("memory:", events=EVENTS) as store:
        await store.append("stream", Moved(0, 1))
    if user is not None:
        os.setgid(user)
        os.setuid(user)
    try:
        async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
            await store.append("stream", Moved(0, 1))
    except EverlogError as error:
        say([type(error).__name__, str(error)])
    else:
        say(["opened", ""])


async def fork(path: str, how: str) -> None:
    """Forks with a store open; the child tries everything and says what it was told."""
    from everlog.adapters.sqlite.ledger import SqliteLedger

    url = f"sqlite:///{path}" if path else "memory:"
    store = await EventStore.open(url, events=EVENTS)
    [record] = await store.append("stream", Moved(0, 1))

    async def use() -> None:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: store.append("stream", Moved(0, 2)),
            "read": lambda: store.read().to_list(),
            "info": store.info,
            "verify": store.verify,
            "status": lambda: store.status(record),
            "relations.add": lambda: store.relations.add("relation", "stream"),
            "relations.streams_of": lambda: store.relations.streams_of("relation"),
            "drained": store.drained,
            "backup": lambda: store.backup(path + ".backup"),
        }
        told: dict[str, str] = {}
        for name, call in calls.items():
            try:
                await call()
            except EverlogError as error:
                told[name] = f"{type(error).__name__}: {error}"
            else:
                told[name] = "went through"
        await store.close()  # does no harm, and nothing
        again = 0
        if path:
            async with EventStore.open(url, events=EVENTS) as mine:
                [appended] = await mine.append("stream", Moved(1, 1))
                again = appended.position
        say({"told": told, "again": again})

    def child() -> None:
        asyncio.run(use())

    if how == "fork":
        pid = os.fork()
        if pid == 0:
            child()
            if isinstance(store.ledger, SqliteLedger):  # as an interpreter does at its end
                store.ledger._writer._connection.close()  # type: ignore[union-attr]  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
            os._exit(0)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    else:
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        status = process.exitcode or 0
    # The parent goes on, and what the child did to its copy has not harmed it.
    [last] = await store.append("stream", Moved(0, 3))
    verification = await store.verify()
    say({"status": status, "position": last.position, "ok": verification.ok})
    await store.close()


async def try_to_write(path: str) -> None:
    """Says whether another process can begin to write, without waiting."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        say("refused")
    else:
        say("let in")
    finally:
        connection.close()


def _until_the_test_ends() -> None:
    os.read(0, 1)  # the test holds the other end, and says nothing
    os._exit(0)


async def create(path: str) -> None:
    """Opens and creates a file, waiting between the look that finds it empty and what follows."""
    from everlog.adapters.sqlite import connections

    look = connections._is_ours  # pyright: ignore[reportPrivateUsage]
    looks = 0

    def look_and_wait(connection: sqlite3.Connection, path: str) -> bool:
        nonlocal looks
        found = look(connection, path)
        looks += 1
        if looks == 2:  # the first is from afar, the second before the lock, the third under it
            say(found)
            sys.stdin.readline()
        return found

    setattr(connections, "_is_ours", look_and_wait)  # noqa: B010
    async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
        [record] = await store.append("stream", Moved(os.getpid(), 0))
        info = await store.info()
    say([info.ledger, record.id])


async def open_many(url: str, count: int) -> None:
    """Opens stores on one ledger, all at once, and says who it is to each of them."""
    say("ready")
    await hear()

    async def open_one() -> list[str]:
        async with EventStore.open(url, events=EVENTS) as store:
            info = await store.info()
            return [info.ledger, info.epoch, info.node]

    say(await asyncio.gather(*(open_one() for _ in range(count))))


async def stop_in_the_middle(url: str) -> None:
    """Stops itself between what it has read and what it writes, until somebody has it go on."""
    writer: Any = importlib.import_module("everlog.adapters.postgres.writer")
    async with EventStore.open(url, events=EVENTS) as store:
        place = writer.place

        def stopped(*arguments: Any, **options: Any) -> Any:
            writer.place = place
            os.kill(os.getpid(), signal.SIGSTOP)
            return place(*arguments, **options)

        writer.place = stopped
        await hear()
        told = ""
        while True:
            try:
                [record] = await store.append("stopped", Moved(1, 1), ids=["stopped"])
            except EverlogError as error:
                told = type(error).__name__
            else:
                say([record.position, told])
                return


async def stop_in_a_copy(url: str) -> None:
    """Imports a record, and stops itself while it is copied in, until somebody has it go on."""
    writing: Any = importlib.import_module("everlog.adapters.postgres.writing")
    copied = writing._copied
    async with EventStore.open(url, events=EVENTS) as store:

        def stopped(written: Any) -> Any:
            for row in copied(written):
                os.kill(os.getpid(), signal.SIGSTOP)
                yield row

        writing._copied = stopped
        past = store.past(
            "stopped", Moved(1, 1), created="0" * 12 + "0000" + "a" * 16, id="stopped"
        )
        say((await store.import_records([past])).stored)


async def work(
    url: str, kind: str, slices: int, lease_s: float, pause_s: float, tries: int, planted: bool
) -> None:
    """Works on a durable subscription; `planted`: without its fence."""
    from tests.scenarios import working

    if planted:
        working.plant(kind)
    await working.work(url, kind, slices, lease_s, pause_s, tries, say)


async def run_version(url: str, kind: str, version: int) -> None:
    """Runs one version of a subscription's projection."""
    from tests.scenarios import rebuilding

    await rebuilding.run_version(url, kind, version, say)


async def rebuild(url: str, kind: str, pause_s: float, swap_s: float) -> None:
    """Rebuilds the projection, and swaps it in."""
    from tests.scenarios import rebuilding

    await rebuilding.rebuild(url, kind, pause_s, swap_s, say)


async def deploy(url: str, names: list[str], calls: str, slices: int) -> None:
    """Works on a subscription with effects of these names, until it is told to stop."""
    from tests.scenarios import deploying

    await deploying.deploy(url, names, calls, slices, say, hear)


async def fork_effect_workers(url: str, address: list[Any], planted: bool) -> None:
    """Forks workers of effects that stop at a point; `planted`: with intents after the calls."""
    from tests.scenarios import effecting

    await effecting.fork_workers(url, address, planted, hear)


async def write_notes(url: str, by: str, seed: str) -> None:
    """Appends to one of two ledgers that are kept in step."""
    from tests.scenarios import synchronising

    await synchronising.write_notes(say, url, by, seed)


async def be_an_edge(edge: str, hub: str, receiver: str, by: str, seed: str) -> None:
    """Appends for ever, has the effects of it, and is kept in step with a hub far away."""
    from tests.scenarios import synchronising

    await synchronising.be_an_edge(say, edge, hub, receiver, by, seed)


async def keep_in_step(edge: str, hub: str, receiver: str) -> None:
    """Keeps the two in step, and has their effects."""
    from tests.scenarios import synchronising

    await synchronising.keep_in_step(say, edge, hub, receiver)


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {
    program.__name__: program
    for program in (
        compete,
        work,
        run_version,
        rebuild,
        deploy,
        fork_effect_workers,
        write_notes,
        be_an_edge,
        keep_in_step,
        follow,
        write,
        append_when_told,
        append_until_told,
        commit,
        commit_counting,
        hold_lock,
        create,
        open_many,
        open_as,
        fork,
        stop_in_the_middle,
        stop_in_a_copy,
        try_to_write,
        claim_slices,
        fight_for_slices,
        die_in_a_transaction,
    )
}


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[2])
    program = PROGRAMS[sys.argv[1]]

    async def run() -> None:
        await program(**arguments)

    asyncio.run(run())


if __name__ == "__main__":
    main()
