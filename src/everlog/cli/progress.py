"""Progress: a bar on a terminal, for whatever takes more than a second."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TextIO

from everlog.cli.showing import fitted, wide

PATIENCE_S = 1.0
"""So long nothing is shown: what is done by then needs no bar."""
EVERY_S = 0.1
BAR = 24

Tell = Callable[[int, int], None]


@asynccontextmanager
async def progress(
    doing: str, *, unit: str = "", out: TextIO | None = None, patience_s: float | None = None
) -> AsyncGenerator[Tell]:
    """Shows how far something is, on stderr if that is a terminal; gives what is to be told.

    That is told how much is done and of how much, 0 where that is not known; it need not be told
    anything: then it shows that time passes.
    """
    target = sys.stderr if out is None else out
    if not target.isatty():
        yield lambda done, total: None
        return
    bar = _Bar(doing, unit)
    drawing = asyncio.create_task(
        _draw(bar, target, PATIENCE_S if patience_s is None else patience_s)
    )
    try:
        yield bar.tell
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])
        if bar.drawn:
            target.write("\r\x1b[2K")
            target.flush()


async def _draw(bar: _Bar, out: TextIO, patience_s: float) -> None:
    await asyncio.sleep(patience_s)
    while True:
        out.write("\r\x1b[2K" + bar.text(time.monotonic()))
        out.flush()
        bar.drawn = True
        await asyncio.sleep(EVERY_S)


class _Bar:
    def __init__(self, doing: str, unit: str) -> None:
        self.drawn = False
        self._doing = doing
        self._unit = unit
        self._begun = time.monotonic()
        self._done = self._total = 0

    def tell(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def text(self, now: float) -> str:
        """Returns the bar as it is at a time."""
        passed = now - self._begun
        if not self._total:
            done = f"{self._done:,}{self._unit}  " if self._done else ""
            return f"{self._doing}  {done}{_span(passed)}"
        part = min(1.0, self._done / self._total)
        filled = "█" * int(part * BAR)
        left = f"  {_span(passed / part - passed)} left" if part > 0.01 else ""
        text = (
            f"{self._doing}  {fitted(filled, BAR)}  {part:4.0%}  "
            f"{self._done:,} of {self._total:,}{self._unit}{left}"
        )
        return text if wide(text) < 200 else self._doing


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
