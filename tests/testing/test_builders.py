"""Records made by hand are as good as stored ones, and the same for the same arguments."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from everlog import EventStore, EventValidationError, UnknownEvent
from everlog.connect import connect
from everlog.core.record import computed_hash
from everlog.errors import InvalidStamp, NaiveDatetime, TamperedRecord
from everlog.ports.seams import Seams
from everlog.testing import FakeClock, deterministic_bytes, record_of
from tests.testing.events import Auditor, Closed, Opened, Renamed


def test_a_record_made_by_hand_can_be_imported() -> None:
    async def run() -> None:
        moment = datetime(2020, 5, 1, tzinfo=UTC)
        made = record_of(
            Opened(owner="jane"), stream="a", created=moment, meta=Auditor(auditor="me"), id="one"
        )
        async with EventStore.open("memory:", events=[Opened]) as store:
            await store.import_records([made, record_of(Renamed("x"), stream="a", version=2)])
            stored = await store.read("a").to_list()
            assert [record.version for record in stored] == [1, 2]
            assert stored[0].hash == made.hash
            assert stored[0].data == Opened(owner="jane")
            assert stored[0].meta == Auditor(auditor="me")
            assert stored[0].created_at == moment
            assert (await store.verify()).problems == ()

            changed = made.stored._replace(id="two", data='{"limit":0,"owner":"john"}')
            with pytest.raises(TamperedRecord):
                await store.import_records([changed])

    asyncio.run(run())


def test_the_helpers_need_no_test_framework() -> None:
    program = "import sys; sys.modules['pytest'] = None; import everlog.testing as t; t.FakeClock()"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_same_arguments_make_the_same_record() -> None:
    def make() -> object:
        return record_of(Renamed("x"), stream="a", version=3, outdated=True)

    assert make() == make()
    assert record_of(Renamed("x")).stored != record_of(Renamed("y")).stored


def test_a_record_has_what_it_was_told() -> None:
    record = record_of(
        Closed("late"),
        stream="a",
        version=3,
        position=9,
        hydrated=True,
        outdated=True,
        id="one",
        origin="elsewhere",
        correlation="request-1",
        causation="zero",
    )
    assert (record.stream, record.version, record.position, record.id) == ("a", 3, 9, "one")
    assert (record.hydrated, record.outdated, record.origin) == (True, True, "elsewhere")
    assert (record.correlation, record.causation) == ("request-1", "zero")
    assert (record.type, record.register, record.data) == ("closed", "open", Closed("late"))
    assert record.stored.hash == computed_hash(record.stored)
    plain = record_of(Renamed("x"))
    assert (plain.hydrated, plain.outdated, plain.correlation) == (False, False, plain.id)


def test_versions_follow_each_other_in_time_unless_said_otherwise() -> None:
    stamps = [record_of(Renamed("x"), version=version).created for version in range(1, 20)]
    assert stamps == sorted(stamps)


def test_what_an_append_would_refuse_is_no_record() -> None:
    with pytest.raises(EventValidationError, match=r"data\.owner"):
        record_of(Opened.model_construct(owner=7))
    with pytest.raises(EventValidationError, match=r"meta\.auditor"):
        record_of(Opened(owner="x"), meta=Auditor.model_construct(auditor=7))
    with pytest.raises(EventValidationError, match="meta"):
        record_of(Renamed("x"), meta=Auditor(auditor="me"))
    with pytest.raises(UnknownEvent):
        record_of("text")
    with pytest.raises(NaiveDatetime):
        record_of(Renamed("x"), created=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(InvalidStamp):
        record_of(Renamed("x"), created="yesterday")


def test_a_meta_may_be_left_out() -> None:
    assert record_of(Opened(owner="x")).meta is None


def test_chance_repeats_with_its_seed() -> None:
    one, other, third = (deterministic_bytes(seed) for seed in (1, 1, "1"))
    drawn = [one(8) for _ in range(100)]
    assert drawn == [other(8) for _ in range(100)]
    assert len(set(drawn)) == 100
    assert third(8) != drawn[0]
    assert [len(one(count)) for count in (0, 1, 1000)] == [0, 1, 1000]


def test_two_stores_with_the_same_time_and_chance_are_the_same() -> None:
    async def log() -> list[object]:
        seams = Seams(now_ms=FakeClock(), random_bytes=deterministic_bytes(7))
        ledger = await connect("memory:", seams=seams, options={})
        async with EventStore(ledger, events=[Renamed], seams=seams) as store:
            await store.append("a", Renamed("x"), Renamed("y"))
            return [record.stored async for record in store.read()]

    first, second = asyncio.run(log()), asyncio.run(log())
    assert len(first) == 2
    assert first == second
