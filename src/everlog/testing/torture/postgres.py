"""What is done to a ledger in PostgreSQL, from beside it."""

from __future__ import annotations

import asyncio

from everlog.testing.torture.mischief import Scene
from everlog.testing.torture.urls import dsn_of

BETWEEN_TERMINATIONS_S = (0.05, 0.5)
BYSTANDERS = 3
STANDING_S = (0.01, 1.0)
"""How long a bystander leaves its transaction open."""


async def terminate_backends(scene: Scene) -> None:
    """Ends backends of writers and readers, one after another, at random."""
    from psycopg import AsyncConnection

    async with await AsyncConnection.connect(dsn_of(scene.url), autocommit=True) as connection:
        while True:
            await asyncio.sleep(scene.rng.uniform(*BETWEEN_TERMINATIONS_S))
            in_transaction = scene.rng.random() < 0.5
            done = await connection.execute(
                TERMINATE, {"name": scene.mark, "writing": in_transaction}
            )
            if done.rowcount:
                scene.counted("terminations")


TERMINATE = """
    SELECT pg_terminate_backend(pid)
    FROM (
        SELECT pid
        FROM pg_stat_activity
        WHERE application_name = %(name)s AND pid <> pg_backend_pid()
        -- Half of the time one that is in the middle of writing, if there is one.
        ORDER BY %(writing)s AND backend_xid IS NOT NULL DESC, random()
        LIMIT 1
    ) AS one
"""


async def stand_by(scene: Scene) -> None:
    """Writes to tables of its own, and leaves the transactions open for a while."""
    async with asyncio.TaskGroup() as group:
        for _ in range(BYSTANDERS):
            group.create_task(_stand_by(scene))


async def _stand_by(scene: Scene) -> None:
    from psycopg import AsyncConnection, Rollback

    async with await AsyncConnection.connect(dsn_of(scene.url), autocommit=True) as connection:
        # Temporary, so that nothing is left behind; a write to it takes a transaction id as any.
        await connection.execute("CREATE TEMPORARY TABLE bystander (number integer)")
        while True:
            async with connection.transaction() as transaction:
                await connection.execute("INSERT INTO bystander VALUES (1)")
                seconds = scene.rng.uniform(*STANDING_S)
                if scene.rng.random() < 0.5:
                    await connection.execute("SELECT pg_sleep(%s)", (seconds,))
                else:
                    await asyncio.sleep(seconds)
                if scene.rng.random() < 0.3:
                    raise Rollback(transaction)
            scene.counted("transactions of bystanders")
