"""Events: three kinds of classes, one stored form, and nothing lost on the way in or out."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    computed_field,
)

from everlog.core import codec as codec_module
from everlog.core import fielded
from everlog.core.event import EventType, Registry, event, event_type_of
from everlog.core.portable import is_canonical
from everlog.core.record import Record, StoredRecord
from everlog.errors import (
    DecodeError,
    EventAlreadyRegistered,
    EventDefinitionError,
    EventValidationError,
    InvalidInput,
    InvalidName,
    NotPortable,
    TooLarge,
    UnknownEvent,
)

FIVE = uuid.UUID(int=5)


class Elsewhere:
    """Nothing that pydantic knows."""


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Name(BaseModel):
    given: str = ""
    family: str = ""


class Card(BaseModel):
    kind: Literal["card"] = "card"
    digits: str


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


# --- pydantic ---


@event("bare")
class Bare(RootModel[str]): ...


@event("bare:many")
class BareMany(RootModel[dict[str, int]]): ...


@event("bare:maybe")
class BareMaybe(RootModel[int | None]): ...


@event("empty")
class Empty(BaseModel): ...


@event("nested")
class Nested(BaseModel):
    name: Name | None = None
    others: list[Name] = []
    paid: Annotated[Card | Cash, Field(discriminator="kind")] = Cash()


@event("aliased")
class Aliased(BaseModel):
    given_name: str = Field(alias="givenName")


@event("aliased:choices")
class AliasChoice(BaseModel):
    given: str = Field(
        validation_alias=AliasChoices("given", "first_name"), serialization_alias="given"
    )


@event("computed")
class Computed(BaseModel):
    width: float
    height: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def area(self) -> float:
        return self.width * self.height


@event("open")
class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int = 0


@event("strict")
class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    known: int = 0


@event("typed")
class Typed(BaseModel):
    at: datetime
    day: date = date(2026, 1, 31)
    lasts: timedelta = timedelta(seconds=90.5)
    price: Decimal = Decimal("1.50")
    id: uuid.UUID = FIVE
    raw: bytes = b"raw"
    color: Color = Color.RED


@event("constrained")
class Constrained(BaseModel):
    count: int = Field(ge=0)
    code: Annotated[str, Field(max_length=3)] = ""


# --- msgspec ---


@event("struct")
class Plain(msgspec.Struct):
    number: int = 0
    label: str = ""
    ratio: float = 0.5
    items: list[int] = []


@event("struct:tagged")
class Tagged(msgspec.Struct, tag="tagged", rename="camel"):
    given_name: str = ""


@event("struct:array")
class Arrayed(msgspec.Struct, array_like=True):
    number: int = 0
    label: str = ""


@event("struct:empty")
class EmptyStruct(msgspec.Struct): ...


@event("struct:tagged:empty")
class EmptyTagged(msgspec.Struct, tag="nothing"): ...


@event("struct:typed")
class TypedStruct(msgspec.Struct):
    at: datetime
    price: Decimal = Decimal("1.50")
    id: uuid.UUID = FIVE
    raw: bytes = b"raw"
    color: Color = Color.RED


# --- dataclasses ---


@dataclass
class Line:
    sku: str
    count: int = 1


@event("data")
@dataclass
class Data:
    number: int = 0
    label: str = ""
    ratio: float = 0.5
    lines: list[Line] = field(default_factory=list[Line])
    pair: tuple[int, str] = (0, "")


@event("data:slots")
@dataclass(frozen=True, slots=True)
class Slotted:
    number: int = 0


@event("data:empty")
@dataclass
class EmptyData: ...


@event("data:typed")
@dataclass
class TypedData:
    at: datetime
    price: Decimal = Decimal("1.50")
    id: uuid.UUID = FIVE
    raw: bytes = b"raw"
    lasts: timedelta = timedelta(seconds=90.5)
    color: Color = Color.RED


@event("infinite")
class Infinite(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")
    number: float


@event("as-it-is")
class AsItIs(msgspec.Struct):
    raw: msgspec.Raw


@event("paid")
class Paid(msgspec.Struct):
    amount: Decimal
    note: str = ""


@event("paid-data")
@dataclass
class PaidData:
    amount: Decimal
    note: str = ""
    final: bool = False


@event("data:any")
@dataclass
class Untyped:
    value: Any = None


CEST = timezone(timedelta(hours=2))

STORED: list[tuple[object, str]] = [
    (Bare("jane"), '"jane"'),
    (BareMany({"b": 1, "a": 2}), '{"a":2,"b":1}'),
    (BareMany({}), "{}"),
    (BareMaybe(None), "null"),
    (BareMaybe(5), "5"),
    (Empty(), "null"),
    (
        Nested(name=Name(given="Zoë"), paid=Card(digits="42")),
        '{"name":{"family":"","given":"Zoë"},"others":[],"paid":{"digits":"42","kind":"card"}}',
    ),
    (Aliased(givenName="jane"), '{"givenName":"jane"}'),
    (AliasChoice(first_name="jane"), '{"given":"jane"}'),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    (Computed(width=2, height=1.25), '{"area":2.5,"height":1.25,"width":2}'),
    (Open(known=1, more=[1, {"b": 2.5, "a": None}]), '{"known":1,"more":[1,{"a":null,"b":2.5}]}'),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    (Strict(known=3), '{"known":3}'),
    (
        Typed(at=datetime(2026, 1, 31, 12, tzinfo=CEST)),
        '{"at":"2026-01-31T12:00:00+02:00","color":"red","day":"2026-01-31",'
        '"id":"00000000-0000-0000-0000-000000000005","lasts":"PT1M30.5S","price":"1.50",'
        '"raw":"raw"}',
    ),
    (Constrained(count=1), '{"code":"","count":1}'),
    (
        Plain(1, "é", 1e21, [3, 2]),
        '{"items":[3,2],"label":"é","number":1,"ratio":1e+21}',
    ),
    (Tagged("jane"), '{"givenName":"jane","type":"tagged"}'),
    (Arrayed(1, "x"), '[1,"x"]'),
    (EmptyStruct(), "null"),
    (EmptyTagged(), '{"type":"nothing"}'),
    (
        TypedStruct(datetime(2026, 1, 31, tzinfo=UTC), raw=b"\xff"),
        '{"at":"2026-01-31T00:00:00Z","color":"red",'
        '"id":"00000000-0000-0000-0000-000000000005","price":"1.50","raw":"/w=="}',
    ),
    (
        Data(1, "é", 1.0, [Line("a"), Line("b", 2)], (1, "one")),
        '{"label":"é","lines":[{"count":1,"sku":"a"},{"count":2,"sku":"b"}],"number":1,'
        '"pair":[1,"one"],"ratio":1}',
    ),
    (Slotted(7), '{"number":7}'),
    (EmptyData(), "null"),
    (
        TypedData(datetime(2026, 1, 31, tzinfo=UTC)),
        '{"at":"2026-01-31T00:00:00Z","color":"red",'
        '"id":"00000000-0000-0000-0000-000000000005","lasts":"PT1M30.5S","price":"1.50",'
        '"raw":"raw"}',
    ),
]

CLASSES = tuple({type(value): None for value, _ in STORED} | {Untyped: None})
REGISTRY = Registry([*CLASSES, Infinite, AsItIs, Paid, PaidData])


def encoded(value: object, meta: object = None) -> str:
    return REGISTRY.of_event(value).encode(value, meta)[0]


def decoded(cls: type[Any], text: str) -> Any:
    return event_type_of(cls).codec.decode(text)


def reference(text: str) -> str:
    """Returns the same JSON as another RFC 8785 encoder writes it."""

    def number(literal: str) -> float | int:  # as it prints doubles that are whole and large
        return int(literal) if abs(int(literal)) < 2**53 else float(literal)

    return rfc8785.dumps(json.loads(text, parse_int=number)).decode()


def row(type: str, data: str, meta: str = "null") -> StoredRecord:
    return StoredRecord(
        1, 1, "id-1", "a", type, 1, type, "origin", "id-1", None, "0" * 32, "0" * 32, 0,
        bytes(32), data, meta, b"", b"",
    )  # fmt: skip


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "text"), STORED, ids=lambda each: repr(each)[:60])
def test_an_event_is_stored_in_this_form_and_reads_back_equal(value: object, text: str) -> None:
    assert encoded(value) == text
    assert is_canonical(text)
    assert reference(text) == text
    again = decoded(type(value), text)
    assert again == value
    assert type(again) is type(value)
    assert encoded(again) == text


@pytest.mark.parametrize(("value", "text"), STORED, ids=lambda each: repr(each)[:60])
def test_it_is_stored_the_same_where_msgspec_is_not_installed(
    value: object, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)  # importing it raises
    codec_module.sorter.cache_clear()
    try:
        ordered = codec_module.sort_keys(text.encode()).decode()
        assert ordered in (text, json.dumps(json.loads(text)))
        if not isinstance(value, msgspec.Struct):
            assert encoded(value) == text
    finally:
        codec_module.sorter.cache_clear()


numbers = st.integers(-(2**53) + 1, 2**53 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
moments = st.datetimes(timezones=st.sampled_from([UTC, CEST]))

generated = (
    st.builds(Plain, numbers, texts, doubles, st.lists(numbers, max_size=4))
    | st.builds(Tagged, texts)
    | st.builds(Arrayed, numbers, texts)
    | st.builds(
        Data,
        numbers,
        texts,
        doubles,
        st.lists(st.builds(Line, texts, numbers), max_size=3),
        st.tuples(numbers, texts),
    )
    | st.builds(TypedData, moments, st.decimals(allow_nan=False, allow_infinity=False))
    | st.builds(TypedStruct, moments, raw=st.binary(max_size=8))
    | st.builds(Bare, texts)
    | st.builds(BareMany, st.dictionaries(texts, numbers, max_size=4))
    | st.builds(Nested, name=st.none() | st.builds(Name, given=texts, family=texts))
    | st.builds(Computed, width=doubles, height=st.sampled_from([0.0, 1.0, 0.5]))
    | st.builds(Typed, at=moments, raw=st.text(max_size=5).map(str.encode))
)


@given(generated)
def test_any_event_reads_back_equal_and_is_stored_as_rfc_8785_says(value: Any) -> None:
    text = encoded(value)
    assert reference(text) == text
    cls: type[Any] = type(value)  # pyright: ignore[reportUnknownVariableType]
    again = decoded(cls, text)
    assert again == value
    assert encoded(again) == text


def test_a_codec_that_trusts_the_order_of_its_encoder_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trusting(encoded: bytes) -> bool:
        return True

    monkeypatch.setattr(codec_module, "certainly_canonical", trusting)
    with pytest.raises((AssertionError, ExceptionGroup)):
        test_any_event_reads_back_equal_and_is_stored_as_rfc_8785_says()


# --- what is stored is the validated event ------------------------------------------------------


def test_what_is_stored_is_what_validation_made_of_it() -> None:
    for value, text in (
        (Data(number="5"), '{"label":"","lines":[],"number":5,"pair":[0,""],"ratio":0.5}'),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Data(number=True, ratio=2), '{"label":"","lines":[],"number":1,"pair":[0,""],"ratio":2}'),
        (Data(pair=[1, "b"]), '{"label":"","lines":[],"number":0,"pair":[1,"b"],"ratio":0.5}'),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Data(lines=[{"sku": "a"}]), '{"label":"","lines":[{"count":1,"sku":"a"}],"number":0,"pair":[0,""],"ratio":0.5}'),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # noqa: E501
        (Constrained.model_construct(count="7"), '{"code":"","count":7}'),
    ):  # fmt: skip
        assert encoded(value) == text
        assert encoded(decoded(type(value), text)) == text


def test_text_that_is_taken_as_it_is_is_stored_in_canonical_form_whatever_is_in_it() -> None:
    for raw, text in (
        (b'{"b": 1, "a": 2}', '{"a":2,"b":1}'),
        (b'{"b": 1.0, "a": "\\u00e4"}', '{"a":"\xe4","b":1}'),
        (b"[1e2]", "[100]"),
    ):
        assert encoded(AsItIs(msgspec.Raw(raw))) == f'{{"raw":{text}}}'
    for refused in (b'{"a":1,"a":2}', b"1e999", b"NaN", b'"\xff"', b"{"):
        with pytest.raises(NotPortable):
            encoded(AsItIs(msgspec.Raw(refused)))


@pytest.mark.parametrize("note", ["", "\xe4"], ids=["ascii", "other"])
def test_a_value_that_only_equals_a_valid_one_is_stored_as_that_one_whatever_is_beside_it(
    note: str,
) -> None:
    # Neither a Struct nor a dataclass validates what it is made of.
    paid = encoded(Paid(5, note))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert paid == encoded(Paid(Decimal(5), note))
    data = encoded(PaidData(5, note, 1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert data == encoded(PaidData(Decimal(5), note, final=True))


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (Constrained.model_construct(count=-1, code="four"), ["data.count", "data.code"]),
        (Data(number="five", lines=[Line("a", "x")]), ["data.number", "data.lines[0].count"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Plain(number="five"), ["data.number"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Plain(items=[1, "x"]), ["data.items[1]"]),  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
        (Tagged(5), ["data.givenName"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (Bare.model_construct(5), ["data"]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
    ids=lambda each: repr(each)[:50],
)
def test_what_does_not_fit_is_refused_with_the_path_of_every_field(
    value: object, paths: list[str]
) -> None:
    with pytest.raises(EventValidationError) as caught:
        encoded(value)
    assert [path for path, _ in caught.value.problems] == paths
    for path in paths:
        assert path in str(caught.value)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Plain(ratio=float("nan")), "data.ratio"),
        (Data(ratio=float("inf")), "data.ratio"),
        (Computed.model_construct(width=float("nan"), height=1.0), "data.area"),
        (Untyped(float("nan")), "data.value"),
        (Untyped([1, {"a": float("-inf")}]), "data.value[1].a"),
        (Open(more=float("nan")), "data.more"),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        (Untyped({1: "a", "1": "b"}), "data.value"),
        (Untyped([{1: "a", "1": "b"}]), "data.value[0]"),
        (Untyped(2**60), "data.value"),
        (Untyped("a\0b"), "data.value"),
        (Untyped("\ud800"), "data.value"),
        (Bare("a\0b"), "data"),
        (Infinite(number=float("inf")), "data.number"),
    ],
    ids=lambda each: ascii(each)[:50],
)
def test_what_no_json_can_hold_is_refused_and_never_becomes_null(value: object, path: str) -> None:
    with pytest.raises(NotPortable) as caught:
        encoded(value)
    assert caught.value.path == path


@event("keys")
class Keys(BaseModel):
    keys: dict[int | str, int]


def test_two_keys_that_would_become_one_are_refused_and_one_alone_is_text() -> None:
    Registry([Keys])
    declared = event_type_of(Keys)
    assert declared.encode(Keys(keys={1: 1, "2": 2}), None)[0] == '{"keys":{"1":1,"2":2}}'
    with pytest.raises(NotPortable, match="twice"):
        declared.encode(Keys(keys={1: 1, "1": 2}), None)


def test_an_event_of_over_a_mebibyte_is_refused() -> None:
    encoded(Bare("x" * (2**20 - 2 - 4)))
    for text in ("x" * 2**20, "é" * (2**19)):
        with pytest.raises(TooLarge):
            encoded(Bare(text))


# --- what an __eq__ or a declared class hides ---------------------------------------------------


@dataclass
class Unseen:
    id: int
    ratio: float | None = field(default=None, compare=False)


@dataclass
class UnseenKeys:
    keys: dict[int | str, int] = field(default_factory=dict[int | str, int], compare=False)


class SameId(BaseModel):
    id: int
    ratio: float | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameId) and self.id == other.id


class SameIdStruct(msgspec.Struct):
    id: int
    ratio: float | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameIdStruct) and self.id == other.id


@dataclass
class Animal:
    name: str


@dataclass
class Dog(Animal):
    breed: str


@dataclass
class LikeAny(Animal):
    breed: str

    def __eq__(self, other: object) -> bool:
        return True


@dataclass(frozen=True)
class Stone:
    name: str


@dataclass(frozen=True)
class Gem(Stone):
    carat: int


class Beast(BaseModel):
    name: str


class Wolf(Beast):
    pack: str


class Kennel(BaseModel):
    pet: Beast


class Fish(msgspec.Struct):
    name: str


class Shark(Fish):
    teeth: int


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


@dataclass
class Stamped:
    text: str
    mark: int = field(default=0, init=False)


def event_of(annotation: Any, kind: str) -> type[Any]:
    """Makes an event class with one field."""
    namespace: dict[str, Any] = {"__annotations__": {"pet": annotation}, "__module__": __name__}
    made: type[Any]
    match kind:
        case "model":
            made = types.new_class("E", (BaseModel,), {}, lambda ns: ns.update(namespace))
        case "struct":
            made = msgspec.defstruct("E", [("pet", annotation)])
        case _:
            made = dataclass(type("E", (), namespace))
    Registry([event("e")(made)])
    return made


@pytest.mark.parametrize("cls", [Unseen, SameId, SameIdStruct])
@pytest.mark.parametrize("kind", ["model", "struct", "dataclass"])
def test_a_field_that_an_eq_leaves_out_is_not_lost(cls: type[Any], kind: str) -> None:
    if issubclass(cls, msgspec.Struct) != (kind == "struct"):
        return
    lost = cls(id=1, ratio=float("nan"))
    within = event_of(cls, kind)
    with pytest.raises(NotPortable) as caught:
        event_type_of(within).encode(within(pet=lost), None)
    assert caught.value.path == "data.pet.ratio"
    itself: type[Any] = types.new_class("Itself", (cls,), {})
    Registry([event("itself")(itself)])
    with pytest.raises(NotPortable) as caught:
        event_type_of(itself).encode(itself(id=1, ratio=float("nan")), None)
    assert caught.value.path == "data.ratio"
    assert event_type_of(itself).encode(itself(id=1, ratio=2.0), None)[0] == '{"id":1,"ratio":2}'


def test_keys_that_an_eq_leaves_out_do_not_become_one() -> None:
    within = event_of(UnseenKeys, "dataclass")
    with pytest.raises(NotPortable, match="twice"):
        event_type_of(within).encode(within(pet=UnseenKeys({1: 10, "1": 20})), None)


@pytest.mark.parametrize(
    ("kind", "annotation", "value", "path", "lost"),
    [
        ("dataclass", Animal, Dog("Rex", "pug"), "data.pet", "breed"),
        ("dataclass", Animal, LikeAny("Rex", "pug"), "data.pet", "breed"),
        ("dataclass", list[Animal], [Animal("a"), Dog("Rex", "pug")], "data.pet[1]", "breed"),
        ("dataclass", set[Stone], {Stone("a"), Gem("b", 2)}, "", "carat"),
        ("dataclass", dict[int, Animal], {1: Dog("Rex", "pug")}, "data.pet.1", "breed"),
        ("dataclass", Animal | None, Dog("Rex", "pug"), "data.pet", "breed"),
        ("dataclass", Beast, Wolf(name="w", pack="p"), "data.pet", "pack"),
        ("dataclass", Any, Kennel(pet=Wolf(name="w", pack="p")), "data.pet.pet", "pack"),
        ("model", Beast, Wolf(name="w", pack="p"), "data.pet", "pack"),
        ("model", Animal, Dog("Rex", "pug"), "data.pet", "breed"),
        ("model", tuple[Beast, ...], (Wolf(name="w", pack="p"),), "data.pet[0]", "pack"),
        ("model", Loose, Loose(name="a", more=1), "data.pet", "more"),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        ("struct", Fish, Shark("s", 300), "data.pet", "teeth"),
        ("struct", list[Fish], [Shark("s", 300)], "data.pet[0]", "teeth"),
        ("struct", Animal, Dog("Rex", "pug"), "data.pet", "breed"),
    ],
)
def test_what_a_subclass_adds_is_refused_and_not_dropped(
    kind: str, annotation: Any, value: Any, path: str, lost: str
) -> None:
    made = event_of(annotation, kind)
    with pytest.raises(EventValidationError, match=f"would be stored without {lost}") as caught:
        event_type_of(made).encode(made(pet=value), None)
    assert [problem[0] for problem in caught.value.problems] == [path] or not path


def test_a_subclass_that_is_declared_or_adds_nothing_is_stored() -> None:
    made = event_of(Animal | Dog, "dataclass")
    text = event_type_of(made).encode(made(pet=Dog("Rex", "pug")), None)[0]
    assert text == '{"pet":{"breed":"pug","name":"Rex"}}'
    assert event_type_of(made).codec.decode(text) == made(pet=Dog("Rex", "pug"))

    class Same(Animal): ...

    made = event_of(Animal, "dataclass")
    assert event_type_of(made).encode(made(pet=Same("Rex")), None)[0] == '{"pet":{"name":"Rex"}}'


def test_what_a_dataclass_does_not_read_is_refused_unless_it_is_computed() -> None:
    Registry([event("stamped")(Stamped)])
    stamped = Stamped("a")
    assert event_type_of(Stamped).encode(stamped, None)[0] == '{"mark":0,"text":"a"}'
    stamped.mark = 5
    with pytest.raises(EventValidationError, match=r"data\.mark: is 5 and would be read as 0"):
        event_type_of(Stamped).encode(stamped, None)


def test_equality_is_trusted_where_it_sees_all_fields_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole: list[type[Any]] = [
        *(Animal, Dog, Line, Data, Slotted, Stone, Gem, EmptyData, Bare, Nested, Open),
        *(Plain, Tagged, Arrayed, EmptyStruct),
    ]
    others: list[type[Any]] = [Unseen, UnseenKeys, SameId, SameIdStruct, LikeAny, Elsewhere]
    assert list(filter(fielded.sees_all_fields, [*others, *whole])) == whole

    def everybody(cls: object) -> bool:
        return True

    monkeypatch.setattr(codec_module, "sees_all_fields", everybody)
    monkeypatch.setattr(codec_module, "all_compare", everybody)
    hidden: list[tuple[type[Any], str]] = [
        (Unseen, "dataclass"),
        (SameId, "model"),
        (SameIdStruct, "struct"),
    ]
    for cls, kind in hidden:
        with pytest.raises(pytest.fail.Exception):
            test_a_field_that_an_eq_leaves_out_is_not_lost(cls, kind)


# --- unknown fields -----------------------------------------------------------------------------


def test_unknown_fields_are_refused_on_write() -> None:
    for cls in (Nested, Aliased, Computed, Strict, Empty, Constrained):
        with pytest.raises(ValueError, match="Extra inputs"):
            cls.model_validate({"givenName": "x", "width": 1, "height": 1, "count": 1, "tpyo": 1})
    for other in (Plain, Data, EmptyStruct, EmptyData):
        with pytest.raises(TypeError):
            other(tpyo=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_unknown_fields_that_next_year_wrote_are_tolerated_on_read() -> None:
    for value, text in STORED:
        if text.startswith("{") and not isinstance(value, (BareMany, Open)):
            assert decoded(type(value), '{"~next":[1],' + text.removeprefix("{")) == value
    for cls in (Empty, EmptyStruct, EmptyData):
        assert decoded(cls, '{"next":1}') == cls()
    assert decoded(Open, '{"next":1}').next == 1
    assert decoded(Arrayed, '[1,"x",null,2]') == Arrayed(1, "x")


def test_a_null_of_a_class_that_had_no_fields_reads_when_fields_with_defaults_are_added() -> None:
    for cls in (Empty, EmptyStruct, EmptyData, Open, Plain, Data, Slotted, Nested, Strict):
        assert decoded(cls, "null") == cls()
    record = Record(row("constrained", "null"), REGISTRY)
    with pytest.raises(DecodeError) as caught:  # a field without a default cannot be made up
        _ = record.data
    assert caught.value.problems[0][0] == "data.count"
    assert record.json is None


# --- @event -------------------------------------------------------------------------------------


def test_event_returns_the_class_itself_and_keeps_what_was_said() -> None:
    class Moved(BaseModel):
        to: str

    assert event("moved", schema=3, register="place", meta=Name)(Moved) is Moved
    declared = event_type_of(Moved)
    assert (declared.type, declared.schema, declared.register) == ("moved", 3, "place")
    assert event_type_of(Bare).register == "bare"
    assert event_type_of(Bare).schema == 1


@pytest.mark.parametrize("schema", [0, -1, True, 1.0, "1", None])
def test_a_schema_that_is_no_whole_number_from_one_is_refused(schema: Any) -> None:
    with pytest.raises(EventDefinitionError, match="schema"):
        event("x", schema=schema)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "\ud800", 5, None])
def test_a_type_or_register_that_cannot_be_stored_is_refused(name: Any) -> None:
    with pytest.raises(InvalidName):
        event(name)
    if name is not None:
        with pytest.raises(InvalidName):
            event("x", register=name)


def test_classes_that_cannot_be_events_are_refused_with_what_to_do() -> None:
    class Bystander: ...

    with pytest.raises(EventDefinitionError, match="pydantic model"):
        event("x")(Bystander)
    with pytest.raises(EventDefinitionError, match="not a class"):
        event("x")(Bare("x"))  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
    with pytest.raises(EventDefinitionError, match="already"):
        event("x")(Bare)
    with pytest.raises(EventDefinitionError, match="forbid_unknown_fields"):
        event("x")(msgspec.defstruct("S", [], forbid_unknown_fields=True))

    @event("opaque")
    @dataclass
    class Opaque:
        what: Elsewhere

    @event("unresolved")
    @dataclass
    class Unresolved:
        what: Bystander  # a name that only this function knows

    @event("unresolved:model")
    class UnresolvedModel(BaseModel):
        what: Nowhere  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]

    for cls in (Opaque, Unresolved, UnresolvedModel):
        with pytest.raises(EventDefinitionError, match=cls.__name__):
            Registry([cls])


def test_a_field_written_under_a_name_it_is_not_read_by_is_refused() -> None:
    @event("a")
    class Lost(BaseModel):
        name: str = Field("", validation_alias="in", serialization_alias="out")

    @event("b")
    class LostToo(BaseModel):
        model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)
        name: str = Field("", alias="out")

    for cls in (Lost, LostToo):
        with pytest.raises(EventDefinitionError, match="'out'"):
            Registry([cls])


def test_a_subclass_of_an_event_is_no_event_by_itself() -> None:
    class Below(Strict): ...

    with pytest.raises(UnknownEvent, match="@event"):
        Registry([Below])
    with pytest.raises(UnknownEvent, match="decorate"):
        REGISTRY.of_event(Below())


# --- the registry -------------------------------------------------------------------------------


def test_a_registry_says_what_is_wrong_with_what_it_is_given() -> None:
    @event("bare")
    class Again(RootModel[str]): ...

    with pytest.raises(EventAlreadyRegistered, match=r"'bare' is claimed by .*Bare and by .*Again"):
        Registry([Bare, Again])
    Registry([Bare, Bare])
    with pytest.raises(UnknownEvent, match="decorate"):
        Registry([Name])
    with pytest.raises(EventDefinitionError, match="holds classes"):
        Registry(["bare"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def test_a_registry_says_what_it_knows_when_it_does_not_know_an_event() -> None:
    registry = Registry([Bare])
    with pytest.raises(UnknownEvent, match=r"Empty.*bare.*events="):
        registry.of_event(Empty())
    with pytest.raises(UnknownEvent, match="not the class"):
        registry.of_event(Bare)
    with pytest.raises(UnknownEvent, match="instance of an event class"):
        registry.of_event("jane")
    with pytest.raises(UnknownEvent, match="Empty"):
        registry.names_of(Empty)
    with pytest.raises(InvalidInput, match="classes or type names"):
        registry.names_of(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert registry.names_of(Bare) == registry.names_of("bare") == ("bare",)
    assert registry.names_of("a type of another store") == ("a type of another store",)
    assert registry.types == ("bare",)


def test_a_record_of_an_unknown_type_can_be_read_and_only_its_data_cannot() -> None:
    record = Record(row("never-seen", '{"a":1}', '"m"'), REGISTRY)
    assert (record.json, record.meta_json) == ({"a": 1}, "m")
    with pytest.raises(UnknownEvent, match="never-seen"):
        _ = record.data
    with pytest.raises(UnknownEvent, match="never-seen"):
        _ = record.meta


# --- meta ---------------------------------------------------------------------------------------


@event("said", meta=Name)
class Said(BaseModel): ...


@event("said:bare", meta=Bare)
class SaidBare(BaseModel): ...


@event("said:empty", meta=EmptyStruct)
class SaidNothing(BaseModel): ...


def test_meta_is_required_if_declared_refused_if_not_and_validated_like_data() -> None:
    registry = Registry([Said, SaidBare, SaidNothing])

    def both(value: object, meta: object) -> tuple[str, str]:
        return registry.of_event(value).encode(value, meta)

    assert both(Said(), Name(given="me")) == ("null", '{"family":"","given":"me"}')
    assert both(SaidBare(), Bare("me")) == ("null", '"me"')
    assert both(SaidNothing(), EmptyStruct()) == ("null", "null")
    for value, meta, message in (
        (Said(), None, "missing; pass meta=Name"),
        (Said(), Bare("me"), "must be a Name, not Bare"),
        (Said(), Name.model_construct(given=5), "meta.given"),
        (Said(), {"given": "me"}, "must be a Name, not dict"),
    ):
        with pytest.raises(EventValidationError, match=message):
            both(value, meta)
    with pytest.raises(EventValidationError, match="not expected"):
        encoded(Empty(), Name())
    assert Record(row("said", "null", '{"given":"me","next":1}'), registry).meta == Name(given="me")
    assert Record(row("said:bare", "null", '"me"'), registry).meta == Bare("me")
    assert Record(row("said:empty", "null"), registry).meta is None
    with pytest.raises(DecodeError, match="meta"):
        _ = Record(row("said:bare", "null", "5"), registry).meta


def test_only_an_instance_of_exactly_the_class_is_encoded() -> None:
    declared: EventType = event_type_of(Strict)
    for wrong in (Empty(), {"known": 1}, None):
        with pytest.raises(EventValidationError, match="must be a Strict"):
            declared.encode(wrong, None)


# --- what is imported ---------------------------------------------------------------------------


def alone(program: str, *, without: str = "") -> str:
    """Runs a program in a process of its own, where some modules cannot be imported."""
    block = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {without.split()!r}:\n"
        "            raise ImportError(name + ' is not installed')\n"
        "sys.meta_path.insert(0, Block())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", block + program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_pydantic_is_imported_only_when_an_event_needs_it() -> None:
    loaded = "print('pydantic' in sys.modules, 'msgspec' in sys.modules)\n"
    define = (
        "from dataclasses import dataclass\n"
        "@event('d')\n@dataclass\nclass D:\n    n: int = 0\n"
        "from everlog.core.event import Registry\n"
    )
    assert alone("import everlog\n" + loaded) == "False False"
    assert alone("from everlog import event\n" + define + loaded) == "False False"
    used = alone(
        "from everlog import event\n" + define + "Registry([D])\nprint('pydantic' in sys.modules)"
    )
    assert used == "True"


def test_a_store_of_structs_works_without_pydantic() -> None:
    program = (
        "import msgspec, asyncio\n"
        "from everlog import EventStore, event\n"
        "@event('s')\nclass S(msgspec.Struct):\n    n: int = 0\n    x: float = 0.5\n"
        "async def main():\n"
        "    async with EventStore.open('memory:', events=[S]) as store:\n"
        "        [record] = await store.append('a', S(2))\n"
        "        print(record.stored.data, record.data.n)\n"
        "asyncio.run(main())\n"
    )
    assert alone(program, without="pydantic pydantic_core") == '{"n":2,"x":0.5} 2'


def test_a_dataclass_and_a_model_are_stored_the_same_with_and_without_msgspec() -> None:
    program = (
        "from dataclasses import dataclass, field\n"
        "from datetime import timedelta\n"
        "from pydantic import BaseModel\n"
        "try:\n    import msgspec\nexcept ImportError:\n    pass\n"
        "from everlog import event\n"
        "from everlog.core.event import Registry\n"
        "@event('d')\n@dataclass\nclass D:\n"
        "    z: int = 0\n    b: bytes = b''\n    t: timedelta = timedelta(0)\n"
        "    k: dict[str, int] = field(default_factory=dict)\n"
        "@event('m')\nclass M(BaseModel):\n"
        "    z: int = 0\n    b: bytes = b''\n    k: dict[str, float] = {}\n"
        "r = Registry([D, M])\n"
        "for v in (D(5, b'raw', timedelta(days=400, seconds=1.5), {'b': 1, 'a': 2}), D(1),\n"
        "          D(k={'\\ufb33': 1, '\\U0001f600': 2}),\n"
        "          M(z=1, b=b'raw', k={'b': 1.5, 'a': 1e21, 'Z': 1})):\n"
        "    print(ascii(r.of_event(v).encode(v, None)))\n"
    )
    assert alone(program) == alone(program, without="msgspec") != ""
