"""`PostgresCheckpoints`: the checkpoints of a ledger, in its schema, beside the read models."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from everlog.adapters.postgres import checkpoint_statements as statements
from everlog.adapters.postgres import schema
from everlog.adapters.postgres.checkpointing import (
    Moved,
    PostgresCheckpointing,
    has_committed,
    json_of,
    lease_lost,
    storable,
)
from everlog.adapters.postgres.connections import Place, Pool, open_pool, open_readers
from everlog.adapters.postgres.executing import Executor, OurConnection, Row, Run, Script, Statement
from everlog.adapters.postgres.executing import ask as asked
from everlog.adapters.postgres.failures import LOCK_NOT_AVAILABLE, as_storage_error, is_passing
from everlog.adapters.postgres.transacting import HandlersConnection, Transaction
from everlog.adapters.postgres.tries import Tries
from everlog.errors import (
    EverlogError,
    MisusedStore,
    OtherVersion,
    OutcomeUnknown,
    StorageFailed,
    StoreClosed,
)
from everlog.ports.checkpoints import Due, Held, Parked, SliceStatus, Working
from everlog.ports.effects import Change, Effect, EffectCounts, EffectStatus, Lane
from everlog.ports.owner import Owner

T = TypeVar("T")


class PostgresCheckpoints:
    """The checkpoints in one schema: see `everlog.ports.checkpoints.Checkpoints`.

    With connections of its own: those of handlers, whose transactions may take long, and two for
    all else, so that a lease is prolonged meanwhile. None are held between two calls.
    """

    def __init__(
        self, place: Place, keeping: Pool[OurConnection], handling: Pool[HandlersConnection]
    ) -> None:
        """Use `PostgresCheckpoints.open`."""
        self._place = place
        self._owner = Owner(f"the checkpoints of {place}")
        self._executor = Executor(place.schema)
        self._keeping = keeping
        self._handling = handling

    @classmethod
    async def open(cls, place: Place, *, transactions: int = 4) -> PostgresCheckpoints:
        """Opens the checkpoints of the ledger at a place, which must be open or migrated.

        `transactions`: how many there may be at a time; others wait.
        """

        async def configure(connection: HandlersConnection) -> None:
            if place.pooler == "transaction":
                connection.prepare_threshold = None

        keeping = await open_readers(place, 2)
        try:
            handling = await open_pool(
                place, HandlersConnection, configure, least=0, most=transactions
            )
        except BaseException:
            await keeping.close()
            raise
        return cls(place, keeping, handling)

    async def register(
        self, name: str, *, slices: int, position: int, token: str | None, version: int = 1
    ) -> int:
        values = {"name": name, "slices": slices, "position": position, "token": token, "slice": 0}
        values["version"] = version
        first = Statement(statements.SELECT_SLICES, values)

        def register() -> Script[int]:
            [rows] = yield Run([first])
            while not rows:  # what was there may have been removed meanwhile
                *_, rows = yield from self._changed(
                    Statement(statements.INSERT_FIRST, values),
                    Statement(statements.INSERT_OTHERS, values),
                    first,
                )
            [[slices, live]] = rows
            if live != version:
                raise OtherVersion(name, live=live, asked=version)
            return int(slices)

        return await self._run(register)

    async def claim(
        self, name: str, worker: str, *, ttl_s: float, most: int, version: int = 1
    ) -> Sequence[Held]:
        values = {"name": name, "worker": worker, "ttl_s": float(ttl_s), "most": most}
        values |= {"mark": secrets.token_hex(8), "version": version, "slice": 0}
        # Two that claim side by side do not see each other, and might have different handlers.
        values["key"] = self._place.claims_key(name)

        def claim() -> Script[list[Held]]:
            _, _, _, rows, _, slices = yield from self._changed(
                Statement(schema.LOCK, values),
                Statement(statements.UPSERT_WORKER, values),
                Statement(statements.FENCE_OTHERS, values),
                Statement(statements.CLAIM, values),
                Statement(statements.DELETE_WORKERS, values),
                Statement(statements.SELECT_SLICES, values),
            )
            for _, live in () if rows else slices:
                if live != version:
                    raise OtherVersion(name, live=live, asked=version)
            return sorted(Held(*row) for row in rows)

        return await self._run(claim)

    async def seize(self, name: str, worker: str, *, ttl_s: float) -> Sequence[Held]:
        values = {"name": name, "worker": worker, "ttl_s": float(ttl_s)}
        return sorted(Held(*row) for row in await self._change(statements.SEIZE, values))

    async def renew(
        self, name: str, worker: str, fences: Mapping[int, int], *, ttl_s: float
    ) -> frozenset[int]:
        values = {"name": name, "worker": worker, "ttl_s": float(ttl_s), "fences": json_of(fences)}
        rows = await self._change(statements.RENEW, values)
        return frozenset(slice for [slice] in rows)

    async def release(self, name: str, fences: Mapping[int, int], *, error: str = "") -> None:
        values = {"name": name, "fences": json_of(fences), "error": storable(error)}

        def release() -> Script[object]:
            return self._changed(
                Statement(statements.DELETE_WORKER, values), Statement(statements.RELEASE, values)
            )

        await self._run(release)

    async def workers(self, name: str) -> Sequence[Working]:
        return sorted(
            Working(*row) for row in await self._ask(statements.SELECT_WORKERS, {"name": name})
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[PostgresCheckpointing]:
        self._owner.check()
        transaction = Transaction(self._place, self._lend)
        checkpointing = PostgresCheckpointing(self._place, transaction, self._settle)
        try:
            yield checkpointing
            self._owner.check()
            await checkpointing.commit()
        finally:
            await transaction.let_go()

    async def attempt(self, name: str, slice: int, fence: int, position: int) -> int:
        values = {"name": name, "slice": slice, "fence": fence, "position": position}
        rows = await self._change(statements.ATTEMPT, {**values, "mark": secrets.token_hex(8)})
        if not rows:
            raise lease_lost(name, slice)
        return int(rows[0][0])

    async def due(self, name: str, slices: Sequence[int]) -> Sequence[Due]:
        values = {"name": name, "slices": ",".join(map(str, slices))}
        return [Due(*row) for row in await self._ask(statements.SELECT_DUE, values)]

    async def parked(
        self,
        name: str | None = None,
        *,
        stream: str | None = None,
        limit: int = 1000,
        held_up: bool = False,
    ) -> Sequence[Parked]:
        values = {"name": name, "stream": stream, "limit": limit, "held_up": held_up}
        return [Parked(*row) for row in await self._ask(statements.SELECT_PARKED, values)]

    async def retry(self, name: str, *, stream: str | None, position: int | None) -> int:
        values = {"name": name, "stream": stream, "position": position}
        return len(await self._change(statements.RETRY, values))

    async def drop(self, name: str, *, stream: str | None, position: int | None) -> int:
        values = {"name": name, "stream": stream, "position": position}
        return len(await self._change(statements.DROP, values))

    async def needed(self, positions: Sequence[int]) -> Sequence[int]:
        values = {"positions": ",".join(map(str, positions))}
        return [position for [position] in await self._ask(statements.SELECT_NEEDED, values)]

    async def statuses(self) -> Sequence[SliceStatus]:
        return [SliceStatus(*row) for row in await self._ask(statements.SELECT_STATUSES, {})]

    async def remove(self, name: str) -> bool:
        values = {"name": name}
        was_there = False

        def remove() -> Script[bool]:
            nonlocal was_there
            *_, leases = yield Run([*self._beginning, Statement(statements.LOCK_LEASES, values)])
            if [True] in map(list, leases):
                yield Run([Statement(schema.ROLLBACK)])
                raise MisusedStore(
                    f"subscription {name!r} is being run: stop its workers, or wait until their "
                    "leases have run out, and remove it then"
                )
            # The answer to an earlier try may have been lost.
            was_there = was_there or bool(leases)
            deletes = [Statement(template, values) for template in statements.REMOVE]
            yield Run([*deletes, Statement(schema.COMMIT)])
            return was_there

        return await self._run(remove)

    async def register_handlers(
        self, name: str, handlers: Collection[str], *, position: int
    ) -> Mapping[str, int]:
        values = {"name": name, "handlers": json.dumps([*handlers]), "position": position}

        def register() -> Script[list[Row]]:
            _, rows = yield from self._changed(
                Statement(statements.INSERT_HANDLERS, values),
                Statement(statements.SELECT_HANDLERS, values),
            )
            return rows

        known: dict[str, int] = dict(await self._run(register))
        return {handler: known[handler] for handler in handlers}

    async def handlers(self, name: str) -> Mapping[str, int]:
        return dict(await self._ask(statements.SELECT_HANDLERS, {"name": name}))

    async def lanes(
        self,
        name: str,
        slices: Collection[int],
        *,
        within_s: float,
        behind: tuple[str, str] = ("", ""),
        limit: int = 500,
    ) -> Sequence[Lane]:
        handler, stream = behind
        values = {
            "name": name,
            "slices": ",".join(map(str, slices)),
            "within_s": float(within_s),
            "handler": handler,
            "stream": stream,
            "limit": limit,
        }
        return [Lane(*row) for row in await self._ask(statements.SELECT_LANES, values)]

    async def lane(
        self, name: str, handler: str, stream: str, *, limit: int = 100
    ) -> Sequence[Effect]:
        values = {"name": name, "handler": handler, "stream": stream, "limit": limit}
        return [Effect(*row) for row in await self._ask(statements.SELECT_LANE, values)]

    async def change_effect(
        self, name: str, change: Change, *, slice: int | None = None, fence: int = 0
    ) -> bool:
        values: dict[str, object] = {
            **change._asdict(),
            "name": name,
            "slice": slice,
            "fence": fence,
            "due_s": None if change.due_s is None else float(change.due_s),
            "error": storable(change.error),
            "mark": secrets.token_hex(8),
        }
        template = statements.CHANGE_EFFECT if slice is None else statements.CHANGE_EFFECT_HELD
        [[held, changed]] = await self._change(template, values)
        if not held and slice is not None:
            raise lease_lost(name, slice)
        return bool(changed)

    async def mark_ambiguous(
        self, name: str, fences: Mapping[int, int], *, but: Collection[tuple[str, int]] = ()
    ) -> int:
        left_out = [{"handler": handler, "position": position} for handler, position in but]
        values = {"name": name, "fences": json_of(fences), "but": json.dumps(left_out)}
        return len(await self._change(statements.MARK_AMBIGUOUS, values))

    async def effects(
        self,
        name: str | None = None,
        *,
        status: EffectStatus | None = None,
        stream: str | None = None,
        position: int | None = None,
        limit: int = 1000,
    ) -> Sequence[Effect]:
        values = {
            "name": name,
            "status": status,
            "stream": stream,
            "position": position,
            "limit": limit,
        }
        return [Effect(*row) for row in await self._ask(statements.SELECT_EFFECTS, values)]

    async def effect_counts(self) -> Sequence[EffectCounts]:
        return [EffectCounts(*row) for row in await self._ask(statements.COUNT_EFFECTS, {})]

    async def close(self) -> None:
        if self._owner.closed or self._owner.forked:
            return
        self._owner.closed = True
        await self._handling.close()
        await self._keeping.close()

    @asynccontextmanager
    async def _lend(self) -> AsyncGenerator[HandlersConnection]:
        self._owner.check()
        try:
            async with self._handling.one() as connection:
                yield connection
        except PoolClosed:
            raise self._closed() from None
        except PoolTimeout as error:
            raise self._unreachable() from error

    async def _settle(self, moved: Moved) -> bool:
        """Finds out whether a transaction has committed, for `timeout_s`."""
        try:
            return await self._run(lambda: has_committed(self._place, moved), waits=True)
        except OutcomeUnknown:
            raise
        except EverlogError as error:
            raise OutcomeUnknown((), of_checkpoint=True) from error

    async def _ask(self, template: str, values: Mapping[str, object]) -> list[Row]:
        return await self._run(lambda: asked(template, values))

    async def _change(self, template: str, values: Mapping[str, object]) -> list[Row]:
        def change() -> Script[list[Row]]:
            [rows] = yield from self._changed(Statement(template, values))
            return rows

        return await self._run(change)

    def _changed(self, *changes: Statement) -> Script[list[list[Row]]]:
        """Is a transaction in one trip; gives the rows of its statements."""
        answers = yield Run([*self._beginning, *changes, Statement(schema.COMMIT)])
        return answers[2:-1]

    @property
    def _beginning(self) -> tuple[Statement, ...]:
        values = self._place.patience | {"mark": ""}
        return Statement(schema.BEGIN), Statement(statements.SET, values)

    async def _run(self, script: Callable[[], Script[T]], *, waits: bool = False) -> T:
        """Runs a script; again, over another connection, where one was lost.

        What the scripts change they may change twice. `waits`: for a lock also longer.
        """
        self._owner.check()
        tries = Tries(self._place.timeout_s)
        while True:
            try:
                async with self._keeping.one(timeout_s=max(tries.left_s, 0.01)) as connection:
                    connection.silence_s = self._place.silence_s
                    try:
                        return await self._executor.run(connection, script())
                    except EverlogError:  # of a script that has ended its transaction
                        raise
                    except BaseException:
                        # In the middle of a transaction, or with statements that were skipped.
                        await connection.close()
                        raise
            except PoolClosed:
                raise self._closed() from None
            except PoolTimeout as error:
                raise self._unreachable() from error
            except psycopg.Error as error:
                passes = is_passing(error) or (waits and error.sqlstate == LOCK_NOT_AVAILABLE)
                if not passes or tries.over:
                    raise as_storage_error(error, str(self._place)) from error
            await tries.pause()

    def _closed(self) -> StoreClosed:
        return StoreClosed(f"the checkpoints of {self._place} were closed meanwhile")

    def _unreachable(self) -> StorageFailed:
        return StorageFailed(
            f"{self._place} cannot be reached, or all connections for checkpoints were busy for "
            f"{self._place.timeout_s} s"
        )
