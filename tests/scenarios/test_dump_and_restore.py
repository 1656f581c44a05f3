"""A ledger that is dumped and restored into a new cluster is the same ledger, and goes on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from everlog import EventStore, LogDiverged, Record, event, reducer, to
from everlog.core.selection import Order, Selection
from everlog.core.sequencer import Head, Identity
from everlog.testing import PostgresServer, postgres
from everlog.testing.contract.scene import rows_of
from everlog.testing.postgresql.binaries import binaries_of_the_wheel

Form = Literal["custom", "plain"]
FORMS: list[Form] = ["custom", "plain"]


@event("dumped:noted")
@dataclass
class Noted:
    text: str


@reducer("dumped", initial=int)
def counted(state: int, record: Record) -> int:
    return state + 1


@pytest.fixture(scope="module")
def new_cluster() -> Generator[PostgresServer]:
    """A cluster that is surely another one than that of the dump, of the newest version."""
    with postgres(binaries=binaries_of_the_wheel()) as server:
        yield server


def client(program: str, *arguments: str) -> None:
    """Runs a program of PostgreSQL's own, the newest there is."""
    done = subprocess.run(
        [binaries_of_the_wheel() / program, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def dump(url: str, file: Path, form: Form) -> None:
    client("pg_dump", f"--format={form}", f"--file={file}", url)


def restore(file: Path, url: str, form: Form) -> None:
    if form == "custom":
        client(
            "pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={url}", str(file)
        )
    else:
        client("psql", "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", str(file), url)


async def fill(store: EventStore) -> None:
    """Writes all kinds of things that a ledger can hold."""
    await store.append_many(
        [to(f"s{number % 7}", Noted(f"{number} é \U0001f600 \\N\t\n'\"")) for number in range(300)]
    )
    for number in range(5):
        created = f"{number:032x}"
        late = store.past("s1", Noted(f"late {number}"), created=created, id=f"late {number}")
        await store.import_records([late])
    await store.append("big", Noted("x" * 900_000), ids=["big"], relations=["some"])
    await store.relations.add("some", "s1")
    await store.snapshots.create(counted, relation="some")


@dataclass(frozen=True)
class Whole:
    """All that can be read of a ledger."""

    identity: Identity
    head: Head
    rows: list[Any]
    folded: list[Any]
    related: list[str]
    state: int | None
    token: str


async def whole(store: EventStore) -> Whole:
    verification = await store.verify()
    assert verification.ok, verification.problems
    ledger = store.ledger
    state = await store.reduce(counted, relation="some")
    return Whole(
        identity=ledger.identity,
        head=await ledger.head(),
        rows=await rows_of(ledger),
        folded=await rows_of(ledger, Selection(order=Order.CREATED)),
        related=await store.relations.streams_of("some"),
        state=state,
        token=(await store.info()).token,
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_in_a_new_cluster_is_the_same_ledger_and_appends_go_on(
    each_postgres: PostgresServer, new_cluster: PostgresServer, form: Form, tmp_path: Path
) -> None:
    source, target = each_postgres.new_database(), new_cluster.new_database()

    async def test() -> None:
        async with EventStore.open(source, events=[Noted]) as store:
            await fill(store)
            before = await whole(store)
            dump(source, tmp_path / "dump", form)
            lost = await store.append("s1", Noted("after the dump"), Noted("and more"))
            lost_tokens = [store.token(record) for record in lost]
        restore(tmp_path / "dump", target, form)
        async with EventStore.open(target, events=[Noted], migrate=False) as store:
            assert await whole(store) == before
            assert [snapshot.count for snapshot in await found_snapshots(store)] == [43 + 5 + 1]

            # A retry is known, and what comes gets the next position and version.
            [big] = await store.append("big", Noted("x" * 900_000), ids=["big"])
            assert big.stored == before.rows[305]
            last = before.head.position
            assert last == 306
            assert await store.read(after=before.token).to_list() == []
            [record] = await store.append("s1", Noted("here"), expect=48)
            assert (record.position, record.version) == (last + 1, 49)
            assert await store.read(after=before.token).to_list() == [record]
            assert await store.wait(after=before.token, timeout_s=30) == last + 1

            # What was appended there after the dump is not in this history.
            for token, differs in zip(lost_tokens, ("chain", "end"), strict=True):
                with pytest.raises(LogDiverged) as caught:
                    await store.read(after=token).to_list()
                assert caught.value.differs == differs
            assert (await store.verify()).ok

    asyncio.run(test())
    for statement in (
        "UPDATE everlog.records SET data = '2' WHERE position = 1",
        "DELETE FROM everlog.records",
        "TRUNCATE everlog.records",
        "SET session_replication_role = replica; DELETE FROM everlog.records",
    ):
        with (
            psycopg.connect(target) as connection,
            pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="never changed"),
        ):
            connection.execute(statement.encode())


async def found_snapshots(store: EventStore) -> list[Any]:
    found = await store.snapshots.get(counted, relation="some")
    return [] if found is None else [found]


def test_a_dump_made_while_appends_go_on_is_a_prefix_of_the_log(
    postgres_server: PostgresServer, new_cluster: PostgresServer, tmp_path: Path
) -> None:
    source, target = postgres_server.new_database(), new_cluster.new_database()

    async def test() -> None:
        async with EventStore.open(source, events=[Noted]) as store:
            await fill(store)
            going_on = True

            async def write(writer: int) -> None:
                number = 0
                while going_on:
                    number += 1
                    await store.append(f"w{writer}", Noted(f"{number}"), Noted(f"{number}"))

            writers = [asyncio.create_task(write(writer)) for writer in range(4)]
            await asyncio.to_thread(dump, source, tmp_path / "dump", "custom")
            going_on = False
            await asyncio.gather(*writers)
            followed = await store.read().to_list()
            tokens = [store.token(record) for record in followed]
        restore(tmp_path / "dump", target, "custom")
        async with EventStore.open(target, events=[Noted]) as store:
            kept = (await whole(store)).rows
            assert kept == [record.stored for record in followed[: len(kept)]]
            assert 306 <= len(kept) < len(followed), "appends went on while it was made"
            await store.append("s1", *[Noted("instead")] * (len(followed) - len(kept) + 1))
            for record, token in zip(followed, tokens, strict=True):
                if record.position not in (1, len(kept) - 1, len(kept), len(kept) + 1, len(tokens)):
                    continue
                if record.position <= len(kept):
                    first = await store.read(after=token).first()
                    assert first is not None
                    assert first.position == record.position + 1
                else:
                    with pytest.raises(LogDiverged):
                        await store.read(after=token).first()

    asyncio.run(test())
