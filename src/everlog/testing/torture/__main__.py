"""The torture from a shell: `python -m everlog.testing.torture URL`. Ends with 0 if survived."""

from __future__ import annotations

import argparse
import sys

from everlog.errors import EverlogError
from everlog.testing.torture.torturing import torture


def main() -> int:
    """Runs what the arguments ask for, and prints the report."""
    parser = argparse.ArgumentParser(
        prog="python -m everlog.testing.torture",
        description="Many processes write to one ledger, are paused and killed, and nothing may be "
        "lost, doubled or reordered. The events stay: use a ledger that is made for it.",
    )
    parser.add_argument("url", help="as for EventStore.open")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument(
        "--at-least", type=int, default=0, help="and until there are so many events"
    )
    parser.add_argument("--processes", type=int, default=4, help="that write (default: 4)")
    parser.add_argument("--writers", type=int, default=16, help="in all of them (default: 16)")
    parser.add_argument("--readers", type=int, default=2, help="processes that read (default: 2)")
    parser.add_argument("--seed", type=int, help="of all choices (default: a new one)")
    parser.add_argument(
        "--mischief",
        metavar="NAME,...",
        help="what is done to them (default: all that fits the URL; 'none': nothing)",
    )
    parser.add_argument(
        "--ledger", metavar="MODULE:FUNCTION", help="opens the URL, for an adapter of your own"
    )
    given = parser.parse_args()
    mischief = None if given.mischief is None else given.mischief.split(",")
    try:
        report = torture(
            given.url,
            seconds=given.seconds,
            at_least=given.at_least,
            processes=given.processes,
            writers=given.writers,
            readers=given.readers,
            seed=given.seed,
            mischief=[] if mischief == ["none"] else mischief,
            ledger=given.ledger,
        )
    except EverlogError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 2
    print(report)  # noqa: T201 - a command
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
