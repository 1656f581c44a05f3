"""The read model: balances in a table, exactly as the log has them, whatever dies when."""

from __future__ import annotations

from everlog import Projector, Record, Tx
from examples.bank.events import (
    AccountOpened,
    MoneyDeposited,
    PaymentOrdered,
    TransferReceived,
    TransferSent,
)

CREATE = (
    "CREATE TABLE IF NOT EXISTS balances (account text PRIMARY KEY, owner text NOT NULL, "
    "balance bigint NOT NULL, bookings bigint NOT NULL)"
)
OPEN = "INSERT INTO balances VALUES ({0}, {0}, 0, 0)"
BOOK = "UPDATE balances SET balance = balance + {0}, bookings = bookings + 1 WHERE account = {0}"


def projector(mark: str) -> Projector:
    """Returns the projector of the balances.

    `mark` stands for a value: `?` in SQLite, `%s` in PostgreSQL.

    Adding is not idempotent. That is why it is written in the transaction in which the checkpoint
    moves: `tx`.
    """
    balances = Projector()

    @balances.all(AccountOpened)
    async def opened(record: Record[AccountOpened], tx: Tx) -> None:
        await tx.execute(CREATE)
        await tx.execute(OPEN.format(mark), (record.stream, record.data.owner))

    @balances.all(MoneyDeposited, TransferReceived)
    async def came_in(record: Record[MoneyDeposited | TransferReceived], tx: Tx) -> None:
        await tx.execute(BOOK.format(mark), (record.data.amount, record.stream))

    @balances.all(TransferSent, PaymentOrdered)
    async def went_out(record: Record[TransferSent | PaymentOrdered], tx: Tx) -> None:
        await tx.execute(BOOK.format(mark), (-record.data.amount, record.stream))

    return balances
