"""From `git log` to events.

Branches run side by side, a log has one order: parents before children, by date. Two commits that
follow each other there need not be parent and child. So that folding the log still ends in exactly
the files that HEAD has, a merge says of each file what it became wherever that is not what the log
had last. (Where it is, all of the merge's parents agree, or the side that the merge took came last;
anything else differs from a parent, and is looked at.)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from examples.git_history.events import (
    CommitMade,
    FileAdded,
    FileChanged,
    FileEvent,
    FileRemoved,
    FileRenamedAway,
    FileRenamedFrom,
    author_relation,
    commit_stream,
    directory_relation,
    file_stream,
)
from examples.git_history.git import Git, GitProblem

NAMESPACE = uuid.UUID("5f0e4a6c-9d0b-5c4e-8f5d-2b8f4f6f3a51")
"""Of the ids, which follow from commit and place alone: whoever reads it, whenever, gets these."""

SUBJECT_LENGTH = 500
NAME_LENGTH = 200

FORMAT = "--format=tformat:%H%x00%P%x00%an%x00%ae%x00%at%x00%ct%x00%s"
HEADER_PARTS = 7
LOG = [
    "log",
    "--no-walk=unsorted",
    "--stdin",
    "-z",
    FORMAT,
    "--encoding=UTF-8",
    "--raw",
    "--no-abbrev",
    "--root",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-relative",
    "--ignore-submodules=none",
    "--diff-algorithm=myers",
    "-O/dev/null",
]
WITH_COUNTS = [*LOG, "--numstat", "--find-renames=50%", "--diff-merges=first-parent"]
OF_EVERY_PARENT = [*LOG, "--no-renames", "--diff-merges=separate"]


@dataclass(frozen=True, slots=True)
class Change:
    """One file in one commit."""

    status: str
    """A, C, D, M, R or T, as git has it."""
    path: bytes
    source: bytes | None
    mode: str
    blob: str
    old_blob: str
    added: int | None
    """None for a binary file."""
    removed: int | None


@dataclass(frozen=True, slots=True)
class Logged:
    """One commit of `git log`; of a merge, the changes against its first parent."""

    commit: str
    parents: tuple[str, ...]
    name: str
    email: str
    authored_at: datetime
    at: datetime
    subject: str
    changes: list[Change]

    @property
    def author(self) -> str:
        """Who: the address, or the name where there is none. It becomes a relation's name."""
        who = self.email.lower().strip() or self.name.strip() or "unknown"
        return who if _PLAIN(who) else path_text(who.encode())


@dataclass(frozen=True, slots=True)
class Fact:
    """An event with its stream, its relations, and the id that it has whenever it is read."""

    id: str
    stream: str
    event: CommitMade | FileEvent
    relations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """All that one commit says."""

    commit: str
    facts: list[Fact]


class Outline(NamedTuple):
    """The commits that HEAD can reach, parents first."""

    head: str
    branch: str
    order: list[str]
    merges: frozenset[str]


def outline(git: Git) -> Outline:
    """Returns which commits there are; raises `GitProblem` if there is none."""
    head = git.ask("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    if head is None:
        raise GitProblem(f"{git.name} has no commits yet")
    branch = git.ask("symbolic-ref", "--quiet", "--short", "HEAD")
    listed = git.ask("rev-list", "--reverse", "--date-order", "--parents", "HEAD", "--")
    order: list[str] = []
    merges: set[str] = set()
    for line in (listed or b"").decode().splitlines():
        commit, *parents = line.split()
        order.append(commit)
        if len(parents) > 1:
            merges.add(commit)
    name = "no branch" if branch is None else text_of(branch.strip())
    return Outline(head.decode().strip(), name, order, frozenset(merges))


def tree_at_head(git: Git) -> dict[str, tuple[str, str]]:
    """Returns mode and blob of each path, as `git ls-tree` has them."""
    listed = git.ask("ls-tree", "-r", "-z", "--full-tree", "HEAD", "--") or b""
    tree: dict[str, tuple[str, str]] = {}
    for line in listed.split(b"\0")[:-1]:
        about, _, path = line.partition(b"\t")
        mode, _, blob = about.decode().split()
        tree[path_text(path)] = (mode, blob)
    return tree


def facts(git: Git, order: Sequence[str], merges: frozenset[str]) -> Iterator[CommitFacts]:
    """Reads commits in this order, parents before children, and says what happened in each."""
    teller = _Teller()
    settled = read_log(git, [commit for commit in order if commit in merges], OF_EVERY_PARENT)
    for logged in read_log(git, order, WITH_COUNTS):
        against_all = next(settled).changes if logged.commit in merges else None
        yield CommitFacts(logged.commit, teller.tell(logged, against_all))


def read_log(git: Git, commits: Sequence[str], command: Sequence[str]) -> Iterator[Logged]:
    """Yields one `Logged` per commit, in this order."""
    if not commits:  # without any, git would show HEAD
        return
    logged: Logged | None = None
    for one in _parsed(git.stream(*command, lines=commits)):
        if logged is not None and logged.commit == one.commit:
            logged.changes.extend(one.changes)  # a merge comes once for each parent
            continue
        if logged is not None:
            yield logged
        logged = one
    if logged is not None:
        yield logged


@dataclass(slots=True)
class _Teller:
    """Knows what the log says of each file so far, and tells what is new."""

    tree: dict[bytes, tuple[str, str]] = field(default_factory=dict[bytes, tuple[str, str]])
    lines: dict[str, int | None] = field(default_factory=dict[str, int | None])
    """By blob: as many as its predecessor had, plus and minus what git counts."""
    related: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def tell(self, logged: Logged, against_all: list[Change] | None) -> list[Fact]:
        for change in logged.changes:
            self._count(change)
        if against_all is None:
            events = [event for change in logged.changes for event in self._events(logged, change)]
        else:
            events = list(self._settle(logged, against_all))
        # What came in by a merge was counted where it was made.
        own = logged.changes if against_all is None else []
        made = CommitMade(
            commit=logged.commit,
            parents=logged.parents,
            author=logged.author,
            name=logged.name,
            at=logged.at,
            authored_at=logged.authored_at,
            subject=logged.subject,
            files=len(own) if against_all is None else len(events),
            added=sum(change.added or 0 for change in own),
            removed=sum(change.removed or 0 for change in own),
        )
        by = author_relation(logged.author)
        told = [Fact(_id(logged, 0), commit_stream(logged.commit), made, (by,))]
        for index, (path, event) in enumerate(events, 1):
            stream = file_stream(event.path)
            wanted = [by, *(directory_relation(name) for name in directories(path))]
            new = [name for name in wanted if (name, stream) not in self.related]
            self.related.update((name, stream) for name in new)
            told.append(Fact(_id(logged, index), stream, event, tuple(new)))
        return told

    def _count(self, change: Change) -> None:
        if change.added is None or change.removed is None:
            self.lines.setdefault(change.blob, None)
            return
        before = 0 if _is_null(change.old_blob) else self.lines.get(change.old_blob)
        if self.lines.get(change.blob) is None:
            known = None if before is None else before + change.added - change.removed
            self.lines[change.blob] = known

    def _events(self, logged: Logged, change: Change) -> Iterator[tuple[bytes, FileEvent]]:
        path, source = change.path, change.source
        if change.status == "D":
            yield path, self._removed(logged, path, change.removed or 0)
            return
        if change.status == "R" and source is not None:
            self.tree.pop(source, None)
            yield (
                source,
                FileRenamedAway(
                    path=path_text(source),
                    target=path_text(path),
                    commit=logged.commit,
                    author=logged.author,
                    at=logged.at,
                ),
            )
            self.tree[path] = (change.mode, change.blob)
            yield (
                path,
                FileRenamedFrom(
                    path=path_text(path),
                    source=path_text(source),
                    mode=change.mode,
                    blob=change.blob,
                    lines=self.lines.get(change.blob),
                    added=change.added or 0,
                    removed=change.removed or 0,
                    commit=logged.commit,
                    author=logged.author,
                    at=logged.at,
                ),
            )
            return
        kind = FileAdded if change.status in "AC" else FileChanged
        yield path, self._became(logged, kind, change)

    def _settle(
        self, logged: Logged, against_all: list[Change]
    ) -> Iterator[tuple[bytes, FileEvent]]:
        for path, change in {change.path: change for change in against_all}.items():
            now = None if change.status == "D" else (change.mode, change.blob)
            before = self.tree.get(path)
            if now == before:
                continue
            if now is None:
                yield path, self._removed(logged, path, 0)
            else:
                yield path, self._became(logged, FileChanged if before else FileAdded, change)

    def _removed(self, logged: Logged, path: bytes, removed: int) -> FileRemoved:
        self.tree.pop(path, None)
        return FileRemoved(
            path=path_text(path),
            removed=removed,
            commit=logged.commit,
            author=logged.author,
            at=logged.at,
        )

    def _became(
        self, logged: Logged, kind: type[FileAdded] | type[FileChanged], change: Change
    ) -> FileAdded | FileChanged:
        self.tree[change.path] = (change.mode, change.blob)
        return kind(
            path=path_text(change.path),
            mode=change.mode,
            blob=change.blob,
            lines=self.lines.get(change.blob),
            added=change.added or 0,
            removed=change.removed or 0,
            commit=logged.commit,
            author=logged.author,
            at=logged.at,
        )


def _id(logged: Logged, index: int) -> str:
    return str(uuid.uuid5(NAMESPACE, f"{logged.commit}/{index}"))


# --- parsing ------------------------------------------------------------------------------------


def _parsed(parts: Iterator[bytes]) -> Iterator[Logged]:
    """Yields a `Logged` per header.

    After it, if anything changed: b"\\n:modes blobs status", path (of a rename: two), b":modes...",
    and then, for each of those, b"added\\tremoved\\tpath" (of a rename: b"...\\t", two paths).
    """
    part = next(parts, None)
    while part is not None:
        header = [part, *(next(parts) for _ in range(HEADER_PARTS - 1))]
        raw: list[tuple[list[str], bytes | None, bytes]] = []
        counts: dict[bytes, tuple[int | None, int | None]] = {}
        part = next(parts, None)
        if part is not None and part.startswith(b"\n:"):
            part = part[1:]
            while part is not None and part.startswith(b":"):
                about = part[1:].decode().split()
                path, source = next(parts), None
                if about[4][0] in "RC":
                    path, source = next(parts), path
                raw.append((about, source, path))
                part = next(parts, None)
            while part is not None and b"\t" in part:
                added, removed, path = part.split(b"\t", 2)
                if not path:
                    next(parts)
                    path = next(parts)
                counts[path] = (_number(added), _number(removed))
                part = next(parts, None)
        yield _logged(header, raw, counts)


def _logged(
    header: list[bytes],
    raw: Iterable[tuple[list[str], bytes | None, bytes]],
    counts: dict[bytes, tuple[int | None, int | None]],
) -> Logged:
    commit, parents, name, email, authored, committed, subject = header
    changes: list[Change] = []
    for (_, mode, old_blob, blob, status), source, path in raw:
        added, removed = counts.get(path, (None, None))
        changes.append(
            Change(status[0], path, source, mode, blob, old_blob, added, removed),
        )
    return Logged(
        commit=commit.decode(),
        parents=tuple(parents.decode().split()),
        name=text_of(name)[:NAME_LENGTH],
        email=text_of(email)[:NAME_LENGTH],
        authored_at=_moment(authored),
        at=_moment(committed),
        subject=text_of(subject)[:SUBJECT_LENGTH],
        changes=changes,
    )


def _number(text: bytes) -> int | None:
    return None if text == b"-" else int(text)


def _is_null(blob: str) -> bool:
    return not blob.strip("0")


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(seconds: bytes) -> datetime:
    """Returns when; the epoch for what is no time, as git itself does."""
    try:
        return _EPOCH + timedelta(seconds=int(seconds))
    except (ValueError, OverflowError):
        return _EPOCH


# --- text that every database can keep ----------------------------------------------------------

_PLAIN = re.compile(r'[^\x00-\x1f\x7f-\x9f"\\\ud800-\udfff]*').fullmatch
_ESCAPES = {
    ord(char): "\\" + code for char, code in zip('\a\b\t\n\v\f\r"\\', 'abtnvfr"\\', strict=True)
}


def text_of(raw: bytes) -> str:
    """Returns a name or a subject; what is no UTF-8 becomes U+FFFD."""
    return raw.decode(errors="replace")


def path_text(path: bytes) -> str:
    """Returns a path as git shows it: one with odd bytes quoted as in C, so that none are equal."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = path.decode(errors="surrogateescape")
    if _PLAIN(text):
        return text
    quoted = ""
    for char in text:
        if char.isascii() and char.isprintable() and char not in '"\\':
            quoted += char
        elif ord(char) in _ESCAPES:
            quoted += _ESCAPES[ord(char)]
        elif _PLAIN(char):
            quoted += char
        else:
            quoted += "".join(f"\\{byte:03o}" for byte in char.encode(errors="surrogateescape"))
    return f'"{quoted}"'


def directories(path: bytes) -> list[str]:
    """Returns the directory of a file and those above it; `.` for a file at the top."""
    parts = path.split(b"/")[:-1]
    return [path_text(b"/".join(parts[: n + 1])) for n in range(len(parts))] or ["."]
