"""Exporting and importing files: what comes back is what was there, and nothing is half done."""

from __future__ import annotations

import asyncio
import io
import json
import os
import stat
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from pydantic import BaseModel, RootModel

from everlog import EventStore, Exported, IdConflict, ImportedFile, Record, blocking, caused_by
from everlog import event as an_event
from everlog.core.stamp import to_original
from everlog.errors import CannotOpen, ClockAhead, InvalidInput, StorageFailed, TamperedRecord
from everlog.interchange import ndjson
from everlog.interchange.formats import Format
from everlog.testing import PostgresServer
from tests.store.programs import MOMENT


class By(BaseModel):
    who: str


@an_event("thing:said", meta=By, register="thing")
class Said(RootModel[str]): ...


@an_event("thing:measured", schema=3)
@dataclass
class Measured:
    value: float
    list: list[int]


@an_event("thing:ended")
@dataclass
class Ended: ...


EVENTS = [Said, Measured, Ended]
AWKWARD = 'a "quote", a \\ and a / line\nbreak, \u2028, é, \U0001f600, \x7f and \u202e'


async def fill(store: EventStore) -> None:
    by = By(who="me & you")
    [first] = await store.append("thing-1", Said("hello"), meta=by)
    with caused_by(first):
        await store.append("ding/ü 2", Measured(1e300, [1, 2**53 - 1]), ids=['an "id"'])
    await store.append("thing-1", Said(AWKWARD), Said(""), meta=by, relations=["r"])
    await store.append("thing-1", Ended())
    old = store.past("thing-1", Said("old"), created=MOMENT, meta=by, id="old-1")
    await store.import_records([old])


@asynccontextmanager
async def filled(url: str) -> AsyncGenerator[EventStore]:
    async with EventStore.open(url, events=EVENTS) as store:
        await fill(store)
        yield store


async def all_of(store: EventStore) -> list[Record[Any]]:
    return await store.read().to_list()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(cast(Any, test()))


KEPT = (
    *("id", "stream", "version", "type", "schema", "register", "origin", "correlation"),
    *("causation", "created", "data", "meta", "nonce", "hash"),
)


def same(here: list[Record[Any]], there: list[Record[Any]]) -> bool:
    """Whether the same events stand in the same order."""
    return [[getattr(r.stored, name) for name in KEPT] for r in here] == [
        [getattr(r.stored, name) for name in KEPT] for r in there
    ]


class Told:
    """Keeps what it is told."""

    def __init__(self, told: list[tuple[int, int]]) -> None:
        self._told = told

    def __call__(self, done: int, total: int) -> None:
        self._told.append((done, total))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "memory":
            return "memory:"
        case "sqlite":
            return f"sqlite:///{tmp_path}/log.db"
        case _:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return server.new_database()


# --- what comes back ---


@pytest.mark.parametrize("format", ["ndjson", "cloudevents", "cloudevents-batch"])
def test_what_is_exported_and_imported_keeps_ids_hashes_and_order(
    url: str, format: Format, tmp_path: Path
) -> None:
    async def main() -> None:
        file = tmp_path / "log.json"
        async with filled(url) as store:
            there = await all_of(store)
            assert await store.export(file, format=format) == Exported(6, 0, 6)
        async with EventStore.open("memory:", events=EVENTS) as copy:
            assert await copy.import_file(file) == ImportedFile(6, 0, 0)
            here = await all_of(copy)
            assert same(here, there)
            assert all(record.hydrated for record in here)
            assert [r.data for r in here] == [r.data for r in there]
            assert (await copy.verify()).ok
            again = io.BytesIO()
            await copy.export(again, format=format)
            assert await copy.import_file(file, format=format) == ImportedFile(0, 6, 0)
        if format != "ndjson":  # which also says where each stood
            assert again.getvalue() == file.read_bytes()

    run(main)


def test_ndjson_is_a_line_a_record_of_which_each_says_all_of_it() -> None:
    async def main() -> None:
        out = io.BytesIO()
        async with filled("memory:") as store:
            await store.export(out)
            records = await all_of(store)
        lines = out.getvalue().decode().split("\n")
        assert lines.pop() == ""
        for line, record in zip(lines, records, strict=True):
            row, said = record.stored, json.loads(line)
            assert said.pop("flags") == (["hydrated", "outdated"] if row.flags else [])
            for name in ("nonce", "hash", "chain"):
                assert said.pop(name) == getattr(row, name).hex()
            assert said.pop("data") == record.json
            assert said.pop("meta") == record.meta_json
            assert said == {name: getattr(row, name) for name in said}
            assert {*said} | {"flags", "nonce", "hash", "chain", "data", "meta"} == {*row._fields}

    run(main)


def test_cloudevents_are_what_their_specification_asks_for() -> None:
    async def main() -> None:
        out, batch = io.BytesIO(), io.BytesIO()
        async with filled("memory:") as store:
            await store.export(out, format="cloudevents")
            await store.export(batch, format="cloudevents-batch")
            records = await all_of(store)
        # In bytes: str.splitlines breaks lines at U+2028, which is in a text.
        events = [json.loads(line) for line in out.getvalue().splitlines()]
        assert json.loads(batch.getvalue()) == events
        for event, record in zip(events, records, strict=True):
            assert event["specversion"] == "1.0"
            assert (event["id"], event["type"], event["subject"]) == (
                record.id,
                record.type,
                record.stream,
            )
            assert event["source"] == f"urn:everlog:{record.origin}"
            assert event["data"] == record.json
            assert datetime.fromisoformat(event["time"]) == record.created_at
            for name, value in event.items():  # of the names and kinds that attributes may have
                assert name.isascii()
                assert name.isalnum()
                assert name.islower()
                assert name == "data" or isinstance(value, (str, int))

    run(main)


def test_records_of_the_original_keep_id_time_and_order(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "original.json"
        lines: list[dict[str, Any]] = [
            {"id": f"e{n}", "stream": "user-1", "type": "thing:said", "data": f"{n}", "meta": {}}
            | {"created": f"mkdsn5a8-0000{n}", "recorded": f"mkdsn5a9-0000{n}"}
            for n in range(5)
        ]
        file.write_text(json.dumps(lines, indent=2))
        async with EventStore.open("memory:") as store:
            assert await store.import_file(file) == ImportedFile(5, 0, 0)
            records = await all_of(store)
            assert [r.id for r in records] == [f"e{n}" for n in range(5)]
            assert [r.json for r in records] == [f"{n}" for n in range(5)]
            assert [to_original(r.created) for r in records] == [each["created"] for each in lines]
            assert {r.origin for r in records} == {(await store.info()).ledger}
            assert {r.created[16:] for r in records} == {(await store.info()).node}
            # Each time it is read, an event gets another nonce: it is the same all the same.
            assert await store.import_file(file) == ImportedFile(0, 5, 0)
            out = io.BytesIO()
            await store.export(out, format="original")
        written = [json.loads(line) for line in out.getvalue().splitlines()]
        for each, line in zip(written, lines, strict=True):
            assert {**line, "recorded": each["recorded"]} == each

    run(main)


def test_what_is_not_there_is_an_empty_object_in_the_original(tmp_path: Path) -> None:
    async def main() -> None:
        out = io.BytesIO()
        async with EventStore.open("memory:", events=EVENTS) as store:
            await store.append("a", Ended())
            await store.export(out, format="original")
        event = json.loads(out.getvalue())
        assert (event["data"], event["meta"]) == ({}, {})
        async with EventStore.open("memory:", events=EVENTS) as store:
            await store.import_file(io.BytesIO(out.getvalue()))
            [record] = await all_of(store)
            assert record.data == Ended()

    run(main)


def test_other_programs_cloudevents_are_born_here_in_their_order() -> None:
    events = [
        {"specversion": "1.0", "id": "7", "source": "/shop", "type": "a", "subject": "order-1"}
        | {"time": "2026-01-31T13:00:00.123456789+01:00", "data": {"n": 1}},
        {"specversion": "1.0", "id": "6", "source": "/shop", "type": "b", "subject": "order-1"}
        | {"time": "2026-01-31T12:00:00.123Z", "datacontenttype": "text/plain", "data": "two"},
        {"specversion": "1.0", "id": "7", "source": "/bank", "type": "c"},
        {"specversion": "1.0", "id": "x" * 255, "source": "/bank", "type": "c", "data": None},
    ]

    async def main() -> None:
        text = "\n".join(map(json.dumps, events)).encode()
        async with EventStore.open("memory:") as store:
            assert await store.import_file(io.BytesIO(text)) == ImportedFile(4, 0, 0)
            one, two, three, four = await all_of(store)
            assert (one.id, two.id, three.id) == ("/shop#7", "/shop#6", "/bank#7")
            assert len(four.id) == 36, "an id that is too long has one that stands for it"
            assert (one.stream, three.stream) == ("order-1", "/bank")
            assert (one.json, two.json, three.json) == ({"n": 1}, "two", None)
            assert one.created_at == datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)
            assert one.created < two.created < three.created < four.created, "as in the file"
            assert await store.import_file(io.BytesIO(text)) == ImportedFile(0, 4, 0)

    run(main)


def test_a_part_of_the_log_is_exported_by_the_words_of_read(tmp_path: Path) -> None:
    async def main() -> None:
        async with filled("memory:") as store:
            for words, positions in (
                ({"stream": "thing-1"}, [1, 3, 4, 5, 6]),
                ({"prefix": "ding"}, [2]),
                ({"relation": "r", "types": [Ended]}, [5]),
                ({"after": 2, "until": 4}, [3, 4]),
                ({"as_of": MOMENT}, [6]),
                ({"stream": "nobody"}, []),
            ):
                out = io.BytesIO()
                formats: list[Format] = ["ndjson", "cloudevents-batch"]
                for format in formats:
                    out = io.BytesIO()
                    told: list[tuple[int, int]] = []
                    done = await store.export(
                        out,
                        format=format,
                        progress=Told(told),
                        **cast(Any, words),
                    )
                    assert done.records == len(positions)
                    assert done.position == (positions[-1] if positions else 0)
                    assert [at for at, _ in told] == positions[-1:]
                text = out.getvalue().decode()
                assert len(json.loads(text)) == len(positions)

    run(main)


# --- what is wrong, and what is left then ---

GOOD = {"specversion": "1.0", "source": "s", "type": "t"}
BAD_LINES: dict[str, tuple[str, str]] = {
    "no object": ("[1]", "an event is an object, not a number"),
    "no form": ('{"hello": 1}', "of no form that this knows"),
    "no id": (json.dumps({**GOOD}), "id is missing"),
    "a number for an id": (json.dumps({**GOOD, "id": 1}), "id must be text, not a number"),
    "another version": (json.dumps({**GOOD, "specversion": "0.3"}), "this reads 1.0"),
    "no time zone": (json.dumps({**GOOD, "id": "1", "time": "2026-01-01T00:00:00"}), "time zone"),
    "no time": (json.dumps({**GOOD, "id": "1", "time": "soon"}), "is no time"),
    "long ago": (json.dumps({**GOOD, "id": "1", "time": "1960-01-01T00:00:00Z"}), "before 1970"),
    "bytes": (json.dumps({**GOOD, "id": "1", "data_base64": "AA=="}), "data is bytes"),
    "an image": (json.dumps({**GOOD, "id": "1", "datacontenttype": "image/png"}), "image/png"),
    "a NUL": (json.dumps({**GOOD, "id": "1", "data": "\x00"}), "data"),
    "a half of a pair": (json.dumps({**GOOD, "id": "1", "data": "\ud800"}), "data"),
    "a half in a name": (json.dumps({**GOOD, "id": "1\ud800"}), "surrogate"),
    "no stamp": (
        json.dumps({"id": "1", "stream": "s", "type": "t", "created": "x", "recorded": "x"}),
        "no stamp of the original",
    ),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_what_is_no_event_is_named_with_its_line_and_what_came_before_stays(case: str) -> None:
    line, says = BAD_LINES[case]

    async def main() -> None:
        async with EventStore.open("memory:") as store:
            with pytest.raises(InvalidInput, match=says) as caught:
                await store.import_file(io.BytesIO(line.encode("utf-8", "surrogatepass")))
            assert "line 1: " in str(caught.value) or "surrogate" in str(caught.value)
            assert (await store.info()).position == 0

    run(main)


def test_a_line_that_was_changed_is_refused_and_repeating_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "log.ndjson"
        async with filled("memory:") as store:
            await store.export(file)
        good = file.read_text("utf-8")
        async with EventStore.open("memory:", events=EVENTS) as copy:
            file.write_text(good.replace('"hello"', '"hullo"'), "utf-8")
            with pytest.raises(TamperedRecord):
                await copy.import_file(file)
            cut = good[: good.rindex("{") + 40]  # as where a disk was full
            file.write_text(cut, "utf-8")
            with pytest.raises(InvalidInput, match="line 6: is no JSON"):
                await copy.import_file(file)
            file.write_text(good, "utf-8")
            done = await copy.import_file(file)
            assert done.stored + done.known == 6
            assert (await copy.verify()).records == 6

    run(main)


def test_a_file_is_read_whatever_its_white_space_and_the_order_of_its_keys(tmp_path: Path) -> None:
    async def main() -> None:
        out = io.BytesIO()
        async with filled("memory:") as store:
            await store.export(out)
            there = await all_of(store)
        events = [json.loads(line) for line in out.getvalue().splitlines()]
        turned = [dict(reversed(each.items())) for each in events]
        async with EventStore.open("memory:", events=EVENTS) as copy:
            text = json.dumps(turned, indent=3).encode()
            assert await copy.import_file(io.BytesIO(text)) == ImportedFile(6, 0, 0)
            assert same(await all_of(copy), there)

    run(main)


def test_another_event_of_the_same_id_is_a_conflict_and_not_passed_over() -> None:
    async def main() -> None:
        async with EventStore.open("memory:") as store:
            event = {**GOOD, "id": "1", "time": "2026-01-01T00:00:00Z", "data": 1}
            await store.import_file(io.BytesIO(json.dumps(event).encode()))
            for change in ({"data": 2}, {"time": "2026-01-01T00:00:01Z"}, {"type": "u"}):
                with pytest.raises(IdConflict):
                    await store.import_file(io.BytesIO(json.dumps(event | change).encode()))

    run(main)


def test_a_past_that_is_imported_again_is_known() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            for expected in ((1, 0), (0, 1)):
                past = store.past("a", Ended(), created=MOMENT, id="crm-1")
                done = await store.import_records([past])
                assert (done.stored, done.known) == expected

    run(main)


def test_a_stamp_far_ahead_is_refused_in_a_file_too() -> None:
    async def main() -> None:
        async with EventStore.open("memory:") as store:
            event = {**GOOD, "id": "1", "time": "2999-01-01T00:00:00Z"}
            with pytest.raises(ClockAhead):
                await store.import_file(io.BytesIO(json.dumps(event).encode()))

    run(main)


# --- files ---


def test_a_file_appears_when_it_is_whole_for_its_owner_alone(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "log.ndjson"
        async with filled("memory:") as store:
            seen: list[list[str]] = []

            def look(done: int, total: int) -> None:
                seen.append(sorted(os.listdir(tmp_path)))

            await store.export(file, progress=look)
            assert all("log.ndjson" not in names for names in seen)
            assert os.listdir(tmp_path) == ["log.ndjson"]
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            whole = file.read_bytes()
            with pytest.raises(CannotOpen, match="exists"):
                await store.export(file)
            assert file.read_bytes() == whole
            await store.export(file, replace=True, until=1)
            assert file.read_bytes() == whole.splitlines(keepends=True)[0]

            def fail(done: int, total: int) -> None:
                raise ZeroDivisionError

            for target in (file, tmp_path / "other"):
                with pytest.raises(ZeroDivisionError):
                    await store.export(target, replace=True, progress=fail)
            assert os.listdir(tmp_path) == ["log.ndjson"]
            assert file.read_bytes() == whole.splitlines(keepends=True)[0]

    run(main)


def test_a_disk_without_room_leaves_no_file(tmp_path: Path) -> None:
    class Full(io.BytesIO):
        def write(self, text: Any) -> int:
            raise OSError(28, "No space left on device")

    async def main() -> None:
        async with filled("memory:") as store:
            with pytest.raises(OSError, match="No space"):  # of a file of one's own: as it is
                await store.export(Full())

    run(main)


@pytest.mark.parametrize("method", ["export", "import_file"])
def test_what_is_no_file_is_refused(method: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with filled("memory:") as store:
            act = getattr(store, method)
            for wrong in (5, None, b"log.ndjson"):
                with pytest.raises(InvalidInput, match="a file is a path"):
                    await act(wrong)
            with pytest.raises(CannotOpen, match="none/log"):
                await act(tmp_path / "none" / "log.ndjson")
            with pytest.raises(CannotOpen):
                await act(tmp_path)
            with pytest.raises(InvalidInput, match="format='csv' is not known; use one of ndjson"):
                await act(tmp_path / "new", format="csv")
            assert os.listdir(tmp_path) == []

    run(main)


def test_text_that_is_no_utf_8_is_refused() -> None:
    async def main() -> None:
        async with EventStore.open("memory:") as store:
            with pytest.raises(InvalidInput, match="no UTF-8 text"):
                await store.import_file(io.BytesIO(b'{"a":"\xff"}'))

    run(main)


def test_a_file_that_was_handed_in_stays_open() -> None:
    async def main() -> None:
        async with filled("memory:") as store:
            out = io.BytesIO()
            await store.export(out)
            out.seek(0)
            await store.import_file(out)
            assert not out.closed

    run(main)


def test_progress_of_an_import_is_told_in_bytes(tmp_path: Path) -> None:
    async def main() -> None:
        file = tmp_path / "log.ndjson"
        async with EventStore.open("memory:", events=EVENTS) as store:
            for _ in range(3):
                await store.append("a", *[Said("x" * 100)] * 1000, meta=By(who="me"))
            await store.export(file)
        told: list[tuple[int, int]] = []
        async with EventStore.open("memory:") as copy:
            await copy.import_file(file, progress=Told(told))
        size = file.stat().st_size
        assert len(told) >= 3
        assert told == sorted(told)
        assert {total for _, total in told} == {size}
        assert told[-1][0] == size

    run(main)


def test_a_blocking_store_does_the_same_and_tells_in_its_own_thread(tmp_path: Path) -> None:
    import threading

    file = tmp_path / "log.ndjson"
    threads: set[int] = set()

    def tell(done: int, total: int) -> None:
        threads.add(threading.get_ident())

    with blocking.EventStore.open("memory:", events=EVENTS) as store:
        store.append("a", Ended(), Ended())
        assert store.export(file, progress=tell) == Exported(2, 0, 2)
    with blocking.EventStore.open("memory:") as copy:
        assert copy.import_file(str(file), progress=tell) == ImportedFile(2, 0, 0)
    assert threads == {threading.get_ident()}


def test_an_orphan_is_marked_and_not_taken_in() -> None:
    async def main() -> None:
        out = io.BytesIO()
        async with filled("memory:") as store:
            await store.export(out)
        lines = out.getvalue().decode().replace('"flags":[]', '"flags":["orphan"]', 1)
        async with EventStore.open("memory:") as copy:
            source = cast(BinaryIO, io.BytesIO(lines.encode()))
            assert await copy.import_file(source) == ImportedFile(5, 0, 1)

    run(main)


def test_what_a_full_disk_says_of_a_path_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    async def main() -> None:
        async with filled("memory:") as store:
            monkeypatch.setattr(os, "fsync", full)
            with pytest.raises(StorageFailed, match="No space left"):
                await store.export(tmp_path / "log.ndjson")
            assert os.listdir(tmp_path) == []

    run(main)


def test_a_file_system_without_hard_links_does_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    async def main() -> None:
        monkeypatch.setattr(os, "link", refuse)
        async with filled("memory:") as store:
            await store.export(tmp_path / "log.ndjson")
            with pytest.raises(CannotOpen, match="exists"):
                await store.export(tmp_path / "log.ndjson")
        assert os.listdir(tmp_path) == ["log.ndjson"]

    run(main)


def test_what_stays_of_a_record_whose_content_went_is_marked_and_not_taken_in() -> None:
    async def main() -> None:
        async with filled("memory:") as store:
            records = await all_of(store)
            gone = records[0].stored._replace(nonce=b"", data="", meta="")
            lines = [ndjson.encode(each) for each in (gone, records[1].stored)]
        said = json.loads(lines[0])
        assert (said["data"], said["meta"], said["nonce"]) == (None, None, None)
        assert said["flags"] == ["tombstone"]
        assert said["hash"] == records[0].hash
        async with EventStore.open("memory:") as copy:
            source = io.BytesIO("\n".join(lines).encode())
            assert await copy.import_file(source) == ImportedFile(1, 0, 1)

    run(main)
