"""The ledger of a hub far away, without one here: the port of storage, by HTTP."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NoReturn, TypeVar

from everlog.client.asking import ask
from everlog.client.http import Http
from everlog.client.waiting import News, ask_wait
from everlog.core.record import StoredRecord
from everlog.core.relation import Relate
from everlog.core.selection import PAGE_RECORDS, Cursor, Order, Page, Selection
from everlog.core.sequencer import Append, Head, Identity, Placed, ids_of
from everlog.core.snapshot import DropSnapshots, PutSnapshot, Snapshot, SnapshotKey
from everlog.core.taking import Held, Outside, UpstreamState
from everlog.errors import (
    CannotOpen,
    EverlogError,
    NotSupported,
    OutcomeUnknown,
    StoreClosed,
    TooBusy,
    TooLarge,
    TransportFailed,
    Unreachable,
)
from everlog.ports.ledger import Capabilities, FoldStart, Joined, Outcome, Problem, Request
from everlog.ports.owner import Owner
from everlog.ports.upstreams import Offers
from everlog.wire.protocol import MAX_PIECE, NDJSON
from everlog.wire.reads import (
    ReadText,
    StatusText,
    read_found,
    read_names,
    read_page,
    read_status,
    write_ids,
    write_names,
    write_read,
)
from everlog.wire.talks import read_made, write_append

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
"""Between two attempts at the same request, in seconds."""
MOST_APPENDED = 20_000
"""Of so many events it is remembered that they were appended here."""

T = TypeVar("T")


class RemoteLedger:
    """A ledger that lives at a hub. It appends, reads and follows; the rest is done at the hub."""

    def __init__(self, http: Http, status: StatusText, *, timeout_s: float) -> None:
        self._http = http
        self._identity = status.identity
        self._timeout_s = timeout_s
        self._owner = Owner(f"the store at {http.place}")
        self._appended: dict[str, None] = {}
        """The ids of what was appended last: what comes back once more is no news."""
        self._news = News(lambda position, wait_s: self._ask_wait(position, wait_s))
        self._commits: set[asyncio.Task[Sequence[Outcome]]] = set()
        self._closing = asyncio.Event()

    @classmethod
    async def open(cls, http: Http, *, timeout_s: float = 30.0) -> RemoteLedger:
        """Opens the ledger of a hub. Raises `CannotOpen` if it is not reached, `Refused`."""
        try:
            status = await _ask_status(http)
        except (TransportFailed, NotSupported) as error:
            await http.close()
            raise CannotOpen(f"the store cannot be opened: {error}") from error
        except BaseException:
            await http.close()
            raise
        return cls(http, status, timeout_s=timeout_s)

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            durable=True, shared=True, backup=False, transactions=False, whole=False
        )

    @property
    def upstreams(self) -> RemoteUpstreams:
        return RemoteUpstreams(self._http.place, self._owner)

    # --- writing ---

    async def commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        self._owner.check()
        # A task of its own: who waits for it may be cancelled, and it goes on.
        task = asyncio.get_running_loop().create_task(self._commit(requests))
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def _commit(self, requests: Sequence[Request]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        away: Unreachable | None = None
        for request in requests:
            if not isinstance(request, Append):
                outcomes.append(_refused(request, self._http.place))
            elif away is not None:  # each would wait as long, for the same hub
                outcomes.append(Unreachable(str(away)))
            else:
                try:
                    outcomes.append(await self._append(request))
                except Unreachable as error:
                    away = error
                    outcomes.append(error)
                except EverlogError as error:
                    outcomes.append(error)
        return outcomes

    async def _append(self, request: Append) -> Placed:
        may_be_stored = False
        body = write_append(request, self._identity.ledger)

        async def once() -> Sequence[StoredRecord]:
            nonlocal may_be_stored
            try:
                made = await ask(self._http, "POST", "/v1/append", read_made, body=body)
                return made.records
            except TransportFailed as error:
                may_be_stored = may_be_stored or error.was_sent
                raise
            except OutcomeUnknown:
                may_be_stored = True
                raise

        ids = ids_of([request])
        try:
            records = await self._patiently(once)
        except Unreachable as error:
            if may_be_stored:
                raise OutcomeUnknown(ids) from error
            raise
        if [record.id for record in records] != ids:
            raise OutcomeUnknown(ids)
        # Of a retry, those of the first try come back: made with another nonce, or known here.
        new = [
            record
            for record, event in zip(records, request.events, strict=True)
            if record.nonce == event.nonce and record.id not in self._appended
        ]
        self._appended.update(dict.fromkeys(record.id for record in new))
        while len(self._appended) > MOST_APPENDED:
            del self._appended[next(iter(self._appended))]
        return Placed(tuple(records), tuple(new))

    # --- reading ---

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        self._owner.check()
        body = write_read(ReadText(selection, cursor, min(size, PAGE_RECORDS)))
        page = await self._patiently(
            lambda: ask(self._http, "POST", "/v1/read", read_page, accept=NDJSON, body=body)
        )
        return page

    async def fold_from(
        self, selection: Selection, key: SnapshotKey | None, *, size: int = 500
    ) -> FoldStart:
        return FoldStart(None, await self.read(selection, size=size), 0)

    async def find(self, ids: Sequence[str]) -> Sequence[StoredRecord | None]:
        self._owner.check()
        found: list[StoredRecord | None] = []
        size = MAX_PIECE
        while len(found) < len(ids):
            asked = ids[len(found) : len(found) + size]
            try:
                found += await self._patiently(partial(self._find, asked))
            except TooLarge:
                if len(asked) == 1:
                    raise
                size = len(asked) // 2  # so many do not fit into an answer
        return found

    async def _find(self, ids: Sequence[str]) -> list[StoredRecord | None]:
        found = await ask(self._http, "POST", "/v1/find", read_found, body=write_ids(ids))
        if [each.id for each in found if each is not None] != [
            id for id, each in zip(ids, found, strict=False) if each is not None
        ] or len(found) != len(ids):
            raise TransportFailed(f"{self._http.place} did not answer which records it has")
        return found

    async def overtaken(self, stream: str, register: str, place: tuple[str, str]) -> bool:
        selection = Selection(streams=(stream,), as_of=None, order=Order.CREATED)
        page = await self.read(selection)
        while True:
            if any(each.register == register and each.order > place for each in page.records):
                return True
            if page.cursor is None:
                return False
            page = await self.read(page.selection, cursor=page.cursor)

    async def streams_of(self, relations: Sequence[str]) -> Sequence[str]:
        return await self._names("relations", relations, "streams")

    async def relations_of(self, streams: Sequence[str]) -> Sequence[str]:
        return await self._names("streams", streams, "relations")

    async def _names(self, of: str, names: Sequence[str], wanted: str) -> Sequence[str]:
        self._owner.check()
        path, body = f"/v1/{wanted}", write_names(of, names)
        found = await self._patiently(
            lambda: ask(
                self._http, "POST", path, lambda answer: read_names(wanted, answer), body=body
            )
        )
        return list(found)

    async def find_snapshot(self, key: SnapshotKey) -> Snapshot | None:
        self._owner.check()
        return None

    async def head(self) -> Head:
        self._owner.check()
        return (await self._patiently(lambda: _ask_status(self._http))).head

    async def wait(self, position: int, *, timeout_s: float) -> int:
        self._owner.check()
        return await self._news.past(position, timeout_s=timeout_s)

    async def _ask_wait(self, position: int, wait_s: float) -> int:
        return await self._patiently(lambda: ask_wait(self._http, position, wait_s))

    # --- what it cannot ---

    def join(self, connection: object) -> Joined:
        self._owner.check()
        raise NotSupported(
            "a store far away has no transactions that events could join; open a store here, in "
            "PostgreSQL, and keep it in step: store.sync(url)"
        )

    async def check(self) -> Sequence[Problem]:
        self._owner.check()
        return []

    async def backup(self, path: str) -> None:
        self._owner.check()
        raise NotSupported(
            "a store far away has no file here; to have a copy of its log, open a store here, such "
            "as sqlite:///copy.db, and bring it into step: store.sync(url).once()"
        )

    async def close(self) -> None:
        if self._owner.forked or self._owner.closed:
            return
        self._owner.closed = True
        self._closing.set()
        await self._news.close(StoreClosed(f"the store at {self._http.place} was closed meanwhile"))
        if self._commits:
            await asyncio.wait(self._commits)
        await self._http.close()

    # --- below ---

    async def _patiently(self, once: Callable[[], Awaitable[T]]) -> T:
        """Tries until it is answered; raises `Unreachable` after the time."""
        deadline, pause_s = time.monotonic() + self._timeout_s, FIRST_PAUSE_S
        while True:
            try:
                return await once()
            except (TransportFailed, TooBusy) as error:
                rest_s = max(error.retry_after_s, random.uniform(pause_s / 2, pause_s))  # noqa: S311
                if time.monotonic() + rest_s >= deadline or self._closing.is_set():
                    raise Unreachable(f"{error}; it was tried for {self._timeout_s:g} s") from error
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            await asyncio.sleep(rest_s)


class RemoteUpstreams:
    """What a hub far away knows of hubs of its own is not told."""

    def __init__(self, place: str, owner: Owner) -> None:
        self._place = place
        self._owner = owner

    async def states(self) -> Sequence[UpstreamState]:
        self._owner.check()
        return ()

    async def state(self, upstream: str) -> UpstreamState | None:
        self._refuse()

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        self._refuse()

    async def held(self, upstream: str) -> Sequence[Held]:
        self._refuse()

    async def orphans(self, *, after: int, size: int) -> Sequence[StoredRecord]:
        self._refuse()

    async def version(self, upstream: str, stream: str, version: int) -> int | None:
        self._refuse()

    async def outside(
        self, upstream: str, *, after: int, until: int, size: int
    ) -> Sequence[Outside]:
        self._refuse()

    async def first_tombstone(self, stream: str | None = None) -> int | None:
        self._owner.check()
        return None  # a store of which a part went is no hub

    async def unfoldings(self) -> int:
        self._owner.check()
        return 0  # no snapshot is kept, so none is too old

    async def revision(self, relation: str) -> int:
        self._refuse()

    async def chains(self, positions: Sequence[int]) -> Sequence[bytes | None]:
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._owner.check()
        raise NotSupported(
            f"the store at {self._place} is not here, so it cannot be kept in step from here; open "
            "a store here, such as sqlite:///copy.db, and sync that with the URL"
        )


async def _ask_status(http: Http) -> StatusText:
    return await ask(http, "GET", "/v1/status", read_status)


def _refused(request: Request, place: str) -> NotSupported:
    if isinstance(request, Relate):
        what = "relations are changed; add to them with store.append(..., relations=[...]), or"
    elif isinstance(request, PutSnapshot | DropSnapshots):
        what = "snapshots are kept; fold without them (snapshots='manual'), or"
    else:
        what = "records are taken in;"
    return NotSupported(
        f"at {place} no {what} open a store here, such as sqlite:///copy.db, and keep it in step: "
        "store.sync(url)"
    )
