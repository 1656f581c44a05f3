"""The tour: what the log does, step by step, each with what it has to show."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from everlog import EventStore, Record
from examples.git_history.events import EVENTS, CommitMade, author_relation, commit_stream
from examples.git_history.git import Git
from examples.git_history.history import Outline, tree_at_head
from examples.git_history.importing import Held, Known, Sent, bring_in_late, one_to_hold_back, send
from examples.git_history.paper import Paper, Progress, padded, plain
from examples.git_history.read_model import ReadModel
from examples.git_history.replay import hydrate_elsewhere, url_of
from examples.git_history.state import (
    RepositoryState,
    digest,
    fold_author,
    fold_file,
    fold_repository,
    rows_of,
)
from examples.git_history.tamper import tamper

QUERY = "SELECT name, commits, added, removed FROM authors ORDER BY commits DESC"


async def tour(git: Git, history: Outline, db: str, paper: Paper) -> int:
    """Takes a repository's history into the log at `db`. Returns how many checks failed."""
    tables = str(Path(db).with_suffix(".tables.db"))
    with ExitStack() as kept:  # closed after the store, whose last append may still be projected
        async with EventStore.open(url_of(db), events=EVENTS) as store:
            _remove(tables)
            model = kept.enter_context(ReadModel(tables))
            paper.title("everlog: the history of a git repository as an event log")
            shallow = ", a shallow clone" if git.shallow else ""
            at = f"{git.name} ({history.branch} {history.head[:10]}{shallow})"
            paper.field("repository", plain(at))
            paper.field("log", plain(db))
            await _Tour(git, history, db, tables, paper, store, model).walk()
    return paper.failures


@dataclass(slots=True)
class _Tour:
    git: Git
    history: Outline
    db: str
    tables: str
    paper: Paper
    store: EventStore
    model: ReadModel

    async def walk(self) -> None:
        sent = await self._append()
        state = await self._fold(sent.held)
        self._compare(state)
        await self._look_back(state)
        await self._come_late(sent.held)
        await self._replay()
        await self._send_again()
        await self._verify()
        await self._report()

    async def _append(self) -> Sent:
        known = await Known.of(self.store)
        # Tables are made anew: from what the log has, and then from what comes.
        await self.model.projector.replay(self.store.read())
        self.store.on_appended(self.model.hook)
        held = one_to_hold_back(self.git, self.history, known)
        started = time.perf_counter()
        with Progress("1 Append", len(self.history.order)) as progress:
            sent = await send(
                self.store, self.git, self.history, known, hold_back=held, progress=progress
            )
        seconds = time.perf_counter() - started
        paper, new = self.paper, sent.new
        paper.step(
            1,
            "Append",
            f"{_count(sent.commits, 'commit')}, {_count(sent.events, 'event')}, "
            f"{_per_second(sent.events, seconds)} events/s",
            seconds=seconds,
        )
        if known.order:
            paper.note(f"{sent.events - new:,} events were in the log already, {new:,} are new")
        if sent.late:
            paper.note(f"{sent.late:,} of them come late: an earlier run had stopped before them")
        if sent.held is not None:
            paper.note("one event is held back, to come late in step 5")
        return sent

    async def _fold(self, held: Held | None) -> RepositoryState:
        started = time.perf_counter()
        state = await self.store.reduce(fold_repository) or RepositoryState()
        seconds = time.perf_counter() - started
        events = (await self.store.info()).position
        self.paper.step(
            2,
            "Fold",
            f"{_summary(state)}, {_per_second(events, seconds)} events/s",
            seconds=seconds,
        )
        waiting = set[str]() if held is None else {held.event.path}
        missing = self._differing(state)
        self.paper.check(
            missing <= waiting,
            "the very files that `git ls-tree -r HEAD` lists"
            + (", but for the one held back" if missing else ""),
        )
        return state

    def _compare(self, state: RepositoryState) -> None:
        self.paper.step(3, "Read model", "three tables in a SQLite file, fed by a projector")
        self.paper.check(
            digest(self.model.rows()) == digest(rows_of(state)), "the same rows as the fold"
        )

    async def _look_back(self, state: RepositoryState) -> None:
        made = [record async for record in self.store.read(types=[CommitMade])]
        then = made[(len(made) - 1) // 2]
        last = (await self._last_of(then.data.commit)).created
        past = await self.store.reduce(fold_repository, as_of=last) or RepositoryState()
        paper, day = self.paper, f"{then.data.at:%Y-%m-%d}"
        paper.step(4, "As of", f"commit {then.data.commit[:10]} of {day}, halfway")
        paper.note(f"then {_summary(past)}")
        paper.note(f"now  {_summary(state)}")
        # The log is in one order: half of it is what a log has that ends there.
        counted = sum(author.commits for author in past.authors.values())
        paper.check(counted == (len(made) + 1) // 2, f"the state after {_count(counted, 'commit')}")

    async def _come_late(self, held: Held | None) -> None:
        paper, store = self.paper, self.store
        if held is None:
            paper.step(5, "Late event", "no file is new here: nothing was held back")
            return
        stream = held.stream
        before = await store.reduce(fold_file, stream)
        taken = None if before is None else await store.snapshots.create(fold_file, stream)
        await bring_in_late(store, [held])
        record = await store.find(held.id)
        after = await store.reduce(fold_file, stream)
        assert record is not None
        assert after is not None
        last = await self._last_of(held.event.commit)
        shown = padded(plain(held.event.path), 40).strip()
        paper.step(5, "Late event", f"{record.type.removeprefix('git:')} of {shown}")
        paper.note(
            f"imported at position {record.position:,}, its place is right after {last.position:,}"
        )
        paper.note(f"hydrated: {_yes(record.hydrated)}, outdated: {_yes(record.outdated)}")
        changes = 0 if before is None else before.changes
        paper.check(
            after.changes == changes + 1,
            f"the fold has it: {changes} {paper.arrow} {after.changes} changes",
        )
        if taken is not None:
            again = await store.snapshots.create(fold_file, stream)
            paper.check(
                again.count == taken.count + 1 and again.state == after,
                f"a snapshot of {_count(taken.count, 'record')} does not hide it, "
                f"a new one has {again.count:,}",
            )
        state = await store.reduce(fold_repository) or RepositoryState()
        paper.check(not self._differing(state), "every file still is what `git ls-tree` says")

    async def _replay(self) -> None:
        state = await self.store.reduce(fold_repository) or RepositoryState()
        fold, tables = digest(rows_of(state)), digest(self.model.rows())
        there = await hydrate_elsewhere(self.store)
        paper = self.paper
        paper.step(
            6,
            "Replay",
            f"a second service, over HTTP: {_count(there.records, 'event')}, "
            f"{_per_second(there.records, there.seconds)} events/s",
            seconds=there.seconds,
        )
        paper.note(f"here   fold {fold[:20]}  tables {tables[:20]}")
        paper.note(f"there  fold {there.fold[:20]}  tables {there.tables[:20]}")
        paper.check(
            fold == there.fold and tables == there.tables, "the same state in both, by both ways"
        )
        paper.check(
            there.effects == 0,
            f"effects ran {_count(self.model.effects, 'time')} here, and not once in the replay",
        )

    async def _send_again(self) -> None:
        before = (await self.store.info()).position
        started = time.perf_counter()
        with Progress("7 Re-run", len(self.history.order)) as progress:
            known = await Known.of(self.store)
            sent = await send(self.store, self.git, self.history, known, progress=progress)
        seconds = time.perf_counter() - started
        grown = (await self.store.info()).position - before
        self.paper.step(
            7,
            "Re-run",
            f"{sent.events:,} events sent again, {_per_second(sent.events, seconds)} events/s",
            seconds=seconds,
        )
        self.paper.check(sent.new == grown == 0, f"{grown} new")

    async def _verify(self) -> None:
        paper = self.paper
        started = time.perf_counter()
        events = (await self.store.info()).position
        with Progress("8 Verify", events) as progress:
            found = await self.store.verify(progress=lambda done, _: progress(done))
        seconds = time.perf_counter() - started
        paper.step(
            8,
            "Verify",
            f"{_count(found.records, 'hash', 'hashes')} and the chain, "
            f"{_per_second(found.records, seconds)} events/s",
            seconds=seconds,
        )
        paper.check(found.ok, "nothing is wrong with the log")
        for problem in found.problems[:3]:
            paper.note(f"position {problem.position}: {problem.what}")
        tampered = await tamper(self.store, str(Path(self.db).with_suffix(".tampered.db")))
        if tampered is None:
            paper.note("no record is in one piece in the file: nothing was flipped")
            return
        paper.note(
            f"one bit flipped in a copy, in position {tampered.position:,}: "
            f"{tampered.before} {paper.arrow} {plain(tampered.after)}"
        )
        where = tampered.found.problems[0].position if tampered.found.problems else None
        paper.check(
            tampered.located, f"found at position {where if where is None else f'{where:,}'}"
        )
        paper.note(f"SQLite's own integrity check of the copy says: {tampered.sqlite_finds}")

    async def _report(self) -> None:
        paper, store = self.paper, self.store
        state = await store.reduce(fold_repository) or RepositoryState()
        info = await store.info()
        commits = sum(author.commits for author in state.authors.values())
        streams = commits + len(state.files)
        paper.heading(
            f"{_count(info.position, 'event')} in {_count(streams, 'stream')}, "
            f"{_megabytes(self.db)} MB"
        )
        if state.present:
            paper.table(
                ["Most changed files", "changes", "authors", "lines"],
                [
                    [
                        plain(file.path),
                        f"{file.changes:,}",
                        f"{len(file.authors):,}",
                        "binary" if file.lines is None else f"{file.lines:,}",
                    ]
                    for file in state.most_changed[:8]
                ],
            )
        rows: list[list[str]] = []
        for author in state.busiest[:8]:
            relation = author_relation(author.author)
            own = await store.reduce(fold_author, relation=relation, types=[CommitMade])
            shown = own or author
            touched = len(await store.relations.streams_of(relation)) - shown.commits
            rows.append(
                [
                    plain(shown.name or shown.author),
                    f"{shown.commits:,}",
                    f"{touched:,}",
                    f"+{shown.added:,}",
                    f"-{shown.removed:,}",
                ]
            )
        paper.table(["Busiest authors", "commits", "files", "added", "removed"], rows)
        self._commands(state)

    def _commands(self, state: RepositoryState) -> None:
        paper = self.paper
        program = shlex.join([_short(sys.executable), _short(str(Path(__file__).parent))])
        db, tables = shlex.quote(_short(self.db)), shlex.quote(_short(self.tables))
        paper.heading("Look further")
        if state.present:
            name = shlex.quote(state.most_changed[0].path)
            paper.command(
                "one file, back through its renames", f"{program} --db {db} --file {name}"
            )
        repository = shlex.quote(_short(self.git.name))
        paper.command("again, with what is new since", f"{program} --db {db} -- {repository}")
        if shutil.which("sqlite3"):
            paper.command("the read model", f"sqlite3 {tables} {shlex.quote(QUERY)}")
        paper.line()

    def _differing(self, state: RepositoryState) -> set[str]:
        """Returns the paths where the state is not what git says of HEAD."""
        folded = {file.path: (file.mode, file.blob) for file in state.present}
        tree = tree_at_head(self.git)
        return {path for path in folded.keys() | tree if folded.get(path) != tree.get(path)}

    async def _last_of(self, commit: str) -> Record:
        """Returns the last record of a commit, besides what came late."""
        made = await self.store.read(commit_stream(commit)).first()
        assert made is not None
        last: Record = made
        async for record in self.store.read(after=made.position):
            if record.hydrated or record.data.commit != commit:
                break
            last = record
        return last


def _summary(state: RepositoryState) -> str:
    files, authors = _count(len(state.present), "file"), _count(len(state.authors), "author")
    return f"{files}, {_count(state.lines, 'line')}, {authors}"


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _per_second(number: int, seconds: float) -> str:
    return f"{number / max(seconds, 1e-6):,.0f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _short(path: str) -> str:
    """Returns a path as one would type it here."""
    return min(path, os.path.relpath(path), key=len)


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _megabytes(db: str) -> str:
    """Returns the size of the log, of which a part may still be in its write-ahead log."""
    files = (Path(db + suffix) for suffix in ("", "-wal"))
    return f"{sum(file.stat().st_size for file in files if file.exists()) / 1e6:,.1f}"
