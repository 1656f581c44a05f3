"""How often who waits for a SQLite log looks at it: more often while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from everlog.adapters.sqlite import ledger as ledger_module
from everlog.adapters.sqlite.ledger import POLL_LIVELY_S, POLL_S, SqliteLedger
from everlog.testing.contract.committing import append, new, place


def test_who_waits_looks_more_often_while_the_log_grows_and_not_when_it_is_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        path = str(tmp_path / "log.db")
        ledger, other = await SqliteLedger.open(path), await SqliteLedger.open(path)
        try:
            poll_s = ledger._poll_s  # pyright: ignore[reportPrivateUsage]
            assert await ledger.wait(0, timeout_s=0.01) == 0
            assert poll_s() == POLL_S  # nothing has come
            monkeypatch.setattr(ledger_module, "LIVELY_S", 3600.0)
            await place(other, append(new("1")))
            assert await ledger.wait(0, timeout_s=20) == 1
            assert poll_s() == POLL_LIVELY_S
            monkeypatch.setattr(ledger_module, "LIVELY_S", 0.0)
            assert poll_s() == POLL_S  # as that was long ago
        finally:
            await ledger.close()
            await other.close()

    asyncio.run(main())
