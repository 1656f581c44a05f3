"""The other process of a question: `python -m benchmarks.child follow|read SIDE FILE ...`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.questions.follow import follow
from benchmarks.questions.memory import read


def main(work: str, side: str, path: str, *more: str) -> None:
    """Does what a question wants done elsewhere."""
    if work == "follow":
        asyncio.run(follow(side, Path(path), int(more[0])))
    else:
        asyncio.run(read(side, Path(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])
