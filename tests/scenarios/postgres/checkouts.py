"""What the pool of a store hands out, looked at each time: a clean connection, and one of few."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]


class Checkouts:
    """Watches all pools of the process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.most = 0
        """So many were out at a time, at most."""
        self.unclean: list[str] = []
        """What was wrong with a connection that was handed out."""
        self._out: set[Connection] = set()
        get, put = Pool.getconn, Pool.putconn

        async def getconn(pool: Pool, timeout: float | None = None) -> Connection:
            connection = await get(pool, timeout)
            try:
                await self._look(connection)
            except BaseException:
                # In a task of its own: cancelled here, it would be lost to the pool by our fault.
                await asyncio.shield(asyncio.create_task(put(pool, connection)))
                raise
            self._out.add(connection)
            self.count += 1
            self.most = max(self.most, len(self._out))
            return connection

        async def putconn(pool: Pool, connection: Connection) -> None:
            self._out.discard(connection)
            await put(pool, connection)

        monkeypatch.setattr(AsyncConnectionPool, "getconn", getconn)
        monkeypatch.setattr(AsyncConnectionPool, "putconn", putconn)

    @property
    def out(self) -> int:
        """How many are handed out now."""
        return len(self._out)

    async def _look(self, connection: Connection) -> None:
        status = connection.info.transaction_status
        if status != TransactionStatus.IDLE:
            self.unclean.append(status.name)
            return
        cursor = await connection.execute(
            # Two statements of one open transaction have the same now().
            "SELECT pg_current_xact_id_if_assigned(), now() = statement_timestamp()",
            prepare=False,
        )
        row = await cursor.fetchone()
        if row != (None, True):
            self.unclean.append(f"in a transaction: {row}")
