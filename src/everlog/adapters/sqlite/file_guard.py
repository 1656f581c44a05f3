"""Notices when the file under an open store is another one, or gone."""

from __future__ import annotations

import os

from everlog.errors import FileReplaced


class FileGuard:
    """Remembers which file a path named when it was opened."""

    __slots__ = ("_file", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = _file_at(path)

    def check(self) -> None:
        """Raises `FileReplaced` if the path names another file now, or none."""
        try:
            file = _file_at(self._path)
        except OSError:
            file = None
        if file != self._file:
            raise FileReplaced(
                f"{self._path} is not the file that was opened: it was moved, deleted or replaced "
                "under the open store; nothing was written. Close every store on it; to put a "
                "backup in its place, remove the -wal and -shm files beside it first"
            )


def _file_at(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
