"""Several processes write to one file, and one reads on all the while."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore
from everlog.core.record import StoredRecord
from everlog.store.verifying import Verification
from tests.scenarios.follower import Follower
from tests.scenarios.processes import Process
from tests.scenarios.programs import EVENTS

WRITERS = 4
APPENDS = 2_000
STREAMS = 40
LANES = 4


def test_four_processes_and_a_reader_on_one_file_lose_repeat_and_reorder_nothing(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "log.db")
    with ExitStack() as stack:
        writers = [
            stack.enter_context(
                Process(
                    "compete",
                    path=path,
                    process=number,
                    appends=APPENDS,
                    streams=STREAMS,
                    lanes=LANES,
                )
            )
            for number in range(WRITERS)
        ]
        reader = stack.enter_context(Process("follow", path=path, until=WRITERS * APPENDS))
        for process in (*writers, reader):
            assert process.hear() == "ready"
        for writer in writers:
            writer.say("go")
        results: list[dict[str, Any]] = []
        for writer in writers:
            results.append(writer.hear())
            assert results[-1] is not None, "a writer ended with an error"
        followed: dict[str, Any] = reader.hear()
        assert [process.wait() for process in (*writers, reader)] == [0] * (WRITERS + 1)

    # Every attempt was answered: with success or with a conflict.
    for result in results:
        assert len(result["ids"]) == APPENDS
        assert result["attempts"] == APPENDS + len(result["conflicts"])

    # Everything acknowledged is there, and nothing else.
    rows, verification = asyncio.run(_whole(path))
    acknowledged = {id for result in results for id in result["ids"]}
    assert len(acknowledged) == WRITERS * APPENDS
    assert [row.position for row in rows] == list(range(1, WRITERS * APPENDS + 1))
    assert {row.id for row in rows} == acknowledged
    assert verification.ok, verification.problems

    # Every conflict was one: somebody else has the version that was asked for.
    writer_of = {id: number for number, result in enumerate(results) for id in result["ids"]}
    taken = {(row.stream, row.version): writer_of[row.id] for row in rows}
    between = 0
    for number, result in enumerate(results):
        for stream, expected, actual in result["conflicts"]:
            assert actual > expected
            between += taken[stream, expected + 1] != number
    total = sum(len(result["conflicts"]) for result in results)
    print(f"{total} conflicts, {between} of them between processes; {followed['polls']} polls")
    assert between >= 500

    # The reader saw a gapless prefix at every moment, and what it had seen stayed.
    assert followed["problems"] == []
    assert followed["position"] == WRITERS * APPENDS
    assert followed["ids"] == [row.id for row in rows]
    assert followed["looked_back"] > 10, "it read while the others wrote"


def test_processes_that_create_one_file_at_the_same_moment_get_one_ledger(tmp_path: Path) -> None:
    path = str(tmp_path / "new.db")
    with ExitStack() as stack:
        several = [stack.enter_context(Process("create", path=path)) for _ in range(5)]
        for process in several:
            assert process.hear() is False, "each has looked, and found an empty file"
        for process in several:
            process.say("go")
        answers: list[tuple[str, str]] = [process.hear() for process in several]
        assert [process.wait() for process in several] == [0] * len(several)
    rows, verification = asyncio.run(_whole(path))
    assert len({ledger for ledger, _ in answers}) == 1
    assert {row.id for row in rows} == {id for _, id in answers}
    assert verification.ok, verification.problems


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("hole", "position 3 came after 1"),
        ("late", "position 2 came after 3"),
        ("version", "a went to version 5, not 3"),
        ("repeated", "id-2 came twice"),
        ("changed", "from 1 on, another reading gives other records"),
        ("below", "another reading ends at 4, not 3"),
    ],
)
def test_the_follower_goes_red_for_each_promise_that_is_broken(fault: str, seen: str) -> None:
    rows = [_row(1, 1), _row(2, 2), _row(3, 3)]
    follower = Follower()
    match fault:
        case "hole":
            rows = [_row(1, 1), _row(3, 2)]
        case "late":
            rows.append(_row(2, 4))
        case "version":
            rows[2] = _row(3, 5)
        case "repeated":
            rows[2] = _row(3, 3)._replace(id="id-2")
        case _:
            pass
    for row in rows:
        follower.take(row)
    if fault == "changed":
        follower.compare([rows[0], rows[1]._replace(id="other"), rows[2]])
    if fault == "below":
        follower.compare([*rows, _row(4, 4)])
    assert seen in follower.problems


def test_the_follower_is_content_with_what_is_promised() -> None:
    rows = [_row(1, 1), _row(2, 2), _row(3, 3)]
    follower = Follower()
    for row in rows:
        follower.take(row)
    follower.compare(rows)
    assert follower.problems == []


async def _whole(path: str) -> tuple[list[StoredRecord], Verification]:
    async with EventStore.open(f"sqlite:///{path}", events=EVENTS) as store:
        return [record.stored async for record in store.read()], await store.verify()


def _row(position: int, version: int) -> StoredRecord:
    return StoredRecord(
        position=position,
        version=version,
        id=f"id-{position}",
        stream="a",
        type="scenario:moved",
        schema=1,
        register="scenario:moved",
        origin="o",
        correlation="c",
        causation=None,
        created="",
        recorded="",
        flags=0,
        nonce=b"",
        data="null",
        meta="null",
        hash=b"",
        chain=b"",
    )
