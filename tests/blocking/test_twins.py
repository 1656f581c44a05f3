"""The blocking classes are the async ones without `await`: every signature and every docstring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import everlog
from everlog import blocking
from everlog.blocking import EventStore, Projector
from tests.blocking import make_blocking, translation
from tests.blocking.make_blocking import made
from tests.blocking.twins import (
    FUNCTIONS,
    ONE_SIDED,
    TWINS,
    differences,
    differences_of_functions,
)


@pytest.mark.parametrize(("theirs", "ours"), TWINS, ids=lambda cls: cls.__name__)
def test_every_signature_and_docstring_is_that_of_the_async_class(
    theirs: type[Any], ours: type[Any]
) -> None:
    assert differences(theirs, ours) == []


@pytest.mark.parametrize(("theirs", "ours"), FUNCTIONS, ids=["migrate", "migration_script"])
def test_every_function_that_waits_is_that_of_the_async_face(
    theirs: Callable[..., Any], ours: Callable[..., Any]
) -> None:
    assert differences_of_functions(theirs, ours) == []


def test_everlog_blocking_has_every_public_name_of_everlog() -> None:
    # The version is that of the package, and not of one of its faces.
    assert set(blocking.__all__) == set(everlog.__all__) - {"__version__"}


def test_what_does_not_wait_is_the_same_object() -> None:
    twins = {ours.__name__ for _, ours in TWINS} | {ours.__name__ for _, ours in FUNCTIONS}
    others = [name for name in blocking.__all__ if name not in twins]
    assert len(others) > 25
    for name in others:
        assert getattr(blocking, name) is getattr(everlog, name), name


def test_the_blocking_classes_are_what_make_blocking_writes() -> None:
    stale = [path.name for path, text in made().items() if path.read_text("utf-8") != text]
    assert stale == [], "run .venv/dev-*/bin/python tests/blocking/make_blocking.py"


def test_a_body_that_drops_an_argument_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    [twin] = [each for each in make_blocking.TWINS if each.name == "Projector"]
    bodies = {**twin.bodies, "once": "return self._projector.once(*types)"}
    monkeypatch.setattr(make_blocking, "TWINS", [replace(twin, bodies=bodies)])
    with pytest.raises(LookupError, match=r"Projector\.once does not pass on .'on_success'"):
        made()


def test_what_only_one_of_two_classes_has_exists() -> None:
    names = {f"{cls.__name__}.{name}" for pair in TWINS for cls in pair for name in vars(cls)}
    assert set(ONE_SIDED) <= names


# --- tests of the test ---------------------------------------------------------------------------


def planted(theirs: type[Any], ours: type[Any], name: str, member: Any) -> list[str]:
    """The differences of a class that has another member in the place of one."""
    body = {**vars(ours), name: member}
    if member is None:
        del body[name]
    for slot in ("__dict__", "__weakref__"):
        body.pop(slot, None)
    return differences(theirs, type(ours.__name__, ours.__bases__, body))


def other_default(
    self: EventStore, record: Any, *, hydrated: bool | None = True, outdated: bool | None = None
) -> None: ...


other_default.__doc__ = Projector.push.__doc__


def documented(function: Callable[..., Any], text: str | None) -> Callable[..., Any]:
    function.__doc__ = text
    return function


def find_with(text: str | None) -> Callable[..., Any]:
    def find(self: EventStore, id: str) -> Any: ...

    find.__annotations__ = {**EventStore.find.__annotations__}
    find.__doc__ = text
    return find


async def awaited(self: EventStore) -> Any: ...


awaited.__doc__ = EventStore.info.__doc__
awaited.__annotations__ = {**EventStore.info.__annotations__}


@pytest.mark.parametrize(
    ("name", "member", "told"),
    [
        ("find", None, "EventStore.find is missing"),
        ("find", find_with("Returns something."), "EventStore.find says something else"),
        ("find", find_with(None), "EventStore.find has no docstring"),
        (
            "find",
            find_with(f"{EventStore.find.__doc__}."),
            "says something",
        ),
        ("more", find_with("More."), "EventStore.more is not in the async class"),
        ("info", awaited, "EventStore.info is to be awaited"),
        ("info", property(EventStore.info), "EventStore.info is a property, not a function"),
        ("__enter__", None, "EventStore.__enter__ is missing"),
        ("capabilities", None, "EventStore.capabilities is missing"),
    ],
)
def test_a_member_that_differs_is_told(name: str, member: Any, told: str) -> None:
    found = planted(everlog.EventStore, EventStore, name, member)
    assert [line for line in found if told in line], found


def test_the_member_that_is_there_is_no_difference() -> None:
    find = find_with(EventStore.find.__doc__)
    assert planted(everlog.EventStore, EventStore, "find", find) == []


def test_another_default_is_told() -> None:
    [told, *_] = planted(everlog.Projector, Projector, "push", other_default)
    assert "Projector.push takes keyword-only hydrated bool | None = True, not" in told


def test_another_annotation_and_a_lost_overload_are_told() -> None:
    def read(self: EventStore, stream: str = "all") -> str:
        return stream

    read.__doc__ = EventStore.read.__doc__
    found = planted(everlog.EventStore, EventStore, "read", read)
    assert "EventStore.read has 0 overloads, not 2" in found
    assert "EventStore.read returns str" in found
    assert any("takes positional or keyword stream str = 'all', not" in line for line in found)


def test_a_function_that_is_still_async_or_takes_something_else_is_told() -> None:
    assert "migrate is to be awaited" in differences_of_functions(everlog.migrate, everlog.migrate)
    others = differences_of_functions(everlog.migrate, blocking.migration_script)
    assert "migrate takes 4 arguments, not 3" in others


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (">>> await f(x)", ">>> f(x)"),
        (">>> (await f(g(x))).y", ">>> f(g(x)).y"),
        (">>> print(await f(x))", ">>> print(f(x))"),
        (">>> [r async for r in s]", ">>> [r for r in s]"),
        ("... async def call(*a):", "... def call(*a):"),
        ("write `async with open() as s:`", "write `with open() as s:`"),
        ("`async def` and `def` handlers", "`async def` and `def` handlers"),
        ("They are awaited.", "They are awaited."),
    ],
)
def test_a_docstring_loses_its_awaits_and_nothing_else(text: str, wanted: str) -> None:
    assert translation.docstring("made up", text) == wanted


def test_a_text_that_is_to_be_replaced_and_is_not_there_is_told() -> None:
    with pytest.raises(LookupError, match=r"EventStore\.append does not say any more"):
        translation.docstring("EventStore.append", "Appends.")
