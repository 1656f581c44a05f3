"""Starts the program: `python -m examples.two_services`, or `python examples/two_services`."""

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
    from examples.two_services.tour import tour

    parser = argparse.ArgumentParser(
        prog="two_services",
        description="A hub and two services, each a process with a log of its own: one of them is "
        "offline for a while, the hub is killed, and each parcel leaves once.",
    )
    parser.add_argument(
        "hub",
        nargs="?",
        help="where the hub's log is to be, such as sqlite:///hub.db or postgresql://...; it must "
        "be new (default: a temporary file)",
    )
    hub: str | None = parser.parse_args().hub
    with tempfile.TemporaryDirectory(prefix="everlog-two-services-") as folder:
        asyncio.run(tour(hub or f"sqlite:///{folder}/hub.db", Path(folder), print))
    return 0


if __name__ == "__main__":
    sys.exit(run())
