"""Asking: a request to a hub, and what it says: an answer that was read, or the hub's error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

from everlog.client.http import Answer, Http, Query, retry_after_s
from everlog.errors import EverlogError, InvalidMessage, TransportFailed
from everlog.wire.problems import error_of
from everlog.wire.protocol import JSON

T = TypeVar("T")

IN_THREAD = 64 * 1024
"""From so many bytes on, reading an answer is work for a thread."""


async def ask(
    http: Http,
    method: str,
    path: str,
    read: Callable[[bytes], T],
    *,
    accept: str = JSON,
    query: Query = (),
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    kind: str = JSON,
    answer_s: float | None = None,
) -> T:
    """Sends a request and returns what `read` makes of the answer; raises what the hub says.

    Raises `TransportFailed` for what is no answer, and where none comes.
    """
    answer = await http.ask(
        method,
        path,
        accept=accept,
        query=query,
        headers=headers,
        body=body,
        kind=kind,
        answer_s=answer_s,
    )
    if answer.status >= 300:
        raise problem_in(answer)
    return await read_in(http, path, read, answer)


async def read_in(http: Http, path: str, read: Callable[[bytes], T], answer: Answer) -> T:
    """Returns what `read` makes of an answer; raises `TransportFailed` if it is none."""
    try:
        if len(answer.body) > IN_THREAD:
            return await asyncio.to_thread(read, answer.body)
        return read(answer.body)
    except InvalidMessage as error:
        raise TransportFailed(
            f"{http.place} answered {path} with what is no answer: {error}"
        ) from error


def problem_in(answer: Answer) -> EverlogError:
    """Returns what a hub says that it does not do."""
    error = error_of(answer.body, status=answer.status)
    if isinstance(error, TransportFailed):
        error.retry_after_s = retry_after_s(answer.headers)
    return error
