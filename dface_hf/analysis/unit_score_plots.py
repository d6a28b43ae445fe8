"""A figure of a cross-validation on action units: F1 of each unit by model, and averages with spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .au_plots import SHADES
from .layout import MARGIN, WIDTH, add_axes, add_header, new_figure, plain_label
from .style import ACCENT, INK, MUTED, PANEL, elide, readable_on

BASELINE = "all-ones"
NAMES, UNITS, AVERAGE = 1.75, 4.75, 1.75  # widths in inches: names of models, F1 of units, averages
TOP, CELL, BARS = 2.0, 0.34, 0.5  # of the rows, height of a row, and of the bars above
BELOW = "▾"  # marks what finding every unit in every clip beats
DARK = SHADES(1.0)


def plot_unit_scores(document: Mapping[str, Any], title: str = "") -> Figure:
    """Draw the scores of a cross-validation on action units.

    Args:
        document: As from `dface_hf.training.cross_validate_units.cross_validate_units`. What finding every
            unit in every clip scores follows from its counts and is the last row, whether it was run or not.
        title: Defaults to the protocol.

    Returns:
        A figure with the axes positives (clips with each unit), units (F1 of each unit by model) and average
        (F1 on average over units: mean, standard deviation and single runs).

    Raises:
        ValueError: The document has no rows.
    """
    if not document["rows"]:
        raise ValueError("there are no rows to draw")
    counts, clips = np.sum(list(document["positives"].values()), axis=0), sum(document["clips"].values())
    floor = 2 * counts / (clips + counts)  # recall 1, precision counts / clips
    rows = {name: row for name, row in document["rows"].items() if name != BASELINE}
    tall = CELL * (len(rows) + 1)
    figure = new_figure(TOP + tall + 0.55)
    add_header(figure, title or f"F1 of action units ({document['protocol']})", _summary(document, clips))
    left = MARGIN + NAMES
    _draw_positives(add_axes(figure, "positives", left, TOP - BARS - 0.32, UNITS, BARS), counts)
    _draw_units(add_axes(figure, "units", left, TOP, UNITS, tall), rows, floor, document["units"])
    _draw_average(add_axes(figure, "average", left + UNITS + 0.3, TOP, AVERAGE, tall), rows, floor)
    note = f"F1 in %, pooled over folds.   {BELOW} less than all ones: every unit found in every clip."
    figure.text(left / WIDTH, 0.2 / figure.get_figheight(), note, size=8.5, color=MUTED)
    return figure


def _draw_positives(axes: Axes, counts: np.ndarray) -> None:
    """A bar a unit, as tall as there are clips with it."""
    places = np.arange(len(counts)) + 0.5
    axes.bar(places, counts, 0.8, color="#cdd3d8")
    for place, count in zip(places, counts, strict=True):
        axes.text(place, count, str(count), ha="center", va="bottom", size=_size(len(counts)), color=INK)
    axes.set(xlim=(0, len(counts)), ylim=(0, max(1, counts.max())), xticks=[], yticks=[])
    _beside(axes, 0.2, "clips with it", MUTED)


def _draw_units(axes: Axes, rows: Mapping[str, Any], floor: np.ndarray, units: list[int]) -> None:
    """F1 of each unit by model; the last row is the baseline, and what does not reach it is marked."""
    table = np.array([[row["per_unit"][str(unit)] for unit in units] for row in rows.values()])
    table = np.vstack([table.reshape(-1, len(units)), floor])
    axes.pcolormesh(table, cmap=SHADES, vmin=0, vmax=1, edgecolors="white", lw=0.8)
    for row, line in enumerate(table):
        for column, value in enumerate(line):
            mark = BELOW if value < floor[column] - 1e-9 else ""
            style = {"ha": "center", "va": "center", "gid": f"cell {row} {column}", "size": _size(len(units))}
            colour = readable_on(to_hex(SHADES(float(value))))
            axes.text(column + 0.5, row + 0.5, f"{100 * value:.0f}{mark}", color=colour, **style)
    last = len(rows)
    axes.axhline(last, color=INK, lw=1)
    axes.set(xlim=(0, len(units)), ylim=(last + 1, 0))
    names = [plain_label(elide(name, 24, middle=True)) for name in rows] + ["all ones"]
    axes.set_yticks(np.arange(last + 1) + 0.5, names, size=8.5)
    axes.set_xticks(np.arange(len(units)) + 0.5, [f"AU{unit}" for unit in units], size=_size(len(units)))
    axes.xaxis.tick_top()


def _draw_average(axes: Axes, rows: Mapping[str, Any], floor: np.ndarray) -> None:
    """Mean of each row, its standard deviation, and a small mark a seed; a line at the baseline."""
    base, reached = 100 * float(floor.mean()), []
    axes.axvline(base, color=ACCENT, lw=1.4, zorder=1)
    for place, row in enumerate(rows.values()):
        y, mean, spread = place + 0.5, 100 * row["f1"], 100 * row.get("sd", {}).get("f1", 0.0)
        axes.plot([mean - spread, mean + spread], [y, y], color=DARK, lw=2, solid_capstyle="butt")
        runs = [100 * run["f1"] for run in row.get("runs", ())] if "sd" in row else []
        axes.plot(runs, [y + 0.3] * len(runs), "|", ms=5, mew=0.9, color=MUTED, gid=f"runs {place}")
        axes.plot(mean, y, "o", ms=5, color=DARK, gid=f"mean {place}")
        _beside_right(axes, y, f"{mean:.1f}" + (f" ± {spread:.1f}" if "sd" in row else ""))
        reached += [mean - spread, mean + spread, *runs]
    axes.plot(base, len(rows) + 0.5, "o", ms=5, color=ACCENT)
    _beside_right(axes, len(rows) + 0.5, f"{base:.1f}")
    low, high = min([base, *reached]), max([base, *reached])
    axes.set(xlim=(max(0, 10 * ((low - 3) // 10)), min(100, -10 * (-(high + 3) // 10))))
    axes.set(ylim=(len(rows) + 1, 0), yticks=[], xlabel=_spread_label(rows))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", color=PANEL)
    axes.set_axisbelow(True)


def _spread_label(rows: Mapping[str, Any]) -> str:
    several = any("sd" in row for row in rows.values())
    return "average ± sd; small marks: seeds" if several else "average"


def _beside(axes: Axes, y: float, text: str, colour: str) -> None:
    place = {"transform": axes.transAxes, "ha": "right", "va": "center"}
    axes.text(-0.012, y, text, size=8.5, color=colour, **place)


def _beside_right(axes: Axes, y: float, text: str) -> None:
    place = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(1.06, y, text, size=8.5, color=INK, **place)


def _size(units: int) -> float:
    """Of the letters in a cell."""
    return float(np.clip(100 / units, 4, 8.5))


def _summary(document: Mapping[str, Any], clips: int) -> str:
    runs = len(document["seeds"])
    corpora = ", ".join(f"{elide(name, 20)} {count}" for name, count in document["clips"].items())
    if len(document["clips"]) > 4:
        corpora = f"{len(document['clips'])} corpora"
    facts = [f"{clips} clips: {corpora}", f"{len(document['folds'])} folds"]
    facts.append("1 seed" if runs == 1 else f"{runs} seeds")
    return "   ·   ".join(facts)
