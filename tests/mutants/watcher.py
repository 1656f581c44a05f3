"""A plugin for the runs over a mutant: which everlog is imported, and why each test failed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest

COPY, REPORT = "EVERLOG_MUTANT_COPY", "EVERLOG_MUTANT_REPORT"

IMPATIENCE = 4
"""How much sooner than else a test gives up what does not come: over most mutants, it does not.

That it is not too soon tells the library as it is, which is run no less impatiently.
"""


def pytest_configure() -> None:
    import everlog

    copy, found = Path(os.environ[COPY]), Path(everlog.__file__)
    if not found.is_relative_to(copy):
        raise pytest.UsageError(f"everlog is imported from {found}, not from the copy in {copy}")


def pytest_collection_finish() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(("tests.", "everlog.testing.")) and hasattr(module, "PATIENCE_S"):
            vars(module)["PATIENCE_S"] /= IMPATIENCE


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if _named(item) & _failed:
        pytest.skip("another case of this test has failed, and one is enough")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        _failed.update(_named(item))
    errors = [] if call.excinfo is None else _leaves(call.excinfo.value)
    line = {
        "test": report.nodeid,
        "when": report.when,
        "outcome": report.outcome,
        "errors": [
            ([kind.__name__ for kind in type(error).__mro__], str(error)[:300]) for error in errors
        ],
    }
    with Path(os.environ[REPORT]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return report


_failed: set[str] = set()
"""Those of the tests named for this run of which a case has failed."""


def _named(item: pytest.Item) -> set[str]:
    """Returns those of the names of this run of which the test is a case."""
    return {name for name in item.config.args if is_case_of(item.nodeid, name)}


def is_case_of(test: str, name: str) -> bool:
    """Whether a test that ran is the one of this name, or one of its cases."""
    return test == name or test.startswith(f"{name}[")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        several = cast("BaseExceptionGroup[BaseException]", error)
        return [leaf for each in several.exceptions for leaf in _leaves(each)]
    return [error]
