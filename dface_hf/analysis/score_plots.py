"""Figures of scores: confusion matrix, scores with their intervals, and how each subject fared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .layout import MARGIN, WIDTH, add_axes, add_header, new_figure, plain_label
from .style import INK, MUTED, PANEL, elide, label_colours, readable_on

MATRIX = 3.3
MAX_NAMES = 110
"""More subjects than this are drawn without their names."""

RIGHT, WRONG = "#4c78a8", "#d9dde1"
_SCORES = {"uf1": ("UF1", "o"), "uar": ("UAR", "D"), "accuracy": ("accuracy", "s")}


def plot_scores(
    result: Mapping[str, Any],
    labels: Sequence[str],
    title: str = "",
) -> Figure:
    """Draw the scores of a run.

    Args:
        result: As from `dface_hf.metrics.recognition_scores`. Where it and its corpora have `intervals`
            (score -> low, high), they are drawn; where it has `per_subject` (corpus -> subject ->
            {"accuracy", "n"}), there is a panel of them.
        labels: The class names in order.
        title: Such as the file that the predictions come from.

    Returns:
        A figure with the axes confusion, scores and, where there are subjects, subjects.

    Raises:
        ValueError: The confusion matrix does not have a row and a column for each label.
    """
    confusion = np.asarray(result["confusion"])
    people = result.get("per_subject") or {}
    subjects = {(corpus, name): one for corpus, part in people.items() for name, one in part.items()}
    if confusion.shape != (len(labels), len(labels)):
        raise ValueError(f"confusion matrix of shape {confusion.shape} for {len(labels)} labels")
    height = MATRIX + 1.95 + (2.45 if subjects else 0)
    figure = new_figure(height)
    add_header(figure, title or "scores", _summary(result, len(subjects)))
    draw_confusion(add_axes(figure, "confusion", MARGIN + 1.15, 1.05, MATRIX, MATRIX), confusion, labels)
    left = MARGIN + 1.15 + MATRIX + 1.5
    rows = _rows(result)
    tall = min(MATRIX, 0.85 * len(rows))
    _draw_scores(add_axes(figure, "scores", left, 1.05, WIDTH - MARGIN - 0.1 - left, tall), rows)
    if subjects:
        place = (MARGIN + 0.3, MATRIX + 2.1, WIDTH - 2 * MARGIN - 0.3, 1.3)
        _draw_subjects(add_axes(figure, "subjects", *place), subjects)
    return figure


def draw_confusion(axes: Axes, confusion: ArrayLike, labels: Sequence[str]) -> None:
    """A confusion matrix, truth in rows: the shade is the share of the row, the number the clips.

    Args:
        axes: Where to draw.
        confusion: (classes, classes) counts.
        labels: The class names in order.
    """
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    colours, size = label_colours(labels), float(np.clip(30 / len(labels), 5, 10))
    for row, label in enumerate(labels):
        base = np.array([int(colours[label][i : i + 2], 16) for i in (1, 3, 5)])
        for column in range(len(labels)):
            share = shares[row, column]
            shade = "#" + "".join(f"{round(value):02x}" for value in 255 - share * (255 - base))
            axes.fill_between([column, column + 1], row, row + 1, color=shade, lw=0)
            text = f"{counts[row, column]}" + (f"\n{share:.0%}" if len(labels) <= 8 else "")
            style = {"ha": "center", "va": "center", "size": size, "gid": f"cell {row} {column}"}
            axes.text(column + 0.5, row + 0.5, text, color=readable_on(shade), **style)
    places, names = np.arange(len(labels)) + 0.5, [plain_label(elide(label, 16)) for label in labels]
    axes.set(xlim=(0, len(labels)), ylim=(len(labels), 0), xlabel="predicted", ylabel="true")
    axes.set_xticks(places, names, rotation=30 if len(labels) > 4 else 0, size=min(9, size + 1))
    axes.set_yticks(places, names, size=min(9, size + 1))
    axes.spines[:].set(visible=True, color=PANEL)


def _rows(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The whole and, where there are several, its corpora."""
    parts = dict(result.get("per_corpus") or {})
    return {"all": result} | (parts if len(parts) > 1 else {})


def _draw_scores(axes: Axes, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """UF1, UAR and accuracy of each row, with intervals where they are known."""
    for place, one in enumerate(rows.values()):
        for offset, (name, (label, marker)) in enumerate(_SCORES.items()):
            y = place + 0.5 + 0.22 * (offset - 1)
            style = {"color": INK if offset == 0 else MUTED, "label": label if place == 0 else None}
            if interval := (one.get("intervals") or {}).get(name):
                axes.plot(interval, [y, y], color=style["color"], lw=1.2, solid_capstyle="butt")
            axes.plot(one[name], y, marker, ms=5.5, gid=f"{name} {place}", **style)
            axes.text(1.02, y, f"{one[name]:.3f}", size=7.5, va="center", color=style["color"])
    names = [f"{plain_label(elide(name, 18, middle=True))}\n{one['n']} clips" for name, one in rows.items()]
    axes.set(xlim=(0, 1), ylim=(len(rows), 0))
    axes.set_xticks(np.linspace(0, 1, 6), [f"{x:.1f}" for x in np.linspace(0, 1, 6)], size=8)
    axes.set_yticks(
        np.arange(len(rows)) + 0.5, names, size=7.5 if any(len(name) > 14 for name in rows) else 8.5
    )
    axes.grid(axis="x", color=PANEL)
    axes.set_axisbelow(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=8, borderpad=0)


def _draw_subjects(axes: Axes, subjects: Mapping[tuple[str, str], Mapping[str, float]]) -> None:
    """A bar a subject, as tall as they have clips: right ones below, wrong ones above; by corpus."""
    corpora = list(dict.fromkeys(corpus for corpus, _ in subjects))
    order = sorted(subjects, key=lambda key: (corpora.index(key[0]), -subjects[key]["accuracy"]))
    gaps = np.array([corpora.index(corpus) for corpus, _ in order])
    places = np.arange(len(order)) + gaps * max(1.0, len(order) / 60)
    clips = np.array([subjects[key]["n"] for key in order], float)
    right = clips * [subjects[key]["accuracy"] for key in order]
    axes.bar(places, right, 0.8, color=RIGHT, label="right")
    axes.bar(places, clips - right, 0.8, bottom=right, color=WRONG, label="wrong")
    for number, corpus in enumerate(corpora):
        mine = gaps == number
        share = f"{right[mine].sum() / clips[mine].sum():.0%} of {int(clips[mine].sum())}"
        text = f"{elide(corpus, 18)}: {share}"
        style = {"size": 8, "color": INK, "transform": axes.get_xaxis_transform(), "parse_math": False}
        axes.text(places[mine][0] - 0.4, 1.03, text, va="bottom", **style)
    names = [plain_label(elide(subject, 10)) for _, subject in order] if len(order) <= MAX_NAMES else []
    size = float(np.clip(420 / len(order), 4, 8))
    axes.set_xticks(places if names else [], names, rotation=90, size=size)
    axes.set(xlim=(places[0] - 0.8, places[-1] + 0.8), ylim=(0, clips.max()), ylabel="clips")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=5)
    axes.tick_params(axis="y", labelsize=8)
    place = {"loc": "upper right", "bbox_to_anchor": (1, -0.32 if names else -0.02)}
    axes.legend(ncols=2, frameon=False, fontsize=8, borderpad=0, **place)


def _summary(result: Mapping[str, Any], subjects: int) -> str:
    runs = len(result.get("runs") or ())
    facts = [
        f"{result['n']} clips",
        f"{subjects} subjects" if subjects else "",
        f"{runs} run{'s' if runs > 1 else ''}" if runs else "",
    ]
    facts += [f"{label} {result[name]:.4f}" for name, (label, _) in _SCORES.items()]
    return "   ·   ".join(fact for fact in facts if fact)
