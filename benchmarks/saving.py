"""The newest results are in git, in `benchmarks/results/`: a table, a picture, every figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.machine import ROOT, Machine

RESULTS = ROOT / "benchmarks" / "results"


def save(
    kind: str, machine: Machine, *, text: str, raw: Mapping[str, object], picture: bytes | None
) -> list[Path]:
    """Writes the files of one kind of run, in the place of those before; returns which."""
    name = f"{machine.date}-{machine.commit}-{kind}"
    RESULTS.mkdir(exist_ok=True)
    for old in RESULTS.glob(f"????-??-??-*-{kind}.*"):
        old.unlink()
    written = [RESULTS / f"{name}.md", RESULTS / f"{name}.json"]
    if picture is not None:
        written.append(RESULTS / f"{name}.png")
        written[-1].write_bytes(picture)
        text = text.replace("\n\n## ", f"\n\n![The same as a picture]({name}.png)\n\n## ", 1)
    written[0].write_text(text, encoding="utf-8")
    written[1].write_text(json.dumps(raw, indent=1) + "\n", encoding="utf-8")
    return written
