"""The memory ledger keeps the whole contract."""

from pathlib import Path

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing.contract import StoreContract


class TestMemory(StoreContract):
    async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
        return MemoryLedger(seams=seams)
