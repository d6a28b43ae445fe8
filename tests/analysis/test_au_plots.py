import numpy as np
import pytest
from PIL import Image

from dface_hf.analysis import save_figure
from dface_hf.analysis.au_plots import LIMIT, plot_unit_statistics
from dface_hf.analysis.au_statistics import unit_statistics
from dface_hf.data.action_unit_table import ActionUnitTable


def table(count=60, units=(1, 2, 4, 12), corpora=("a", "b"), seconds=None):
    rng = np.random.default_rng(0)
    shown = rng.random((count, len(units))) < 0.3
    shown[:, 1] = shown[:, 0] ^ (rng.random(count) < 0.05)
    names = np.array(corpora)[np.arange(count) % len(corpora)]
    seconds = rng.uniform(0.1, 0.6, count) if seconds is None else np.full(count, seconds)
    return ActionUnitTable(units, shown, names, seconds, {"c": 7})


def draw(one, title="units"):
    found = unit_statistics(one)
    figure = plot_unit_statistics(found, one.corpora, one.durations, title)
    return found, figure, {axes.get_label(): axes for axes in figure.axes}


def cells(axes):
    return {text.get_gid(): text for text in axes.texts}


def test_the_matrices_say_what_was_counted():
    found, _, axes = draw(table())
    both, correlation = cells(axes["cooccurrence"]), cells(axes["correlation"])
    for row in range(4):
        for column in range(4):
            cell = both[f"cell {row} {column}"]
            assert cell.get_text() == str(found["cooccurrence"][row][column] or "")
            assert cell.get_position() == (column + 0.5, row + 0.5)
    assert correlation["cell 2 2"].get_text() == ""
    shown = correlation["cell 0 1"].get_text()
    assert float(shown) == pytest.approx(found["correlation"][0][1], abs=0.0051) and shown.startswith(".")
    assert axes["correlation"].get_ylim() == (4, 0)


def test_correlations_of_both_signs_differ_in_colour():
    shown = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 1], [1, 1, 0]], bool)
    one = ActionUnitTable((1, 2, 4), shown, np.array(["a"] * 5), np.full(5, np.nan), {})
    _, _, axes = draw(one)
    shades = axes["correlation"].collections[0].get_array().reshape(3, 3, 3)
    red_1_2, _, blue_1_2 = shades[0, 1]
    red_1_4, _, blue_1_4 = shades[0, 2]
    assert blue_1_2 > red_1_2 and red_1_4 > blue_1_4
    assert cells(axes["correlation"])["cell 0 2"].get_text() == "−1.00"


def test_bars_stack_the_corpora():
    found, figure, axes = draw(table())
    heights = np.array([bar.get_height() for bar in axes["imbalance"].patches]).reshape(2, 4)
    assert heights.tolist() == list(found["per_corpus"].values())
    tops = [bar.get_y() + bar.get_height() for bar in axes["imbalance"].patches[4:]]
    assert tops == found["counts"]
    assert axes["imbalance"].texts[0].get_text() == f"{found['rates'][0]:.0%}"
    assert "7 clips without codes" in figure.texts[1].get_text()


def test_durations_are_all_there():
    one = table(seconds=None)
    one.durations[:3] = 9.0  # far longer than the axis
    one.durations[3] = np.nan
    _, _, axes = draw(one)
    assert sum(bar.get_height() for bar in axes["durations"].patches) == 59
    assert axes["durations"].lines[0].get_xdata()[0] == LIMIT


def test_hostile_names_and_many_units(tmp_path):
    one = table(200, tuple(range(1, 19)), ("_a$b$", "x" * 60, *"cdefgh"))
    one.shown[:, 5] = False
    _, figure, axes = draw(one, "a$b" * 40)
    assert cells(axes["correlation"])["cell 5 0"].get_text() == "–"
    save_figure(figure, tmp_path / "a.png", dpi=60)
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
    assert picture.std() > 10 and len(axes["imbalance"].get_legend().get_texts()) == 8


def test_without_durations(tmp_path):
    _, figure, axes = draw(table(seconds=np.nan))
    assert [text.get_text() for text in axes["durations"].texts] == ["not known"]
    save_figure(figure, tmp_path / "a.svg")


def test_other_numbers_are_refused():
    one = table()
    with pytest.raises(ValueError, match="59 durations and 60 corpora for 60 clips"):
        plot_unit_statistics(unit_statistics(one), one.corpora, one.durations[1:])
