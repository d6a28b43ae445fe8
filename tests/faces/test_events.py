"""From clips to aligned pairs: spotted and given events, what is warned of and what is refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

from dface_hf.faces import ClipError, align_pair, events, find_clip_events

FPS = 30


def interval_overlap(a, b) -> float:
    """Intersection over union of two intervals of frames, ends included."""
    common = min(a[-1], b[-1]) - max(a[0], b[0]) + 1
    return max(common, 0) / (max(a[-1], b[-1]) - min(a[0], b[0]) + 1)


def keyframes(event) -> tuple[int, int, int]:
    return event.onset, event.apex, event.offset


def test_a_spotted_event_is_where_the_portrait_acts(portrait):
    frames, truth = portrait
    found = find_clip_events(frames, fps=FPS)
    assert (found.path, found.fps, found.frames) == ("array", FPS, len(frames)) and not found.warnings
    event = max(found.events, key=lambda event: event.confidence)
    assert interval_overlap(keyframes(event), truth) >= 0.5
    assert abs(event.apex - truth[1]) / FPS <= 0.060
    assert event.seconds == pytest.approx([index / FPS for index in keyframes(event)])
    assert event.kind == "micro" and 0.5 < event.confidence <= 1
    assert found.score.shape == (len(frames),) and found.score.max() > found.threshold


def test_a_short_clip_cut_around_its_event(portrait):
    frames, truth = portrait
    start = truth[0] - 6
    found = find_clip_events(frames[start : truth[2] + 8], fps=FPS)
    assert len(found.events) == 1
    event = [index + start for index in keyframes(found.events[0])]
    assert interval_overlap(event, truth) >= 0.5 and abs(event[1] - truth[1]) / FPS <= 0.060


def test_sensitivity_counts_in_a_short_clip_too(portrait):
    frames, truth = portrait
    short = frames[truth[0] - 6 : truth[2] + 8]
    (usual,) = find_clip_events(short, fps=FPS).events
    (event,) = find_clip_events(short, fps=FPS, sensitivity=2).events
    assert keyframes(event) == keyframes(usual) and event.confidence > usual.confidence
    assert find_clip_events(short, fps=FPS, sensitivity=0.05).events == []


def test_a_still_clip_has_no_event_and_says_so(portrait):
    still = portrait[0][:40]
    found = find_clip_events(np.concatenate([still, still[::-1]]), fps=FPS)
    assert found.events == [] and found.warnings == ["no micro-expression found"]
    assert find_clip_events(still[:2], fps=FPS).warnings == ["no micro-expression found"]


def test_kinds_left_out_are_counted(portrait):
    found = find_clip_events(portrait[0], fps=FPS, kinds=("macro",))
    assert found.events == []
    assert found.warnings == ["no macro-expression found; 1 of another length left out"]
    assert len(find_clip_events(portrait[0], fps=FPS, kinds=("micro", "macro")).events) == 1


def test_given_keyframes_give_exactly_that_event(portrait):
    frames, (onset, apex, offset) = portrait
    found = find_clip_events(frames, onset, apex, offset, fps=FPS, size=96)
    (event,) = found.events
    assert keyframes(event) == (onset, apex, offset) and event.confidence == 1
    assert found.frames == len(frames) and found.score is None and not found.warnings
    assert event.onset_image.shape == event.apex_image.shape == (96, 96, 3)
    assert event.onset_image.dtype == event.apex_image.dtype == np.uint8
    moved = cv2.absdiff(event.onset_image, event.apex_image)
    brows, mouth = moved[18:38, 20:76].mean(), moved[60:80, 30:66].mean()
    assert brows > 2 * mouth  # what is left in the aligned pair is the action
    (short,) = find_clip_events(frames, onset, apex, fps=FPS).events
    assert keyframes(short) == (onset, apex, apex)


def test_stabilisation_can_be_switched_off(portrait):
    frames, (onset, apex, _) = portrait
    shifted = frames[[onset, apex]]
    shifted[1] = np.roll(shifted[1], 1, axis=1)
    (stable,) = find_clip_events(shifted, 0, 1, fps=FPS).events
    (plain,) = find_clip_events(shifted, 0, 1, fps=FPS, stabilised=False).events
    assert plain.stabilisation is None and stable.stabilisation.applied
    assert stable.stabilisation.shift_px[0] == pytest.approx(128 / 120, abs=0.5)
    np.testing.assert_array_equal(plain.onset_image, stable.onset_image)
    still = (slice(45, 70), slice(40, 88))  # nose and cheeks
    residue = [np.abs(e.apex_image[still].astype(int) - e.onset_image[still]).mean() for e in (stable, plain)]
    assert residue[0] < 0.6 * residue[1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((50, 45), "onset 50, apex 45, offset 45 are not in order"),
        ((50, 50), "not in order"),
        ((-1, 4), "onset -1"),
        ((45, 50, 48), "offset 48 are not in order"),
        ((45, 400), "frame 400 does not exist; the clip has 104 frames"),
        ((45, 50, 104), "frame 104 does not exist"),
        ((45,), "onset is 45, apex is None, offset is None; give onset and apex"),
        ((None, 50), "apex is 50"),
        ((None, None, 50), "offset is 50"),
    ],
)
def test_keyframes_that_cannot_be_are_refused(clip, given, told):
    with pytest.raises(ClipError, match=told) as caught:
        find_clip_events(str(clip), *given)
    assert str(caught.value).startswith(str(clip)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"kinds": ("mirco",)}, "mirco"),
        ({"kinds": "micro"}, "choose from micro, macro"),
        ({"kinds": ()}, "kinds"),
        ({"faces": "most"}, "largest or all"),
        ({"detector": "eyes"}, "haar, yunet"),
        ({"sensitivity": 0}, "sensitivity"),
        ({"fps": 0}, "fps is 0"),
    ],
)
def test_options_that_do_not_exist_are_refused(portrait, option, told):
    with pytest.raises(ValueError, match=told):
        find_clip_events(portrait[0][:8], **{"fps": FPS} | option)


def test_one_frame_and_no_face_are_refused(portrait):
    with pytest.raises(ClipError, match="the clip has 1 frame"):
        find_clip_events(portrait[0][:1], fps=FPS)
    grey = np.full((12, 96, 128, 3), 90, np.uint8)
    with pytest.raises(ClipError, match="no face found in 12 frames"):
        find_clip_events(grey, fps=FPS)
    with pytest.raises(ClipError, match="no face found in the onset frame 3"):
        find_clip_events(grey, 3, 5, fps=FPS)


def test_a_face_that_leaves_or_comes_late_is_told(portrait):
    frames = portrait[0].copy()
    frames[60:] = 90
    leaving = find_clip_events(frames, fps=FPS)
    (gone,) = [text for text in leaving.warnings if "out of view from frame" in text]
    assert 48 <= int(gone.split()[-2]) <= 60
    coming = find_clip_events(frames[::-1], fps=FPS)
    (late,) = [text for text in coming.warnings if "no face in view before frame" in text]
    assert 44 <= int(late.split()[-1]) <= 60
    pair = find_clip_events(frames, 40, 70, fps=FPS)
    assert len(pair.events) == 1 and any("frames 40-70: the head moves too much" in w for w in pair.warnings)


def test_of_two_faces_the_largest_or_all(two_faces):
    largest = find_clip_events(two_faces, fps=FPS)
    assert largest.warnings == ["2 faces in view; following the largest"] and len(largest.events) == 1
    every = find_clip_events(two_faces, fps=FPS, faces="all")
    assert len(every.events) == 2 and not every.warnings
    left, right = sorted(event.box[0] for event in every.events)
    assert left < 256 < right
    assert [event.onset for event in every.events] == sorted(event.onset for event in every.events)


def test_boxes_are_in_pixels_of_the_clip_and_inside_it(portrait):
    frames = portrait[0][44:51]
    large = np.stack([cv2.resize(frame, (1792, 1792)) for frame in frames])
    (small_event,) = find_clip_events(frames, 0, 6, fps=FPS).events
    (large_event,) = find_clip_events(large, 0, 6, fps=FPS).events
    assert large_event.box == pytest.approx([7 * value for value in small_event.box], abs=60)
    x, y, width, height = find_clip_events(frames[:, 72:, 74:], 0, 6, fps=FPS).events[0].box
    assert x >= 0 and y >= 0 and x + width <= 182 and y + height <= 184
    assert all(type(value) is float for value in (x, y, width, height))


def test_events_are_the_same_however_many_are_read_at_once(portrait, monkeypatch):
    frames, options = portrait[0], {"fps": FPS, "sensitivity": 8, "stabilised": False}
    together = find_clip_events(frames, **options).events
    monkeypatch.setattr(events, "EVENTS_AT_ONCE", 1)
    single = find_clip_events(frames, **options).events
    assert len(together) == len(single) > 2
    assert [event.onset for event in together] == sorted(event.onset for event in together)
    for one, other in zip(together, single, strict=True):
        assert keyframes(one) == keyframes(other) and one.seconds == other.seconds
        np.testing.assert_array_equal(one.onset_image, other.onset_image)
        np.testing.assert_array_equal(one.apex_image, other.apex_image)
        assert (one.onset_image != one.apex_image).any()


@pytest.fixture
def photos(portrait, tmp_path):
    frames, (onset, apex, _) = portrait
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, index in zip(paths, (onset, apex), strict=True):
        Image.fromarray(frames[index]).save(path)
    return paths


def test_photos_are_aligned_on_the_first(photos):
    first, second = align_pair(*photos)
    assert first.shape == second.shape == (128, 128, 3) and (first != second).any()
    same = align_pair(photos[0], photos[0])
    np.testing.assert_array_equal(*same)


def test_aligned_photos_keep_their_pixels(photos):
    first, second = align_pair(*photos, aligned=True, stabilised=False)
    np.testing.assert_array_equal(first, np.asarray(Image.open(photos[0])))
    np.testing.assert_array_equal(second, np.asarray(Image.open(photos[1])))


@pytest.mark.parametrize(
    ("size", "aligned", "told"),
    [
        ((100, 100), False, "the two images are 100x100 and 256x256"),
        ((256, 256), False, "no face found"),
        ((64, 48), True, "the two images are"),
        ((16, 16), True, "the two images are"),
    ],
)
def test_photos_that_do_not_fit_are_refused(photos, tmp_path, size, aligned, told):
    Image.new("RGB", size, (90, 90, 90)).save(tmp_path / "grey.png")
    with pytest.raises(ClipError, match=told):
        align_pair(tmp_path / "grey.png", photos[1], aligned=aligned)


@pytest.mark.parametrize(
    ("size", "told"), [((64, 48), "is square, not 64x48"), ((16, 16), "a crop of 16 px")]
)
def test_crops_that_are_none_are_refused(tmp_path, size, told):
    Image.new("RGB", size).save(tmp_path / "crop.png")
    with pytest.raises(ClipError, match=told):
        align_pair(tmp_path / "crop.png", tmp_path / "crop.png", aligned=True)


def test_a_real_video_is_analysed(validation_videos):
    smallest = min(validation_videos, key=lambda path: path.stat().st_size)
    found = find_clip_events(str(smallest), kinds=("micro", "macro"))
    assert found.frames == len(found.score) > 24
    for event in found.events:
        assert 0 <= event.onset < event.apex <= event.offset < found.frames
        assert event.onset_image.std() > 10  # a face, not an empty crop
    assert found.events or found.warnings
