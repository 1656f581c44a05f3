"""The figures of a run as tables of text, which are Markdown too."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.databases import POSTGRES, SQLITE, TITLES
from benchmarks.machine import Machine
from benchmarks.question import Row
from benchmarks.running import Results
from benchmarks.sides import (
    BLOCKING_EVERLOG,
    BLOCKING_FLOOR,
    EVERLOG,
    EVERLOG_PYDANTIC,
    FLOOR,
    PEERS,
)
from benchmarks.workload import sizes


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast one side is as another: the median of the rounds, and the spread."""

    median: float
    least: float
    most: float


def ratio(results: Results, row: str, *, slow: str, fast: str = EVERLOG) -> Ratio | None:
    """Returns `slow`'s figure divided by `fast`'s, round by round; above 1, `fast` is faster."""
    figures = results.rows[row].figures
    if slow not in figures or fast not in figures:
        return None
    ratios = [a / b for a, b in zip(figures[slow], figures[fast], strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def figure(results: Results, row: str, side: str) -> float | None:
    """Returns the median of a side's figures, None if it has none."""
    figures = results.rows[row].figures.get(side)
    return statistics.median(figures) if figures else None


def best_peer(results: Results, row: str) -> str | None:
    """Returns the fastest peer, None if there is no peer's figure."""
    medians = {name: found for name in PEERS if (found := figure(results, row, name)) is not None}
    return min(medians, key=lambda name: medians[name], default=None)


def verdicts(results: Results, row: Row) -> list[tuple[str, bool]]:
    """Returns each thing that the row's target asks for, and whether it was reached."""
    target, found = row.target, list[tuple[str, bool]]()
    if target.floor_ratio is not None:
        to_floor = ratio(results, row.name, slow=FLOOR)
        if to_floor is not None:
            reached = to_floor.median >= target.floor_ratio
            found.append((f"≥ {target.floor_ratio:g} of the floor", reached))
    mine = figure(results, row.name, EVERLOG)
    if target.at_most is not None and mine is not None:
        found.append((f"≤ {target.at_most:g} {row.unit}", mine <= target.at_most))
    best = best_peer(results, row.name)
    if target.peer_ratio is not None and best is not None:
        to_peer = ratio(results, row.name, slow=best)
        if to_peer is not None:
            reached = to_peer.median >= target.peer_ratio
            found.append((f"≥ {target.peer_ratio:g}x the best peer", reached))
    return found


def document(
    results: Results, rows: Sequence[Row], machine: Machine, *, database: str, asked: str
) -> str:
    """Returns all of it; `asked`: how the run was called."""
    parts = [
        f"# everlog on {TITLES[database]}, beside hand-written code and its peers",
        introduction(machine, asked, database=database),
        "All take turns in every round. Lower figures are better. A ratio is "
        "the floor's time divided by everlog's in the same round: the median of the rounds, and "
        "the spread. 1.0 is as fast as code written by hand for this one event "
        "(`benchmarks/floor/`).",
        "## Beside the floor",
        _floor_table(results, rows),
        f"`floor-blocking` is the floor {WITHOUT[database]}, for programs that may block; "
        "`everlog-blocking` is `everlog.blocking` with msgspec events, with threads for tasks.",
        _per_second(results, rows),
        "\n".join(f"- {row.name}: {row.note}" for row in rows if row.note),
    ]
    peers = [name for name in PEERS if any(name in row.figures for row in results.rows.values())]
    if peers or results.errors:
        parts += ["## Beside its peers", _peer_table(results, rows, list(PEERS)), PEERS_SAY]
    if results.errors:
        parts += ["What did not run, in a peer's own words:", _errors(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def introduction(machine: Machine, asked: str, *, database: str = SQLITE) -> str:
    """Returns where, when, how and with what a run was made."""
    data, meta = sizes()
    libraries = ", ".join(f"{name} {found}" for name, found in machine.libraries.items())
    return (
        f"{machine.date}, commit {machine.commit}, `{asked}`.\n"
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, {machine.system}; "
        f"{machine.filesystem}, 4 KiB appended and synced in {machine.sync_us:g} µs; "
        f"load before the run {machine.load:g}.\n"
        f"{machine.python}, {_version(machine, database)}, {libraries}.\n"
        f"An event is {data} bytes of JSON data and {meta} of meta; everybody writes "
        f"{_durability(machine, database)}."
        + (MEMORY_ONLY if machine.filesystem in ("tmpfs", "ramfs") else "")
    )


WITHOUT = {
    SQLITE: "without a hop to a thread",
    POSTGRES: "over one blocking connection",
}


def _version(machine: Machine, database: str) -> str:
    return (
        f"SQLite {machine.sqlite}"
        if database == SQLITE
        else f"PostgreSQL {machine.server['version']}"
    )


def _durability(machine: Machine, database: str) -> str:
    if database == SQLITE:
        return "in WAL mode with `synchronous=FULL`"
    settings = ", ".join(
        f"{name} {found}" for name, found in machine.server.items() if name != "version"
    )
    return (
        "to one server on the same machine, by TCP, with fsync and synchronous_commit on, as its "
        f"own connection says (`SHOW`: {settings})"
    )


MEMORY_ONLY = "\n**In memory, where a sync costs nothing: set TMPDIR to a folder on a disk.**"


PEERS_SAY = (
    "A peer's figure, and in brackets how many times as fast everlog with msgspec events is in "
    "the same round. `-`: it has no such thing. How each is set up stands at the top of its file "
    "in `benchmarks/peers/`."
)


def _floor_table(results: Results, rows: Sequence[Row]) -> str:
    ours = [FLOOR, EVERLOG, "ratio (spread)", EVERLOG_PYDANTIC, "ratio (spread)"]
    blocking = [BLOCKING_FLOOR, BLOCKING_EVERLOG]
    lines = [["", "unit", *ours, *blocking, "target: reached?"]]
    for row in rows:
        verdict = "; ".join(
            f"{what}: {'yes' if reached else '**no**'}" for what, reached in verdicts(results, row)
        )
        line = [row.name, row.unit]
        line.append(shown(figure(results, row.name, FLOOR)))
        for side in (EVERLOG, EVERLOG_PYDANTIC):
            line.append(shown(figure(results, row.name, side)))
            line.append(_spread(ratio(results, row.name, slow=FLOOR, fast=side)))
        line += [shown(figure(results, row.name, side)) for side in blocking]
        lines.append([*line, verdict or "-"])
    return table(lines)


def _per_second(results: Results, rows: Sequence[Row]) -> str:
    """Returns the same figures of everlog the other way round, for whoever thinks in events."""
    found = [
        f"{row.name} {1e6 / took:,.0f}"
        for row in rows
        if row.unit == "µs/event" and (took := figure(results, row.name, EVERLOG))
    ]
    return f"{EVERLOG} in events a second: {'; '.join(found)}." if found else ""


def _peer_table(results: Results, rows: Sequence[Row], peers: Sequence[str]) -> str:
    lines = [["", "unit", EVERLOG, *peers]]
    for row in rows:
        line = [row.name, row.unit, shown(figure(results, row.name, EVERLOG))]
        for peer in peers:
            found = figure(results, row.name, peer)
            times = ratio(results, row.name, slow=peer)
            if results.rows[row.name].question in results.errors.get(peer, {}):
                line.append("failed")
            elif times is None:
                line.append(shown(found))
            else:
                line.append(f"{shown(found)} ({shown(times.median)}x)")
        lines.append(line)
    return table(lines)


def _errors(results: Results) -> str:
    lines: list[str] = []
    for peer, errors in results.errors.items():
        by_text: dict[str, list[str]] = {}
        for question, text in errors.items():
            by_text.setdefault(text, []).append(question)
        lines += [f"- {peer} ({', '.join(names)}): `{text}`" for text, names in by_text.items()]
    return "\n".join(lines)


def shown(value: float | None) -> str:
    """Returns a figure in three digits, a dash for none."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _spread(found: Ratio | None) -> str:
    if found is None:
        return "-"
    return f"{found.median:.2f} ({found.least:.2f}-{found.most:.2f})"


def table(lines: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells as a table that is Markdown and can be read as it is."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def written(line: Sequence[str]) -> str:
        cells = [
            text.ljust(width) if column in (0, 1, len(line)) else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        return f"| {' | '.join(cells)} |"

    rule = [
        "-" * width if column in (0, 1) else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    return "\n".join([written(lines[0]), f"| {' | '.join(rule)} |", *map(written, lines[1:])])


def raw(results: Results, machine: Machine, *, asked: str) -> Mapping[str, object]:
    """Returns every figure of every round, for whoever wants to compute something else."""
    return {
        "machine": asdict(machine),
        "asked": asked,
        "rows": {name: row.figures for name, row in results.rows.items()},
        "errors": results.errors,
    }
