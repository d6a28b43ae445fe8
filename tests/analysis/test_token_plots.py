import numpy as np
import pytest

from dface_hf.analysis.token_plots import plot_tokens

NAMES = ("negative", "positive")


def axes_of(figure, name):
    return next(axes for axes in figure.axes if axes.get_label() == name)


def test_bars_and_cells_are_the_shares_of_the_tokens():
    ids = np.zeros((4, 16), int)
    ids[:3, 0], ids[3, :2] = 5, 7
    figure = plot_tokens(ids, [0, 0, 1, 1], NAMES, 8, "tiny $x$")
    bars = axes_of(figure, "codes").containers
    assert [bar.get_height() * 64 for bar in bars[0]] == pytest.approx([0, 0, 0, 0, 2, 0, 0])
    assert [bar.get_height() * 64 for bar in bars[1]] == pytest.approx([0, 0, 0, 0, 1, 0, 2])
    cells = [text.get_text() for text in axes_of(figure, "places").texts]
    assert cells == ["100%", "25%"] + ["0%"] * 14
    told = figure.texts[1].get_text()
    assert "4 clips" in told and "92% of the tokens" in told and "never used: 5" in told


def test_still_clips_can_be_drawn(tmp_path):
    figure = plot_tokens(np.zeros((2, 16), int), [0, 1], NAMES, 32)
    figure.savefig(tmp_path / "still.png")
    assert "100% of the tokens" in figure.texts[1].get_text()


@pytest.mark.parametrize(("shape", "message"), [((3, 16), "2 labels"), ((2, 15), "square grid")])
def test_what_does_not_fit_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        plot_tokens(np.ones(shape, int), [0, 1], NAMES, 32)
