"""Portable JSON and names: what one adapter accepts, every adapter accepts, and no more."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, RootModel

from everlog.core.event import event
from everlog.core.portable import MAX_DEPTH, MAX_EVENT_BYTES, MAX_KEYS
from everlog.core.record import computed_hash
from everlog.errors import InvalidName, NotPortable, TamperedRecord, TooLarge
from everlog.store.preparing import to
from everlog.testing.contract.events import Noted, Renamed
from everlog.testing.contract.folding import at
from everlog.testing.contract.scene import Contract, Scene, contract_test


class AnyMeta(RootModel[Any]):
    """Meta of any shape."""


@event("contract:annotated", meta=AnyMeta)
class Annotated(BaseModel):
    """An event whose meta may hold anything."""


def nested(depth: int) -> Any:
    """Returns lists inside each other."""
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


HOSTILE: dict[str, Callable[[], Any]] = {
    "NUL": lambda: "a\x00b",
    "NUL in a key": lambda: {"a\x00b": 1},
    "high surrogate": lambda: "\ud800",
    "low surrogate": lambda: "x\udfffy",
    "surrogate in a key": lambda: {"\ud83d": 1},
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus infinity": lambda: float("-inf"),
    "2^53": lambda: 2**53,
    "-2^53": lambda: -(2**53),
    "a huge integer": lambda: 10**400,
    "too deep": lambda: nested(MAX_DEPTH),
    "far too deep": lambda: nested(900),
    "too many keys": lambda: {str(number): 0 for number in range(MAX_KEYS + 1)},
    "two keys that become one": lambda: {1: "a", "1": "b"},
}

HOSTILE_TEXT = {
    "NUL": r'"\u0000"',
    "raw NUL": '"\x00"',
    "lone surrogate": r'"\ud800"',
    "raw lone surrogate": '"\udc00"',
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "1e400": "1e400",
    "2^53 + 1": "9007199254740993",
    "-2^53 - 1": "-9007199254740993",
    "duplicate keys": '{"a":1,"a":2}',
    "duplicate keys by escape": r'{"a":1,"\u0061":2}',
    "too deep": "[" * 65 + "]" * 65,
    "absurdly deep": "[" * 100_000 + "]" * 100_000,
    "too many keys": "{" + ",".join(f'"{n:05}":0' for n in range(MAX_KEYS + 1)) + "}",
    "no JSON": "{",
    "two values": "1 2",
    "a byte order mark": "\ufeff1",
    "empty": "",
}

NOT_CANONICAL = {
    "white space": '{"a": 1}',
    "1.0": "1.0",
    "-0": "-0.0",
    "unsorted keys": '{"b":1,"a":2}',
    "an escape too many": r'"\u0061"',
    "1e-400": "1e-400",
    "digits too many": "0.10000000000000000555",
}

FINE: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "deep enough": lambda: nested(MAX_DEPTH),
    "2^53 - 1": lambda: [2**53 - 1, 1 - 2**53],
    "doubles": lambda: [0.1, 1e-7, 5e-324, 1.7976931348623157e308, -1.5, 1e21, 123456.75],
    "many keys": lambda: {str(number): number for number in range(MAX_KEYS)},
    "all planes": lambda: ["\u00e9", "\uffee", "\U0001f600", "\U0010ffff", "\ufeff", "\u2028"],
    "control characters": lambda: "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "keys that sort by UTF-16": lambda: {"\U0001f600": 1, "\ue000": 2, "\uffee": 3, "": 4},
    "quotes": lambda: "\\u0000 \"'`;--/*\\x00",
}

BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "256 bytes": "x" * 256,
    "256 bytes of UTF-8": "\u00e9" * 128,
    "NUL": "a\x00b",
    "a line feed": "a\n",
    "DEL": "a\x7f",
    "a C1 control": "a\x85b",
    "a lone surrogate": "a\udc80",
    "an integer": 1,
    "None": None,
    "bytes": b"a",
}

GOOD_NAMES = [
    "x",
    "x" * 255,
    "\u00e9" * 127,
    "\U0001f600" * 63,
    " ",
    "a b",
    "'\"%_\\",
    "../a",
    "NULL",
]


class Portability(Contract):
    """The same limits at every door: append and import, data and meta."""

    @pytest.mark.parametrize("what", HOSTILE)
    @contract_test
    async def test_hostile_data_are_refused_with_the_path_before_anything_is_written(
        self, scene: Scene, what: str
    ) -> None:
        hostile = Noted({"good": 1, "list": [0, {"odd name": HOSTILE[what]()}]})
        with pytest.raises(NotPortable) as caught:
            await scene.store.append_many([to("a", Noted(1), relations=["r"]), to("b", hostile)])
        # A value that is wrong further inside is named there; keys are named by their object.
        assert caught.value.path.startswith('data.list[1]["odd name"]')
        assert caught.value.path in str(caught.value)
        assert (await scene.ledger.head()).position == 0
        assert await scene.store.relations.streams_of("r") == []

    @pytest.mark.parametrize("what", HOSTILE)
    @contract_test
    async def test_hostile_meta_are_refused_with_the_path(self, scene: Scene, what: str) -> None:
        store = scene.over(scene.ledger, events=[Annotated])
        hostile = AnyMeta({"who": [HOSTILE[what]()]})
        with pytest.raises(NotPortable) as caught:
            await store.append("a", Annotated(), meta=hostile)
        assert caught.value.path.startswith("meta.who[0]")
        assert (await scene.ledger.head()).position == 0

    @pytest.mark.parametrize("what", HOSTILE_TEXT)
    @contract_test
    async def test_hostile_text_does_not_come_in_by_an_import(
        self, scene: Scene, what: str
    ) -> None:
        row = scene.store.past("a", Noted(1), created=at(1)).stored
        for field in ("data", "meta"):
            changes: dict[str, Any] = {field: HOSTILE_TEXT[what]}
            hostile = row._replace(**changes)
            with pytest.raises(NotPortable) as caught:
                await scene.store.import_records([hostile])
            assert caught.value.path.startswith(field)
        assert await scene.rows() == []

    @pytest.mark.parametrize("what", NOT_CANONICAL)
    @contract_test
    async def test_text_that_is_not_canonical_does_not_come_in_by_an_import(
        self, scene: Scene, what: str
    ) -> None:
        row = scene.store.past("a", Noted(1), created=at(1)).stored
        changed = row._replace(data=NOT_CANONICAL[what])
        with pytest.raises(TamperedRecord):
            await scene.store.import_records([changed._replace(hash=computed_hash(changed))])
        assert await scene.rows() == []

    @pytest.mark.parametrize("what", FINE)
    @contract_test
    async def test_what_is_portable_reads_back_as_it_was_and_its_hash_fits(
        self, scene: Scene, what: str
    ) -> None:
        value = FINE[what]()
        [record] = await scene.store.append("a", Noted(value))
        await scene.store.append("a", Noted("behind"))
        [read, _] = await scene.store.read("a").to_list()
        assert read.stored == record.stored
        assert computed_hash(read.stored) == read.stored.hash
        assert read.json == value
        assert read.data == Noted(value)
        [again] = await scene.store.append("a", Noted(value), ids=[record.id])
        assert again.position == 1
        other = await scene.elsewhere()
        assert (await other.import_records(scene.store.read())).stored == 2

    @contract_test
    async def test_types_that_json_lacks_are_written_by_their_schema(self, scene: Scene) -> None:
        [record] = await scene.store.append("a", Noted({"price": Decimal("1.10")}))
        assert record.json == {"price": "1.10"}
        with pytest.raises(NotPortable) as caught:
            await scene.store.append("a", Noted({"price": [Decimal("NaN"), float("nan")]}))
        assert caught.value.path == "data.price[1]"

    @contract_test
    async def test_an_event_of_1_mib_is_taken_and_one_byte_more_is_not(self, scene: Scene) -> None:
        room = MAX_EVENT_BYTES - len('""') - len("null")
        for text in ("x" * room, "\u00e9" * (room // 2)):
            await scene.store.append("a", Renamed(text))
            with pytest.raises(TooLarge) as caught:
                await scene.store.append("a", Renamed(text + "xx"))
            assert caught.value.limit == MAX_EVENT_BYTES
        assert [len(record.json) for record in await scene.store.read().to_list()] == [  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            room,
            room // 2,
        ]

    @contract_test
    async def test_an_event_over_1_mib_does_not_come_in_by_an_import(self, scene: Scene) -> None:
        row = scene.store.past("a", Noted(1), created=at(1)).stored
        changed = row._replace(data='"' + "x" * MAX_EVENT_BYTES + '"')
        with pytest.raises(TooLarge):
            await scene.store.import_records([changed._replace(hash=computed_hash(changed))])
        assert await scene.rows() == []

    @contract_test
    async def test_a_call_of_over_16_mib_is_refused_whole(self, scene: Scene) -> None:
        events = [Renamed("x" * 1_000_000) for _ in range(17)]
        with pytest.raises(TooLarge):
            await scene.store.append("a", *events)
        assert (await scene.ledger.head()).position == 0
        assert len(await scene.store.append("a", *events[:16])) == 16

    @pytest.mark.parametrize("what", BAD_NAMES)
    @contract_test
    async def test_what_cannot_be_a_name_is_refused_before_anything_is_written(
        self, scene: Scene, what: str
    ) -> None:
        name: str = BAD_NAMES[what]  # or so says its type
        with pytest.raises(InvalidName):
            await scene.store.append_many([to("a", Noted(1)), to(name, Noted(2))])
        if what != "None":  # which some arguments may be
            with pytest.raises(InvalidName):
                await scene.store.append("a", Noted(1), Noted(2), ids=["x", name])
            with pytest.raises(InvalidName):
                scene.store.read(name)
            with pytest.raises(InvalidName):
                await scene.store.append("a", Noted(1), batch=name)
        with pytest.raises(InvalidName):
            scene.store.read(streams=["a", name])
        with pytest.raises(InvalidName):
            await scene.store.find(name)
        assert (await scene.ledger.head()).position == 0

    @contract_test
    async def test_names_up_to_255_bytes_are_kept_as_they_are(self, scene: Scene) -> None:
        for name in GOOD_NAMES:
            await scene.store.append(name, Noted(1), ids=[name], relations=[name])
            [record] = await scene.store.read(relation=name).to_list()
            assert (record.stream, record.id, record.version) == (name, name, 1)
            found = await scene.store.find(name)
            assert found == record
        assert (await scene.store.verify()).ok
