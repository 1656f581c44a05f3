"""What the log folds to: files, authors, and the whole repository."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from everlog import Record, reducer
from examples.git_history.events import (
    CommitMade,
    FileAdded,
    FileChanged,
    FileRemoved,
    FileRenamedAway,
    FileRenamedFrom,
)


@dataclass(slots=True)
class FileState:
    """A file, as the events of its stream leave it."""

    path: str = ""
    exists: bool = False
    mode: str = ""
    blob: str = ""
    lines: int | None = 0
    """None for a binary file."""
    changes: int = 0
    authors: dict[str, int] = field(default_factory=dict[str, int])
    """How many of the changes are whose."""


@dataclass(slots=True)
class AuthorState:
    """Somebody, as the commits leave them."""

    author: str = ""
    name: str = ""
    commits: int = 0
    added: int = 0
    removed: int = 0
    first: str = ""
    last: str = ""
    """The days of the first and the last commit, in UTC."""


@dataclass(slots=True)
class RepositoryState:
    """Everything, by stream and by author."""

    files: dict[str, FileState] = field(default_factory=dict[str, FileState])
    authors: dict[str, AuthorState] = field(default_factory=dict[str, AuthorState])

    @property
    def present(self) -> list[FileState]:
        """The files that exist."""
        return [file for file in self.files.values() if file.exists]

    @property
    def lines(self) -> int:
        """The lines of the files that exist and are text."""
        return sum(file.lines or 0 for file in self.present)

    @property
    def most_changed(self) -> list[FileState]:
        """The files that exist, the most often changed first."""
        return sorted(self.present, key=lambda file: (-file.changes, file.path))

    @property
    def busiest(self) -> list[AuthorState]:
        """The authors, the busiest first."""
        return sorted(self.authors.values(), key=lambda one: (-one.commits, one.author))


@reducer("git-file", initial=FileState)
def fold_file(state: FileState, record: Record) -> FileState:
    """Folds the events of one file. `Record.data` is any of its events."""
    happened = record.data
    match happened:
        case FileAdded() | FileChanged() | FileRenamedFrom():
            state.exists = True
            state.mode, state.blob, state.lines = happened.mode, happened.blob, happened.lines
        case FileRemoved() | FileRenamedAway():
            state.exists = False
            state.mode, state.blob, state.lines = "", "", 0
        case _:
            return state
    state.path = happened.path
    state.changes += 1
    state.authors[happened.author] = state.authors.get(happened.author, 0) + 1
    return state


@reducer("git-author", initial=AuthorState)
def fold_author(state: AuthorState, record: Record) -> AuthorState:
    """Folds the commits of one author."""
    made = record.data
    if isinstance(made, CommitMade):
        day = made.at.date().isoformat()
        state.author, state.name = made.author, made.name
        state.commits += 1
        state.added += made.added
        state.removed += made.removed
        state.first = min(state.first or day, day)
        state.last = max(state.last, day)
    return state


@reducer("git-repository", initial=RepositoryState)
def fold_repository(state: RepositoryState, record: Record) -> RepositoryState:
    """Folds the whole log, by folding each file and each author."""
    happened = record.data
    if isinstance(happened, CommitMade):
        author = state.authors.setdefault(happened.author, AuthorState())
        fold_author(author, record)
    else:
        fold_file(state.files.setdefault(record.stream, FileState()), record)
    return state


# --- states as rows, and rows as a digest -------------------------------------------------------

Row = tuple[str | int | None, ...]


def rows_of(state: RepositoryState) -> list[Row]:
    """Returns the state as rows, as the read model has them."""
    rows: list[Row] = []
    for stream, file in state.files.items():
        about = (stream, file.path, int(file.exists), file.mode, file.blob, file.lines)
        rows.append(("file", *about, file.changes))
        rows += (("by", stream, author, count) for author, count in file.authors.items())
    for who in state.authors.values():
        counted = (who.commits, who.added, who.removed)
        rows.append(("author", who.author, who.name, *counted, who.first, who.last))
    return rows


def digest(rows: Iterable[Row]) -> str:
    """Returns a digest of rows, whatever their order."""
    lines = sorted(json.dumps(row) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
