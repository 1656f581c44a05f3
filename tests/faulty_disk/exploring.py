"""Power cuts: a recording is cut anywhere, what the disk may hold then is opened and looked at."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from everlog import EventStore
from everlog.core.record import StoredRecord
from tests.faulty_disk.disk import CHOICES, Choice, Disk, Image
from tests.faulty_disk.recording import play, recorded
from tests.faulty_disk.workload import (
    BORN,
    FOLDED,
    NAME,
    TEAM,
    Change,
    Noted,
    Recording,
    seen,
    small_checkpoints,
)


class Cut(NamedTuple):
    """A power cut: after so many steps, with this much of what was not synced."""

    after: int
    choice: Choice
    seed: str
    twice: bool
    """Whether the power is cut again, while what the first cut left is opened and closed."""


@dataclass(slots=True)
class Findings:
    """What an exploration has seen."""

    states: int = 0
    seconds: float = 0.0
    lossy: int = 0
    """States in which something acknowledged was lost."""
    lost_events: int = 0
    """Acknowledged events that were lost, in all states together."""
    sometimes: Counter[str] = field(default_factory=Counter[str])
    """How often a path was taken."""

    def add(self, other: Findings) -> None:
        """Counts what another exploration has seen as well."""
        self.states += other.states
        self.seconds += other.seconds
        self.lossy += other.lossy
        self.lost_events += other.lost_events
        self.sometimes += other.sometimes

    def __str__(self) -> str:
        rate = self.states / self.seconds if self.seconds else 0.0
        paths = "".join(f"\n  {count:6} {path}" for path, count in sorted(self.sometimes.items()))
        return (
            f"{self.states} states, {rate:.0f} a second; in {self.lossy} of them acknowledged "
            f"events were lost ({self.lost_events} in all){paths}"
        )


class Wrong(AssertionError):
    """A state that a power cut must not lead to."""


def explore(
    recording: Recording, states: int, seed: str, *, keep: Path, may_lose: bool = False
) -> Findings:
    """Opens so many states of the disk and checks each.

    `may_lose`: the last acknowledged writes may be gone. Raises `Wrong`, with a line that repeats
    the state from a file in the folder `keep`.
    """
    findings, began = Findings(), time.monotonic()
    print(f"power cuts: seed {seed!r}")
    with (
        scratch() as folder,
        asyncio.Runner() as runner,
        small_checkpoints(guarded=recording.guarded),
    ):
        for cut, disk in _played(recording, _cuts(recording, states, seed)):
            place = folder / str(findings.states)
            try:
                _look_at(recording, cut, disk, place, runner, findings, may_lose=may_lose)
            except Exception as error:
                raise Wrong(
                    f"{error!r}\n{_how_to_repeat(recording, cut, may_lose, keep)}"
                ) from error
            shutil.rmtree(place)
            findings.states += 1
    findings.seconds = time.monotonic() - began
    return findings


def repeat(file: Path) -> None:
    """Opens one state again, from the file that its failure named, and leaves its folder behind."""
    recording, cut, may_lose = pickle.loads(file.read_bytes())
    place = Path(tempfile.mkdtemp(prefix="everlog-cut-")) / "state"
    print(f"{cut}, to be opened in {place}")
    with asyncio.Runner() as runner, small_checkpoints(guarded=recording.guarded):
        for again, disk in _played(recording, [cut]):
            _look_at(recording, again, disk, place, runner, Findings(), may_lose=may_lose)


def _look_at(
    recording: Recording,
    cut: Cut,
    disk: Disk,
    folder: Path,
    runner: asyncio.Runner,
    findings: Findings,
    *,
    may_lose: bool,
) -> None:
    rng = random.Random(cut.seed)
    image: Image = disk.cut(cut.choice, rng)
    _look_at_disk(recording, cut, disk, image, findings)
    if cut.twice:
        image = _cut_again(image, cut.choice, rng, folder.with_name(folder.name + "-first"), runner)
        findings.sometimes["the power was cut again while it was opened"] += 1
    write_image(image, folder)
    runner.run(_look(recording, cut, folder, findings, may_lose=may_lose))


def _cut_again(
    image: Image, choice: Choice, rng: random.Random, folder: Path, runner: asyncio.Runner
) -> Image:
    async def open_and_close() -> None:
        async with EventStore.open(folder / NAME, events=[Noted]):
            pass

    write_image(image, folder)
    with recorded(folder) as recorder:
        runner.run(open_and_close())
    disk = Disk(image)
    for step in recorder.steps[: rng.randrange(len(recorder.steps) + 1)]:
        play(step, disk)
    shutil.rmtree(folder)
    return disk.cut(choice, rng)


# --- where to cut ---


def _cuts(recording: Recording, states: int, seed: str) -> list[Cut]:
    rng = random.Random(seed)
    last = len(recording.steps)
    syncs = [at for at, step in enumerate(recording.steps) if step.deed == "sync"]
    names = [at for at, step in enumerate(recording.steps) if step.deed in ("create", "delete")]
    places: list[int] = []
    for _ in range(states):
        kind = rng.random()
        if kind < 0.12:  # the set-up is short beside the rest
            places.append(rng.randrange(recording.opened + 1))
        elif kind < 0.2:  # soon after a file came or went
            places.append(min(rng.choice(names) + rng.randrange(1, 6), last))
        elif kind < 0.4:  # just before and just after a sync
            places.append(rng.choice(syncs) + rng.randrange(2))
        else:
            places.append(rng.randrange(last + 1))
    return [
        Cut(place, rng.choice(CHOICES), f"{seed} {number}", rng.random() < 0.2)
        for number, place in enumerate(sorted(places))
    ]


def _played(recording: Recording, cuts: Iterable[Cut]) -> Generator[tuple[Cut, Disk]]:
    """Plays the recording once and stops at each cut; the cuts ascend."""
    disk, done = Disk(), 0
    for cut in cuts:
        for step in recording.steps[done : cut.after]:
            play(step, disk)
        done = cut.after
        yield cut, disk


# --- what must be there ---


def _look_at_disk(
    recording: Recording, cut: Cut, disk: Disk, image: Image, findings: Findings
) -> None:
    now = disk.now()
    findings.sometimes.update(
        path
        for path, taken in (
            ("something unsynced was dropped", image != now),
            ("all of the unsynced was there", image == now),
            ("a file was missing", bool(now.keys() - image.keys())),
            ("a deleted file was there again", bool(image.keys() - now.keys())),
            ("the cut fell into the set-up", cut.after < recording.opened),
            ("a journal was left", bool(image.get(NAME + "-journal"))),
            ("a WAL was recovered", len(image.get(NAME + "-wal", b"")) > 32),
            ("a checkpoint was in flight", cut.after > recording.opened and disk.unsynced(NAME)),
        )
        if taken
    )


async def _look(
    recording: Recording, cut: Cut, folder: Path, findings: Findings, *, may_lose: bool
) -> None:
    async with EventStore.open(folder / NAME, events=[Noted]) as store:
        found = [record.stored async for record in store.read()]
        count = len(found)
        # The whole record: content, version, position, chain, and with it all that came before.
        assert found == recording.history[:count], "the records are no prefix of those committed"
        for first, last in recording.together:
            assert not first <= count < last, f"half of what stands at {first} to {last}"
        acknowledged = _last(recording.events, cut.after, 0)
        if count < acknowledged:
            findings.lossy += 1
            findings.lost_events += acknowledged - count
            assert may_lose, f"{acknowledged} events were acknowledged, {count} are there"
        if count > acknowledged:
            findings.sometimes["an unacknowledged commit survived"] += 1
        await _check_changes(store, recording, cut, count, may_lose=may_lose)
        verification = await store.verify()
        assert verification.ok, verification.problems
        assert verification.records == count
        info = await store.info()
        if info.ledger != recording.ledger:
            findings.sometimes["the ledger was set up anew"] += 1
            assert count == 0
            assert cut.after < recording.opened, "the ledger had been opened, and is another one"
        await _go_on(store, recording, count)


async def _check_changes(
    store: EventStore, recording: Recording, cut: Cut, count: int, *, may_lose: bool
) -> None:
    records = recording.history[:count]
    born = await store.relations.streams_of(BORN)
    assert born == sorted({record.stream for record in records if record.stream[:4] == BORN})
    snapshots: dict[str, int] = {}
    for stream in FOLDED:
        snapshot = await store.snapshots.get(seen, stream)
        if snapshot is not None:
            snapshots[stream] = snapshot.position
        in_order = sorted((record for record in records if record.stream == stream), key=_order)
        folded = await store.reduce(seen, stream)
        assert (folded or []) == [record.id for record in in_order], f"{stream} is folded wrong"
    pairs = frozenset(await store.relations.streams_of(TEAM))
    changes = [Change(frozenset(), {}), *(change for _, change in recording.changes)]
    at = next(
        (
            number
            for number, change in enumerate(changes)
            if (change.pairs, change.snapshots) == (pairs, snapshots)
        ),
        None,
    )
    assert at is not None, f"relations and snapshots were never so: {pairs}, {snapshots}"
    acknowledged = bisect_right([when for when, _ in recording.changes], cut.after)
    assert at >= acknowledged or may_lose, (
        f"{acknowledged} changes were acknowledged, {at} are kept"
    )
    # No hole between the kinds either: events and changes are kept in the order of their commits.
    assert changes[at].after <= count, f"change {at} is kept, what was committed before it is not"
    if at + 1 < len(changes):
        assert count <= changes[at + 1].before, f"change {at + 1} is lost, what came later is kept"


def _order(record: StoredRecord) -> tuple[str, str]:
    return record.order


async def _go_on(store: EventStore, recording: Recording, count: int) -> None:
    """Appends work, and a retry by id is known."""
    [added] = await store.append("afterwards", Noted(0, "goes on"))
    assert (added.position, added.version) == (count + 1, 1)
    if count:
        last = recording.history[count - 1]
        if not last.flags:
            noted = Noted(**json.loads(last.data))
            [again] = await store.append(last.stream, noted, ids=[last.id])
            assert again.stored == last
    assert (await store.info()).position == count + 1


def _last(noted: Sequence[tuple[int, int]], steps: int, default: int) -> int:
    at = bisect_right([when for when, _ in noted], steps)
    return noted[at - 1][1] if at else default


# --- files ---


@contextmanager
def scratch() -> Generator[Path]:
    """A folder for disks that are made up: in memory where there is a place for it."""
    memory = "/dev/shm"
    where = memory if os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="everlog-cuts-", dir=where) as folder:
        yield Path(folder)


def write_image(image: Image, folder: Path) -> None:
    """Writes files into a new folder."""
    folder.mkdir()
    for name, data in image.items():
        (folder / name).write_bytes(data)


def _how_to_repeat(recording: Recording, cut: Cut, may_lose: bool, keep: Path) -> str:
    path = keep / "wrong-state.pickle"
    path.write_bytes(pickle.dumps((recording, cut, may_lose)))
    root = Path(__file__).parents[2]
    return f"{cut}; repeat it: cd {root}; {sys.executable} -m tests.faulty_disk.repeat {path}"
