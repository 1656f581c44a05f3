"""A look at one file: its history in the log, back through its renames."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from everlog import EventStore, Record
from examples.git_history.events import (
    FileAdded,
    FileChanged,
    FileRemoved,
    FileRenamedAway,
    FileRenamedFrom,
    file_stream,
)


async def history_of(store: EventStore, path: str) -> AsyncIterator[Record[Any]]:
    """Yields the records of a file, the newest first, and from where it was renamed on."""
    stream, until, seen = file_stream(path), "f" * 32, set[str]()
    renamed_in = ""
    while stream not in seen:
        seen.add(stream)
        records = await store.read(stream, as_of=until).to_list()
        # A read is in order of position; a history in order of birth, where late records belong.
        records.sort(key=lambda record: record.stored.order, reverse=True)
        for record in records:
            happened = record.data
            if isinstance(happened, FileRenamedAway) and happened.commit == renamed_in:
                continue  # the other end of what was told already
            yield record
            if isinstance(happened, FileRenamedFrom):
                stream, until = file_stream(happened.source), record.created
                renamed_in = happened.commit
                break
        else:
            return


def told(record: Record[Any]) -> tuple[str, str]:
    """Returns what happened in a record, in words: what, and how much or where."""
    match record.data:
        case FileAdded(lines=None) | FileChanged(lines=None):
            return "binary", ""
        case FileAdded(lines=lines):
            return "added", f"{lines:,} lines"
        case FileChanged(added=added, removed=removed):
            return "changed", f"+{added:,} -{removed:,}"
        case FileRenamedFrom(source=source):
            return "renamed", f"from {source}"
        case FileRenamedAway(target=target):
            return "renamed", f"to {target}"
        case FileRemoved():
            return "removed", ""
        case _:
            return record.type, ""
