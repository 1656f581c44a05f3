"""A datetime without a time zone names no moment: refused in data and meta, wherever it hides."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, RootModel

from everlog import NotPortable, event
from everlog.core import codec
from everlog.core.event import event_type_of
from everlog.errors import NaiveDatetime

NAIVE = datetime(2026, 1, 31, 12, 30)  # noqa: DTZ001 - the very thing that is refused


@event("naive:model")
class Model(BaseModel):
    when: datetime | None = None
    listed: list[datetime] = []
    keyed: dict[str, Any] = {}
    text: str = ""


@event("naive:struct")
class Struct(msgspec.Struct):
    when: datetime | None = None
    listed: list[datetime] = []
    keyed: dict[str, Any] = {}
    text: str = ""


@event("naive:dataclass")
@dataclass
class Plain:
    when: datetime | None = None
    listed: list[datetime] | None = None
    keyed: dict[str, Any] | None = None
    text: str = ""


@event("naive:bare", meta=Model)
class Bare(RootModel[str]): ...


KINDS: list[type[Any]] = [Model, Struct, Plain]


def encode(instance: object, meta: object = None) -> tuple[str, str]:
    declared = event_type_of(type(instance))
    declared.codec.prepare()
    return declared.encode(instance, meta)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"when": NAIVE}, "data.when"),
        ({"when": NAIVE.replace(microsecond=5)}, "data.when"),
        ({"listed": [NAIVE.replace(tzinfo=UTC), NAIVE]}, "data.listed[1]"),
        ({"keyed": {"a": [{"b": NAIVE}]}}, "data.keyed.a[0].b"),
    ],
    ids=["field", "microseconds", "list", "untyped"],
)
def test_a_naive_datetime_in_data_is_refused_by_its_path(
    kind: Any, fields: dict[str, Any], path: str
) -> None:
    with pytest.raises(NaiveDatetime, match=path.replace("[", r"\[")):
        encode(kind(**fields))


@pytest.mark.parametrize("kind", KINDS)
def test_what_only_looks_like_a_naive_datetime_is_taken(kind: Any) -> None:
    aware = datetime(2026, 1, 31, 12, 30, tzinfo=timezone(timedelta(hours=2)))
    text, _ = encode(kind(when=aware, text="2026-01-31T12:30:00"))
    assert '"2026-01-31T12:30:00+02:00"' in text
    encode(kind(keyed={"day": date(2026, 1, 31), "hour": time(12, 30)}))


def test_a_naive_datetime_in_meta_is_refused_by_its_path() -> None:
    event_type_of(Bare).codec.prepare()
    event_type_of(Model).codec.prepare()
    with pytest.raises(NaiveDatetime, match=r"meta\.when"):
        encode(Bare("x"), Model(when=NAIVE))


def test_without_the_closer_look_a_naive_datetime_would_be_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "_refuse_naive", lambda value, at: None)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert '"2026-01-31T12:30:00"' in encode(Model(when=NAIVE))[0]


def test_an_untyped_double_that_would_read_back_as_another_number_is_refused() -> None:
    with pytest.raises(NotPortable, match=r"data\.keyed\.big"):
        encode(Model(keyed={"big": 1e20}))


def test_a_typed_double_of_any_size_is_stored_and_reads_back() -> None:
    @event("naive:double")
    class Double(RootModel[float]): ...

    declared = event_type_of(Double)
    declared.codec.prepare()
    for value in (1e16, 1e20, 1.7976931348623157e308, 5e-324, -0.5):
        assert declared.codec.decode(declared.encode(Double(value), None)[0]) == Double(value)
