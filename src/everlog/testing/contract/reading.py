"""Reading: every option against a plain filter, in pages, while the log goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from everlog.core.record import Record
from everlog.core.selection import PAGE_RECORDS
from everlog.core.stamp import stamp_time
from everlog.errors import InvalidInput, InvalidStamp, NaiveDatetime, UnknownEvent
from everlog.store.preparing import to
from everlog.testing.contract.events import Activated, Deactivated, Noted, NotedAnew, Renamed
from everlog.testing.contract.scene import (
    Contract,
    Scene,
    contract_test,
    history,
    ids_of,
    positions_of,
)

RECORDS = 2 * PAGE_RECORDS + 301
"""Three pages of everything, and more than one of most selections."""

OPTIONS: dict[str, tuple[dict[str, Any], Callable[[Record[Any]], bool]]] = {
    "all": ({}, lambda record: True),
    "one stream": ({"stream": "s3"}, lambda record: record.stream == "s3"),
    "two streams": (
        {"streams": ["s1", "s5", "s1"]},
        lambda record: record.stream in ("s1", "s5"),
    ),
    "a relation": ({"relation": "some"}, lambda record: record.stream in ("s0", "s2", "s4", "s6")),
    "a prefix": ({"prefix": "s"}, lambda record: record.stream.startswith("s")),
    "a longer prefix": ({"prefix": "s1"}, lambda record: record.stream.startswith("s1")),
    "a prefix of nobody": ({"prefix": "s_"}, lambda record: False),
    "a prefix, a type": (
        {"prefix": "s2", "types": [Noted], "after": 30},
        lambda record: (
            record.stream.startswith("s2")
            and record.type == "contract:noted"
            and record.position > 30
        ),
    ),
    "a type": ({"types": [Noted]}, lambda record: record.type == "contract:noted"),
    "types by name": (
        {"types": ["contract:renamed", "contract:noted", "contract:unheard-of"]},
        lambda record: record.type in ("contract:renamed", "contract:noted"),
    ),
    "after": ({"after": 517}, lambda record: record.position > 517),
    "until": ({"until": 1_203}, lambda record: record.position <= 1_203),
    "until beyond the end": ({"until": 10**12}, lambda record: True),
    "after the end": ({"after": 10**12}, lambda record: False),
    "between": ({"after": 100, "until": 900}, lambda record: 100 < record.position <= 900),
    "no streams": ({"streams": []}, lambda record: False),
    "no types": ({"types": []}, lambda record: False),
    "an unknown stream": ({"stream": "nobody"}, lambda record: False),
    "an unknown relation": ({"relation": "nobody"}, lambda record: False),
    "all together": (
        {"relation": "some", "types": [Renamed, Activated], "after": 40, "until": 1_100},
        lambda record: (
            record.stream in ("s0", "s2", "s4", "s6")
            and record.type in ("contract:renamed", "contract:activated")
            and 40 < record.position <= 1_100
        ),
    ),
}


class ReadingRecords(Contract):
    """`store.read`, `first`, `find`."""

    @contract_test
    async def test_every_option_selects_what_a_plain_filter_would(self, scene: Scene) -> None:
        records = await history(scene.store, RECORDS)
        await scene.store.relations.add("some", "s0", "s2", "s4", "s6", "not there yet")
        for name, (options, matches) in OPTIONS.items():
            wanted = [record for record in records if matches(record)]
            read = await scene.store.read(**options).to_list()
            assert ids_of(read) == ids_of(wanted), name
            assert read == wanted, name
            backwards = await scene.store.read(**options, backwards=True).to_list()
            assert positions_of(backwards) == positions_of(reversed(wanted)), name
            assert await scene.store.read(**options).first() == next(iter(wanted), None), name

    @contract_test
    async def test_a_limit_holds_within_and_across_pages(self, scene: Scene) -> None:
        await history(scene.store, RECORDS)
        for limit in (0, 1, 2, PAGE_RECORDS, PAGE_RECORDS + 1, 2 * PAGE_RECORDS, RECORDS, 10**9):
            forwards = await scene.store.read(limit=limit).to_list()
            count = min(limit, RECORDS)
            assert positions_of(forwards) == list(range(1, count + 1))
            backwards = await scene.store.read(limit=limit, backwards=True).to_list()
            assert positions_of(backwards) == list(range(RECORDS, RECORDS - count, -1))
            streams = await scene.store.read(streams=["s1", "s2"], limit=limit).to_list()
            assert len(streams) == min(limit, len(streams))
        assert await scene.store.read(limit=0).first() is None

    @contract_test
    async def test_pages_of_exactly_full_size_end_well(self, scene: Scene) -> None:
        for count in (PAGE_RECORDS, 2 * PAGE_RECORDS):
            await scene.store.append("a", *[Activated()] * PAGE_RECORDS)
            assert len(await scene.store.read().to_list()) == count
            assert len(await scene.store.read(backwards=True).to_list()) == count

    @contract_test
    async def test_as_of_a_moment_takes_in_its_whole_millisecond(self, scene: Scene) -> None:
        for _ in range(3):
            await scene.store.append("a", Noted(1), Noted(2))
            scene.clock.advance(ms=1)
        records = await scene.store.read().to_list()
        moment = stamp_time(records[2].created)
        read = await scene.store.read(as_of=moment).to_list()
        assert positions_of(read) == [1, 2, 3, 4]
        read = await scene.store.read(as_of=moment - timedelta(milliseconds=1)).to_list()
        assert positions_of(read) == [1, 2]
        read = await scene.store.read(as_of=moment, backwards=True, limit=3).to_list()
        assert positions_of(read) == [4, 3, 2]
        assert await scene.store.read(as_of=datetime(1999, 1, 1, tzinfo=UTC)).to_list() == []

    @contract_test
    async def test_as_of_a_stamp_ends_with_the_record_of_that_stamp(self, scene: Scene) -> None:
        records = await scene.store.append("a", *[Noted(number) for number in range(5)])
        read = await scene.store.read("a", as_of=records[2].created).to_list()
        assert read == records[:3]

    @contract_test
    async def test_as_of_goes_by_created_and_not_by_position(self, scene: Scene) -> None:
        moment = stamp_time((await scene.store.append("a", Noted("new")))[0].created)
        past = moment - timedelta(days=1)
        await scene.store.import_records([scene.store.past("a", Noted("old"), created=past)])
        read = await scene.store.read(as_of=moment - timedelta(hours=1)).to_list()
        assert [record.json for record in read] == ["old"]

    @contract_test
    async def test_a_naive_datetime_and_a_malformed_stamp_are_refused(self, scene: Scene) -> None:
        with pytest.raises(NaiveDatetime):
            scene.store.read(as_of=datetime(2026, 1, 31))  # noqa: DTZ001 - the point of it
        for stamp in ("", "yesterday", "mkdsn5a8-00003", "0" * 31, "F" * 32):
            with pytest.raises(InvalidStamp):
                scene.store.read(as_of=stamp)

    @pytest.mark.parametrize(
        "options",
        [
            {"stream": "a", "streams": ["b"]},
            {"stream": "a", "relation": "r"},
            {"prefix": "a", "relation": "r"},
            {"stream": "a", "prefix": "a"},
            {"streams": ["a"], "prefix": "a"},
            {"prefix": ""},
            {"prefix": "a\n"},
            {"prefix": "\ud83d"},
            {"prefix": 1},
            {"streams": "a"},
            {"stream": ""},
            {"relation": "r\n"},
            {"types": Noted},
            {"types": "contract:noted"},
            {"types": [3]},
            {"after": -1},
            {"after": "1"},
            {"until": True},
            {"until": 2**63},
            {"limit": -1},
            {"limit": 1.0},
        ],
        ids=lambda options: " ".join(f"{name}={value!r:.24}" for name, value in options.items()),
    )
    @contract_test
    async def test_what_cannot_be_asked_is_refused(
        self, scene: Scene, options: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidInput):
            scene.store.read(**options)

    @contract_test
    async def test_an_unregistered_class_cannot_be_asked_for(self, scene: Scene) -> None:
        with pytest.raises(UnknownEvent):
            scene.store.read(types=[NotedAnew])

    @pytest.mark.parametrize("until", [None, 10**12], ids=["to the end", "beyond the end"])
    @pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
    @contract_test
    async def test_a_reading_is_a_consistent_prefix_while_appends_go_on(
        self, scene: Scene, backwards: bool, until: int | None
    ) -> None:
        await history(scene.store, RECORDS)
        reading = scene.store.read(backwards=backwards, until=until)
        read: list[int] = []
        async for record in reading:
            read.append(record.position)
            if record.position % 200 == 0:
                await scene.store.append(f"s{record.position % 7}", Noted("later"))
        assert read == sorted(range(1, RECORDS + 1), reverse=backwards)
        again = positions_of(await reading.to_list())
        assert len(again) == RECORDS + RECORDS // 200

    @contract_test
    async def test_a_reading_of_a_relation_keeps_to_the_streams_it_began_with(
        self, scene: Scene
    ) -> None:
        records = await history(scene.store, RECORDS, streams=2)
        await scene.store.relations.add("r", "s0")
        read: list[Record[Any]] = []
        async for record in scene.store.read(relation="r"):
            if not read:
                await scene.store.relations.remove("r", "s0")
                await scene.store.relations.add("r", "s1")
            read.append(record)
        assert read == [record for record in records if record.stream == "s0"]
        now = await scene.store.read(relation="r").to_list()
        assert {record.stream for record in now} == {"s1"}

    @contract_test
    async def test_a_reader_never_finds_a_record_at_or_below_where_it_has_read(
        self, scene: Scene
    ) -> None:
        writers, appends = 8, 25
        read: list[int] = []

        async def write(writer: int) -> None:
            for number in range(appends):
                await scene.store.append_many(
                    [to(f"w{writer}", Noted(number)), to("shared", Noted(number))]
                )

        async def follow() -> None:
            while len(read) < 2 * writers * appends:
                after = read[-1] if read else 0
                found = positions_of(await scene.store.read(after=after).to_list())
                assert found == list(range(after + 1, after + 1 + len(found)))
                assert len(found) % 2 == 0, "a part of an append was seen"
                read.extend(found)
                await asyncio.sleep(0)

        await asyncio.gather(follow(), *(write(writer) for writer in range(writers)))
        assert read == list(range(1, 2 * writers * appends + 1))

    @contract_test
    async def test_a_reading_can_be_left_and_cancelled_anywhere(self, scene: Scene) -> None:
        await history(scene.store, RECORDS)

        async def read_to(position: int) -> None:
            async for record in scene.store.read():
                if record.position == position:
                    return

        for position in (1, PAGE_RECORDS, PAGE_RECORDS + 1):
            await read_to(position)
        for turns in range(12):
            task = asyncio.create_task(read_to(RECORDS))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await scene.store.append("a", Noted(1))
        assert len(await scene.store.read().to_list()) == RECORDS + 1

    @contract_test
    async def test_readings_side_by_side_do_not_disturb_each_other(self, scene: Scene) -> None:
        records = await history(scene.store, RECORDS)
        readings = await asyncio.gather(
            *(scene.store.read(f"s{number}").to_list() for number in range(7)),
            scene.store.read(backwards=True).to_list(),
        )
        for number in range(7):
            assert readings[number] == [r for r in records if r.stream == f"s{number}"]
        assert readings[7] == records[::-1]

    @contract_test
    async def test_large_events_are_read_whole_whatever_a_page_holds(self, scene: Scene) -> None:
        texts = [f"{number}" * 700_000 for number in range(9)]
        await scene.store.append("a", *[Renamed(text) for text in texts])
        await scene.store.append("b", Renamed("small"))
        read = await scene.store.read("a", types=[Renamed]).to_list()
        assert [record.data.root for record in read] == texts
        backwards = await scene.store.read(backwards=True, limit=4).to_list()
        assert [record.json for record in backwards] == ["small", *reversed(texts[-3:])]

    @contract_test
    async def test_names_are_compared_by_code_point_and_kept_as_they_are(
        self, scene: Scene
    ) -> None:
        names = [
            "a",
            "A",
            "a ",
            " a",
            "\u00e9",
            "e\u0301",
            "a\u00a0",
            "%",
            "_",
            "1",
            "01",
            "\U0001f600",
        ]
        for name in names:
            await scene.store.append(name, Noted(name))
        for name in names:
            read = await scene.store.read(name).to_list()
            assert [(record.stream, record.json) for record in read] == [(name, name)]

    @contract_test
    async def test_find_returns_the_record_of_an_id_or_none(self, scene: Scene) -> None:
        [record] = await scene.store.append("a", Noted(1), ids=["an id"])
        assert await scene.store.find("an id") == record
        assert await scene.store.find("An id") is None
        assert await scene.store.find("other") is None
        with pytest.raises(InvalidInput):
            await scene.store.find("")

    @contract_test
    async def test_reading_never_fails_because_of_what_is_in_a_record(self, scene: Scene) -> None:
        await scene.store.append("a", Noted(1), Deactivated())
        stranger = scene.over(scene.ledger, events=[NotedAnew])
        read = await stranger.read().to_list()
        assert [record.json for record in read] == [1, None]
        with pytest.raises(UnknownEvent):
            _ = read[1].data
