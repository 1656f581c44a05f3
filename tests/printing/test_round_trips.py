"""From configurations to a log and back, and from classes to configurations and back."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, Field, RootModel

from everlog import EventStore, event
from everlog.core.event import Registry
from everlog.errors import InvalidConfig, InvalidInput
from everlog.printing import export_events, print_events
from everlog.printing.configs import read_configs
from everlog.printing.lock import check_lock, print_lock
from tests.evolution.loops import in_a_loop
from tests.evolution.old_and_new import TODAY, UPCASTS
from tests.printing.shop import imported, write


def printed(folder: Path) -> Any:
    out = folder.parent / f"{folder.name}.py"
    print_events([folder], out=out)
    return imported(out)


@in_a_loop
async def test_configs_become_events_that_are_appended_read_and_imported_with_equal_hashes(
    tmp_path: Path,
) -> None:
    first = printed(write(tmp_path / "events"))
    export_events(first.EVENTS, tmp_path / "exported")
    second = printed(tmp_path / "exported")
    url = f"sqlite:///{tmp_path}/log.db"
    async with EventStore.open(url, events=first.EVENTS) as store:
        me = first.Auditor(auditor="me")
        name = first.UserCreatedName(given="Jane")
        await store.append("u", first.UserCreated(email="x", name=name), meta=me)
        await store.append("u", first.UserCreated(email="y"), meta=me)
        await store.append("u", first.UserNameGivenSet("Joe"), first.UserDeactivated())
        address = first.Address(street="s", lines=["a", "b"])
        tree = first.Tree(children=[first.Tree(children=[], value="leaf")], value=3)
        moved = first.UserMoved.model_validate_json(
            '{"at":"2026-01-31T12:00:00.5+02:00","to":{"street":"s","lines":[]},"class":"c"}'
        )
        moved = moved.model_copy(update={"to": address, "tree": tree, "kind": "it's used"})
        await store.append("u", moved, meta=me)
        await store.append("u", first.PostTagged(["a"]), meta=first.PostTaggedMeta(5))
        records = await store.read().to_list()
        assert [record.json for record in records[:2]] == [
            {"email": "x", "name": {"given": "Jane", "family": ""}},
            {"email": "y"},
        ]
    # Read by classes that were printed from what the first ones were exported to.
    async with EventStore.open(url, events=second.EVENTS) as store:
        again = await store.read().to_list()
        assert [each.hash for each in again] == [each.hash for each in records]
        for ours, theirs in zip(again, records, strict=True):
            assert ours.data.model_dump() == theirs.data.model_dump()
            assert (ours.meta is None) == (theirs.meta is None)
        async with EventStore.open("memory:", events=second.EVENTS) as other:
            await other.import_records(again)
            taken = await other.read().to_list()
            assert [each.hash for each in taken] == [each.hash for each in records]
            # Written by the second, it is the same event still: a retry by its id.
            one = await other.append("u", again[1].data, meta=again[1].meta, ids=[again[1].id])
            assert one[0].hash == records[1].hash


def test_printing_what_was_exported_changes_nothing_more(tmp_path: Path) -> None:
    folder = write(tmp_path / "events")
    export_events(printed(folder).EVENTS, tmp_path / "once")
    export_events(printed(tmp_path / "once").EVENTS, tmp_path / "twice")
    printed(tmp_path / "twice")
    for kind in ("py",):
        texts = {(tmp_path / f"{name}.{kind}").read_text() for name in ("once", "twice")}
        assert len(texts) == 1
    # What could be written by one can be read by the other.
    configs = [read_configs([tmp_path / name]) for name in ("events", "once")]
    for old, new in (configs, reversed(configs)):
        check_lock("lock", print_lock(old), new)


class Place(BaseModel):
    city: str
    at: tuple[float, float] | None = None


class Cause(BaseModel):
    """Why."""

    why: str


@event("by:model", schema=4, meta=Cause, register="by:it", aliases=["of:model"])
class ByModel(BaseModel):
    """A model.

    With a second paragraph.
    """

    place: Place
    others: list[Place] = []
    kind: Literal["a", "b"] = "a"
    count: int = Field(default=0, ge=0)
    note: str | None = None
    size: float = Field(gt=0.5, description="In metres.")


@event("by:struct", meta=Cause)
class ByStruct(msgspec.Struct):
    name: str
    tags: list[str] = []
    more: dict[str, int] | None = None


@event("by:dataclass")
@dataclass
class ByDataclass:
    to: str
    amount: int = 5


@event("by:root")
class Root(RootModel[dict[str, list[int]]]): ...


@event("by:nothing")
class ByNothing(BaseModel): ...


@event("by:tree")
class ByTree(BaseModel):
    children: list[ByTree] = []
    name: str


BY_HAND = [ByModel, ByStruct, ByDataclass, Root, ByNothing, ByTree]


def test_classes_by_hand_are_exported_and_printed_as_ones_that_write_the_same(
    tmp_path: Path,
) -> None:
    written = export_events([*BY_HAND, *UPCASTS], tmp_path / "events")
    assert [Path(path).name for path in written] == [
        f"by-{name}.json" for name in ("model", "struct", "dataclass", "root", "nothing", "tree")
    ]
    module = printed(tmp_path / "events")
    by_hand, by_print = Registry(BY_HAND), Registry(module.EVENTS)
    samples = [
        ByModel(place=Place(city="x"), size=1),
        ByModel(place=Place(city="x", at=(1, 2.5)), others=[Place(city="y")], note="n", size=2),
        ByStruct("x", ["a"], {"b": 1}),
        ByStruct("x"),
        ByDataclass("x"),
        Root({"a": [1]}),
        ByNothing(),
        ByTree(name="a", children=[ByTree(name="b")]),
    ]
    for sample in samples:
        declared = by_hand.of_event(sample)
        meta = Cause(why="so") if declared.meta else None
        data, meta_text = declared.encode(sample, meta)
        other = by_print._by_type[declared.type]  # pyright: ignore[reportPrivateUsage]
        assert (other.schema, other.register, other.aliases) == (
            declared.schema,
            declared.register,
            declared.aliases,
        )
        again = other.codec.decode(data)
        said = None if other.meta is None else other.meta.decode(meta_text)
        assert other.encode(again, said) == (data, meta_text)


def test_what_no_configuration_can_say_is_told_with_the_class(tmp_path: Path) -> None:
    @event("odd")
    class Odd(BaseModel):
        by_name: dict[str, int] = Field(json_schema_extra={"patternProperties": {"a": {}}})

    with pytest.raises(InvalidConfig, match=r"class .*Odd.*patternProperties"):
        export_events([Odd], tmp_path / "events")
    assert not (tmp_path / "events").exists()


def test_files_that_are_there_are_not_replaced_by_themselves(tmp_path: Path) -> None:
    export_events(TODAY, tmp_path)
    with pytest.raises(InvalidInput, match="is there already"):
        export_events(TODAY, tmp_path)
    assert export_events(TODAY, tmp_path, replace=True)
    shutil.rmtree(tmp_path)
    assert json.loads("{}") == {}
    with pytest.raises(InvalidInput, match="no event class"):
        export_events([], tmp_path)
    with pytest.raises(InvalidInput, match="classes and upcasts"):
        export_events([5], tmp_path)
