import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from dface_hf.analysis import plot_clip, plot_event, save_figure


def names(figure: Figure) -> list[str]:
    return [axes.get_label() for axes in figure.axes]


def axes_of(figure: Figure, name: str):
    return figure.axes[names(figure).index(name)]


def texts(figure: Figure) -> list[str]:
    inside = [text.get_text() for axes in figure.axes for text in axes.texts]
    return [text.get_text() for text in figure.texts] + inside


def drawn(figure: Figure, path) -> np.ndarray:
    """The figure as it is seen; fails where matplotlib cannot lay a text out."""
    save_figure(figure, path, dpi=60)
    return np.asarray(Image.open(path).convert("RGB"))


def test_event_shows_everything(crops, make_event, tmp_path):
    figure = plot_event(make_event(), *crops)
    assert names(figure) == ["onset", "apex", "difference", "motion", "tokens", "scores", "similarities"]
    shown = texts(figure)
    assert {"negative  60%", "60.0%", "13.3%", "+0.50", "+0.39"} <= set(shown)
    header = next(text for text in shown if text.startswith("onset frame"))
    assert "frame 10 (0.400 s)" in header and "frame 14 (0.560 s)" in header and "confidence 0.71" in header
    assert any("shift px (0.31, -0.12)" in text for text in shown)
    assert drawn(figure, tmp_path / "event.png").std() > 10


def test_token_k_stands_in_row_k_div_4_and_column_k_mod_4(crops, make_event):
    event = make_event()
    tokens = axes_of(plot_event(event, *crops), "tokens")
    by_id = {text.get_gid(): text for text in tokens.texts}
    for k, code in enumerate(event["action_ids"]):
        x, y = by_id[f"token {k}"].get_position()
        assert (int(y * 4), int(x * 4)) == (k // 4, k % 4)
        assert by_id[f"token {k}"].get_text() == (str(code) if code else "·")
        assert by_id[f"attention {k}"].get_text() == f"{event['attention'][k]:.0%}"
    assert tokens.get_ylim() == (1, 0)  # y points down, as in the crop below


def test_attention_is_the_fill_of_its_cell(crops, make_event):
    tokens = axes_of(plot_event(make_event(), *crops), "tokens")
    fills = [patch for patch in tokens.patches if patch.get_fill()]
    alphas = [patch.get_alpha() for patch in fills]
    assert len(alphas) == 16 and alphas == sorted(alphas) and alphas[-1] > 4 * alphas[0]


def test_bars_have_the_length_of_the_numbers(crops, make_event):
    event = make_event()
    bars = axes_of(plot_event(event, *crops), "scores").patches[1::2]  # every other one is the track below
    assert [bar.get_width() for bar in bars] == pytest.approx(list(event["scores"].values()))
    assert len({bar.get_facecolor() for bar in bars}) == 2  # the label's own colour, and the rest


@pytest.mark.parametrize("count", [1, 2, 7, 16])
def test_any_number_of_classes(count, crops, make_event, tmp_path):
    labels = [f"class number {n} with a name far too long for a bar" for n in range(count)]
    event = make_event(labels=labels, label=labels[-1])
    figure = plot_event(event, *crops)
    bars = axes_of(figure, "scores")
    assert len(bars.texts) == 2 * count and all(len(text.get_text()) <= 19 for text in bars.texts)
    assert drawn(figure, tmp_path / "classes.png").std() > 10


def test_hostile_labels_are_text(crops, make_event, make_result, tmp_path):
    labels = ["$\\frac{", "a\nb", "<b>"]
    event = make_event(labels=labels, label="$\\frac{")
    drawn(plot_event(event, *crops), tmp_path / "event.png")
    result = make_result(events=0) | {"path": "$x^$.mp4", "events": [event], "warnings": ["$_"]}
    figure = plot_clip(result)
    drawn(figure, tmp_path / "clip.png")
    assert "$x^$.mp4" in texts(figure)


def test_negative_similarities_and_none(crops, make_event):
    event = make_event(similarities={"a": -0.4, "b": 0.9})
    assert axes_of(plot_event(event, *crops), "similarities").get_xlim() == (-0.4, 0.9)
    bare = make_event()
    for key in ("similarities", "stabilisation", "confidence", "onset_s", "apex_s", "offset_s", "box"):
        del bare[key]
    assert "none" in texts(plot_event(bare, *crops))


def test_clip_without_events(make_result, tmp_path):
    figure = plot_clip(make_result(events=0))
    assert names(figure) == ["timeline"]
    assert any(
        "200 frames" in text and "8.00 s" in text and "no event found" in text for text in texts(figure)
    )
    assert drawn(figure, tmp_path / "clip.png").shape[2] == 3


def test_failed_clip(make_result, tmp_path):
    result = make_result(
        events=0, frames=0, fps=0.0, warnings=["clips/talk.mp4: the file is empty", "second"]
    )
    figure = plot_clip(result)
    assert any("the file is empty   (and 1 more)" in text for text in texts(figure))
    drawn(figure, tmp_path / "clip.png")


def test_timeline_is_in_seconds(make_result):
    score = np.abs(np.sin(np.arange(200) / 9))
    axes = axes_of(plot_clip(make_result(events=2), score, 0.4), "timeline")
    assert axes.get_xlim() == (0, 8)
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["score"].get_xdata()[-1] == pytest.approx(199 / 25)
    assert lines["threshold"].get_ydata() == [0.4, 0.4]
    spans = {patch.get_gid(): patch for patch in axes.patches if patch.get_gid()}
    assert spans["event 1"].get_x() == pytest.approx(0.4)
    assert spans["event 1"].get_width() == pytest.approx(0.4)
    assert any(list(line.get_xdata()) == [0.56, 0.56] for line in axes.lines)
    assert [t.get_text() for t in axes.texts] == ["threshold", "1 negative", "2 positive"]


def test_score_may_have_gaps_or_be_missing(make_result, tmp_path):
    score = np.ones(200)
    score[50:80] = np.nan
    axes = axes_of(plot_clip(make_result(score=score, threshold=None)), "timeline")
    assert axes.lines[0].get_label() == "score" and np.isfinite(axes.get_ylim()).all()
    axes = axes_of(plot_clip(make_result(events=0), np.full(200, np.nan), np.nan), "timeline")
    assert np.isfinite(axes.get_ylim()).all() and not axes.lines


def test_panels_for_events_with_crops_and_how_many_are_left_out(make_result, crops, tmp_path):
    result = make_result(events=11)
    for event in result["events"][1:]:
        event["onset_image"], event["apex_image"] = crops
    figure = plot_clip(result)
    panels = [name for name in names(figure) if name.startswith("tokens")]
    assert panels == [f"tokens {n}" for n in range(2, 10)]
    assert "2 more events not shown" in texts(figure)
    drawn(figure, tmp_path / "clip.png")


def test_crowded_timeline_stays_readable(make_result):
    result = make_result(events=0, frames=3000)
    result["events"] = make_result(events=60)["events"]
    figure = plot_clip(result)
    labels = [text.get_text() for text in axes_of(figure, "timeline").texts]
    assert labels[0] == "1 negative" and {str(n) for n in range(1, 61)} == {
        text.split()[0] for text in labels
    }


def test_long_names_are_elided(make_result):
    title = texts(plot_clip(make_result(path="x/" + "very_long_" * 30 + "end.mp4")))[0]
    assert len(title) <= 64 and "…" in title and title.endswith("end.mp4")


def test_bad_event_is_named(make_result):
    result = make_result(events=3)
    result["events"][2]["attention"] = [0.0] * 4
    with pytest.raises(ValueError, match="event 3: 4 attention weights, 16 ids"):
        plot_clip(result)


def test_no_pyplot_state(crops, make_event):
    before = dict(matplotlib.rcParams)
    plot_event(make_event(), *crops)
    assert dict(matplotlib.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_saving_is_all_or_nothing(tmp_path, make_result):
    figure = plot_clip(make_result())
    with pytest.raises(ValueError, match=r"out\.xyz: cannot write a \.xyz picture"):
        save_figure(figure, tmp_path / "out.xyz")
    with pytest.raises(OSError):
        save_figure(figure, tmp_path / "missing" / "out.png")
    save_figure(figure, tmp_path / "out.png")
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_an_explanation_is_drawn_beside_the_tokens(crops, make_event, explained, tmp_path):
    figure = plot_event(make_event(**explained), *crops)
    shown = names(figure)
    assert shown == [
        "onset",
        "apex",
        "difference",
        "motion",
        "tokens",
        "explanation",
        "scores",
        "similarities",
    ]
    assert explained["explanation"]["sentence"] in texts(figure)
    boxes = [axes.get_position() for axes in figure.axes]
    for k, box in enumerate(boxes):
        assert all(box.x1 <= o.x0 or o.x1 <= box.x0 or box.y1 <= o.y0 or o.y1 <= box.y0 for o in boxes[:k])
        assert 0 <= box.x0 and box.x1 <= 1 and 0 <= box.y0 and box.y1 <= 1
    assert drawn(figure, tmp_path / "event.png").std() > 10
    only_told = plot_event(make_event(explanation=explained["explanation"]), *crops)
    assert "explanation" not in names(only_told) and explained["explanation"]["sentence"] in texts(only_told)


def test_a_clips_panels_show_what_explanations_there_are(crops, make_result, explained, tmp_path):
    result = make_result(events=2)
    for event in result["events"]:
        event |= {"onset_image": crops[0], "apex_image": crops[1]}
    result["events"][1] |= explained
    figure = plot_clip(result)
    assert "explanation 2" in names(figure) and "explanation 1" not in names(figure)
    assert explained["explanation"]["sentence"] in texts(figure)
    assert drawn(figure, tmp_path / "clip.png").std() > 5
