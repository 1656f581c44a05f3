"""Kinds: whether what a hub answers is of the kind that was asked for, down to its parts.

What is of another kind would end a sync with an error of Python's, in the middle of something.
"""

from __future__ import annotations

from typing import TypeVar

from everlog.core.chain import HASH_BYTES
from everlog.core.record import StoredRecord
from everlog.core.stream import check_name
from everlog.core.taking import Judged, Mark
from everlog.errors import InvalidName, UpstreamFault
from everlog.wire.messages import Forked, Pulled, Pushed

T = TypeVar("T")


def as_kind(what: str, value: object, kind: type[T]) -> T:
    """Returns a value if it is exactly of a kind; raises `UpstreamFault`."""
    if type(value) is not kind:
        raise UpstreamFault(f"its {what} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def as_pulled(answer: object) -> Pulled | Forked:
    """Returns the answer to a pull, whose parts are all of their kinds; raises `UpstreamFault`."""
    if isinstance(answer, Forked):
        return _as_forked(answer)
    pulled = as_kind("answer to a pull", answer, Pulled)
    _check_epoch(pulled.epoch)
    _check_mark("start", pulled.start)
    _check_mark("end", pulled.end)
    as_kind("word on whether there is more", pulled.up_to_date, bool)
    as_kind("scope", pulled.scope, str)
    as_kind("list of records", pulled.records, tuple)
    for record in pulled.records:
        if type(record) is not StoredRecord or type(record[0]) is not int:
            # In which order they are, `check_piece` looks at: so none is outside of the marks.
            as_kind("record's position", as_kind("record", record, StoredRecord).position, int)
    as_kind("list of receipts", pulled.receipts, tuple)
    return pulled


def as_pushed(answer: object) -> Pushed | Forked:
    """Returns the answer to a push, whose parts are all of their kinds; raises `UpstreamFault`."""
    if isinstance(answer, Forked):
        return _as_forked(answer)
    pushed = as_kind("answer to a push", answer, Pushed)
    _check_epoch(pushed.epoch)
    _check_mark("cursor", pushed.cursor)
    judged: object = pushed.judged
    if not isinstance(judged, (list, tuple)):
        raise UpstreamFault(f"its list of verdicts is a {type(judged).__name__}")
    for each in pushed.judged:
        as_kind("verdict", each, Judged)
        as_kind("word on what became of a record", each.verdict, str)
    return pushed


def _as_forked(forked: Forked) -> Forked:
    _check_epoch(forked.epoch)
    _check_mark("ancestor", forked.ancestor)
    return forked


def _check_epoch(epoch: object) -> None:
    try:
        check_name("epoch", epoch)
    except InvalidName as error:
        raise UpstreamFault(str(error)) from error


def _check_mark(what: str, mark: object) -> None:
    position, chain = as_kind(what, mark, Mark)
    _check_number(what, position)
    if len(as_kind(what, chain, bytes)) != HASH_BYTES:
        raise UpstreamFault(f"its {what} has a chain of {len(chain)} bytes")


def _check_number(what: str, value: object) -> None:
    if not 0 <= as_kind(what, value, int) < 2**63:
        raise UpstreamFault(f"its {what} is no number from 0 to {2**63 - 1}")
