"""Errors cross processes and are copied: each comes back as what it was."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

import everlog.errors
from everlog.errors import (
    BreakingChange,
    ClockAhead,
    ContentGone,
    CursorMoved,
    DecodeError,
    EventAlreadyRegistered,
    EventValidationError,
    EverlogError,
    HandlerFailed,
    HandlerHeldTransaction,
    HandlersLeftBehind,
    HandlerTimedOut,
    IdConflict,
    InvalidConfig,
    InvalidMessage,
    InvalidName,
    LogDiverged,
    NaiveDatetime,
    NotPortable,
    NotPrinted,
    Offline,
    OtherVersion,
    OutcomeUnknown,
    PartialRetry,
    StaleUpstream,
    TamperedRecord,
    TooBusy,
    TooLarge,
    UnknownEvent,
    WrongVersion,
)

CLASSES: dict[str, type[EverlogError]] = {
    name: value
    for name, value in vars(everlog.errors).items()
    if isinstance(value, type) and issubclass(value, EverlogError)
}
WITH_FACTS: dict[type[EverlogError], Callable[[], EverlogError]] = {
    EventAlreadyRegistered: lambda: EventAlreadyRegistered("user:created", "a.A", "b.B"),
    InvalidConfig: lambda: InvalidConfig("events/a.json", "data.x", "is no shape"),
    BreakingChange: lambda: BreakingChange("events.lock.json", [("a", "data.x is gone")]),
    NotPrinted: lambda: NotPrinted(["events.py"]),
    UnknownEvent: lambda: UnknownEvent("class A", ["user:created"], hint="add it"),
    EventValidationError: lambda: EventValidationError("user:created", [("data.a", "missing")]),
    NotPortable: lambda: NotPortable("data.a", "is NaN"),
    TooLarge: lambda: TooLarge("one call", size=3, limit=2, unit="events"),
    InvalidName: lambda: InvalidName("stream", 5, "must be text, not int"),
    InvalidMessage: lambda: InvalidMessage("record.id", "is missing"),
    TooBusy: lambda: TooBusy("too many requests", retry_after_s=2.5),
    NaiveDatetime: lambda: NaiveDatetime("as_of"),
    ClockAhead: lambda: ClockAhead("record 1", ahead_ms=90_000, max_offset_ms=60_000),
    TamperedRecord: lambda: TamperedRecord("id", "its data is not text"),
    ContentGone: lambda: ContentGone("user-1", 3),
    WrongVersion: lambda: WrongVersion("user-1", expected=3, actual=5),
    IdConflict: lambda: IdConflict("id", "data"),
    LogDiverged: lambda: LogDiverged(500, "chain"),
    CursorMoved: lambda: CursorMoved("hub", expected=3, actual=5),
    StaleUpstream: lambda: StaleUpstream("hub", "epoch"),
    Offline: lambda: Offline("order-1", "hub"),
    OtherVersion: lambda: OtherVersion("emails", live=2, asked=1),
    PartialRetry: lambda: PartialRetry(["a"], ["b", "c"]),
    DecodeError: lambda: DecodeError("user:created", "id", [("data.a", "missing")]),
    HandlerFailed: lambda: HandlerFailed("Users.on_created", ["id"]),
    HandlerHeldTransaction: lambda: HandlerHeldTransaction(0.05),
    HandlerTimedOut: lambda: HandlerTimedOut(
        "view", "write", record_id="id", stream="a", position=3, timeout_s=30.0
    ),
    HandlersLeftBehind: lambda: HandlersLeftBehind("view", 32),
    OutcomeUnknown: lambda: OutcomeUnknown(["a", "b"]),
}
WAYS: dict[str, Callable[[EverlogError], EverlogError]] = {
    "pickled": lambda error: pickle.loads(pickle.dumps(error)),
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CLASSES)
def test_an_error_comes_back_as_what_it_was(name: str, way: str) -> None:
    cls = CLASSES[name]
    error = WITH_FACTS[cls]() if cls in WITH_FACTS else cls("what happened; what to do")
    error.add_note("said on the way")
    again = WAYS[way](error)
    assert again is not error
    assert type(again) is cls
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)
    assert again.__notes__ == ["said on the way"]


def test_the_error_of_another_library_made_of_ours_comes_back_too() -> None:
    again = WAYS["pickled"](Theirs(5, reason="why"))
    assert isinstance(again, Theirs)
    assert (str(again), again.reason) == ("5: why", "why")


class Theirs(WrongVersion):
    def __init__(self, number: int, *, reason: str) -> None:
        Exception.__init__(self, f"{number}: {reason}")
        self.reason = reason
