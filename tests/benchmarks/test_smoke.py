"""Every benchmark runs and gets the right answers; how fast is not a test's business."""

import asyncio

from benchmarks.embedded import run, table


def test_the_embedded_benchmark_runs_and_both_sides_agree() -> None:
    rows = asyncio.run(run(rounds=1, scale=0.02))
    assert {len(row.floor) for row in rows.values()} == {1}
    assert {len(row.everlog) for row in rows.values()} == {1}
    text = table(rows)
    assert [line for line in text.splitlines()[1:] if not line.strip()] == []
    assert all(name in text for name in ("one writer", "batch of 1,000", "read everything"))
