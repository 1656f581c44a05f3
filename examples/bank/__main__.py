"""Starts the program: `python -m examples.bank [URL]`, or `python examples/bank`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path


def run() -> int:
    """Makes `examples` importable where the folder itself was started, then tells the story."""
    if not __package__:
        sys.path[0] = str(Path(__file__).resolve().parents[2])
    from examples.bank.tour import tour

    parser = argparse.ArgumentParser(
        prog="bank", description="A bank's day: conflicts, a crash in the middle of a payment."
    )
    parser.add_argument(
        "url",
        nargs="?",
        help="where the log is to be, such as sqlite:///bank.db or postgresql://...; it must be "
        "new (default: a temporary file)",
    )
    url: str | None = parser.parse_args().url
    with tempfile.TemporaryDirectory(prefix="everlog-bank-") as folder:
        asyncio.run(tour(url or f"sqlite:///{folder}/bank.db", print))
    return 0


if __name__ == "__main__":
    sys.exit(run())
