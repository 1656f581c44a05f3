"""HTTP: requests to one hub. Each has an answer in time, of a size and kind, or `TransportFailed`.

The token goes into one header of requests to the hub's own address and nowhere else: no redirect is
followed, and no error, log or repr has it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx2

from everlog.client.address import Address
from everlog.errors import TransportFailed
from everlog.wire.protocol import JSON, PROBLEM, SSE

CONNECT_S = 10.0
"""So long may it take to reach the hub, in seconds."""
ANSWER_S = 30.0
"""So long may a whole answer take, in seconds."""
KEPT_S = 4.0
"""So long a connection is kept that nothing goes over: less than servers keep theirs."""
MOST_BYTES = 64 * 1024 * 1024
"""A longer answer is none."""
MOST_WORDS = 300
"""So many characters of what a stranger answers are looked at or shown."""
LONGEST_REST_S = 600.0
"""A hub that asks for a rest gets so long at most, in seconds."""

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    kind: str
    """Its content type, without parameters."""
    headers: Mapping[str, str]
    body: bytes


class Http:
    """The way to one hub. Belongs to the event loop in which it is first used, until `close`."""

    def __init__(
        self,
        address: Address,
        *,
        answer_s: float = ANSWER_S,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """`transport`: what carries the requests, if not the network."""
        self._address = address
        self._answer_s = answer_s
        self._transport = transport
        self._client: httpx2.AsyncClient | None = None

    @property
    def place(self) -> str:
        """The hub's URL, to be shown."""
        return self._address.base

    def __repr__(self) -> str:
        return f"<Http {self.place}>"

    async def ask(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        query: Query = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        kind: str = JSON,
        answer_s: float | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Answer:
        """Sends a request, once more if a kept connection turns out to be gone; returns the answer.

        - `accept`: the content types that are answered, besides that of problems
        - `kind`: the content type of `body`
        - `answer_s`: in so many seconds it is to be there, whole

        Raises `TransportFailed` for anything that no hub says.
        """
        sent = {"accept": accept, **(headers or {})}
        if body is not None:
            sent["content-type"] = kind
        limit_s = self._answer_s if answer_s is None else answer_s
        for again in (True, False):
            try:
                with self._told(path, limit_s):
                    async with asyncio.timeout(limit_s):
                        async with self._sent(method, path, query, sent, body, limit_s) as got:
                            return await self._whole(path, got, accept, most_bytes)
            except _GoneAway as error:
                if not again:
                    raise TransportFailed(str(error)) from error.__cause__
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def listen(
        self, path: str, *, query: Query, headers: Mapping[str, str], silence_s: float
    ) -> AsyncGenerator[Answer | AsyncIterator[bytes]]:
        """Opens a stream of events: gives its bytes as they come, or the hub's other answer.

        - `silence_s`: after so many seconds without a byte it is none

        Raises `TransportFailed`, also while the bytes are iterated over.
        """
        sent = {"accept": SSE, "cache-control": "no-store", **headers}
        with self._told(path, silence_s):
            async with self._sent("GET", path, query, sent, None, silence_s) as got:
                if got.status_code == 200 and _kind_of(got) == SSE:
                    self._check_coding(path, got)
                    yield got.aiter_raw()
                else:
                    async with asyncio.timeout(self._answer_s):
                        yield await self._whole(path, got, SSE, MOST_BYTES)

    async def close(self) -> None:
        """Closes all connections. It may be used again."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # --- below ---

    @asynccontextmanager
    async def _sent(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | None,
        read_s: float,
    ) -> AsyncGenerator[httpx2.Response]:
        client = self._client
        if client is None:
            client = self._client = self._new_client()
        sent = dict(headers)
        if self._address.token is not None:
            sent["authorization"] = f"Bearer {self._address.token}"
        request = client.build_request(
            method,
            self._address.base + path,
            params=list(query),
            headers=sent,
            content=body,
            timeout=httpx2.Timeout(read_s, connect=min(read_s, CONNECT_S), pool=None),
        )
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            yield response
        finally:
            await response.aclose()

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=self._transport,
            follow_redirects=False,
            # No proxy of the environment stands between two programs of one machine.
            trust_env=not self._address.near,
            # Reading the certificates of a machine takes its time; in the clear none is needed.
            # By itself and not by the above: those of SSL_CERT_FILE hold for this machine as well.
            verify=self._address.base.startswith("https://") and httpx2.create_ssl_context(),
            headers={"accept-encoding": "identity", "user-agent": "everlog"},
            limits=httpx2.Limits(
                max_connections=32, max_keepalive_connections=16, keepalive_expiry=KEPT_S
            ),
        )

    async def _whole(self, path: str, got: httpx2.Response, accept: str, most_bytes: int) -> Answer:
        status, kind = got.status_code, _kind_of(got)
        if 300 <= status < 400:
            to = urlsplit(got.headers.get("location", ""))
            there = f"{to.scheme}://{to.hostname}" if to.hostname else "another path"
            raise TransportFailed(
                f"{self.place} sends whoever asks for {path} to {there[:MOST_WORDS]}, where the "
                "token is not taken; if the hub is there, use its URL"
            )
        expected = (
            kind in [each.strip() for each in accept.split(",")]
            if status < 300
            else (kind == PROBLEM)
        )
        if not expected:
            raise TransportFailed(
                f"{self.place} answered {path} with status {status} and "
                f"{kind[:MOST_WORDS] or 'nothing'}, as no hub does: what is there?",
                retry_after_s=retry_after_s(got.headers) if status in (429, 503) else 0.0,
            )
        self._check_coding(path, got)
        said = got.headers.get("content-length", "0")
        parts: list[bytes] = []
        size = int(said) if said.isascii() and said.isdigit() else 0
        if size <= most_bytes:
            size = 0
            async for part in got.aiter_raw():
                size += len(part)
                parts.append(part)
                if size > most_bytes:
                    break
        if size > most_bytes:
            raise TransportFailed(
                f"{self.place} answered {path} with more than {most_bytes:,} bytes"
            )
        return Answer(status, kind, got.headers, b"".join(parts))

    def _check_coding(self, path: str, got: httpx2.Response) -> None:
        coding = got.headers.get("content-encoding", "identity")
        if coding != "identity":
            raise TransportFailed(
                f"{self.place} answered {path} as {coding[:MOST_WORDS]!r}, which was not asked for"
            )

    @contextmanager
    def _told(self, path: str, limit_s: float) -> Generator[None]:
        """Says of what goes wrong on the way what it is, and where."""
        try:
            yield
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise TransportFailed(
                f"{self.place} cannot be reached: {_words(error)}", was_sent=False
            ) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise TransportFailed(
                f"{self.place} has not answered {path} for {limit_s:g} s"
            ) from error
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError) as error:
            raise _GoneAway(f"the line to {self.place} was cut: {_words(error)}") from error
        except (httpx2.HTTPError, httpx2.StreamError, OSError) as error:
            raise TransportFailed(f"{self.place} cannot be reached: {_words(error)}") from error


class _GoneAway(TransportFailed):
    """The connection ended before the answer did."""


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Returns for how many seconds a hub asks to be left alone; 0 if it does not."""
    said = headers.get("retry-after", "")
    if not said.isascii() or not said.isdigit():
        return 0.0
    return min(float(said), LONGEST_REST_S)


def _kind_of(got: httpx2.Response) -> str:
    kind: str = got.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _words(error: Exception) -> str:
    text = str(error)[:MOST_WORDS] or type(error).__name__
    return "".join(char if char.isprintable() else "?" for char in text)
