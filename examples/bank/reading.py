"""Reading the read model: with the database's own tools, as any program would."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

SELECT = "SELECT account, balance FROM balances"


async def balances_of(url: str) -> dict[str, int]:
    """Returns the balance of each account as the read model has it."""
    if url.startswith("postgres"):
        import psycopg

        async with await psycopg.AsyncConnection.connect(url) as connection:
            cursor = await connection.execute(SELECT)
            return dict(await cursor.fetchall())
    path = Path(url.removeprefix("sqlite:///"))
    return await asyncio.to_thread(_of_file, path.with_suffix(".views.db"))


def _of_file(path: Path) -> dict[str, int]:
    views = sqlite3.connect(path)
    try:
        return dict(views.execute(SELECT).fetchall())
    finally:
        views.close()
