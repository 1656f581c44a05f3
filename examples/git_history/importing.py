"""Into the log: facts are appended in batches, and each of them once, however often it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from everlog import EventStore, IdConflict, Record, to
from everlog.errors import PartialRetry
from examples.git_history.events import CommitMade, FileAdded, FileChanged, commit_stream
from examples.git_history.git import Git, GitProblem
from examples.git_history.history import (
    WITH_COUNTS,
    CommitFacts,
    Fact,
    Outline,
    facts,
    path_text,
    read_log,
)

BATCH_EVENTS = 500
"""About so many events go into one append. A large commit has batches of its own."""


@dataclass(frozen=True, slots=True)
class Held:
    """A fact about a file that was not sent, to come late."""

    id: str
    stream: str
    event: FileAdded | FileChanged
    relations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of telling the log everything."""

    commits: int
    events: int
    """How many events were sent."""
    new: int
    """How many of them the log did not have."""
    late: int
    """How many of those came in late: an earlier run had been stopped before them."""
    held: Held | None
    """The fact that was not sent."""


@dataclass(frozen=True, slots=True)
class Known:
    """The commits that a log has."""

    order: list[str]
    """In the order of the log."""

    @staticmethod
    async def of(store: EventStore) -> Known:
        """Reads them from the log."""
        return Known([made.data.commit async for made in store.read(types=[CommitMade])])

    def before(self, outline: Outline) -> list[str]:
        """Returns all commits in the order to send them: as the log has them, then the new ones.

        Raises `GitProblem` if the log has commits that are not in HEAD's history: then it would say
        of the files something else than HEAD does.
        """
        known = set(self.order)
        strange = known.difference(outline.order)
        if strange:
            raise GitProblem(
                f"the log has {len(strange):,} commits that are not in HEAD's history (first: "
                f"{min(strange)[:10]}): another repository or branch, or history was rewritten; "
                "name another file with --db"
            )
        return self.order + [commit for commit in outline.order if commit not in known]


def one_to_hold_back(git: Git, outline: Outline, known: Known) -> tuple[str, str] | None:
    """Returns commit and path of a change to import late: best of a file that changed again later.

    Looks at the last 200 commits. None if they have no file that is not in the log yet.
    """
    recent = [commit for commit in outline.order[-200:] if commit not in outline.merges]
    new = set(outline.order).difference(known.order)
    seen: set[bytes] = set()
    candidates: dict[str, tuple[str, str]] = {}
    for logged in reversed(list(read_log(git, recent, WITH_COUNTS))):
        for change in logged.changes:
            if change.status in "AM" and logged.commit in new:
                kind = change.status + ("again" if change.path in seen else "")
                candidates.setdefault(kind, (logged.commit, path_text(change.path)))
            seen.add(change.path)
    found = [candidates[kind] for kind in ("Magain", "M", "Aagain", "A") if kind in candidates]
    return found[0] if found else None


async def send(
    store: EventStore,
    git: Git,
    outline: Outline,
    known: Known,
    *,
    hold_back: tuple[str, str] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Sent:
    """Appends all facts of all commits. Those that the log has already are not stored again.

    Batch follows batch, so that the log is at any moment a beginning of the history.
    """
    told = facts(git, known.before(outline), outline.merges)
    batches = _batches(told, set(known.order), hold_back)
    head = (await store.info()).position
    commits = events = new = late = 0
    held: Held | None = None
    while (batch := await asyncio.to_thread(next, batches, None)) is not None:
        held = held or batch.held
        events += len(batch.facts)
        commits += batch.commits
        if batch.facts:
            try:
                records = await store.append_many(
                    [
                        to(fact.stream, fact.event, id=fact.id, relations=fact.relations)
                        for fact in batch.facts
                    ]
                )
            except PartialRetry as partial:
                if not batch.known:
                    raise _two_at_once() from partial
                missing = [fact for fact in batch.facts if fact.id in set(partial.unknown)]
                late += await bring_in_late(store, missing)
            except IdConflict as conflict:
                raise GitProblem(
                    f"git tells a commit differently than when the log was made (the "
                    f"{conflict.differs} of an event): another version of git? Name another file "
                    "with --db"
                ) from conflict
            else:
                new += sum(record.position > head for record in records)
        progress(commits)
    return Sent(commits, events, new + late, late, held)


async def bring_in_late(store: EventStore, missing: Sequence[Fact | Held]) -> int:
    """Imports facts whose time has passed: created with their commit, recorded now."""
    records: list[Record] = []
    for fact in missing:
        made = await store.read(commit_stream(fact.event.commit)).first()
        if made is None:
            raise _two_at_once()
        records.append(store.past(fact.stream, fact.event, created=made.created, id=fact.id))
    # Before the records: were it after, a crash between could leave a file out of its directory.
    await store.relations.add_many(
        (relation, fact.stream) for fact in missing for relation in fact.relations
    )
    return (await store.import_records(records)).stored


@dataclass(slots=True)
class _Batch:
    facts: list[Fact]
    commits: int
    known: bool
    """Whether the log has these commits. A batch never holds both: it is a retry, or it is new."""
    held: Held | None = None


def _batches(
    told: Iterator[CommitFacts], known: set[str], hold_back: tuple[str, str] | None
) -> Iterator[_Batch]:
    batch = _Batch([], 0, True)
    for one in told:
        its_facts = one.facts
        is_known = one.commit in known
        full = len(batch.facts) + len(its_facts) > BATCH_EVENTS
        if batch.facts and (full or is_known != batch.known):
            yield batch
            batch = _Batch([], 0, is_known)
        batch.known = is_known
        if hold_back is not None and hold_back[0] == one.commit:
            batch.held = next(held for fact in its_facts if (held := _held(fact, hold_back[1])))
            its_facts = [fact for fact in its_facts if fact.id != batch.held.id]
        while len(its_facts) > BATCH_EVENTS:
            yield _Batch(its_facts[:BATCH_EVENTS], 0, is_known)
            its_facts = its_facts[BATCH_EVENTS:]
        batch.facts += its_facts
        batch.commits += 1
    yield batch


def _held(fact: Fact, path: str) -> Held | None:
    event = fact.event
    if isinstance(event, (FileAdded, FileChanged)) and event.path == path:
        return Held(fact.id, fact.stream, event, fact.relations)
    return None


def _two_at_once() -> GitProblem:
    return GitProblem("another program is writing this history into the same log; run it again")
