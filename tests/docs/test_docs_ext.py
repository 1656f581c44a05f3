"""What the site needs beyond Sphinx does what it says."""

from __future__ import annotations

import doctest
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.once

EXTENSIONS = sorted((Path(__file__).parents[2] / "docs" / "_ext").glob("*.py"))


def module_of(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXTENSIONS, ids=lambda path: path.stem)
def test_the_examples_of_an_extension_run(path: Path) -> None:
    assert doctest.testmod(module_of(path)).failed == 0


[DOCSTRINGS] = [path for path in EXTENSIONS if path.stem == "docstrings"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Takes `a` and *b*.", "Takes ``a`` and *b*."),
        ("Runs **at most once**.", "Runs **at most once**."),
        ("`a`s and `b`-s", "``a``\\ s and ``b``-s"),
        ("A name_ and 2 * 3 | 4", "A name\\_ and 2 \\* 3 \\| 4"),
        ("`sqlite:///x` and `a\nb`", "``sqlite:///x`` and ``a b``"),
        ("Does:\n- `a`: one\n  more\n- b", "Does:\n\n- ``a``: one more\n- b"),
        ("One:\n\n    two\n\n    three\n\nFour", "One:\n\n::\n\n    two\n\n    three\n\nFour"),
        ("    >>> 1\n    1", ">>> 1\n1"),
        (
            "Raises `WrongVersion`.",
            "Raises :py:class:`WrongVersion <everlog.errors.WrongVersion>`.",
        ),
    ],
)
def test_a_docstring_becomes_what_it_was_meant_as(text: str, written: str) -> None:
    assert module_of(DOCSTRINGS).as_rst(text) == written


def test_a_docstring_of_the_blocking_store_leads_to_its_own_classes() -> None:
    as_rst = module_of(DOCSTRINGS).as_rst
    assert as_rst("A `Tx`.", blocking=True) == "A :py:class:`Tx <everlog.blocking.Tx>`."
    assert as_rst("A `Record`.", blocking=True) == "A :py:class:`Record <everlog.Record>`."
