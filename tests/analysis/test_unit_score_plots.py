"""The figure of a cross-validation on action units says what its document says."""

import copy

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dface_hf.analysis import save_figure
from dface_hf.analysis.unit_score_plots import BELOW, plot_unit_scores
from dface_hf.metrics import au_scores
from dface_hf.training.cross_validate_units import unit_document

from ..training.unit_sets import unit_clips


def document(names=("ac4au", "all-ones", "sssnet"), seeds=3):
    """Of models that guess; "all-ones" is what it is called."""
    clips, rng = unit_clips(30), np.random.default_rng(0)
    corpora = np.array(clips.corpora)
    rows = {
        name: unit_document(np.ones((seeds, *clips.shown.shape)), clips)
        if name == "all-ones"
        else unit_document(rng.normal(size=(seeds, *clips.shown.shape)), clips)
        for name in names
    }
    positives = {name: clips.shown[corpora == name].sum(0).tolist() for name in "abc"}
    told = {"units": list(clips.units), "protocol": "lodo", "folds": list("abc"), "seeds": list(range(seeds))}
    return told | {"rows": rows, "positives": positives, "clips": dict.fromkeys("abc", 10)}


def axes_of(figure):
    return {axes.get_label(): axes for axes in figure.axes}


def cells(axes):
    return {text.get_gid(): text.get_text() for text in axes.texts}


def test_cells_are_scores_and_the_baseline_is_last():
    found = document()
    axes = axes_of(plot_unit_scores(found))
    told = cells(axes["units"])
    ones = found["rows"]["all-ones"]["per_unit"]
    for row, name in enumerate(("ac4au", "sssnet", "all-ones")):
        for column, unit in enumerate(found["units"]):
            value = found["rows"][name]["per_unit"][str(unit)]
            mark = BELOW if value < ones[str(unit)] - 1e-9 else ""
            assert told[f"cell {row} {column}"] == f"{100 * value:.0f}{mark}"
    assert any(text.endswith(BELOW) for text in told.values())
    labels = [text.get_text() for text in axes["units"].get_yticklabels()]
    assert labels == ["ac4au", "sssnet", "all ones"] and axes["units"].get_ylim() == (3, 0)


def test_the_baseline_follows_from_counts():
    """What the figure computes is what all ones scores when it is run."""
    clips, found = unit_clips(30), document(("ac4au",))
    scores = au_scores(clips.shown, np.ones(clips.shown.shape), clips.units, clips.corpora)
    axes = axes_of(plot_unit_scores(found))
    told = [cells(axes["units"])[f"cell 1 {column}"] for column in range(12)]
    assert told == [f"{100 * value:.0f}" for value in scores["per_unit"].values()]
    assert axes["average"].texts[-1].get_text() == f"{100 * scores['f1']:.1f}"
    bars = [bar.get_height() for bar in axes["positives"].patches]
    assert bars == clips.shown.sum(0).tolist()
    assert [text.get_text() for text in axes["positives"].texts][:12] == [str(count) for count in bars]


def test_averages_have_their_seeds():
    found = document()
    axes = axes_of(plot_unit_scores(found))["average"]
    lines = {line.get_gid(): line.get_xdata() for line in axes.lines}
    row = found["rows"]["sssnet"]
    assert lines["mean 1"] == pytest.approx(100 * row["f1"])
    assert lines["runs 1"] == pytest.approx([100 * run["f1"] for run in row["runs"]])
    assert np.mean(lines["runs 1"]) == pytest.approx(lines["mean 1"][0]) and len(lines["runs 1"]) == 3
    assert axes.texts[1].get_text() == f"{100 * row['f1']:.1f} ± {100 * row['sd']['f1']:.1f}"
    low, high = axes.get_xlim()
    assert all(low <= x <= high for values in lines.values() for x in np.ravel(values) if x > 1)
    alone = axes_of(plot_unit_scores(document(seeds=1)))["average"]
    assert alone.get_xlabel() == "average" and "±" not in alone.texts[0].get_text()


@pytest.mark.parametrize("count", [1, 15])
def test_texts_stay_in_the_picture_and_apart(count, tmp_path):
    found = document([f"{number} $_\\frac{{ a checkpoint with a long name" for number in range(count)])
    figure = plot_unit_scores(found, "a$b" * 60)
    save_figure(figure, tmp_path / "a.png", dpi=60)
    assert np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).std() > 10
    renderer, page = FigureCanvasAgg(figure).get_renderer(), figure.bbox
    texts = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    texts += [text for axes in figure.axes for text in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 for box in boxes)
    overlaps = [
        (one, other)
        for at, one in enumerate(boxes)
        for other in boxes[:at]
        if one.padded(-1).overlaps(other.padded(-1))
    ]
    assert not overlaps


def test_only_all_ones_or_nothing():
    found = document(("all-ones",), seeds=1)
    assert cells(axes_of(plot_unit_scores(found))["units"]).keys() == {f"cell 0 {at}" for at in range(12)}
    empty = copy.deepcopy(found) | {"rows": {}}
    with pytest.raises(ValueError, match="there are no rows to draw"):
        plot_unit_scores(empty)
