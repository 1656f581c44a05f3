"""Exchanging: the log, or a part of it, to a file and from one."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, aclosing, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO, TypeAlias, TypeVar

from everlog.core.chain import ORPHAN
from everlog.core.record import Record, StoredRecord
from everlog.errors import CannotOpen, InvalidInput, StorageFailed
from everlog.interchange.foreign import Births
from everlog.interchange.formats import check_format, records_in
from everlog.store.own_thread import OwnThread
from everlog.store.reading import rest_of_page
from everlog.store.writing import IMPORT_CHUNK, IMPORT_CHUNK_BYTES, Imported

T = TypeVar("T")

File: TypeAlias = "str | PathLike[str] | BinaryIO"
"""A path, or a file that was opened in binary mode."""

Progress: TypeAlias = Callable[[int, int], None]
"""Told how much is done, and of how much; 0 where that cannot be known."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What `store.export` has written.

    >>> await store.export("users.ndjson")
    Exported(records=2, left_out=0, position=2)
    """

    records: int
    """So many records."""
    left_out: int
    """Records that no fold has, and that the format has no mark for: orphans, see `store.orphans`,
    and those whose content went."""
    position: int
    """That of the last one; 0 if there is none. What has come since stands behind it."""


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What became of a file.

    >>> exported = await store.export("users.ndjson")
    >>> async with EventStore.open("memory:") as copy:
    ...     await copy.import_file("users.ndjson")
    ImportedFile(stored=2, known=0, left_out=0)
    """

    stored: int
    """Records that are new here."""
    known: int
    """Records that were here already."""
    left_out: int
    """Records that no fold had where they come from; they are not taken in."""


async def export(
    records: AsyncIterator[Record[Any]],
    file: File,
    *,
    format: str,
    replace: bool,
    head: int,
    progress: Progress | None,
) -> Exported:
    """Writes records to a file, off the loop and a page at a time."""
    written = check_format(format)
    async with OwnThread() as thread:
        with ExitStack() as stack:
            out = await thread.run(stack.enter_context, _to(file, replace=replace))
            await thread.run(out.write, written.begin.encode())
            count = left_out = position = 0
            while page := await rest_of_page(records):
                rows = [record.stored for record in page]
                position = rows[-1].position
                if format != "ndjson":
                    left_out -= len(rows)
                    rows = [row for row in rows if row.data and not row.flags & ORPHAN]
                    left_out += len(rows)

                def write(rows: list[StoredRecord] = rows, first: bool = count == 0) -> None:
                    text = written.between.join(map(written.encode, rows))
                    out.write((text if first else written.between + text).encode())

                if rows:
                    await thread.run(write)
                count += len(rows)
                if progress is not None:
                    progress(position, max(head, position))
            end = written.end if count else written.end_of_none
            await thread.run(out.write, end.encode())
            # Here and not at the end of the block: it waits for disks.
            await thread.run(stack.close)
    return Exported(count, -left_out, position)


async def import_file(
    take_in: Callable[[AsyncGenerator[StoredRecord, None]], Awaitable[Imported]],
    file: File,
    *,
    format: str | None,
    births: Births,
    progress: Progress | None,
) -> ImportedFile:
    """Takes in the records of a file, in its order, by chunks."""
    if format is not None:
        check_format(format)
    left_out = 0

    def leave_out() -> None:
        nonlocal left_out
        left_out += 1

    async with OwnThread() as thread:
        with ExitStack() as stack:
            source = await thread.run(stack.enter_context, _from(file))
            text = io.TextIOWrapper(source, encoding="utf-8", newline="\n")
            stack.callback(_let_go, text)
            total = _size_of(source)
            rows = records_in(text.read, births, format=format, left_out=leave_out)

            async def records() -> AsyncGenerator[StoredRecord, None]:
                while chunk := await thread.run(_some_of, rows):
                    for row in chunk:
                        yield row
                    if progress is not None:
                        done = _told(source)
                        progress(done, max(total, done) if total else 0)

            try:
                async with aclosing(records()) as each:
                    imported = await take_in(each)
            except UnicodeDecodeError as error:
                raise InvalidInput(
                    f"the file is no UTF-8 text (byte {error.object[error.start]:#04x})"
                ) from None
    return ImportedFile(imported.stored, imported.known, left_out)


def _some_of(rows: Iterator[StoredRecord]) -> list[StoredRecord]:
    chunk: list[StoredRecord] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row.data) + len(row.meta)
        if len(chunk) == IMPORT_CHUNK or size > IMPORT_CHUNK_BYTES:
            break
    return chunk


def _let_go(text: io.TextIOWrapper) -> None:
    with suppress(ValueError):  # closed meanwhile by whoever has opened it
        text.detach()


def _size_of(file: BinaryIO) -> int:
    try:
        return os.fstat(file.fileno()).st_size if file.seekable() else 0
    except (OSError, ValueError, AttributeError):
        return 0


def _told(file: BinaryIO) -> int:
    try:
        return file.tell()
    except (OSError, ValueError):
        return 0


@contextmanager
def _from(file: File) -> Generator[BinaryIO]:
    if not isinstance(file, (str, PathLike)):
        if not hasattr(file, "read"):
            raise InvalidInput(f"a file is a path, or one opened in binary mode, not {file!r:.60}")
        yield file
        return
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open(file, "rb"))
        except OSError as error:
            raise CannotOpen(f"{os.fspath(file)} cannot be read ({error.strerror})") from error
        yield opened


@contextmanager
def _to(file: File, *, replace: bool) -> Generator[BinaryIO]:
    """Opens a file to write to; one that is named by a path appears when it is whole."""
    if not isinstance(file, (str, PathLike)):
        if not hasattr(file, "write"):
            raise InvalidInput(f"a file is a path, or one opened in binary mode, not {file!r:.60}")
        yield file
        file.flush()
        return
    path = os.path.abspath(file)
    if not replace and os.path.exists(path):
        raise CannotOpen(f"{path} exists; name another file, or say that it is to be replaced")
    partial = f"{path}.{os.urandom(4).hex()}.partial"
    try:
        # Nobody else's business, as the log itself.
        opened = os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise CannotOpen(f"{path} cannot be written ({error.strerror})") from error
    try:
        with opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        if replace:
            os.replace(partial, path)
        else:
            _rename(partial, path)
    except FileExistsError as error:
        raise CannotOpen(f"{path} exists now; name another file") from error
    except OSError as error:
        raise StorageFailed(f"{path} cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            os.unlink(partial)


def _rename(partial: str, path: str) -> None:
    """Gives a file its name; raises `FileExistsError` for one that has come meanwhile."""
    try:
        os.link(partial, path)  # unlike rename, it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.exists(path):
            raise FileExistsError(path) from None
        os.rename(partial, path)
