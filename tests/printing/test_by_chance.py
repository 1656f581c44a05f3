"""Whatever is configured: what is printed can be used, and its three forms agree on data."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from everlog.core.event import Registry
from everlog.core.record import StoredRecord
from everlog.errors import DecodeError, InvalidConfig
from everlog.printing import export_events, print_events
from everlog.printing.configs import read_configs
from everlog.printing.lock import check_lock, print_lock
from everlog.testing import record_of
from tests.evolution.old_and_new import Noted
from tests.printing.chance import Chance
from tests.printing.compiler import complaints
from tests.printing.shop import imported, write

ROW = record_of(Noted("x")).stored
FORMATS: Any = FormatChecker(())


@FORMATS.checks("date", ValueError)  # type: ignore[untyped-decorator]
def is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@FORMATS.checks("date-time", ValueError)  # type: ignore[untyped-decorator]
def is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uuid", ValueError)  # type: ignore[untyped-decorator]
def is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(UUID(value))


@pytest.mark.once
@pytest.mark.parametrize(("first", "width"), [(0, 72), (100, 88), (200, 120)])
def test_what_is_drawn_is_printed_formatted_compiled_and_agreed_upon(
    first: int, width: int, tmp_path: Path
) -> None:
    printed = 0
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        try:
            printed += is_printed(Chance(seed), folder, width)
        except InvalidConfig:
            continue  # of what is drawn, some cannot be; that is told by other tests
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise
    assert printed >= 15
    options = ("--isolated", "--line-length", str(width), "--diff", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", *options], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert complaints(*tmp_path.glob("*/events.ts")) == ""


def is_printed(chance: Chance, folder: Path, width: int) -> bool:
    write(folder / "events", chance.configs())
    out, schemas = folder / "printed.py", folder / "schemas"
    print_events(
        [folder / "events"],
        out=out,
        typescript=folder / "events.ts",
        json_schema=schemas,
        line_length=width,
    )
    module = imported(out)
    registry = Registry(module.EVENTS)
    configs = read_configs([folder / "events"])
    for config in configs.events:
        document = json.loads((schemas / f"{config.name}.json").read_text())
        Draft202012Validator.check_schema(document)
        data_schema = document["properties"]["data"] | {"$defs": document.get("$defs", {})}
        whole: Any = Draft202012Validator(data_schema, format_checker=FORMATS)
        for _ in range(20):
            try:
                good = chance.value(config.data, configs.definitions)
            except RecursionError:
                break  # what has to hold itself has no value
            for data in (good, chance.changed(good)):
                agree(
                    whole, registry, ROW._replace(type=config.type, schema=1, data=json.dumps(data))
                )
    export_events(module.EVENTS, folder / "exported")
    print_events([folder / "exported"], out=folder / "again.py", line_length=width)
    Registry(imported(folder / "again.py").EVENTS)
    # What can be written by one can be read by the other, so they are the same.
    both = configs, read_configs([folder / "exported"])
    for old, new in (both, reversed(both)):
        check_lock("lock", print_lock(old), new)
    return True


def agree(schema: Any, registry: Registry, row: StoredRecord) -> None:
    data = json.loads(row.data)
    is_valid = schema.is_valid(data)
    try:
        event = registry.decode_data(row)
    except DecodeError:
        if is_valid:
            raise
        return
    if not is_valid:
        # What may be left out, and what is not known, is read; anything else is not.
        declared = registry.of_event(event)
        again = json.loads(declared.codec.encode(event, at="data", event_type=row.type))
        assert schema.is_valid(again), (row.data, again)
        assert again != data, row.data
