"""Transport: how an edge reaches its hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from everlog.core.sequencer import Append
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome


class Transport(Protocol):
    """A hub, as an edge sees it: near or far away.

    Every method may be called again with the same arguments: a message that arrives twice, or late,
    changes nothing. Raises `TransportFailed` where it cannot be told what became of a request, and
    an `EverlogError` of the hub's where it says no.
    """

    async def hello(self, hello: Hello) -> Welcome:
        """Introduces an edge. Raises `NotSupported` if the hub speaks none of its protocols."""
        ...

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        """Returns the next piece of history, of at most `size` records."""
        ...

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        """Hands records to the hub, which takes in those that it can, each judged on its own."""
        ...

    async def append(self, hub: str, request: Append) -> Made:
        """Appends to the hub's own ledger, whose id is `hub`; returns what it has made of it.

        The same ids again are a retry. Raises what an append raises, such as `WrongVersion`, and
        `WrongUpstream`.
        """
        ...

    async def wait(self, position: int, *, timeout_s: float) -> int:
        """Returns the hub's head once it is past `position`, or after `timeout_s` seconds."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A transport by which the hub tells what is new without being asked, while the line stands."""

    def heard(self, asked: Asked) -> Pulled | None:
        """Returns what the hub has told of what comes behind the cursor; None: it is to be asked.

        As good as what `pull` returns, but for what the hub may have had a moment ago and this has
        not heard of: who must know that asks.
        """
        ...

    def was_cut(self) -> bool:
        """Whether the line was cut since this was last called: the hub may be another one now."""
        ...


@runtime_checkable
class Foreseeing(Protocol):
    """A transport that has pieces before they are asked for, and a thread that reads them."""

    def show_to(self, look: Callable[[Asked, Pulled], None]) -> None:
        """Has that thread call a function with a piece, and what it is the answer to.

        So what needs nothing but the piece is done by the time it is pulled. Which pieces are shown
        is not promised, nor that each of them is pulled.
        """
        ...


@runtime_checkable
class Closable(Protocol):
    """A transport that holds lines open while it is used."""

    async def close(self) -> None:
        """Lets go of them. It may be used again, and closed again."""
        ...
