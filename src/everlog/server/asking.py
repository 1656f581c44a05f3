"""Asking: a request as it came, and how much of it is taken in before anybody looks at it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope

from everlog.core.stream import check_name
from everlog.errors import InvalidMessage, TooBusy, TooLarge
from everlog.server.access import Caller
from everlog.server.limits import Limits
from everlog.server.routes import Route
from everlog.wire.json_text import MOST
from everlog.wire.messages import Scope as EdgeScope
from everlog.wire.problems import Problem, plain_problem, problem_of
from everlog.wire.protocol import MAX_IDS

T = TypeVar("T")

IN_THREAD_BYTES = 64 * 1024
"""A body of so many bytes is work for a thread."""


class Turned(Exception):
    """A request is turned away, for a reason that only HTTP has."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.status)
        self.problem = problem
        self.headers = dict(headers or {})


def turned(status: int, code: str, detail: str, **headers: str) -> Turned:
    """Returns what turns a request away; `_` in the name of a header stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Turned(plain_problem(status, code, detail), named)


def not_now(why: str, *, retry_after_s: float) -> Turned:
    """Returns what turns a request away because of the server, and not of who asks: 503."""
    return Turned(problem_of(TooBusy(why, retry_after_s=retry_after_s), status=503))


class Gone(Exception):
    """Who has asked is not there any more."""


SHARES = 4
"""Of what all bodies may take, one of those who ask has so large a part: the rest is for others."""


class Bodies:
    """Counts the bytes of all bodies that are being read or worked on, and of whom they are."""

    def __init__(self, limits: Limits) -> None:
        self._limit = limits.bodies_bytes
        self._each = max(limits.body_bytes, limits.bodies_bytes // SHARES)
        self._of: Counter[str] = Counter()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """So many there are."""
        return self._bytes

    @contextmanager
    def one(self) -> Generator[_Share]:
        """A body's share, given back at the end."""
        share = _Share(self)
        try:
            yield share
        finally:
            self._bytes -= share.bytes
            self._of[share.whose] -= share.bytes
            if not self._of[share.whose]:
                del self._of[share.whose]

    def add(self, size: int, whose: str) -> None:
        """Counts more; raises `TooBusy` if it is too much of theirs, `Turned` if of all."""
        if self._of[whose] + size > self._each:
            raise TooBusy("too much in requests of yours that are under way", retry_after_s=1.0)
        if self._bytes + size > self._limit:
            raise not_now("the server works on very large requests", retry_after_s=1.0)
        self._of[whose] += size
        self._bytes += size


@dataclass(slots=True)
class _Share:
    bodies: Bodies
    whose: str = ""
    """A token's key or an address; known before there is anything to count."""
    bytes: int = 0

    def add(self, size: int) -> None:
        self.bodies.add(size, self.whose)
        self.bytes += size


@dataclass(slots=True)
class Asking:
    """A request."""

    route: Route
    scope: Scope
    receive: Receive
    caller: Caller
    headers: Mapping[str, str]
    limits: Limits
    share: _Share
    has_body: bool = False
    """Whether its body has been read to its end."""
    _query: list[tuple[str, str]] | None = field(default=None)

    async def body(self) -> bytes:
        """Returns the whole body; raises `TooLarge`, `Turned` or `Gone`."""
        limit = self.limits.body_bytes
        declared = self.headers.get("content-length")
        if declared is not None:
            if not (declared.isascii() and declared.isdigit()):
                raise turned(400, "bad_length", "Content-Length is no number")
            if len(declared) > 18 or int(declared) > limit:
                raise TooLarge("the body", size=int(declared[:18]), limit=limit)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.limits.body_s):
                while not self.has_body:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    chunk: bytes = message.get("body", b"")
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge("the body", size=size, limit=limit)
                    self.share.add(len(chunk))
                    chunks.append(chunk)
                    self.has_body = not message.get("more_body", False)
        except TimeoutError:
            raise turned(
                408, "too_slow", f"the body did not come within {self.limits.body_s:g} s"
            ) from None
        return b"".join(chunks)

    @property
    def query(self) -> Sequence[tuple[str, str]]:
        """The parameters of the query; raises `InvalidMessage` for what is none of the route's."""
        if self._query is None:
            raw: bytes = self.scope.get("query_string", b"")
            try:
                found = parse_qsl(
                    raw.decode("ascii"),
                    keep_blank_values=True,
                    errors="strict",
                    max_num_fields=MAX_IDS,
                )
            except ValueError:  # an encoding that is none, or too many of them
                raise InvalidMessage("query", "cannot be read") from None
            known = {each.name for each in self.route.parameters if each.place == "query"}
            for name, _ in found:
                if name not in known:
                    listed = ", ".join(sorted(known)) or "it takes none"
                    raise InvalidMessage("query", f"{name[:40]!a} is no parameter: {listed}")
            self._query = found
        return self._query

    def one(self, name: str) -> str | None:
        """Returns the parameter of a name; None if there is none."""
        found = [value for key, value in self.query if key == name]
        if len(found) > 1:
            raise InvalidMessage(f"query.{name}", "comes twice")
        return found[0] if found else None

    def number(self, name: str, default: int, *, least: int = 0, most: int = MOST) -> int:
        """Returns a parameter that is a whole number."""
        value = self.one(name)
        if value is None:
            return default
        if value.isascii() and value.isdigit() and len(value) <= 19 and least <= int(value) <= most:
            return int(value)
        raise InvalidMessage(f"query.{name}", f"must be a whole number from {least} to {most}")

    def seconds(self, name: str, default: float) -> float:
        """Returns a parameter that is a number of seconds."""
        value = self.one(name)
        if value is None:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1e6:
            raise InvalidMessage(f"query.{name}", "must be a number of seconds from 0")
        return number

    def edge_scope(self) -> EdgeScope:
        """Returns the scope in the query."""
        types = tuple(value for name, value in self.query if name == "type")
        scope = EdgeScope(self.one("prefix"), self.one("relation"), types or None)
        check_scope_names(scope)
        return scope

    def path_value(self, name: str) -> str:
        """Returns what stands in the path for a parameter."""
        values: dict[str, Any] = self.scope.get("path_params", {})
        return str(values[name])


def headers_of(scope: Scope) -> dict[str, str]:
    """Returns the headers by their names in lower case; of several, the first."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return found


def check_scope_names(scope: EdgeScope) -> None:
    """Raises `InvalidName` for what names no stream, relation or type."""
    for kind, name in (("prefix", scope.prefix), ("relation", scope.relation)):
        if name is not None:
            check_name(kind, name)
    for type in scope.types or ():
        check_name("type", type)


async def in_thread(body: bytes, read: Callable[[], T]) -> T:
    """Returns what `read` makes of a body; of a large one in a thread."""
    return await asyncio.to_thread(read) if len(body) > IN_THREAD_BYTES else read()
