"""The docstrings are true: their examples run, and every public callable has one."""

import builtins
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import everlog
import everlog.core.misfit
import everlog.errors
import everlog.printing
import everlog.server.asking
import everlog.testing
from everlog import (
    AggregateRoot,
    EventStore,
    Following,
    Outcome,
    Projector,
    Reading,
    Rebuild,
    Subscription,
    Sync,
    Transaction,
    blocking,
)
from everlog.blocking.relations import Relations as BlockingRelations
from everlog.blocking.snapshots import Snapshots as BlockingSnapshots
from everlog.blocking.subscriptions import Subscriptions as BlockingSubscriptions
from everlog.store.relations import Relations
from everlog.store.snapshots import Snapshots
from everlog.store.subscribing import Subscriptions
from everlog.testing import PostgresServer
from tests.docs.docstring_examples import (
    Docstring,
    Namespace,
    Prepare,
    docstrings_below,
    failures_of,
    without_example,
)
from tests.docs.users import (
    a_blocking_store_in_a_database,
    a_blocking_store_with_a_user,
    a_store_in_a_database,
    a_store_with_a_user,
)

PACKAGE = Path(everlog.__file__).parent
DOCSTRINGS = list(docstrings_below(PACKAGE))
WITH_EXAMPLES = [docstring for docstring in DOCSTRINGS if docstring.examples]

METHODS_TOO: tuple[type[Any], ...] = (
    AggregateRoot,
    EventStore,
    Following,
    Outcome,
    Projector,
    Reading,
    Rebuild,
    Relations,
    Snapshots,
    Subscription,
    Subscriptions,
    Sync,
    Transaction,
    blocking.AggregateRoot,
    blocking.EventStore,
    blocking.Following,
    blocking.Projector,
    blocking.Reading,
    blocking.Rebuild,
    blocking.Subscription,
    blocking.Sync,
    blocking.Transaction,
    BlockingRelations,
    BlockingSnapshots,
    BlockingSubscriptions,
)
# What an aggregate calls; `AggregateRoot.push` and `.snapshot` have the examples. And what the
# store itself calls: so have `EventStore.subscription` and `.close`.
NOT_CALLED_BY_PROGRAMS = {
    "everlog.store.event_store.EventStore.pend",
    "everlog.store.event_store.EventStore.snapshot_aggregate",
    "everlog.store.subscribing.Subscriptions.close",
    "everlog.store.subscribing.Subscriptions.close_later",
    "everlog.store.subscribing.Subscriptions.make",
    "everlog.store.subscribing.Subscriptions.make_rebuild",
    "everlog.store.subscribing.Subscriptions.place",
}


def name_of(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def public_callables() -> Iterator[str]:
    """The names, in full, of the functions, classes and methods that a program may call."""
    for module in (everlog, everlog.printing, everlog.testing, everlog.server, blocking):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield name_of(thing)
    for cls in METHODS_TOO:
        yield name_of(cls)
        for name, member in vars(cls).items():
            if not name.startswith("_"):
                function = member.fget if isinstance(member, property) else getattr(cls, name)
                if inspect.isfunction(function):
                    yield name_of(function)


# Of a record, of which the others need no example.
KEY = "everlog.core.record.Record.idempotency_key"
REQUIRED = sorted(
    {"everlog", "everlog.blocking", KEY, *public_callables()} - NOT_CALLED_BY_PROGRAMS
)


def prepared_for(docstring: Docstring, new_database: Callable[[], str]) -> Prepare:
    """Examples of the public face begin with the names of `everlog`; others with their module's."""
    if docstring.name in REQUIRED:
        is_blocking = docstring.name.startswith("everlog.blocking")
        if docstring.speaks_of("url", "connection"):
            in_it = a_blocking_store_in_a_database if is_blocking else a_store_in_a_database
            return partial(in_it, new_database())
        return a_blocking_store_with_a_user if is_blocking else a_store_with_a_user

    @asynccontextmanager
    async def prepare() -> AsyncGenerator[Namespace, None]:
        yield dict(vars(import_module(module_of(docstring))))

    return prepare


def module_of(docstring: Docstring) -> str:
    return ".".join(docstring.path.relative_to(PACKAGE.parent).with_suffix("").parts)


def docstring(text: str, name: str = "made.up") -> Docstring:
    return Docstring(name, Path("made_up.py"), 1, inspect.cleandoc(text))


@pytest.mark.parametrize("docstring", WITH_EXAMPLES, ids=lambda docstring: docstring.name)
def test_the_examples_of_a_docstring_run_and_say_what_they_show(
    docstring: Docstring,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    def new_database() -> str:  # of a server that is started for the first who asks
        server: PostgresServer = request.getfixturevalue("postgres_server")
        return server.new_database()

    monkeypatch.chdir(tmp_path)  # where `sqlite:///users.db` of an example is
    failures = failures_of(docstring, prepared_for(docstring, new_database))
    assert not failures, "\n\n" + "\n".join(failures)


def test_every_public_callable_has_an_example() -> None:
    assert without_example(REQUIRED, DOCSTRINGS) == []


def test_what_needs_no_example_exists_and_has_none() -> None:
    assert set(public_callables()) >= NOT_CALLED_BY_PROGRAMS
    assert without_example(NOT_CALLED_BY_PROGRAMS, DOCSTRINGS) == sorted(NOT_CALLED_BY_PROGRAMS)


def test_the_public_callables_are_found_in_all_their_kinds() -> None:
    assert {
        "everlog.core.event.event",  # a function
        "everlog.subscriptions.causation.caused_by",  # a decorated one
        "everlog.errors.WrongVersion",  # a class
        "everlog.store.event_store.EventStore.open",  # a static method
        "everlog.store.event_store.EventStore.read",  # an overloaded one
        "everlog.store.event_store.EventStore.capabilities",  # a property
        "everlog.store.relations.Relations.add",  # of an attribute of a store
        "everlog.testing.builders.record_of",
        "everlog.blocking.event_store.EventStore.read",
    } <= set(REQUIRED)


def test_every_error_that_a_docstring_says_is_raised_exists() -> None:
    named = [
        (docstring.name, error)
        for docstring in DOCSTRINGS
        for sentence in re.findall(r"\b[Rr]aises? ([^.]*)", docstring.text)
        for error in re.findall(r"`([A-Z]\w+)`", sentence)
    ]
    assert len(named) > 50
    own = [everlog.errors, everlog.core.misfit, everlog.server.asking]
    known = {**vars(builtins)}.keys() | {name for module in own for name in vars(module)}
    assert [(name, error) for name, error in named if error not in known] == []


# --- tests of the test ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "told"),
    [
        (">>> 1 + 1\n3", "Expected:\n    3\nGot:\n    2"),
        (">>> print('a')\nb", "Got:\n    a"),
        (">>> 1 + 1", "Expected nothing"),
        (">>> x = 1\n1", "Got nothing"),
        (">>> 1 / 0", "ZeroDivisionError: division by zero"),
        (">>> x =", "SyntaxError"),
        (">>> 1\nTraceback (most recent call last):\nValueError: no", "Nothing was raised"),
        (
            ">>> int('a')\nTraceback (most recent call last):\n    ...\nValueError: b",
            "Raised:\n    ValueError: invalid literal",
        ),
        (">>> await asyncio.sleep(0, result=1)\n2", "Got:\n    1"),
        (
            ">>> [record.version async for record in store.read('user-1')]\n[1, 2, 3]",
            "Got:\n    [1, 2]",
        ),
        (">>> await store.get(User, 'user-1')\n<User 'user-1' version 7>", "version 2"),
    ],
)
def test_an_example_that_is_not_true_is_told(example: str, told: str) -> None:
    [failure] = failures_of(docstring(f"Does.\n\n{example}\n"), a_store_with_a_user)
    assert told in failure
    assert failure.startswith("made_up.py:3: made.up\n")


@pytest.mark.parametrize(
    "example",
    [
        ">>> 1 + 1\n2",
        ">>> x = 1\n>>> x\n1",
        ">>> async with EventStore.open('memory:') as other:\n"
        "...     (await other.info()).position\n0",
        ">>> async for record in store.read():\n...     print(record.version)\n1\n2",
        ">>> int('a')\nTraceback (most recent call last):\n    ...\nValueError: invalid ...",
    ],
)
def test_an_example_that_is_true_passes(example: str) -> None:
    assert failures_of(docstring(example), a_store_with_a_user) == []


def test_an_example_of_the_blocking_store_is_told_when_it_is_not_true() -> None:
    wrong = docstring(">>> store.get(User, 'user-1')\n<User 'user-1' version 7>")
    [failure] = failures_of(wrong, a_blocking_store_with_a_user)
    assert "version 2" in failure
    right = docstring(">>> store.get(User, 'user-1')\n<User 'user-1' version 2>")
    assert failures_of(right, a_blocking_store_with_a_user) == []


@pytest.mark.parametrize(
    ("prepare", "example"),
    [
        (a_store_in_a_database, ">>> async with store.transaction(connection) as tx:"),
        (a_blocking_store_in_a_database, ">>> with store.transaction(connection) as tx:"),
    ],
)
def test_an_example_of_a_transaction_is_told_when_it_is_not_true(
    prepare: Callable[[str], AbstractAsyncContextManager[Namespace]],
    example: str,
    postgres_server: PostgresServer,
) -> None:
    lines = [
        example,
        "...     tx.append('user-1', EmailSet('jane@acme.com'))",
        ">>> len(tx.records)",
    ]
    right, wrong = docstring("\n".join([*lines, "1"])), docstring("\n".join([*lines, "2"]))
    assert right.speaks_of("url", "connection")
    assert failures_of(right, partial(prepare, postgres_server.new_database())) == []
    [failure] = failures_of(wrong, partial(prepare, postgres_server.new_database()))
    assert "Got:\n    1" in failure


def test_a_public_callable_without_an_example_is_told() -> None:
    there = [
        docstring("Does.\n\n>>> 1\n1", "shown"),
        docstring("Does.", "described"),
        docstring("Does: `>>>` is text here.", "quoted"),
    ]
    names = ["shown", "described", "quoted", "silent"]
    assert without_example(names, there) == ["described", "quoted", "silent"]


def test_taking_away_the_example_of_append_is_told() -> None:
    name = name_of(EventStore.append)
    bare = [
        one._replace(text=one.text.replace(">>>", "")) if one.name == name else one
        for one in DOCSTRINGS
    ]
    assert without_example(REQUIRED, bare) == [name]
