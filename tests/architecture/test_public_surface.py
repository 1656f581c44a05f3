"""What programs can use changes when somebody means it to, and then in a file that is reviewed."""

from __future__ import annotations

import difflib
import sys
from types import ModuleType

import pytest

import everlog
from everlog import EventStore
from tests.architecture import public_surface
from tests.architecture.public_surface import PINNED, of_class, of_module, surface

RENEW = "python -m tests.architecture.public_surface"


def test_the_public_surface_is_the_one_that_is_pinned() -> None:
    pinned = PINNED.read_text("utf-8")
    now = surface()
    change = "\n".join(
        difflib.unified_diff(
            pinned.splitlines(), now.splitlines(), "pinned", "now", lineterm="", n=0
        )
    )
    assert now == pinned, (
        f"the public surface has changed:\n{change}\n"
        f"If that is meant, write it anew, by the Python of .venv, and commit it: {RENEW}"
    )


def test_every_public_name_is_there_and_nothing_that_is_different_elsewhere() -> None:
    pinned = PINNED.read_text("utf-8")
    lines = pinned.splitlines()
    heads = [line for line in lines if line.startswith("== ")]
    assert heads == [f"== {name} ==" for name in public_surface.MODULES]
    first = lines[1 : lines.index("")]
    told = [line for line in first if not line.startswith(" ")]
    assert len(told) == len(everlog.__all__)
    assert " at 0x" not in pinned
    assert "<" not in pinned


def class_of(source: str) -> list[str]:
    module = ModuleType("everlog.planted")
    sys.modules[module.__name__] = module  # where dataclasses look
    try:
        source = f"from __future__ import annotations\n{source}"
        exec(compile(source, "planted", "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
    return list(of_class("Planted", module.Planted))


BEFORE = """
from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class Planted:
    count: int
    deep: bool = False
    @property
    def size(self) -> int: ...
    async def look(self, at: str, *, deep: bool = False) -> list[int]: ...
    @staticmethod
    def open(path: str | None = None) -> Planted: ...
    def _mine(self): ...
    def test_that_it_does(self): ...
"""

CHANGES = {
    "a parameter that is called otherwise": ("at: str", "to: str"),
    "another default": ("deep: bool = False)", "deep: bool = True)"),
    "a parameter more": ("at: str,", "at: str, why: str,"),
    "by place, too": ("at: str, *,", "at: str,"),
    "another type": ("at: str", "at: bytes"),
    "another answer": ("list[int]", "list[str]"),
    "no longer to be awaited": ("async def look", "def look"),
    "a method that goes": ("async def look", "async def _look"),
    "a property that is called": ("@property\n", "\n"),
    "a field of another type": ("count: int", "count: float"),
    "a field more": ("count: int", "count: int\n    more: int"),
    "a field that need not be given": ("count: int", "count: int = 0"),
    "of a class that has become one of objects": ("@staticmethod\n", "\n"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_is_seen(case: str) -> None:
    before, after = CHANGES[case]
    assert before in BEFORE
    assert class_of(BEFORE) != class_of(BEFORE.replace(before, after))


def test_what_is_ones_own_may_change() -> None:
    assert class_of(BEFORE) == class_of(BEFORE.replace("_mine(self)", "_own(self, more)"))
    assert class_of(BEFORE) == class_of(BEFORE.replace("test_that", "test_whether"))
    assert class_of(BEFORE) == [
        "class Planted",
        "    count: int",
        "    deep: bool = False",
        "    async def look(self, at: str, *, deep: bool = False) -> list[int]",
        "    @staticmethod def open(path: str | None = None) -> Planted",
        "    size: int  (property)",
    ]


def test_what_another_module_offers_again_is_told_once() -> None:
    again = ModuleType("everlog.again")
    vars(again).update(__all__=["EventStore"], EventStore=EventStore)
    known: dict[int, str] = {}
    assert list(of_module(everlog, known))
    assert list(of_module(again, known)) == [
        "== everlog.again ==",
        "EventStore: as everlog.EventStore",
    ]
