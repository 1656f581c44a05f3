"""Any number of threads share a store: its order, its group commit, and nobody's errors."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from everlog.blocking import EventStore, Projector, Record, WrongVersion, caused_by
from tests.blocking.notes import EVENTS, Noted, Notes, counted_store, in_threads

THREADS, APPENDS, STREAMS = 16, 200, 4


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_appends_of_many_threads_are_gapless_and_each_gets_its_own_outcome(
    kind: str, tmp_path: Path, rng: random.Random
) -> None:
    seeds = [rng.random() for _ in range(THREADS)]
    won: list[dict[int, int]] = [{} for _ in range(THREADS)]
    conflicts = Counter[int]()

    with counted_store(None if kind == "memory" else tmp_path / "notes.db") as (store, counted):

        def append(number: int, mark: int, stream: int, versions: dict[int, int]) -> Record[Noted]:
            while True:
                expected = versions[stream]
                try:
                    [record] = store.append(
                        f"s{stream}", Noted(mark), expect=expected, ids=[f"id-{mark}"]
                    )
                except WrongVersion as error:
                    told = (error.stream, error.expected, error.actual > expected)
                    # Of this thread's own expectation, and nobody else's.
                    if told != (f"s{stream}", expected, True):
                        raise AssertionError(f"somebody else's conflict: {told}") from error
                    versions[stream] = error.actual
                    conflicts[number] += 1
                else:
                    assert record.version == expected + 1
                    return record

        def work(number: int) -> None:
            chance = random.Random(seeds[number])
            versions = dict.fromkeys(range(STREAMS), 0)
            for index in range(APPENDS):
                stream, mark = chance.randrange(STREAMS), number * APPENDS + index
                record = append(number, mark, stream, versions)
                assert (record.id, record.data) == (f"id-{mark}", Noted(mark))
                versions[stream] = record.version
                won[number][mark] = record.position

        in_threads(THREADS, work)
        records = store.read().to_list()
        appends = THREADS * APPENDS
        assert [record.position for record in records] == list(range(1, appends + 1))
        for stream in range(STREAMS):
            versions = [record.version for record in records if record.stream == f"s{stream}"]
            assert versions == list(range(1, len(versions) + 1))
        told = {mark: position for each in won for mark, position in each.items()}
        assert told == {record.data.number: record.position for record in records}
        tries = appends + conflicts.total()
        assert conflicts.total() > 0, "nobody met anybody: this shows nothing"
        assert sum(counted.commits) == tries
        print(f"{tries} tries in {len(counted.commits)} commits")
        assert len(counted.commits) < tries / 2
        assert store.verify().ok


def test_one_thread_alone_commits_each_append_by_itself() -> None:
    with counted_store() as (store, counted):
        for number in range(20):
            store.append("a", Noted(number))
        assert counted.commits == [1] * 20


def test_retrying_from_many_threads_loses_no_decision(tmp_path: Path) -> None:
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as store:
        store.append("notes-1", Noted(0))

        def work(number: int) -> None:
            for _ in range(10):
                store.retrying(Notes, "notes-1", lambda notes: notes.note(1), attempts=1_000)

        in_threads(8, work)
        notes = store.get(Notes, "notes-1")
        assert notes is not None
        assert (notes.total, notes.log.version) == (80, 81)


def test_threads_read_while_others_append(tmp_path: Path) -> None:
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as store:
        store.append("a", *[Noted(number) for number in range(1_200)])

        def work(number: int) -> None:
            if number % 2:
                for _ in range(20):
                    store.append("a", Noted(-1), Noted(-1))
            else:
                for _ in range(3):
                    positions = [record.position for record in store.read("a")]
                    assert positions == list(range(1, len(positions) + 1))
                    assert len(positions) % 2 == 0, "a part of an append was seen"

        in_threads(8, work)


def test_a_store_of_a_module_serves_many_request_threads(tmp_path: Path) -> None:
    """As in Flask or Django: one store, opened once, and a thread of its own for each request."""
    store = EventStore.open(tmp_path / "notes.db", events=EVENTS)
    projector, seen = Projector(), dict[str, str]()

    @projector.on(Noted)
    def read_model(record: Record[Noted]) -> None:
        seen[record.id] = record.correlation

    store.on_appended(projector.handle)

    def request(number: int) -> None:
        with caused_by(f"request-{number}"):
            notes = store.new(Notes, id=f"notes-{number}").note(number).save()
            [record] = store.append(f"log-{number}", Noted(number))
        assert notes.log.version == 1
        assert seen[record.id] == f"request-{number}"  # when an append returns, hooks have run
        found = store.get(Notes, f"notes-{number}")
        assert found is not None
        assert found.total == number

    in_threads(40, request)
    store.close()
    with EventStore.open(tmp_path / "notes.db", events=EVENTS) as again:
        correlations = Counter(record.correlation for record in again.read())
        assert correlations == {f"request-{number}": 2 for number in range(40)}


def test_stores_share_one_thread_and_threads_begin_no_others() -> None:
    with EventStore.open("memory:", events=EVENTS) as one, EventStore.open("memory:") as two:
        one.append("a", Noted(1))
        two.info()
        portals = [thread for thread in threading.enumerate() if thread.name == "everlog-portal"]
        assert len(portals) == 1
        assert portals[0].daemon
