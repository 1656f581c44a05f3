"""A large statement in a pipeline is sent whole, also where the line takes it in small parts."""

from __future__ import annotations

import asyncio
import socket

from everlog.adapters.postgres.connections import Place, connect, parameters_of
from everlog.adapters.postgres.executing import Executor, Run, Script, Statement
from everlog.adapters.postgres.silence import ServerSilent
from tests.adapters.schema import Schema

LENGTH = "SELECT length(%(text)s::text)"


def test_a_large_statement_at_the_end_of_a_pipeline_does_not_wait_for_its_answer_half_sent(
    schema: Schema,
) -> None:
    def script(size: int) -> Script[list[object]]:
        answers = yield Run([Statement("SELECT 1"), Statement(LENGTH, {"text": "x" * size})])
        return [row for [row] in answers]

    async def main() -> None:
        place = Place(parameters_of(schema.database), timeout_s=5)
        connection = await connect(place)
        try:
            # As on a line that is slower than loopback: what does not fit waits for its turn.
            with socket.fromfd(
                connection.fileno(), socket.AF_INET, socket.SOCK_STREAM
            ) as its_socket:
                its_socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            for size in (1_000, 100_000, 2_000_000, 16_000_000):
                try:
                    answers = await Executor(schema.name).run(connection, script(size))
                except ServerSilent:
                    raise AssertionError("it waits for the answer to a part") from None
                assert answers == [(1,), (size,)]
        finally:
            await connection.close()

    asyncio.run(main())
