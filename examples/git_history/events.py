"""What happens in a git repository: the events, and the streams and relations they belong to.

A file's stream is named by its path. A rename therefore ends one stream and goes on in another:
`FileRenamedAway` is the last word in the old one and says where to, `FileRenamedFrom` the first in
the new one and says where from, so that a reader can follow the history in both directions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from everlog import event

CONTENT = "file:content"
"""The register of all events of a file: the newest says what the file is."""


@event("git:commit-made")
@dataclass(frozen=True, slots=True, kw_only=True)
class CommitMade:
    """A commit. It has a stream of its own."""

    commit: str
    parents: tuple[str, ...]
    author: str
    """Who, as `author:` relations spell it."""
    name: str
    at: datetime
    """When it was committed, by the committer's clock."""
    authored_at: datetime
    subject: str
    files: int
    """How many files it touches."""
    added: int
    removed: int


@event("git:file-added", register=CONTENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileAdded:
    """A file is there that was not there before."""

    path: str
    mode: str
    blob: str
    lines: int | None
    """How many lines it has now; None for a binary file."""
    added: int
    removed: int
    commit: str
    author: str
    at: datetime


@event("git:file-changed", register=CONTENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileChanged:
    """A file has other content, or another mode."""

    path: str
    mode: str
    blob: str
    lines: int | None
    added: int
    removed: int
    commit: str
    author: str
    at: datetime


@event("git:file-renamed-from", register=CONTENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRenamedFrom:
    """A file is here now that was elsewhere before, perhaps changed a little."""

    path: str
    source: str
    mode: str
    blob: str
    lines: int | None
    added: int
    removed: int
    commit: str
    author: str
    at: datetime


@event("git:file-renamed-away", register=CONTENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRenamedAway:
    """A file is no longer here but elsewhere."""

    path: str
    target: str
    commit: str
    author: str
    at: datetime


@event("git:file-removed", register=CONTENT)
@dataclass(frozen=True, slots=True, kw_only=True)
class FileRemoved:
    """A file is gone."""

    path: str
    removed: int
    commit: str
    author: str
    at: datetime


FileEvent: TypeAlias = FileAdded | FileChanged | FileRenamedFrom | FileRenamedAway | FileRemoved

EVENTS = [CommitMade, FileAdded, FileChanged, FileRenamedFrom, FileRenamedAway, FileRemoved]


def commit_stream(commit: str) -> str:
    """Returns the stream of a commit."""
    return f"commit:{commit}"


def file_stream(path: str) -> str:
    """Returns the stream of the file at a path."""
    return _fitting("file", path)


def author_relation(author: str) -> str:
    """Returns the relation of the commits that somebody made and the files they touched."""
    return _fitting("author", author)


def directory_relation(directory: str) -> str:
    """Returns the relation of the files in a directory and below; `.` is the files at the top."""
    return _fitting("dir", directory)


def _fitting(kind: str, text: str) -> str:
    """Returns a name of at most 255 bytes; git's paths may be longer."""
    name = f"{kind}:{text}"
    if len(name.encode()) <= 255:
        return name
    # Another separator, so that no short path can look like the digest of a long one.
    return f"{kind}#{hashlib.sha256(text.encode()).hexdigest()}"
