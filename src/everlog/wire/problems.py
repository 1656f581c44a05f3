"""Problems: errors as they cross the wire (RFC 9457), and back again as the same class.

    {"type": "urn:everlog:problem:wrong_version", "title": "The stream is not at the expected ..",
     "status": 412, "detail": "stream 'user-1' is at version 2, expected 1; ..",
     "code": "wrong_version", "facts": {"stream": "user-1", "expected": 1, "actual": 2}}

What the server's own storage says stays there: its words may hold paths, hosts and statements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from everlog import errors
from everlog.core.taking import Mark
from everlog.errors import EverlogError, InvalidMessage, TooBusy, TransportFailed
from everlog.wire.json_text import (
    a_list,
    a_pair,
    a_text,
    an_object,
    flag,
    number,
    read_object,
    text,
    to_line,
)
from everlog.wire.messages import Forked
from everlog.wire.talks import read_expectation, read_mark, write_expectation, write_mark

TYPE = "urn:everlog:problem:"
"""What the type of each problem begins with."""

MAX_WORDS = 10_000
"""Characters of a detail, at most; what is longer is cut."""

Kind = Callable[[Mapping[str, Any], str], object]
"""Reads a fact of its kind."""


def _text(fields: Mapping[str, Any], name: str) -> object:
    return text(fields, name, at="facts")


def _number(fields: Mapping[str, Any], name: str) -> object:
    return number(fields, name, at="facts", least=-(2**63))


def _seconds(fields: Mapping[str, Any], name: str) -> object:
    value = fields.get(name)
    if type(value) not in (int, float) or not 0 <= cast("float", value) <= 1e9:
        raise InvalidMessage(f"facts.{name}", "must be seconds")
    return float(cast("float", value))


def _flag(fields: Mapping[str, Any], name: str) -> object:
    return flag(fields, name, at="facts")


def _texts(fields: Mapping[str, Any], name: str) -> object:
    return a_list(fields, name, a_text, at="facts", most=100_000)


def _pairs(fields: Mapping[str, Any], name: str) -> object:
    return a_list(fields, name, a_pair, at="facts", most=100_000)


def _anything(fields: Mapping[str, Any], name: str) -> object:
    return fields.get(name)


def _expected(fields: Mapping[str, Any], name: str) -> object:
    return read_expectation(fields.get(name), f"facts.{name}")


@dataclass(frozen=True, slots=True)
class Crossing:
    """How a class of errors crosses."""

    cls: type[EverlogError]
    status: int
    facts: Mapping[str, Kind] = field(default_factory=dict[str, Kind])
    is_told: bool = True
    """Whether its words cross: otherwise what its class says in general."""

    @property
    def code(self) -> str:
        """Its name in a problem."""
        return code_of(self.cls)


def code_of(cls: type[EverlogError]) -> str:
    """Returns the name of a class of errors in problems: `wrong_version` of `WrongVersion`."""
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in cls.__name__)[1:]


CROSSING: tuple[Crossing, ...] = (
    Crossing(errors.InvalidInput, 422),
    Crossing(errors.InvalidMessage, 400, {"at": _text, "problem": _text}),
    Crossing(errors.EventValidationError, 422, {"event_type": _text, "problems": _pairs}),
    Crossing(errors.UnknownEvent, 422, {"name": _text}),
    Crossing(errors.NotPortable, 422, {"path": _text, "problem": _text}),
    Crossing(
        errors.TooLarge, 413, {"what": _text, "size": _number, "limit": _number, "unit": _text}
    ),
    Crossing(errors.InvalidName, 422, {"kind": _text, "value": _anything, "problem": _text}),
    Crossing(errors.InvalidExpectation, 422),
    Crossing(errors.InvalidStamp, 422),
    Crossing(errors.InvalidToken, 422),
    Crossing(errors.NaiveDatetime, 422),
    Crossing(errors.ClockAhead, 422, {"ahead_ms": _number, "max_offset_ms": _number}),
    Crossing(errors.TamperedRecord, 422, {"event_id": _text}),
    Crossing(errors.Conflict, 409),
    Crossing(errors.WrongVersion, 412, {"stream": _text, "expected": _expected, "actual": _number}),
    Crossing(errors.IdConflict, 409, {"event_id": _text, "differs": _text}),
    Crossing(errors.PartialRetry, 409, {"known": _texts, "unknown": _texts}),
    Crossing(errors.LogDiverged, 409, {"position": _number, "differs": _text}),
    Crossing(errors.CursorMoved, 409, {"upstream": _text, "expected": _number, "actual": _number}),
    Crossing(errors.NotFound, 404),
    Crossing(errors.WrongUpstream, 409),
    Crossing(errors.StaleUpstream, 409, {"upstream": _text, "epoch": _text}),
    Crossing(errors.Offline, 503, {"stream": _text, "hub": _text}),
    Crossing(errors.NotAuthenticated, 401),
    Crossing(errors.NotAllowed, 403),
    Crossing(errors.TooBusy, 429, {"retry_after_s": _seconds}),
    Crossing(errors.NotSupported, 422),
    Crossing(errors.StorageError, 503, is_told=False),
    Crossing(errors.LedgerBusy, 503, is_told=False),
    Crossing(errors.StorageFull, 503, is_told=False),
    Crossing(errors.StorageFailed, 503, is_told=False),
    Crossing(errors.Unreachable, 503, is_told=False),
    Crossing(errors.FileReplaced, 503, is_told=False),
    Crossing(errors.CorruptLedger, 503, is_told=False),
    Crossing(errors.OutcomeUnknown, 503, {"ids": _texts, "of_checkpoint": _flag}),
)
"""Every class that crosses; a class that is not named crosses as the nearest above it that is."""

_BY_CLASS = {each.cls: each for each in CROSSING}
_BY_CODE = {each.code: each for each in CROSSING}

FORKED = "forked"
"""The code of the answer to who stands in another history: not an error of ours, but an answer."""
SCOPE_CHANGED = "scope_changed"
"""The code of the answer to a cursor of another scope: begin again."""
INTERNAL = "internal"
"""The code of what should not have happened; the server's log says what it was."""


class Problem(NamedTuple):
    """A problem: its status, the body, and when to ask again."""

    status: int
    body: bytes
    retry_after_s: float | None = None


def problem_of(error: EverlogError, *, status: int | None = None) -> Problem:
    """Returns an error as a problem; `status`: another than errors of its class have."""
    crossing = next((_BY_CLASS[cls] for cls in type(error).__mro__ if cls in _BY_CLASS), None)
    if crossing is None:
        return plain_problem(500, INTERNAL, "the server failed; its log says how")
    facts = {name: _plain(getattr(error, name, None)) for name in crossing.facts}
    title = (crossing.cls.__doc__ or "").strip().split("\n")[0]
    detail = str(error)[:MAX_WORDS] if crossing.is_told else title
    retry_after_s = error.retry_after_s if isinstance(error, TooBusy) else None
    if retry_after_s is None and crossing.status == 503:
        retry_after_s = 1.0
    status = crossing.status if status is None else status
    return Problem(status, _body(status, crossing.code, title, detail, facts=facts), retry_after_s)


def plain_problem(status: int, code: str, detail: str, **more: object) -> Problem:
    """Returns a problem that is no error of ours, such as of a path that is none."""
    return Problem(status, _body(status, code, detail.split(";")[0], detail, **more))


def forked_problem(epoch: str, ancestor: Mark | None) -> Problem:
    """Returns the answer to who stands in another history than the hub's.

    `ancestor`: the newest of the places that were sent which the hub has, too; None if no more was
    sent than the cursor: then a hello with `checkpoints` tells.
    """
    return plain_problem(
        409,
        FORKED,
        "the hub's history is another one at the cursor; say hello with the places that were "
        "passed, and go on from the one that it names",
        epoch=epoch,
        ancestor=None if ancestor is None else write_mark(ancestor),
    )


class ForkedAt(NamedTuple):
    """What `forked` says."""

    epoch: str
    ancestor: Mark | None

    def answer(self, ancestor: Mark) -> Forked:
        """Returns it as the answer to an edge, once the ancestor is known."""
        return Forked(self.epoch, ancestor)


def read_forked(body: bytes) -> ForkedAt | None:
    """Returns what a problem says of another history; None if it is another problem."""
    fields = read_object(body, limit=2 * MAX_WORDS)
    if fields.get("code") != FORKED:
        return None
    ancestor = fields.get("ancestor")
    return ForkedAt(
        text(fields, "epoch", at="body"),
        None if ancestor is None else read_mark(ancestor, "body.ancestor"),
    )


def error_of(body: bytes, *, status: int) -> EverlogError:
    """Returns the error that a problem stands for: of the same class, with the same facts.

    What is no problem of ours, such as what a proxy says, is `TransportFailed` where it may pass or
    where it cannot be told what became of the request, and `Refused` where it says no.
    """
    try:
        fields = read_object(body, limit=4 * 1024 * 1024)
        crossing = _BY_CODE[text(fields, "code", at="body")]
        known: Mapping[str, Any] = an_object(fields, "facts", at="body") if crossing.facts else {}
        facts = {name: kind(known, name) for name, kind in crossing.facts.items()}
        error = crossing.cls.__new__(crossing.cls)
        error.args = (text(fields, "detail", at="body")[:MAX_WORDS],)
        for name, value in facts.items():
            setattr(error, name, value)
    except (InvalidMessage, KeyError, TypeError, AttributeError):
        return _by_status(body, status)
    return error


def _by_status(body: bytes, status: int) -> EverlogError:
    said = _words(body)
    told = f"the server answered with status {status}" + (f": {said}" if said else "")
    if status == 401:
        return errors.NotAuthenticated(told)
    if status == 403:
        return errors.NotAllowed(told)
    if status in (413, 415, 422, 400, 404, 405, 406, 411, 414, 431):
        return errors.Refused(told)
    return TransportFailed(told)


def _words(body: bytes) -> str:
    """Returns what of a foreign body can be shown: printable, short."""
    try:
        fields: Any = json.loads(body[:MAX_WORDS])
        said = str(fields["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return "".join(char if char.isprintable() else "?" for char in said[:500])


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[object, ...]", value)]
    value = write_expectation(value)
    if value is None or type(value) in (bool, int, float):
        return value
    said = value if type(value) is str else repr(value)
    return said[:MAX_WORDS].encode("utf-8", "backslashreplace").decode()


def _body(status: int, code: str, title: str, detail: str, **more: object) -> bytes:
    fields = {
        "type": TYPE + code,
        "title": title,
        "status": status,
        "detail": detail.encode("utf-8", "backslashreplace").decode(),
        "code": code,
    }
    return to_line({**fields, **more})
