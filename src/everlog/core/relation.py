"""Relations: a key that names a set of streams, such as `tenant:acme` or `user:1:posts`."""

from __future__ import annotations

from dataclasses import dataclass

from everlog.core.stream import check_name

Pair = tuple[str, str]
"""`(relation, stream)`."""


@dataclass(frozen=True, slots=True)
class Relate:
    """A request to change relations: first what is cleared and removed, then what is added."""

    add: tuple[Pair, ...] = ()
    remove: tuple[Pair, ...] = ()
    clear: tuple[str, ...] = ()
    """Relations that lose all their streams."""
    clear_streams: tuple[str, ...] = ()
    """Streams that leave all their relations."""


@dataclass(frozen=True, slots=True)
class Related:
    """What became of a change: how many pairs were added and removed."""

    added: int
    removed: int


def check_relate(request: Relate) -> Relate:
    """Returns a request whose names can be stored; raises `InvalidName`."""
    for relation, stream in (*request.add, *request.remove):
        check_name("relation", relation)
        check_name("stream", stream)
    for relation in request.clear:
        check_name("relation", relation)
    for stream in request.clear_streams:
        check_name("stream", stream)
    return request
