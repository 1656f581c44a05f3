"""Running tests against a copy of the library in which one defence is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.warm import ROOT, Warm
from tests.mutants.watcher import COPY, REPORT, is_case_of

SOURCE = ROOT / "src" / "everlog"

RIGHT_REASONS = {"AssertionError", "Failed", "EverlogError"}
"""A failed assertion, an error that did not come, or one of ours: the test has noticed. Anything
else, such as a NameError, says that the mutant is broken and not that it was caught."""


class Useless(AssertionError):
    """A mutant that shows nothing: not to be made, not caught, or for a wrong reason."""


@dataclass(frozen=True)
class Ran:
    """One test that ran."""

    test: str
    passed: bool
    reason: str
    """Why it failed."""
    noticed: bool
    """Whether that is a reason which shows that the test noticed."""


def copy_of(mutant: Mutant | None, folder: Path) -> Path:
    """Makes a copy of the library with the mutation in it; returns what goes on the path.

    All but the changed file are links, to what was compiled, too: importing is most of a run.
    """
    copy = folder / "src"
    copy.mkdir()
    if mutant is None:
        (copy / "everlog").symlink_to(SOURCE)
        return copy
    text = (SOURCE / mutant.file).read_text(encoding="utf-8")
    if (count := text.count(mutant.source)) != 1:
        raise Useless(
            f"mutant {mutant.name!r}: its text stands {count} times in src/everlog/"
            f"{mutant.file}, and must exactly once; adapt it to the changed code:\n"
            f"{mutant.source}"
        )
    _link(SOURCE, copy / "everlog", Path(mutant.file))
    changed = copy / "everlog" / mutant.file
    changed.write_text(text.replace(mutant.source, mutant.replacement), encoding="utf-8")
    return copy


def _link(folder: Path, copy: Path, without: Path) -> None:
    """Makes a folder of links to what is in another, without one file and what it compiled to."""
    copy.mkdir()
    name, *below = without.parts
    for path in folder.iterdir():
        if path.name == name:
            if below:
                _link(path, copy / name, Path(*below))
        elif path.name == "__pycache__":
            (copy / path.name).mkdir()
            for compiled in path.iterdir():
                stem, _, rest = compiled.name.partition(".")
                # Nor what another process is just compiling.
                if stem != without.stem and ".pyc." not in rest:
                    (copy / path.name / compiled.name).symlink_to(compiled)
        else:
            (copy / path.name).symlink_to(path)


def run(copy: Path, tests: Sequence[str], folder: Path, warm: Warm, server: str = "") -> list[Ran]:
    """Runs tests against a copy in a process of their own; raises `Useless` if they did not run.

    `server`: the URL of a PostgreSQL server for them, or they start their own
    """
    report, said = folder / "report.jsonl", folder / "said"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    code = warm.pytest(
        [
            *("-p", "tests.mutants.watcher", "-q"),
            # native: its tracebacks cost nothing, and nobody reads them.
            *("-p", "no:cacheprovider", "--tb=native", "--timeout=60"),
            # Of the plugins that are installed only those that the tests need.
            *("-p", "pytest_timeout", "-p", "_hypothesis_pytestplugin"),
            *("--basetemp", str(folder / "tmp")),
            *tests,
        ],
        path=[copy, ROOT],
        environ={
            **kept,
            COPY: str(copy),
            REPORT: str(report),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            # Else a run would compile into the folders of the library itself, by the links.
            "PYTHONDONTWRITEBYTECODE": "1",
            # Whether a mutant is caught must not be a matter of luck.
            "CI": "true",
            "EVERLOG_TEST_SEED": "0",
            "EVERLOG_TEST_POSTGRES": server,
        },
        said=said,
    )
    text = said.read_text(encoding="utf-8", errors="replace")
    if code not in (0, 1):  # no tests, a wrong call, a collection that failed
        raise Useless(f"pytest ended with {code}:\n{text}")
    lines: list[dict[str, Any]] = [
        json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()
    ]
    failed = {when: _failed(lines, when) for when in ("setup", "call", "teardown")}
    # What a failed test leaves behind may make its teardown fail, too.
    if failed["setup"] or not failed["teardown"] <= failed["call"]:
        raise Useless(f"a test failed outside of itself:\n{text}")
    ran = [_ran(line) for line in lines if line["when"] == "call" and line["outcome"] != "skipped"]
    assert (code == 1) is any(not each.passed for each in ran), text
    return ran


def kills(mutant: Mutant, folder: Path, warm: Warm, server: str = "") -> list[str]:
    """Returns who killed the mutant and how; raises `Useless` if anybody named did not."""
    ran = run(copy_of(mutant, folder), mutant.killed_by, folder, warm, server)
    found: list[str] = []
    for name in mutant.killed_by:
        cases = [each for each in ran if is_case_of(each.test, name)]
        if not cases:
            raise Useless(f"mutant {mutant.name!r}: {name} did not run")
        failed = [each for each in cases if not each.passed]
        if not failed:
            raise Useless(
                f"mutant {mutant.name!r} survives {name}: nobody notices that this is missing: "
                f"{mutant.takes_away}"
            )
        if strange := [each for each in failed if not each.noticed]:
            raise Useless(
                f"mutant {mutant.name!r} is not caught but broken; {name} ended with: "
                f"{strange[0].reason}"
            )
        found.append(f"{failed[0].test}: {failed[0].reason}")
    return found


def _failed(lines: Sequence[dict[str, Any]], when: str) -> set[str]:
    return {line["test"] for line in lines if line["when"] == when and line["outcome"] == "failed"}


def _ran(line: dict[str, Any]) -> Ran:
    errors: list[tuple[list[str], str]] = line["errors"]
    return Ran(
        test=line["test"],
        passed=line["outcome"] == "passed",
        reason="; ".join(f"{kinds[0]}: {_first_line(text)}" for kinds, text in errors),
        noticed=all(
            RIGHT_REASONS.intersection(kinds) and not text.startswith("Timeout")
            for kinds, text in errors
        ),
    )


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")
