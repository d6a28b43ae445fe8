import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dface_hf.analysis import save_figure
from dface_hf.analysis.score_plots import MAX_NAMES, plot_scores
from dface_hf.metrics import bootstrap_interval, recognition_scores

LABELS = ("negative", "positive", "surprise")


def scores(labels=LABELS, subjects=12, corpora=("casme2", "smic")) -> dict:
    rng = np.random.default_rng(0)
    count = len(labels)
    truth = np.arange(20 * count) % count
    predicted = np.where(rng.random(len(truth)) < 0.7, truth, rng.integers(0, count, len(truth)))
    names = np.array(corpora)[np.arange(len(truth)) * len(corpora) // len(truth)]
    result = recognition_scores(truth, predicted, labels, names)
    result["intervals"] = bootstrap_interval(truth, predicted, labels, resamples=50)
    people = [(corpora[i % len(corpora)], f"s{i}") for i in range(subjects)]
    result["per_subject"] = {
        corpus: {name: {"accuracy": 0.5, "n": 4} for one, name in people if one == corpus}
        for corpus in corpora
    }
    return result


def axes_of(figure: Figure, name: str):
    return next(axes for axes in figure.axes if axes.get_label() == name)


def drawn(figure: Figure, path) -> np.ndarray:
    save_figure(figure, path, dpi=60)
    return np.asarray(Image.open(path).convert("RGB"))


def test_the_matrix_has_truth_in_rows(tmp_path):
    result = scores()
    figure = plot_scores(result, LABELS, title="loso.txt")
    axes = axes_of(figure, "confusion")
    cells = {text.get_gid(): text for text in axes.texts}
    for row in range(3):
        for column in range(3):
            cell = cells[f"cell {row} {column}"]
            count = result["confusion"][row][column]
            assert cell.get_text() == f"{count}\n{count / 20:.0%}"
            assert cell.get_position() == (column + 0.5, row + 0.5)
    assert axes.get_ylim() == (3, 0) and axes.get_ylabel() == "true" and axes.get_xlabel() == "predicted"
    assert [text.get_text() for text in axes.get_yticklabels()] == list(LABELS)
    assert drawn(figure, tmp_path / "a.png").std() > 10


def test_scores_and_intervals_stand_where_they_are():
    result = scores()
    axes = axes_of(plot_scores(result, LABELS), "scores")
    points = {line.get_gid(): line.get_xdata()[0] for line in axes.lines if line.get_gid()}
    assert points["uf1 0"] == result["uf1"] and points["uar 2"] == result["per_corpus"]["smic"]["uar"]
    spans = [tuple(line.get_xdata()) for line in axes.lines if not line.get_gid()]
    assert spans == [result["intervals"][name] for name in ("uf1", "uar", "accuracy")]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "all\n60 clips",
        "casme2\n30 clips",
        "smic\n30 clips",
    ]


def test_bars_of_subjects_are_their_clips():
    result = scores(subjects=4)
    result["per_subject"]["smic"]["s3"] = {"accuracy": 1.0, "n": 7}
    axes = axes_of(plot_scores(result, LABELS), "subjects")
    right, wrong = (bars.patches for bars in axes.containers)
    assert [bar.get_height() for bar in right] == [2, 2, 7, 2]  # in each corpus the best first
    assert [bar.get_height() for bar in wrong] == [2, 2, 0, 2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["s0", "s2", "s3", "s1"]
    assert [text.get_text() for text in axes.texts] == ["casme2: 50% of 8", "smic: 82% of 11"]


def test_without_subjects_or_corpora(tmp_path):
    result = recognition_scores([0, 1], [0, 0], 2)
    figure = plot_scores(result, ["a", "b"])
    assert [axes.get_label() for axes in figure.axes] == ["confusion", "scores"]
    assert drawn(figure, tmp_path / "a.png").std() > 5


@pytest.mark.parametrize("classes", [1, 7, 20])
def test_any_number_of_classes_with_any_name(classes, tmp_path):
    labels = [f"$\\frac{{ {n} class with a long name" for n in range(classes)]
    figure = plot_scores(scores(labels, corpora=("$x^$", "b" * 60)), labels, "$_" + "x" * 100)
    assert drawn(figure, tmp_path / "a.png").std() > 5


@pytest.mark.parametrize(("count", "named"), [(1, True), (MAX_NAMES, True), (MAX_NAMES + 1, False)])
def test_any_number_of_subjects(count, named, tmp_path):
    result = scores(subjects=count, corpora=("a",))
    figure = plot_scores(result, LABELS)
    assert bool(axes_of(figure, "subjects").get_xticklabels()) == named
    assert drawn(figure, tmp_path / "a.png").std() > 10


def test_labels_and_matrix_must_agree_and_no_global_state():
    before = dict(matplotlib.rcParams)
    with pytest.raises(ValueError, match=r"shape \(3, 3\) for 2 labels"):
        plot_scores(scores(), ["a", "b"])
    plot_scores(scores(), LABELS)
    assert dict(matplotlib.rcParams) == before
