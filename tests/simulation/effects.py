"""Effects: what a site owes the world outside, and the receiver of it, which honours keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from everlog.core.chain import ORPHAN, RESTAMPED, RETURNED
from everlog.core.record import Record, StoredRecord
from everlog.core.selection import Selection
from everlog.subscriptions.obligations import EffectHandler, Obligations

if TYPE_CHECKING:
    from tests.simulation.site import Site

CLASHING = "clash"
"""The stream of events that share their ids with others. What comes behind one in it waits for a
person, so it is the one stream in which ledgers may differ."""

PAID = "paid"
"""The type of the events that bring an effect."""
NAME = "pay"

Status = Literal["pending", "intent", "ambiguous", "done"]


@dataclass
class Book:
    """What a subscription keeps, in the database of its ledger."""

    checkpoint: int = 0
    owed: dict[str, Status] = field(default_factory=dict[str, Status])
    seen: set[str] = field(default_factory=set[str])
    """The ids of what its handlers saw that was not hydrated."""
    handled: list[str] = field(default_factory=list[str])
    """The ids of all that its handlers saw, but for clashing ones."""

    def copied(self) -> Book:
        return Book(self.checkpoint, {**self.owed}, {*self.seen}, [*self.handled])

    @property
    def open(self) -> list[str]:
        """The ids of the events whose effects are not done."""
        return [id for id, status in self.owed.items() if status != "done"]


class Receiver:
    """The world outside."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.events: defaultdict[str, set[str]] = defaultdict(set)
        """By the id under which an event was born: the keys that were done for it."""

    def call(self, key: str, event: str) -> None:
        """Does what the key stands for, unless it was done."""
        self.calls[key] += 1
        self.done.add(key)
        self.events[event].add(key)


def _pay(_: Any) -> None:
    raise AssertionError("called by the worker below, not by this")


_HANDLERS: Mapping[str, Sequence[EffectHandler]] = {
    PAID: [EffectHandler(NAME, _pay, None, None, "retry")]
}


class _NoDecoder:
    def decode_data(self, record: StoredRecord) -> Any:
        raise AssertionError("nobody looks at the data")

    def decode_meta(self, record: StoredRecord) -> Any:
        raise AssertionError("nobody looks at the meta")

    def type_of(self, record: StoredRecord) -> str:
        return record.type


async def look(site: Site) -> None:
    """Goes on along the log, and notes what is owed: one transaction."""
    book, ledger = site.book, site.ledger
    obligations = Obligations("sim", _HANDLERS, {NAME: 0}, ledger.identity.ledger)
    page = await ledger.read(Selection(after=book.checkpoint), size=20)
    for stored in page.records:
        record = Record[Any](stored, _NoDecoder())
        book.checkpoint = stored.position
        if not stored.flags & (ORPHAN | RESTAMPED) and stored.stream != CLASHING:
            book.handled.append(stored.id)
        if not record.hydrated:
            if stored.id in book.seen:
                site.world.violated(f"S3 a handler of {site.name} has seen {stored.id} twice")
            book.seen.add(stored.id)
        for effect in obligations.of(0, record):
            assert effect.status in ("pending", "ambiguous")
            book.owed[stored.id] = effect.status
            if stored.flags & RETURNED:
                site.world.counts["effect of a returned event"] += 1
                if record.outdated:
                    site.world.counts["effect of a returned event that is outdated"] += 1


async def carry_out(site: Site) -> None:
    """Does the first of what is owed: two commits, and a call between them."""
    world, book = site.world, site.book
    id = next((each for each in book.open if book.owed[each] != "intent"), None)
    if id is None:
        return
    [record] = await site.ledger.find([id])
    assert record is not None
    if record.origin != site.ledger.identity.ledger:
        world.violated(f"S6 {site.name} calls for {id}, which was born elsewhere")
    ambiguous = book.owed[id] == "ambiguous"
    book.owed[id] = "intent"
    await world.pause()
    key = Record[Any](record, _NoDecoder()).idempotency_key
    if ambiguous and world.asks and key in world.receiver.done:
        world.counts["receiver was asked"] += 1
    else:
        if ambiguous:
            world.unsure.add(world.history.first_id(id))
        if key in world.receiver.done:
            world.counts["repeated call absorbed by the key"] += 1
            unsure = {id, world.history.first_id(id)} & world.unsure
            if not unsure and record.stream != CLASHING:
                world.violated(f"S6 {site.name} calls again for {id}, without a doubt")
        # Events of one id are not one event.
        first = world.history.first_id(id) if record.stream != CLASHING else key
        world.receiver.call(key, first)
    await world.pause()
    book.owed[id] = "done"


def wake_up(book: Book) -> None:
    """What was begun when the process died is ambiguous."""
    for id, status in book.owed.items():
        if status == "intent":
            book.owed[id] = "ambiguous"
