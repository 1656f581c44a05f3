"""The ratios of a run as one picture: bars, their spread, and the marks to reach."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any

from benchmarks.databases import POSTGRES, SQLITE, TITLES
from benchmarks.machine import Machine
from benchmarks.question import Row
from benchmarks.report import Ratio, best_peer, figure, ratio
from benchmarks.running import Results
from benchmarks.sides import EVERLOG, EVERLOG_PYDANTIC, FLOOR

STRUCTS, MODELS = "#0b7285", "#74c0c9"
MARK, INK, QUIET = "#e8590c", "#212529", "#868e96"
DURABLE = {SQLITE: "synchronous=FULL", POSTGRES: "fsync and synchronous_commit on"}
FACTORS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def draw(results: Results, rows: Sequence[Row], machine: Machine, *, database: str) -> bytes | None:
    """Returns a PNG; None where there is nothing to compare, or matplotlib is not installed."""
    compared = [row for row in rows if ratio(results, row.name, slow=FLOOR) and _is_work(row)]
    if not compared:
        return None
    try:
        # Not a top-level import: only the benchmarks' own environment has it.
        pyplot = _load("matplotlib.pyplot")
    except ImportError:
        return None
    with pyplot.rc_context({"font.family": "DejaVu Sans", "axes.edgecolor": QUIET}):
        drawing, (left, right) = pyplot.subplots(
            1,
            2,
            figsize=(15, 1.9 + 0.46 * len(compared)),
            width_ratios=(1.3, 1),
            sharey=True,
            layout="constrained",
        )
        _against_the_floor(left, results, compared)
        _against_peers(right, results, compared)
        drawing.suptitle(
            f"everlog on {TITLES[database]}, {DURABLE[database]}  ·  "
            f"{machine.cpu}, {machine.cores} cores  ·  "
            f"{machine.python}  ·  {machine.date}, {machine.commit}",
            fontsize=11,
            color=INK,
        )
        file = io.BytesIO()
        drawing.savefig(file, format="png", dpi=110, metadata={"Software": None})
        pyplot.close(drawing)
    return file.getvalue()


def _load(module: str) -> Any:
    importlib.import_module("matplotlib").use("Agg")
    return importlib.import_module(module)


def _is_work(row: Row) -> bool:
    return row.unit != "MB" and row.name != "import"


def _against_the_floor(axes: Any, results: Results, rows: Sequence[Row]) -> None:
    height = 0.36
    for side, color, shift in (
        (EVERLOG, STRUCTS, -height / 2),
        (EVERLOG_PYDANTIC, MODELS, height / 2),
    ):
        found = [
            (at, ratio(results, row.name, slow=FLOOR, fast=side)) for at, row in enumerate(rows)
        ]
        drawn = [(at + shift, one) for at, one in found if one is not None]
        _bars(axes, drawn, height, color, f"{side.replace('-', ' with ')} events")
    for at, row in enumerate(rows):
        if row.target.floor_ratio is not None:
            _mark(axes, row.target.floor_ratio, at)
    axes.plot([], [], color=MARK, linewidth=2.4, label="to be reached")
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_title("speed, beside code written by hand (1.0)", fontsize=11, color=INK)
    axes.set_xlim(0, max(1.2, axes.get_xlim()[1]))
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.04), ncols=3, frameon=False, fontsize=9)
    _quiet(axes)


def _against_peers(axes: Any, results: Results, rows: Sequence[Row]) -> None:
    drawn: list[tuple[float, Ratio]] = []
    for at, row in enumerate(rows):
        best = best_peer(results, row.name)
        found = ratio(results, row.name, slow=best) if best else None
        if best is None or found is None:
            _note(axes, at, "no peer was asked, or has it", QUIET)
            continue
        drawn.append((at, found))
        slow, fast = figure(results, row.name, best), figure(results, row.name, EVERLOG)
        _note(
            axes,
            at,
            f"{found.median:.2g}x: {fast:,.3g} {row.unit}, {best} {slow:,.3g}",
            INK,
        )
        if row.target.peer_ratio is not None:
            _mark(axes, row.target.peer_ratio, at)
    axes.set_xscale("log")
    _bars(axes, drawn, 0.5, STRUCTS, "", left=1)
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    least = min([found.least for _, found in drawn], default=1)
    most = max([found.most for _, found in drawn], default=1)
    low, high = min(0.45, least * 0.9), max(15, most * 1.2)
    axes.set_xlim(low, high)
    shown = [factor for factor in FACTORS if low <= factor <= high]
    axes.set_xticks(shown, [f"{factor:g}x" for factor in shown])
    axes.minorticks_off()
    axes.set_title("beside the fastest Python peer (1x)", fontsize=11, color=INK)
    _quiet(axes)


def _note(axes: Any, at: float, text: str, color: str) -> None:
    """Writes to the right of the bars, so that it never lies on one."""
    where = axes.get_yaxis_transform()
    axes.text(1.03, at, text, transform=where, va="center", fontsize=9, color=color)


def _mark(axes: Any, target: float, at: float) -> None:
    axes.plot([target] * 2, [at - 0.42, at + 0.42], color=MARK, linewidth=2.4, zorder=4)


def _bars(
    axes: Any,
    drawn: Sequence[tuple[float, Ratio]],
    height: float,
    color: str,
    label: str,
    *,
    left: float = 0,
) -> None:
    if not drawn:
        return
    axes.barh(
        [at for at, _ in drawn],
        [found.median - left for _, found in drawn],
        height=height,
        left=left,
        color=color,
        label=label or None,
        zorder=2,
    )
    axes.errorbar(
        [found.median for _, found in drawn],
        [at for at, _ in drawn],
        xerr=[
            [found.median - found.least for _, found in drawn],
            [found.most - found.median for _, found in drawn],
        ],
        fmt="none",
        ecolor=INK,
        elinewidth=0.9,
        capsize=2,
        zorder=3,
    )


def _quiet(axes: Any) -> None:
    axes.grid(axis="x", color="#e9ecef", zorder=0)
    axes.tick_params(length=0, colors=INK, labelsize=9.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
