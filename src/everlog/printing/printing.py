"""Printing: from folders of configurations to all files that are made of them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from everlog.errors import InvalidInput, NotPrinted
from everlog.printing.configs import read_configs
from everlog.printing.exporting import export_configs
from everlog.printing.json_schema import MARK, print_json_schema
from everlog.printing.lock import check_lock, print_lock
from everlog.printing.python import print_python
from everlog.printing.typescript import print_typescript

LOCK = "events.lock.json"

AnyPath = str | os.PathLike[str]


def print_events(
    configs: Sequence[AnyPath],
    *,
    out: AnyPath | None = None,
    typescript: AnyPath | None = None,
    json_schema: AnyPath | None = None,
    lock: AnyPath | None = None,
    line_length: int = 88,
    check: bool = False,
) -> list[str]:
    """Prints events from their configurations; returns the files that it has changed.

    - `configs`: folders of JSON files, one event each, or such files
    - `out`: the Python module; `typescript`: the module of types; `json_schema`: the folder of
      documents, in which those of events that are gone are deleted. At least one of them
    - `lock`: the file that keeps what was printed, to be committed; default: `events.lock.json` in
      the first folder. A change that stored events do not survive is refused against it
    - `line_length`: of the Python module, in characters, from 72 on, as its formatter has it
    - `check`: changes nothing, and raises `NotPrinted` if something would be changed

    Nothing is written unless all can be printed. Raises `InvalidInput`, of it `InvalidConfig` with
    file and place, and `BreakingChange`.

    >>> import os, pathlib
    >>> from everlog.printing import print_events
    >>> os.makedirs("events")
    >>> config = '{"event": {"type": "user:created", "data": {"email": "string"}}}'
    >>> written = pathlib.Path("events/created.json").write_text(config)
    >>> print_events(["events"], out="events.py")
    ['events.py', 'events/events.lock.json']
    >>> print_events(["events"], out="events.py", check=True)
    []
    """
    if isinstance(configs, (str, os.PathLike)):
        raise InvalidInput(f"configs is a list of folders; write [{os.fspath(configs)!r}]")
    if out is None and typescript is None and json_schema is None:
        raise InvalidInput("say what to print: out=, typescript= or json_schema=")
    events = read_configs(configs)
    kept = os.fspath(lock) if lock is not None else _lock_of(configs)
    present = _read(kept)
    if present is not None:
        check_lock(kept, present, events)
    wanted: dict[str, str] = {}
    if out is not None:
        wanted[os.fspath(out)] = print_python(events, width=line_length)
    if typescript is not None:
        wanted[os.fspath(typescript)] = print_typescript(events)
    gone: list[str] = []
    if json_schema is not None:
        folder = os.fspath(json_schema)
        documents = print_json_schema(events)
        wanted |= {os.path.join(folder, name): text for name, text in documents.items()}
        gone = _gone(folder, documents)
    # Last: what it says was printed has been printed then.
    wanted[kept] = print_lock(events)
    changed = [path for path, text in wanted.items() if _read(path) != text]
    if check:
        if changed or gone:
            raise NotPrinted([*changed, *gone])
        return []
    for path in changed:
        _write(path, wanted[path])
    for path in gone:
        os.unlink(path)
    return [*changed, *gone]


def export_events(events: Iterable[object], folder: AnyPath, *, replace: bool = False) -> list[str]:
    """Writes a configuration for each class of a list of events; returns the files.

    The other way of `print_events`: from there on, the classes can be printed. Upcasts in the list
    are passed over. Raises `InvalidInput` if a file is there already, unless `replace`, and
    `InvalidConfig` for a class that says what no configuration can.

    >>> from everlog.printing import export_events
    >>> export_events([UserCreated], "events")
    ['events/user-created.json']
    """
    configs = export_configs(events)
    paths = {os.path.join(os.fspath(folder), name): text for name, text in configs.items()}
    present = [path for path in paths if os.path.lexists(path)]
    if present and not replace:
        raise InvalidInput(f"{present[0]} is there already; export to another folder, or replace")
    for path, text in paths.items():
        _write(path, text)
    return list(paths)


def _lock_of(configs: Sequence[AnyPath]) -> str:
    first = os.fspath(configs[0])
    return os.path.join(first if os.path.isdir(first) else os.path.dirname(first), LOCK)


def _gone(folder: str, documents: Mapping[str, str]) -> list[str]:
    """Returns the documents of events that are no more: those that were printed, and no others."""
    if not os.path.isdir(folder):
        return []
    found: list[str] = []
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.endswith(".json") and name not in documents and os.path.isfile(path):
            text = _read(path) or ""
            if f'"$comment": "{MARK}"' in text[:500]:
                found.append(path)
    return found


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error


def _write(path: str, text: str) -> None:
    """Writes a file whole, or leaves the one that is there."""
    folder = os.path.dirname(path) or "."
    temporary = ""
    try:
        os.makedirs(folder, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".everlog-")
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o666 & ~_umask()
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)
        raise InvalidInput(f"{path} cannot be written: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
