"""How a signature and a docstring of the async store read in the blocking one."""

from __future__ import annotations

import ast
import doctest
import re
from collections.abc import Mapping, Sequence

# What is said otherwise, by what it is said of. A text that is not found any more is an error: then
# the docstring has changed, and so must what stands here.
OTHERWISE: Mapping[str, Sequence[tuple[str, str]]] = {
    "EventStore": [
        (
            """\
A store belongs to the event loop and the process that opened it. Methods that need the log
raise `StoreClosed` after it was closed, `WrongEventLoop` in another loop, `ForkedConnection` in
a forked child, and `StorageError` where the place of the log fails.""",
            """\
A store may be used by any number of threads at once, also by one that runs an event loop; what
they append at the same time is committed together. It belongs to the process that opened it.
Methods that need the log raise `StoreClosed` after it was closed, `ForkedConnection` in a
forked child, `MisusedStore` inside an `async def` handler, where a `def` handler may call them,
and `StorageError` where the place of the log fails. An interrupt (Ctrl-C) while one of them
waits is what cancelling is to the async store.""",
        )
    ],
    "EventStore.__init__": [
        (
            "open already; to be called in its event loop.",
            "open already, as `Ledger.of` opens one.",
        )
    ],
    "EventStore.open": [
        (
            "Opens the store that a URL names: `async with EventStore.open(...) as store:`.",
            "Opens the store that a URL names: `with EventStore.open(...) as store:`.",
        )
    ],
    "EventStore.append": [("if it is cancelled", "if it is interrupted")],
    "EventStore.transaction": [
        (
            "psycopg 3 connection to the same database, async\nor blocking, whose",
            "psycopg.Connection (version 3) to the same database, whose",
        ),
        ("Who is cancelled at the end", "Who is interrupted at the end"),
    ],
    "EventStore.import_records": [
        (
            "An async generator that an error cuts short is closed.",
            "It is iterated by the calling thread. A generator that an error cuts short is closed.",
        )
    ],
    "EventStore.save": [
        (
            "After an error or a\ncancellation that leaves",
            "After an error or an\ninterrupt that leaves",
        )
    ],
    "EventStore.retrying": [
        (
            "so it must not do anything else that counts.",
            "so it must not do anything else that counts; it runs in the calling thread.",
        )
    ],
    "Ledger": [
        (
            "`ForkedConnection` in a forked child,\n`WrongEventLoop` in another event loop, and",
            "`ForkedConnection` in a forked child,\nand",
        )
    ],
    "Ledger.commit": [("Cancelling the caller", "Interrupting the caller")],
    "Following": [
        ("in one task at a time", "in one thread at a time"),
        ("cancelled\nanywhere", "interrupted\nanywhere"),
    ],
    "Following.caught_up": [
        ("beside the loop, in another task:", "beside the loop, in another thread:"),
        (
            """\
>>> async def work() -> None:
...     async for record in following:
...         _ = record.data
>>> working = asyncio.create_task(work())
""",
            """\
>>> import threading
>>> from contextlib import suppress
>>> def work() -> None:
...     with suppress(StoreClosed):
...         for record in following:
...             _ = record.data
>>> threading.Thread(target=work).start()
""",
        ),
        (
            """\
>>> working.cancel()
True""",
            "",
        ),
    ],
    "EventStore.drained": [
        (
            """\
>>> writing = asyncio.create_task(store.append("user-1", EmailSet("jane@acme.com")))
>>> await asyncio.sleep(0)  # it begins
>>> await store.drained()
>>> (await store.info()).position
3""",
            """\
>>> projector = Projector()
>>> @projector.once(UserCreated)
... def confirm(record: Record[UserCreated]) -> None:
...     store.append(record.stream, EmailSet(record.data.email))  # waits for no hooks
>>> store.on_appended(projector.handle)
>>> [record] = store.append("user-2", UserCreated(email="joe@doe.com"))
>>> store.drained()
>>> store.info().position
4""",
        )
    ],
    "EventStore.ledger": [
        (
            "The ledger port under this store, for tools and tests.",
            "The ledger under this store, for tools and tests.",
        )
    ],
    "EventStore.close": [("`async with` calls it.", "`with` calls it.")],
    "Subscription.wait": [
        (
            "Cancelling the wait does not stop the worker.",
            "An interrupt (Ctrl-C) ends the wait, and leaving the `with` block then stops the"
            " worker.",
        )
    ],
    "Tx": [
        (
            "A `def` handler, which runs\nin a thread, gets `everlog.blocking.Tx`.",
            "An `async def` handler gets\n`everlog.Tx`.",
        )
    ],
    "Projector": [
        (
            "A projector may be\nused in several event loops: each keeps an order of its own.",
            "An `async\ndef` handler runs on the thread that all blocking stores need, so it cannot"
            " call them.\nA projector may be used by several stores and threads: they share its"
            " order.",
        )
    ],
    "Projector.handle": [("Cancelling it cancels them.", "Interrupting it cancels them.")],
    "Projector.push": [
        ("Cancelling it cancels\nthe handlers.", "Interrupting it\ncancels the handlers.")
    ],
    "Projector.once": [("are awaited after it", "are called after it")],
    "Projector.replay": [
        (
            "Made for `projector.replay(store.read(...))`: rebuilds a read model.",
            "Made for `projector.replay(store.read(...))`: rebuilds a read model. What is given\n"
            "is iterated by the calling thread.",
        )
    ],
}


def docstring(name: str, text: str) -> str:
    """Returns the docstring of a class or method as the blocking one has it."""
    for old, new in OTHERWISE.get(name, ()):
        if old not in text:
            raise LookupError(f"the docstring of {name} does not say any more:\n{old}")
        text = text.replace(old, new)
    text = text.replace("psycopg.AsyncConnection", "psycopg.Connection")
    text = re.sub(r"\banext\(", "next(", text)
    text = _without_parentheses(text)
    text = re.sub(r"\bawait (?=[\w(])", "", text)
    # An `async def` handler in prose stays one.
    return re.sub(r"\basync (?=(?:with|for)\b)|(?<!`)\basync (?=def\b)", "", text)


def _without_parentheses(text: str) -> str:
    """Turns `(await f(x)).y` into `f(x).y`, but not `print(await f(x))`."""
    begins = re.compile(r"(?<!\w)\(await ")
    while (found := begins.search(text)) is not None:
        depth, end = 1, found.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        text = text[: found.start()] + text[found.end() : end - 1] + text[end:]
    return text


def same_docstring(one: str, other: str) -> bool:
    """Whether two docstrings say and show the same, however their lines are broken."""
    return _content(one) == _content(other)


def _content(text: str) -> list[str]:
    parts: list[str] = []
    for part in doctest.DocTestParser().parse(text):
        if isinstance(part, doctest.Example):
            parts += [ast.unparse(ast.parse(part.source)), part.want, part.exc_msg or ""]
        else:
            parts.append(" ".join(part.split()))
    return parts


ASYNC_ONLY = {"Awaitable", "AsyncIterable"}
"""What a union of the async store has besides what the blocking one takes."""


def annotation(text: str) -> str:
    """Returns an annotation as the blocking store has it."""
    return ast.unparse(_Translated().visit(ast.parse(text, mode="eval")))


class _Translated(ast.NodeTransformer):
    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        members = [node.left, node.right]
        kept = [self.visit(member) for member in members if _name_of(member) not in ASYNC_ONLY]
        return kept[0] if len(kept) == 1 else ast.BinOp(kept[0], node.op, kept[1])

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if _name_of(node) in ("Opening", "Awaitable"):  # what comes out when it is awaited
            inner: ast.expr = self.visit(node.slice)
            return inner
        self.generic_visit(node)
        return node


def _name_of(node: ast.expr) -> str:
    match node:
        case ast.Subscript(value=ast.Name(id=name)):
            return name
        case _:
            return ""
