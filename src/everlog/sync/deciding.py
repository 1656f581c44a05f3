"""Deciding: what an edge and a hub make of what they are told, without any I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

from everlog.core.chain import ORPHAN, link
from everlog.core.record import StoredRecord
from everlog.core.sequencer import check_record
from everlog.core.stream import check_name
from everlog.core.taking import BEGINNING, TAKEN, Held, Judged, Mark, Verdict
from everlog.errors import InvalidInput, TamperedRecord, UpstreamFault
from everlog.sync.kinds import as_kind
from everlog.sync.receipts import RECEIPT_BYTES, holds
from everlog.wire.messages import Asked, Forked, Offer, Pulled, Pushed, Welcome

MOST_WORDS = 1_000
"""So many characters of a reason are kept."""


def common_ancestor(marks: Sequence[Mark], chains: Sequence[bytes | None]) -> Mark:
    """Returns the newest of the marks whose chain is the one that stands there.

    `chains`: those of a ledger at the marks' positions.
    """
    for mark, chain in zip(reversed(marks), reversed(chains), strict=True):
        if mark.chain == chain:
            return mark
    return BEGINNING


def check_piece(pulled: Pulled, cursor: Mark, *, sparse: bool = False) -> None:
    """Raises `UpstreamFault` unless an answer is whole, and goes on from the cursor.

    `sparse`: whether it is of a scope, and may leave records out.

    Every hash is computed again from the content, and the chain from the hashes: what passes is
    what the upstream's chain says, and nothing else. Of a scope, which has gaps, the chain cannot
    be computed.
    """
    if bool(pulled.scope) != sparse:
        raise UpstreamFault(f"it answers for the scope {pulled.scope!r}, which was not asked for")
    _check_number("stable position", pulled.stable)
    if pulled.receipts and len(pulled.receipts) != len(pulled.records):
        raise UpstreamFault(
            f"it gave {len(pulled.receipts)} receipts for {len(pulled.records)} records"
        )
    if not all(receipt is None or _is_receipt(receipt) for receipt in pulled.receipts):
        raise UpstreamFault(f"a receipt of it is not {RECEIPT_BYTES} bytes")
    if not pulled.up_to_date and pulled.end.position <= cursor.position:
        raise UpstreamFault(f"it has more behind position {cursor.position}, and gave nothing")
    position, chain = pulled.start
    if pulled.start != cursor:
        raise UpstreamFault(f"its answer begins at position {position}, not at {cursor.position}")
    for record in pulled.records:
        follows = record.position > position if sparse else record.position == position + 1
        if not follows:
            raise UpstreamFault(f"after position {position} it gave {record.position}")
        position = record.position
        try:
            check_record(record)
            _check_place(record)
        except InvalidInput as error:
            raise UpstreamFault(f"its record at position {position} is damaged: {error}") from error
        if not sparse:
            chain = link(chain, record.hash, version=record.version, flags=record.flags)
            if chain != record.chain:
                raise UpstreamFault(f"its chain does not fit its record at position {position}")
    end = pulled.end
    if sparse:
        stays = end.position == cursor.position
        if end.position < position or (stays and end != cursor):
            raise UpstreamFault(f"its answer ends at position {end.position}, before {position}")
    elif end != (position, chain):
        raise UpstreamFault(f"its answer ends at position {end.position}, not {position}")


def _is_receipt(receipt: object) -> bool:
    return type(receipt) is bytes and len(receipt) == RECEIPT_BYTES


def _check_place(record: StoredRecord) -> None:
    """Raises `InvalidInput` for what no ledger can have given a record."""
    version, flags = record.version, record.flags
    if type(version) is not int or not 0 <= version < 2**63:
        raise InvalidInput(f"its version is no number from 0 to {2**63 - 1}")
    if type(flags) is not int or not 0 <= flags <= 255:
        raise InvalidInput("its flags is no number from 0 to 255")


def unbroken(pulled: Pulled, given: Mapping[str, int]) -> Pulled:
    """Returns a piece of a scope without what may follow something that was not given.

    `given`: of each stream of which all was given until here, the version that it has got to. What
    enters a scope in the middle of its history would come with its end first.
    """
    versions = dict(given)
    kept: list[int] = []
    for index, record in enumerate(pulled.records):
        counts = not record.flags & ORPHAN
        if record.version - counts == versions.get(record.stream, 0):
            versions[record.stream] = record.version
            kept.append(index)
    return pulled._replace(
        records=tuple(pulled.records[index] for index in kept),
        receipts=tuple(pulled.receipts[index] for index in kept) if pulled.receipts else (),
    )


class Screened(NamedTuple):
    """What of a push can be taken in, if the ledger finds nothing against it."""

    offers: Sequence[Offer]
    vouched: frozenset[str]
    """The ids of those that the hub has had."""
    refused: dict[int, Judged]
    """Of the others, what is said of each, by its place in the push."""


def screen(offers: Sequence[Offer], *, edge: str, secret: bytes | None) -> Screened:
    """Returns what an edge may hand in: sound records of its own, or such as the hub has had.

    `secret`: that of the hub's receipts; None: the edge is trusted, and its word counts.
    """
    sound: list[Offer] = []
    vouched: set[str] = set()
    refused: dict[int, Judged] = {}
    stopped: set[str] = set()
    for index, offer in enumerate(offers):
        record = offer.record
        if record.stream in stopped:
            waiting = "one before it in its stream waits"
            refused[index] = Judged(record.id, "waiting", None, waiting)
            continue
        problem = _problem(record)
        if secret is None:
            known = offer.version is not None
        else:
            known = holds(secret, record, offer.receipt)
            if problem is None and not known and record.origin != edge:
                problem = Judged(record.id, "rejected", None, "it was born in another ledger")
        if problem is not None:
            refused[index] = problem
            stopped.add(record.stream)
            continue
        if known:
            vouched.add(record.id)
        sound.append(offer)
    return Screened(sound, frozenset(vouched), refused)


def _problem(record: StoredRecord) -> Judged | None:
    try:
        check_record(record)
    except InvalidInput as error:
        verdict: Verdict = "tampered" if isinstance(error, TamperedRecord) else "rejected"
        return Judged(record.id, verdict, None, str(error))
    return None


def all_judged(screened: Screened, judged: Sequence[Judged], count: int) -> list[Judged]:
    """Returns what is said of each of `count` offers, in their order."""
    rest = iter(judged)
    return [screened.refused.get(index) or next(rest) for index in range(count)]


def check_welcome(welcome: Welcome) -> None:
    """Raises `UpstreamFault` for a welcome of which not every part is of its kind."""
    as_kind("answer to a hello", welcome, Welcome)
    strict: object = welcome.strict
    try:
        check_name("ledger", welcome.ledger)
        check_name("epoch", welcome.epoch)
        if type(strict) is not tuple:
            raise InvalidInput("what it says of strict streams is no tuple")
        for prefix in welcome.strict:
            check_name("strict", prefix)
    except InvalidInput as error:
        raise UpstreamFault(f"its welcome is none: {error}") from error
    _check_number("clock", welcome.now_ms)
    _check_number("max_offset_ms", welcome.max_offset_ms)
    _check_number("stable position", welcome.stable)


def check_pushed(pushed: Pushed, offers: Sequence[Offer], asked: Asked) -> None:
    """Raises `UpstreamFault` unless each offer has an answer of its own, and all are plain.

    And the answer is to this very request: where a record stands is true of one history, and may
    not be taken for where it stands in another. And none is said to be outside of a scope that it
    is in for sure, as its content would go.
    """
    scope = asked.scope
    if pushed.cursor != asked.cursor:
        raise UpstreamFault(
            f"its answer is to a push from position {pushed.cursor.position}, which is not the "
            f"one from position {asked.cursor.position} that waits for it"
        )
    if [offer.record.id for offer in offers] != [each.id for each in pushed.judged]:
        raise UpstreamFault("it did not answer what it was offered, one by one and in order")
    _check_number("clock", pushed.now_ms)
    _check_number("stable position", pushed.stable)
    if scope.relation is None:
        for offer, each in zip(offers, pushed.judged, strict=True):
            if each.verdict == "out_of_scope" and scope.has(offer.record):
                raise UpstreamFault(
                    f"it said of {each.id!r}, which is in the scope, that it is not"
                )
    for each in pushed.judged:
        reason: object = each.reason
        if each.verdict not in get_args(Verdict) or type(reason) is not str:
            raise UpstreamFault(f"it said of {each.id!r} what is no verdict")
        if each.position is not None:
            _check_number("position", each.position)


def _check_number(what: str, value: object) -> None:
    if type(value) is not int or not 0 <= value < 2**63:
        raise UpstreamFault(f"its {what} is no number from 0 to {2**63 - 1}")


def to_hold(offers: Sequence[Offer], judged: Sequence[Judged], *, now_ms: int) -> list[Held]:
    """Returns what the edge sets aside: what was refused, not what waits behind it."""
    return [
        Held(each.id, offer.record.stream, each.verdict, _plain(each.reason), since_ms=now_ms)
        for offer, each in zip(offers, judged, strict=True)
        if each.verdict not in TAKEN and each.verdict != "waiting"
    ]


def _plain(text: str) -> str:
    """Returns somebody else's words as a text that every database can keep."""
    return "".join(char if char.isprintable() else "?" for char in text[:MOST_WORDS])


def check_fork(forked: Forked, marks: Sequence[Mark]) -> None:
    """Raises `UpstreamFault` unless the ancestor is a place that was passed, before the cursor."""
    if marks[-1] == BEGINNING or forked.ancestor not in (BEGINNING, *marks[:-1]):
        raise UpstreamFault(
            f"it says that histories part behind position {forked.ancestor.position}, "
            "which is none of the places that it was told"
        )
