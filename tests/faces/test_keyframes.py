import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from dface_hf.faces.keyframes import Spotter, find_apex, find_events, find_keyframes

SIZE, FPS = 96, 30
EYES_AND_MOUTH = np.array([[201.8, 100.4], [247.6, 102.7], [224.9, 147.0]])
CANONICAL = np.array([[-0.35, -0.21], [0.35, -0.21], [0.0, 0.48]])
AXIS = (np.arange(SIZE, dtype=np.float32) + 0.5) * 2 / SIZE - 1
X, Y = np.meshgrid(AXIS, AXIS)


def blob(x: float, y: float, width: float, dx: float, dy: float) -> np.ndarray:
    """Motion of skin around (±x, y), mirrored, with a peak of (dx, dy) px of a 128 crop."""
    left, right = (np.exp(-(((X - s * x) ** 2 + (Y - y) ** 2) / width**2)) for s in (-1, 1))
    return np.dstack([dx * (right - left), dy * (right + left)]).astype(np.float32) * SIZE / 128


BROWS = blob(0.33, -0.5, 0.22, 0.0, -1.5)
SMILE = blob(0.3, 0.45, 0.22, 1.0, -1.0)
JAW = blob(0.05, 0.6, 0.3, 0.0, 2.0)


def face() -> np.ndarray:
    target = (CANONICAL + 1) * SIZE / 2 - 0.5
    matrix, _ = cv2.estimateAffinePartial2D(EYES_AND_MOUTH, target)
    grey = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return cv2.warpAffine(grey, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA)


def bump(frames: int, onset: int, apex: int, offset: int) -> np.ndarray:
    t = np.arange(frames)
    rise, fall = (t - onset) / (apex - onset), (offset - t) / max(offset - apex, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(np.minimum(rise, fall), 0, 1))


def video(
    frames: int, motions=(), shift=None, blinks=(), noise: float = 1.5, seed: int = 0
) -> list[np.ndarray]:
    """Crops of the astronaut acting: ``motions`` are (field, course) pairs, ``shift`` (T, 2) px."""
    rng, still = np.random.default_rng(seed), face()
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
    eyes = ((np.abs(X) - 0.35) / 0.17) ** 2 + ((Y + 0.21) / 0.1) ** 2 < 1
    crops = []
    for t in range(frames):
        picture = (
            np.where(eyes, 150, still).astype(np.float32) if any(a <= t < b for a, b in blinks) else still
        )
        field = sum((m * np.float32(c[t]) for m, c in motions), np.zeros((SIZE, SIZE, 2), np.float32))
        dx, dy = (0, 0) if shift is None else shift[t]
        u, v = x - np.float32(dx) - field[..., 0], y - np.float32(dy) - field[..., 1]
        seen = cv2.remap(picture, u, v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        crops.append(np.rint(seen + rng.normal(0, noise, seen.shape)).clip(0, 255).astype(np.uint8))
    return crops


def drifting(frames: int) -> np.ndarray:
    t = np.arange(frames) / FPS
    jitter = np.random.default_rng(1).normal(0, 0.08, (frames, 2))
    return np.stack([1.0 * np.sin(1.3 * t), 0.8 * np.cos(0.9 * t)], 1) + jitter


def iou(event, truth) -> float:
    common = min(event.offset, truth[2]) - max(event.onset, truth[0]) + 1
    return common / (max(event.offset, truth[2]) - min(event.onset, truth[0]) + 1)


@pytest.mark.parametrize("field", [BROWS, SMILE], ids=["brows", "smile"])
def test_a_micro_expression_is_found_in_drift(field):
    truth = (100, 106, 113)
    result = find_events(video(180, [(field, bump(180, *truth))], drifting(180)), FPS)
    assert len(result.events) == 1
    event = result.events[0]
    assert event.kind == "micro" and 0.5 <= event.confidence <= 1
    assert iou(event, truth) >= 0.5 and abs(event.apex - 106) <= 1
    assert event.onset < event.apex <= event.offset
    assert result.score.shape == (180,) and result.score[event.apex] > result.threshold


def test_a_still_or_drifting_face_has_no_event():
    assert find_events(video(150), FPS).events == []
    assert find_events(video(150, shift=drifting(150)), FPS).events == []


def test_identical_frames_score_zero():
    result = find_events([face().astype(np.uint8)] * 40, FPS)
    assert result.events == [] and result.score.max() == 0


def test_blinks_are_not_events():
    crops = video(180, shift=drifting(180), blinks=[(40, 45), (100, 106), (150, 154)])
    assert find_events(crops, FPS).events == []


def test_speech_is_not_a_string_of_events():
    rng = np.random.default_rng(0)
    course = np.clip(np.convolve(rng.normal(size=240), np.hanning(7), "same"), 0, None)
    course[:30] = 0
    result = find_events(video(240, [(JAW, course)], drifting(240)), FPS)
    assert len(result.events) <= 1


def test_a_long_smile_is_a_macro_expression():
    course = np.clip(np.minimum((np.arange(240) - 60) / 15, (150 - np.arange(240)) / 20), 0, 1)
    crops = video(240, [(3 * SMILE, course)], drifting(240))
    assert find_events(crops, FPS).events == []
    events = find_events(crops, FPS, macro=True).events
    assert [e.kind for e in events] == ["macro"]
    # A held smile has no motion to tell its end by: where the offset falls on the plateau depends on noise.
    assert (
        abs(events[0].onset - 60) <= 5 and 75 <= events[0].apex <= 130 and events[0].offset > events[0].apex
    )


def test_high_frame_rates_give_frames_of_the_full_rate():
    truth = (400, 424, 452)
    result = find_events(video(600, [(BROWS, bump(600, *truth))]), 120)
    assert len(result.events) == 1 and len(result.score) == 600
    assert iou(result.events[0], truth) >= 0.5 and abs(result.events[0].apex - 424) <= 5


def test_a_gap_and_a_cut_are_no_events():
    crops: list = video(60) + [None] * 5 + video(60, seed=1)
    mirrored = [np.ascontiguousarray(255 - c[::-1]) for c in video(60)]
    result = find_events(crops + mirrored, FPS)
    assert result.events == [] and len(result.score) == 185


def test_online_and_offline_agree():
    crops = video(120, [(BROWS, bump(120, 60, 66, 73))])
    spotter = Spotter(FPS)
    for index, crop in enumerate(crops):
        spotter.push(crop, index / FPS)
    assert spotter.finish().events == find_events(crops, FPS).events != []


def test_sensitivity_lowers_the_threshold():
    crops = video(120, [(0.3 * BROWS, bump(120, 60, 66, 73))])
    few, many = (find_events(crops, FPS, sensitivity=s) for s in (0.3, 3.0))
    assert few.events == [] and len(many.events) >= 1
    assert many.threshold < few.threshold


def test_the_apex_of_an_annotated_event():
    crops = video(60, [(SMILE, bump(60, 20, 29, 40))], drifting(60))
    assert abs(find_apex(crops, 20, 40) - 29) <= 1
    with pytest.raises(ValueError, match="onset 40 and offset 20"):
        find_apex(crops, 40, 20)


@pytest.mark.parametrize("frames", [12, 20])
def test_a_clip_cut_to_its_event(frames):
    apex = frames // 2
    event = find_keyframes(video(frames, [(BROWS, bump(frames, 0, apex, frames - 1))]), FPS)
    assert event is not None and event.kind == "micro"
    assert event.onset <= 2 and abs(event.apex - apex) <= 1 and event.offset >= frames - 4


def test_a_clip_that_ends_at_its_apex():
    event = find_keyframes(video(10, [(BROWS, np.linspace(0, 1, 10))]), FPS)
    assert event is not None and event.apex >= 8 and event.offset == 9


def test_a_still_clip_has_no_keyframes():
    assert find_keyframes(video(15), FPS) is None
    assert find_keyframes(video(15, shift=drifting(15)), FPS) is None
    assert find_keyframes(video(1), FPS) is None


def test_the_best_event_of_a_long_clip():
    event = find_keyframes(video(120, [(BROWS, bump(120, 60, 66, 73))], drifting(120)), FPS)
    assert event is not None and iou(event, (60, 66, 73)) >= 0.5


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        ([np.zeros((96, 64), np.uint8)], r"frame 0: .*\(96, 64\)"),
        ([np.zeros((96, 96), np.float32)], "float32"),
        ([np.zeros((96, 96), np.uint8), np.zeros((64, 64), np.uint8)], "frame 1: a crop of side 64"),
    ],
)
def test_bad_crops_name_the_frame(crops, message):
    with pytest.raises(ValueError, match=message):
        find_events(crops, FPS)


def test_bad_times_and_options_name_the_value():
    with pytest.raises(ValueError, match="frame 1: time 0.0 s is not after"):
        find_events(video(2), FPS, seconds=[0.0, 0.0])
    with pytest.raises(ValueError, match="fps and sensitivity must be positive, got 0"):
        Spotter(0)


def test_no_frames_no_events():
    result = Spotter(FPS).finish()
    assert result.events == [] and len(result.score) == 0
