"""`python3 dev.py bench`: the embedded store beside its floor."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sqlite3
from importlib.metadata import version

from benchmarks.embedded import run, table


def main() -> None:
    """Runs the benchmark and prints a table."""
    parser = argparse.ArgumentParser(prog="python3 dev.py bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="interleaved runs (default: 7)")
    parser.add_argument("--scale", type=float, default=1.0, help="size of a run (default: 1.0)")
    options = parser.parse_args()
    rows = asyncio.run(run(rounds=options.rounds, scale=options.scale))
    print(
        f"everlog {version('everlog')}, pydantic {version('pydantic')} events, Python "
        f"{platform.python_version()}, SQLite {sqlite3.sqlite_version} with synchronous=FULL, "
        f"{platform.machine()}, median of {options.rounds} rounds"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
