"""What is printed is what each language's own tools accept, and is the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from everlog.core.event import Registry
from everlog.errors import InvalidConfig, InvalidInput, NotPrinted
from everlog.printing import print_events
from everlog.printing.configs import read_configs
from everlog.printing.python import print_python
from everlog.printing.typescript import print_typescript
from tests.printing.compiler import complaints
from tests.printing.shop import SHOP, imported, write

EVENTS = [
    "post:module:added",
    "post:tagged",
    "user:activated",
    "user:created",
    "user:deactivated",
    "user:moved",
    "user:name:given-set",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "events")


def run(*arguments: str, cwd: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.once
@pytest.mark.parametrize("width", [72, 88, 100])
def test_the_module_is_formatted_as_ruff_would(folder: Path, width: int) -> None:
    out = folder.parent / "events.py"
    print_events([folder], out=out, line_length=width)
    options = ("--isolated", "--line-length", str(width))
    run("ruff", "format", "--check", *options, str(out), cwd=folder.parent)
    rules = "E4,E7,E9,F,I,UP,B,C4,SIM,PIE,RUF100,W"
    run("ruff", "check", *options, "--select", rules, str(out), cwd=folder.parent)


@pytest.mark.once
def test_both_type_checkers_accept_the_module_as_strict_as_they_get(folder: Path) -> None:
    out = folder.parent / "shop_events.py"
    print_events([folder], out=out)
    (folder.parent / "program.py").write_text(PROGRAM)
    (folder.parent / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "include": ["shop_events.py", "program.py"]})
    )
    run("mypy", "--strict", "--config-file", os.devnull, "program.py", str(out), cwd=folder.parent)
    run("pyright", "--pythonpath", sys.executable, "-p", ".", cwd=folder.parent)


PROGRAM = """\
from datetime import UTC, datetime

from everlog import EventStore, Record
from shop_events import EVENTS, Address, Auditor, Event, UserCreated, UserCreatedName, UserMoved


def shown(event: Event) -> str:
    match event:
        case UserCreated(name=UserCreatedName(given=given), email=email):
            return f"{given} {email}"
        case UserMoved(to=Address(street=street), class_=word):
            return street + (word or "")
        case _:
            return type(event).__name__


async def main() -> None:
    async with EventStore.open("memory:", events=EVENTS) as store:
        created = UserCreated(email="jane@doe.com", name=UserCreatedName(given="Jane"))
        await store.append("user-1", created, meta=Auditor(auditor="me"))
        moved = UserMoved(at=datetime.now(UTC), to=Address(street="x", lines=[]), class_="y")
        await store.append("user-1", moved, meta=Auditor(auditor="me"))
        record: Record[UserCreated]
        async for record in store.read(types=[UserCreated]):
            print(record.data.email, shown(record.data))
"""


@pytest.mark.once
@pytest.mark.parametrize(
    "options",
    [(), ("--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess", "--isolatedModules")],
)
def test_the_typescript_passes_its_compiler_as_strict_as_it_gets(
    folder: Path, options: tuple[str, ...]
) -> None:
    out = folder.parent / "events.ts"
    print_events([folder], typescript=out)
    program = folder.parent / "program.ts"
    program.write_text(TYPESCRIPT)
    assert complaints(out, program, options=options) == ""


TYPESCRIPT = """\
import { schemas, type Event, type EventTypes } from "./events";

const created: Event<"user:created"> = {
  type: "user:created",
  schema: schemas["user:created"],
  data: { email: "jane@doe.com", name: { given: "Jane" } },
  meta: { auditor: "me" },
};
const active: EventTypes["user:activated"] = { schema: 1, data: null, meta: { by: "me" } };

export function shown(event: Event): string {
  switch (event.type) {
    case "user:created":
      return event.data.email + (event.data.name?.given ?? "");
    case "user:moved":
      return event.data.to.street + event.schema.toFixed();
    case "post:module:added":
      return event.data.type === "likes" ? String(event.data.positive) : "";
    default:
      return event.type;
  }
}

export const all = [shown(created), active];
"""

WRONG = {
    "a field that is missing": 'const it: EventTypes["user:created"]["data"] = {};',
    "null for what may be left out": (
        'const it: EventTypes["user:created"]["data"] = { email: "x", name: null };'
    ),
    "another kind": 'const it: EventTypes["user:name:given-set"]["data"] = 5;',
    "a field that is not known": (
        'const it: EventTypes["user:created"]["data"] = { email: "x", mail: "y" };'
    ),
    "another schema": "const it: EventTypes['user:moved']['schema'] = 2;",
    "a type that is not known": "const it: EventTypes['user:gone'] | undefined = undefined;",
}


@pytest.mark.once
def test_the_typescript_refuses_what_is_no_such_event(folder: Path) -> None:
    out = folder.parent / "events.ts"
    print_events([folder], typescript=out)
    files: list[Path] = []
    for number, text in enumerate(WRONG.values()):
        files.append(folder.parent / f"wrong{number}.ts")
        files[-1].write_text(
            f'import type {{ EventTypes }} from "./events";\n{text}\nexport {{ it }};\n'
        )
    said = complaints(*files)
    missed = [case for number, case in enumerate(WRONG) if f"wrong{number}.ts(2," not in said]
    assert missed == []


def test_the_json_schemas_pass_the_meta_schema(folder: Path) -> None:
    out = folder.parent / "schemas"
    print_events([folder], json_schema=out)
    found = [json.loads(path.read_text()) for path in sorted(out.iterdir())]
    for document in found:
        Draft202012Validator.check_schema(document)
    assert sorted(document["title"] for document in found) == EVENTS


def test_the_module_is_one_of_events(folder: Path) -> None:
    out = folder.parent / "events.py"
    print_events([folder], out=out)
    module = imported(out)
    assert sorted(Registry(module.EVENTS).types) == EVENTS
    assert module.UserMoved.__everlog_event__.names == (
        "user:moved",
        "user:transferred",
        "user:shifted-to-somewhere-else-entirely",
    )
    assert module.UserCreated.__doc__.startswith('Somebody has come, and is called "new".')


def test_the_same_is_printed_whatever_the_order_of_files_and_the_hash_seed(
    folder: Path, tmp_path: Path
) -> None:
    wanted = print_python(read_configs([folder])), print_typescript(read_configs([folder]))
    other = tmp_path / "again"
    write(other, dict(reversed(SHOP.items())))
    assert (print_python(read_configs([other])), print_typescript(read_configs([other]))) == wanted
    program = (
        "import sys; from everlog.printing.configs import read_configs; "
        "from everlog.printing.python import print_python; "
        "sys.stdout.write(print_python(read_configs([sys.argv[1]])))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == wanted[0]


def test_check_tells_each_file_that_is_not_as_printed_and_changes_nothing(folder: Path) -> None:
    root = folder.parent
    to: dict[str, Any] = {
        "out": root / "events.py",
        "typescript": root / "events.ts",
        "json_schema": root / "schemas",
    }
    with pytest.raises(NotPrinted) as caught:
        print_events([folder], **to, check=True)
    assert len(caught.value.files) == 3 + len(EVENTS)
    assert sorted(path.name for path in root.iterdir()) == ["events"]
    written = print_events([folder], **to)
    assert len(written) == 3 + len(EVENTS)
    assert print_events([folder], **to) == []
    assert print_events([folder], **to, check=True) == []
    for path in written:
        before = Path(path).read_text()
        Path(path).write_text(before.replace("user", "users", 1) + " ")
        if path.endswith("lock.json"):
            Path(path).write_text(before + "\n")
        with pytest.raises(NotPrinted) as caught:
            print_events([folder], **to, check=True)
        assert caught.value.files == (path,)
        Path(path).write_text(before)


def test_documents_of_events_that_are_gone_are_deleted_and_no_others(folder: Path) -> None:
    root = folder.parent
    extra = {"type": "user:odd", "data": "string"}
    write(folder, {"odd.json": extra})
    print_events([folder], json_schema=root / "schemas", lock=root / "lock.json")
    (root / "schemas/mine.json").write_text('{"$comment": "by hand"}')
    (folder / "odd.json").unlink()
    (root / "lock.json").unlink()
    with pytest.raises(NotPrinted, match=r"UserOdd\.json"):
        print_events([folder], json_schema=root / "schemas", lock=root / "lock.json", check=True)
    assert (root / "schemas/UserOdd.json").exists()
    print_events([folder], json_schema=root / "schemas", lock=root / "lock.json")
    assert not (root / "schemas/UserOdd.json").exists()
    assert (root / "schemas/mine.json").exists()


def test_nothing_is_written_unless_all_can_be(folder: Path) -> None:
    root = folder.parent
    write(folder, {"bad.json": {"type": "a", "data": {"x": "strin"}}})
    with pytest.raises(InvalidConfig):
        print_events([folder], out=root / "events.py")
    (folder / "bad.json").unlink()
    # Of two types in TypeScript, one would hide the other.
    write(
        folder,
        {"$more.json": {"type": "m", "data": {"$schema": "x", "$defs": {"UserCreatedData": {}}}}},
    )
    with pytest.raises(InvalidConfig, match="UserCreatedData"):
        print_events([folder], out=root / "events.py", typescript=root / "events.ts")
    assert sorted(path.name for path in root.iterdir()) == ["events"]


def test_a_file_keeps_its_rights_and_a_folder_that_cannot_be_made_is_told(folder: Path) -> None:
    out = folder.parent / "events.py"
    out.write_text("")
    out.chmod(0o640)
    print_events([folder], out=out)
    assert out.stat().st_mode & 0o777 == 0o640
    with pytest.raises(InvalidInput, match="cannot be"):
        print_events([folder], out=out / "below" / "events.py")
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("width", [0, 71, 321, True])
def test_a_width_that_leaves_no_room_is_refused(folder: Path, width: int) -> None:
    with pytest.raises(InvalidInput, match="from 72 to 320"):
        print_events([folder], out=folder.parent / "events.py", line_length=width)


def test_what_to_print_and_from_what_has_to_be_said(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="say what to print"):
        print_events([folder])
    with pytest.raises(InvalidInput, match="list of folders"):
        print_events(str(folder), out="x")
    with pytest.raises(InvalidInput, match="no folder or file"):
        print_events([folder / "nothing"], out="x")
    (folder.parent / "empty").mkdir()
    with pytest.raises(InvalidInput, match="no event configuration"):
        print_events([folder.parent / "empty"], out="x")
    with pytest.raises(InvalidInput, match="no event configuration"):
        print_events([], out="x")
