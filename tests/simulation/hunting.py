"""Hunting: looks for the seeds that kill each mutant.

`python -m tests.simulation.hunting [FIRST..LAST] [NAME ...]` prints the first two for each.
A seed that it finds belongs into `tests/mutants/synchronising.py`: it is replayed in each merge,
and the hunt is not. What changes the order of chance in a run changes which seeds kill: then hunt
again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.mutants.mutant import Mutant
from tests.mutants.running import copy_of
from tests.mutants.synchronising import SYNCHRONISING
from tests.mutants.warm import ROOT

MOST_SEEDS = 1_000


def hunt(mutant: Mutant, seeds: str) -> str:
    """Returns what the runs of a library without one of its defences say."""
    with TemporaryDirectory() as folder:
        path = copy_of(mutant, Path(folder))
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulation", seeds, "--failures", "2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    return ran.stdout if ran.returncode in (0, 1) else ran.stderr


def main(names: list[str]) -> None:
    """Prints the first seeds that kill each mutant, and what fails with the first."""
    among = f"0..{MOST_SEEDS - 1}"
    if names and ".." in names[0]:
        among, *names = names
    for mutant in SYNCHRONISING:
        if names and mutant.name not in names:
            continue
        lines = hunt(mutant, among).splitlines()
        seeds = [line.split()[1] for line in lines if line.startswith("seed ")]
        why = next((line.strip() for line in lines if line.startswith("  ")), lines[-1])
        print(f"{mutant.name}: {', '.join(seeds) or 'SURVIVES'} | {lines[-1]} | {why}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
