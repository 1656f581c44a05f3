"""Starts the program: `python examples/git_history [REPO] [options]`."""

from __future__ import annotations

import sys
from pathlib import Path


def run() -> int:
    """Makes `examples` importable where the folder itself was started, then runs the program."""
    if not __package__:
        # Python puts this folder first on the path, where `state` or `report` would be ours for
        # everybody. The project's root takes its place.
        sys.path[0] = str(Path(__file__).resolve().parents[2])
    from examples.git_history.cli import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(run())
