"""Snapshots of states: they give back the very state, or are refused."""

from __future__ import annotations

import types
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from everlog.core import state as state_module
from everlog.core.aggregate import AggregateLog, AggregateRoot, start
from everlog.core.state import state_codec
from everlog.errors import SnapshotError


class Color(str, Enum):  # noqa: UP042 - the kind that people have
    RED = "red"


class Pair(NamedTuple):
    x: int
    y: int


class Opaque: ...


@dataclass
class Line:
    sku: str
    count: int = 1


@dataclass
class Data:
    number: int = 0
    total: float = 0.0
    label: str | None = None
    lines: list[Line] = field(default_factory=list[Line])
    by_day: dict[int, Decimal] = field(default_factory=dict[int, Decimal])
    pair: tuple[int, int] = (0, 0)
    seen: set[str] = field(default_factory=set[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    groups: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    recent: deque[int] = field(default_factory=deque[int])
    at: datetime | None = None
    color: Color | None = None
    anything: Any = None

    @cached_property
    def double(self) -> int:
        return self.number * 2


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    number: int = 0
    lines: list[Line] = []
    given: str = Field("", alias="givenName")
    _private: int = PrivateAttr(0)


class Struct(msgspec.Struct):
    number: int = 0
    ratio: float | None = None
    by_day: dict[int, str] = {}
    pair: tuple[int, int] = (0, 0)
    anything: Any = None


BERLIN = ZoneInfo("Europe/Berlin")
HOURS = timedelta(hours=2)


@dataclass
class Twice:
    a: tuple[Line, ...]
    b: tuple[Line, ...]


class StructTwice(msgspec.Struct):
    a: Struct
    b: Struct


class ModelTwice(BaseModel):
    a: Model
    b: Model

    @classmethod
    def of(cls, a: Model, b: Model) -> ModelTwice:
        return cls.model_construct(a=a, b=b)


@dataclass(frozen=True)
class Point:
    x: float


@dataclass
class Points:
    them: set[Point]


@dataclass(frozen=True)
class Moment:
    at: datetime


@dataclass
class Moments:
    them: set[Moment]


def groups(**items: list[int]) -> defaultdict[str, list[int]]:
    return defaultdict(list, items)


class User(AggregateRoot, name="user"):
    kind: ClassVar[str] = "person"
    name: str = ""
    lines: list[Line] = []  # noqa: RUF012
    by_day: dict[int, str] = {}  # noqa: RUF012
    balance: Decimal = Decimal(0)
    late: str  # not set until an event sets it
    last: Line


def user(**fields: Any) -> User:
    made = start(User, "user-1", NOBODY)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


NOBODY: Any = object()


def kind_of(state: Any) -> type[Any]:
    kind: type[Any] = type(state)  # pyright: ignore[reportUnknownVariableType]
    return kind


FAITHFUL: list[Any] = [
    Data(),
    Data(
        number=-5,
        total=1e300,
        label="Zoë \0 \U0001f600",
        lines=[Line("a"), Line("b", 2)],
        by_day={2: Decimal("1.50"), 10: Decimal("-0")},
        pair=(1, 2),
        seen={"a", "b"},
        counts=Counter("aab"),
        groups=defaultdict(list, {"z": [1], "a": [2]}),
        recent=deque([3, 1]),
        at=datetime(2026, 1, 31, tzinfo=UTC),
        color=Color.RED,
        anything=[1, "x", {"a": None, "b": [True, 2.5]}],
    ),
    Model(number=1, givenName="jane", more=[1, {"a": 2}]),  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Struct(1, 2.5, {1: "a"}, (1, 2), {"a": [1]}),
    0,
    2**70,
    1.5,
    "text",
    True,
    [1, "a", [None]],
    {"a": {"b": [1.5]}},
    {1, 2},
    Counter("aab"),
    Decimal("1.50"),
    datetime(2026, 1, 31, tzinfo=UTC),
]


@pytest.mark.parametrize("state", FAITHFUL, ids=lambda each: ascii(each)[:50])
def test_a_state_that_is_stored_reads_back_as_it_was(state: Any) -> None:
    codec = state_codec(kind_of(state))
    again = codec.decode(codec.encode(state))
    assert again == state
    assert type(again) is type(state)
    if isinstance(state, Data):
        assert again.groups["new"] == [], "a defaultdict still is one"
        assert again.counts["new"] == 0
        assert list(again.groups) == [*state.groups, "new"]


def test_what_is_computed_anew_is_no_obstacle() -> None:
    state = Data(number=3)
    assert state.double == 6
    codec = state_codec(Data)
    assert codec.decode(codec.encode(state)) == state


UNFAITHFUL: list[tuple[str, Any]] = [
    ("a tuple as a list", Data(anything=(1, 2))),
    ("a list as a tuple", Data(pair=[1, 2])),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("a named tuple as a tuple", Data(pair=Pair(1, 2))),
    ("numbers as keys of an untyped dict", Data(anything={1: "a"})),
    ("and inside a list", [{1: "a"}]),
    ("a dict with numbers as keys", {1: "a"}),
    ("a set as a list", Data(anything={1})),
    ("a Counter as a dict", Data(by_day=Counter({1: Decimal(1)}))),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("a Counter in untyped data", Data(anything=Counter("a"))),
    ("a defaultdict as a dict", Data(anything=defaultdict(int, a=1))),
    ("another default", Data(groups=defaultdict(lambda: [0], {"a": [1]}))),
    ("an ordered dict", Data(anything=OrderedDict(a=1))),
    ("an enum of strings as a string", Data(label=Color.RED)),
    ("a bool as a number", Data(number=True)),
    ("a decimal as a string", Data(anything=Decimal("1.5"))),
    ("a moment as a string", Data(anything=datetime(2026, 1, 31, tzinfo=UTC))),
    ("a dataclass as a dict", Data(anything=Line("a"))),
    ("a NaN", Data(total=float("nan"))),
    ("an infinity", Data(total=float("inf"))),
    ("a NaN in untyped data", Data(anything=float("nan"))),
    ("a wrong type", Data(number="five")),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("an object", Data(anything=Opaque())),
    ("a lone surrogate", Data(label="\ud800")),
    ("a struct with a tuple as a list", Struct(anything=(1, 2))),
    ("a struct with a NaN that would be None", Struct(ratio=float("nan"))),
    ("a struct with numbers as untyped keys", Struct(anything={1: "a"})),
    ("a struct with a set", Struct(anything={1})),
    ("bytes of no text", b"\xff"),
    ("one object twice in a list", (lambda line: Data(lines=[line, line]))(Line("a"))),
    ("one list in two places", (lambda each: Data(groups=groups(a=each, b=each)))([1])),
    ("one empty dict in two places", (lambda each: {"a": each, "b": [each]})(dict[str, int]())),
    ("one object in two tuples", (lambda line: Twice((line,), (line,)))(Line("a"))),
    ("one Struct in two places", (lambda each: StructTwice(each, each))(Struct())),
    ("one model in two places", (lambda each: ModelTwice.of(each, each))(Model(givenName=""))),
    ("a whole number in a field of floats", Data(total=3)),
    ("a float in a field of whole numbers", Data(number=4.0)),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ("a zone with rules as an offset", Data(at=datetime(2026, 7, 1, tzinfo=BERLIN))),
    ("a zone with rules, UTC", Data(at=datetime(2026, 7, 1, tzinfo=ZoneInfo("UTC")))),
    ("an offset with a name", Data(at=datetime(2026, 7, 1, tzinfo=timezone(HOURS, "CEST")))),
    ("a second time in the hour that comes twice", Data(at=datetime(2026, 1, 1, fold=1))),  # noqa: DTZ001
    ("a deque that forgets", Data(recent=deque([1], maxlen=3))),
    ("a whole number in a set of frozen things", Points({Point(1)})),
    ("a zone in a set of frozen things", Moments({Moment(datetime(2026, 7, 1, tzinfo=BERLIN))})),
]


@pytest.mark.parametrize(("what", "state"), UNFAITHFUL, ids=[what for what, _ in UNFAITHFUL])
def test_a_state_that_would_read_back_otherwise_is_refused(what: str, state: Any) -> None:
    codec = state_codec(kind_of(state))
    with pytest.raises(SnapshotError):
        codec.encode(state)


def test_comparing_by_equality_alone_is_seen_to_lose_what_things_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def equal(decoded: object, state: object, at: str, met: object) -> str | None:
        return None if type(decoded) is type(state) and decoded == state else f"{at} differs"

    monkeypatch.setattr(state_module, "_difference", equal)
    stored: list[str] = []
    for what, state in UNFAITHFUL:
        try:
            test_a_state_that_would_read_back_otherwise_is_refused(what, state)
        except pytest.fail.Exception:
            stored.append(what)
    assert "a Counter in untyped data" in stored
    assert "an enum of strings as a string" in stored
    assert "one object twice in a list" in stored
    assert "a zone with rules as an offset" in stored
    assert len(stored) >= 12


def test_frozen_objects_may_be_in_many_places_and_the_standard_offsets_are_no_zones() -> None:
    point, text, both = Point(1.5), "x" * 50, (1, 2)
    for state in (
        Points({point}),
        Data(label=text, seen={text}, pair=both, anything=None),
        Data(at=datetime(2026, 7, 1, tzinfo=timezone(HOURS))),
        Data(at=datetime(2026, 7, 1)),  # noqa: DTZ001
    ):
        codec = state_codec(kind_of(state))
        assert codec.decode(codec.encode(state)) == state

    @dataclass
    class Pair:
        a: Point
        b: Point

    codec = state_codec(Pair)
    assert codec.decode(codec.encode(Pair(point, point))) == Pair(point, point)


def test_a_refusal_says_which_value_in_which_place_would_read_back_as_what() -> None:
    line = Line("a")
    for state, message in (
        (Data(total=3), r"Data\.total is 3 \(int\) and would read back as 3\.0 \(float\)"),
        (Data(anything=[{"a": (1,)}]), r"Data\.anything\[0\]\['a'\] is \(1,\) \(tuple\)"),
        (Data(lines=[line], anything=line), r"Data\.anything"),
        (Data(lines=[line, line]), r"Data\.lines\[1\] is the very Line that Data\.lines\[0\] is"),
    ):
        with pytest.raises(SnapshotError, match=message):
            state_codec(Data).encode(state)


def test_what_is_set_without_being_declared_is_refused_and_not_lost() -> None:
    @dataclass
    class Hidden:
        shown: int = 0
        hidden: int = field(default=0, init=False, compare=False)

    hidden = Hidden()
    hidden.hidden = 5
    undeclared: Any = Line("a")
    undeclared.extra = 1
    private = Model(givenName="")
    private._private = 5  # pyright: ignore[reportPrivateUsage]
    for state in (hidden, undeclared, private):
        with pytest.raises(SnapshotError):
            state_codec(kind_of(state)).encode(state)


def test_a_type_that_cannot_be_stored_is_refused_by_name() -> None:
    for cls in (Opaque, type(Lock())):
        with pytest.raises(SnapshotError, match=cls.__name__):
            state_codec(cls)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(json_like)
def test_any_untyped_state_reads_back_the_same_to_the_last_type_or_is_refused(value: Any) -> None:
    codec = state_codec(Data)
    try:
        again = codec.decode(codec.encode(Data(anything=value)))
    except SnapshotError:
        return
    assert repr(again.anything) == repr(value)


# --- aggregates ---------------------------------------------------------------------------------


def test_the_declared_fields_of_an_aggregate_are_stored_and_nothing_else() -> None:
    codec = state_codec(User)
    fields: dict[str, Any] = {
        "name": "Zoë",
        "lines": [Line("a", 2)],
        "by_day": {1: "x", 10: "y"},
        "balance": Decimal("1.50"),
    }
    assert codec.decode(codec.encode(user(**fields))) == fields
    assert codec.decode(codec.encode(user(late="set")))["late"] == "set"
    assert "late" not in codec.decode(codec.encode(user()))


def test_a_field_of_an_aggregate_that_is_not_declared_or_not_faithful_is_refused_by_name() -> None:
    codec = state_codec(User)
    line = Line("a")
    with pytest.raises(SnapshotError, match=r"User\.last is the very Line that User\.lines"):
        codec.encode(user(lines=[line], last=line))
    with pytest.raises(SnapshotError, match=r"User\.extra is set but not declared"):
        codec.encode(user(extra=1))
    for name, value in (
        ("name", 5),
        ("lines", (Line("a"),)),
        ("by_day", Counter({1: 2})),
        ("by_day", defaultdict(str, {1: "a"})),
        ("balance", 1.5),
        ("name", Color.RED),
    ):
        with pytest.raises(SnapshotError, match=rf"User\.{name}"):
            codec.encode(user(**{name: value}))


def test_a_field_that_no_snapshot_can_hold_is_named() -> None:
    class Odd(AggregateRoot, name="odd"):
        fine: int = 0
        what: Any = None
        odd: Opaque

    with pytest.raises(SnapshotError, match=r"Odd\.odd"):
        state_codec(Odd)
    assert isinstance(start(Odd, "odd-1", NOBODY).log, AggregateLog)


# --- shapes -------------------------------------------------------------------------------------


def shape_of(fields: dict[str, Any], kind: str) -> str:
    namespace: dict[str, Any] = {"__annotations__": fields, "__module__": __name__}
    match kind:
        case "dataclass":
            return state_codec(dataclass(type("S", (), namespace))).shape
        case "model":
            return state_codec(
                types.new_class("S", (BaseModel,), {}, lambda ns: ns.update(namespace))
            ).shape
        case "struct":
            return state_codec(msgspec.defstruct("S", list(fields.items()))).shape
        case _:
            return state_codec(type("S", (AggregateRoot,), namespace)).shape


@pytest.mark.parametrize("kind", ["dataclass", "model", "struct", "aggregate"])
def test_another_shape_of_state_has_another_digest_and_the_same_one_the_same(kind: str) -> None:
    shapes: list[dict[str, Any]] = [
        {"a": int},
        {"a": str},
        {"b": int},
        {"a": int, "b": int},
        {"a": list[int]},
        {"a": list[str]},
        {"a": int | None},
        {"a": dict[str, int]},
        {},
    ]
    digests = [shape_of(fields, kind) for fields in shapes]
    assert len(set(digests)) == len(shapes)
    assert digests == [shape_of(fields, kind) for fields in shapes]


@pytest.mark.parametrize("cls", [Data, Struct, Model, User, int], ids=lambda cls: cls.__name__)
def test_a_stored_text_that_does_not_fit_the_type_any_more_is_an_error_of_its_own(
    cls: type[Any],
) -> None:
    texts = ['{"number":"five","name":5}', "[1]", '"x"', "{", ""]
    for text in texts:
        with pytest.raises(SnapshotError):
            state_codec(cls).decode(text)
