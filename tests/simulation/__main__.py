"""`python -m tests.simulation SEED [--option value ...]`, `FIRST..LAST [--failures 20]`, or
`for SECONDS FIRST`."""

from __future__ import annotations

import itertools
import sys

from tests.simulation.options import Options
from tests.simulation.playing import Session, play, play_many


def main(arguments: list[str]) -> int:
    """Plays what is asked for; returns 1 if something did not hold."""
    seeds, said = arguments[0], arguments[1:]
    if ".." in seeds:
        first, last = map(int, seeds.split(".."))
        most = int(said[1]) if said else 20
        session = play_many(range(first, last + 1), most_failures=most)
        return _told(session)
    if seeds == "for":
        seconds, first = float(said[0]), int(said[1])
        session = play_many(itertools.count(first), most_failures=20, most_s=seconds)
        return _told(session)
    seed = int(seeds)
    chosen = dict(zip([name.lstrip("-") for name in said[::2]], said[1::2], strict=True))
    played = play(seed, Options.of(seed).but(chosen))
    print(played if played.violations else f"seed {seed}: all holds")
    for what, count in sorted(played.counts.items()):
        print(f"{count:9,} {what}")
    return int(bool(played.violations))


def _told(session: Session) -> int:
    for played in session.failed:
        print(played)
    for what, count in sorted(session.counts.items()):
        print(f"{count:9,} {what}")
    print(f"{session.played} seeds, {len(session.failed)} failed, {session.seconds:.1f} s")
    return int(bool(session.failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
