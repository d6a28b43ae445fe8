import numpy as np
import pytest
from skimage import data

from dface_hf.analysis import label_colours, overlay_frames, write_overlay
from dface_hf.analysis.style import rgb
from dface_hf.faces import ClipError, open_frames
from dface_hf.faces.frames import Frame

GREY = 100


def still(count: int, height: int = 240, width: int = 320):
    """A generator, so that a second pass or a length would fail."""
    return (np.full((height, width, 3), GREY, np.uint8) for _ in range(count))


def has_colour(image: np.ndarray, colour: str, tolerance: int = 6) -> np.ndarray:
    return (np.abs(image.astype(int) - rgb(colour)) <= tolerance).all(axis=2)


def test_written_video_has_every_frame(make_result, tmp_path):
    path = tmp_path / "overlay.mp4"
    write_overlay(still(60), make_result(frames=60), path)
    source = open_frames(str(path))
    frames = list(source)
    assert len(frames) == 60 and source.fps == pytest.approx(25)
    assert frames[0].image.shape == (240, 320, 3)
    assert list(tmp_path.iterdir()) == [path]
    # The event runs from frame 10 to 20: outside of it nothing but the timeline is drawn.
    changed = [np.abs(frame.image[:200].astype(int) - GREY).max() > 40 for frame in frames]
    assert [n for n, change in enumerate(changed) if change] == list(range(10, 21))


@pytest.mark.parametrize("size", [(121, 161), (33, 47), (481, 641), (9, 7)])
def test_odd_and_tiny_frames(size, make_result, tmp_path):
    path = tmp_path / "odd.mp4"
    write_overlay(still(25, *size), make_result(frames=25), path)
    frames = list(open_frames(str(path)))
    assert len(frames) == 25
    assert frames[0].image.shape[:2] == tuple(side + side % 2 for side in size)


def test_large_frames_shrink_and_boxes_with_them(make_event, make_result):
    event = make_event(0, box=[1280, 400, 640, 800])
    [frame] = overlay_frames(still(1, 1600, 2560), make_result(events=0) | {"events": [event]})
    assert frame.shape == (800, 1280, 3)
    edge = has_colour(frame, label_colours(event["scores"])["negative"])
    assert edge[250:550, 635:645].any(axis=1).all() and edge[250:550, 955:965].any(axis=1).all()


def test_panel_stands_clear_of_the_face(make_event, make_result):
    panels = {}
    for side, x in {"left": 10, "right": 210}.items():
        event = make_event(0, box=[x, 60, 90, 120])
        [frame] = overlay_frames(still(1), make_result(events=0) | {"events": [event]})
        panels[side] = (frame[10:50] < 90).any(axis=2).sum(axis=0)
    assert panels["left"][:150].sum() == 0 < panels["left"][160:].sum()
    assert panels["right"][200:].sum() == 0 < panels["right"][:150].sum()


def test_timeline_runs_and_carries_the_events(make_result):
    result = make_result(events=4, frames=100)
    frames = list(overlay_frames(still(100), result))
    playhead = [int(np.flatnonzero((frame[239] == 255).all(axis=1)).mean()) for frame in frames[::20]]
    assert playhead == sorted(playhead) and playhead[0] < 5 and 250 < playhead[-1] < 320
    row = frames[0][-1]
    for event in result["events"]:
        colour = rgb(label_colours(event["scores"])[event["label"]])
        column = (event["onset"] + 2) * 320 // 100
        assert tuple(row[column]) == pytest.approx(colour, abs=2)


def test_frames_keep_their_own_numbers_and_are_not_written_on(make_result):
    image = np.full((240, 320, 3), GREY, np.uint8)
    outside, inside = overlay_frames([Frame(3, 0.12, image), Frame(12, 0.48, image)], make_result())
    assert (inside[10:180] != GREY).sum() > 1000 and (outside[10:180] == GREY).all()
    assert (image == GREY).all()


def test_boxes_between_events(make_result):
    boxes = [[40, 50, 60, 70], None]
    first, second = overlay_frames(still(2), make_result(events=0), boxes)
    assert (first[50, 45:95] == 255).all() and (second[:200] == GREY).all()


def test_two_faces_at_once(make_event, make_result):
    events = [make_event(0, box=[20, 60, 80, 90]), make_event(0, label="positive", box=[200, 60, 80, 90])]
    [frame] = overlay_frames(still(1, 480, 640), make_result(events=0) | {"events": events})
    colours = label_colours(events[0]["scores"])
    # Two title bars, one above the other, beside the two boxes.
    bars = [has_colour(frame[:, 500:], colours[event["label"]]).sum(axis=1).max() for event in events]
    assert min(bars) > 50


def test_real_frame_and_any_letters(make_event, make_result):
    event = make_event(0, labels=["Überraschung ✓ $x$", "b"])
    [frame] = overlay_frames([data.astronaut()], make_result(events=0) | {"events": [event]})
    assert frame.shape == (512, 512, 3) and (frame != data.astronaut()).any()


def test_bad_input(make_result, tmp_path):
    with pytest.raises(ClipError, match="no frames to write"):
        write_overlay(iter([]), make_result(), tmp_path / "a.mp4")
    with pytest.raises(ClipError, match="frame 1: is"):
        write_overlay(
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)], make_result(), tmp_path / "a.mp4"
        )
    with pytest.raises(ClipError, match="is float64"):
        write_overlay([np.zeros((8, 8, 3))], make_result(), tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="no frame rate"):
        write_overlay(still(1), make_result(fps=0.0), tmp_path / "a.mp4")
    with pytest.raises(ClipError, match=r"\.gif"):
        write_overlay(still(1), make_result(), tmp_path / "a.gif")
    assert list(tmp_path.iterdir()) == []


def test_streams(make_result):
    """A frame is handed out before the next one is taken in."""
    taken = []

    def frames():
        for n in range(1000):
            taken.append(n)
            yield np.full((48, 64, 3), GREY, np.uint8)

    drawn = overlay_frames(frames(), make_result())
    for _ in range(5):
        next(drawn)
    assert taken == [0, 1, 2, 3, 4]
