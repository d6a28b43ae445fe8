"""Warps of whole pictures, the course of an action, magnification, and files of moving pictures."""

import os

import av
import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from dface_hf.faces import (
    ClipError,
    Similarity,
    align,
    fit_similarity,
    locate,
    make_detector,
    open_frames,
    write_video,
)
from dface_hf.faces.animation import square_around, tile, write_animation, write_picture
from dface_hf.faces.course import time_course
from dface_hf.faces.magnification import further, magnify_motion
from dface_hf.faces.moving import MovingFace, face_fade
from dface_hf.synthesis import NuisanceConfig, TimeCourse, animate_portrait

from .test_video import cut_off


def ramp(height: int = 200, width: int = 260) -> np.ndarray:
    """A picture whose grey tells where a pixel was: one level a row."""
    return np.repeat(np.arange(height, dtype=np.uint8)[:, None], width, axis=1)


def constant_flow(x: float, y: float, size: int = 32) -> np.ndarray:
    return np.full((size, size, 2), (x, y), np.float32)


HEAD = Similarity.of(60.0, 0.0, (130.0, 100.0))


def test_the_middle_of_the_face_shows_what_the_flow_points_at():
    face = MovingFace(ramp(), HEAD, constant_flow(0, 0.1))  # 0.1 of half a crop of 60 px
    assert face.at(1.0)[100, 130] == 106 and face.at(0.5)[100, 130] == 103
    assert face.at(-1.0)[100, 130] == 94


def test_a_turned_head_turns_the_motion():
    head = Similarity.of(60.0, np.pi / 2, (130.0, 100.0))
    face = MovingFace(ramp(), head, constant_flow(0.1, 0))
    assert face.at(1.0)[100, 130] == 106


def test_motion_fades_out_without_a_seam():
    image = ramp()
    moved = MovingFace(image, HEAD, constant_flow(0, 0.1)).at(1.0)
    change = moved.astype(int) - image
    assert change.max() == 6 and change.min() == 0
    # Row to row and column to column, the change grows and falls by little: nothing tears.
    assert np.abs(np.diff(change, axis=0)).max() <= 2 and np.abs(np.diff(change, axis=1)).max() <= 2
    assert not change[:25].any() and not change[:, :60].any() and not change[:, 200:].any()


def test_no_motion_is_the_picture_itself_in_every_mode():
    rng = np.random.default_rng(0)
    for shape in ((50, 70), (50, 70, 3), (50, 70, 4)):
        image = rng.integers(0, 256, shape, np.uint8)
        head = Similarity.of(30.0, 0.2, (10.0, 45.0))  # reaches beyond the picture
        face = MovingFace(image, head, constant_flow(0.05, 0.05))
        assert np.array_equal(face.at(0), image) and face.at(0) is not image
        assert face.at(1).shape == shape and face.at(1).dtype == np.uint8
        assert not np.array_equal(face.at(1), image)
        assert np.array_equal(MovingFace(image, head, constant_flow(0, 0)).at(3), image)


def test_the_face_takes_part_and_its_surroundings_do_not():
    assert face_fade(np.array([[0, 0], [0.3, -0.3], [0, 0.8]])) == pytest.approx(1)
    assert face_fade(np.array([[1, 1], [-1.1, 0], [0, 1.3]])) == pytest.approx(0)


def test_the_level_at_which_a_warp_folds():
    side = (np.arange(64) + 0.5) / 32 - 1
    flow = np.zeros((64, 64, 2), np.float32)
    flow[..., 1] = 0.1 * np.exp(-(side[:, None] ** 2) / 0.02)
    steepest = 0.1 * np.sqrt(2 / 0.02) * np.exp(-0.5)
    most = MovingFace(ramp(), HEAD, flow).most
    assert most == pytest.approx(0.8 / steepest, rel=0.05)
    place = side + most * flow[:, 32, 1]
    assert (np.diff(place) > 0).all()
    assert MovingFace(ramp(), HEAD, constant_flow(0, 0)).most == float("inf")


def grey_crops(portrait, first: int, last: int) -> list[np.ndarray]:
    frames = portrait[0][first : last + 1]
    similarity = fit_similarity(*locate(frames[0], make_detector().detect(frames[0])[0]))
    return [align(frame, similarity, 96)[..., 0] for frame in frames]


def test_the_course_rises_to_the_apex_and_comes_back(portrait):
    onset, apex, offset = portrait[1]
    course = time_course(grey_crops(portrait, onset, offset), apex - onset)
    assert course[0] == course[-1] == 0 and course.max() == 1
    assert abs(int(course.argmax()) - (apex - onset)) <= 1
    assert (np.diff(course[: apex - onset]) > 0).all()


def test_courses_without_motion_or_way_back(portrait):
    still = grey_crops(portrait, 0, 0) * 5
    assert time_course(still, 2) == pytest.approx([0, 0.5, 1, 0.5, 0])
    there = time_course(still[:3], 2)
    assert there == pytest.approx([0, 0.5, 1, 0.5, 0])
    for apex in (0, 5):
        with pytest.raises(ValueError, match=f"apex {apex} of 5 crops"):
            time_course(still, apex)


@pytest.fixture(scope="module")
def turning(portrait):
    """The portrait raises her brows by 1 px of 128 while her head drifts: frames and true keyframes."""
    image = np.ascontiguousarray(skimage.data.astronaut()[:256, 100:356])
    matrix = fit_similarity(*locate(image, make_detector().detect(image)[0])).matrix
    camera = NuisanceConfig.none().but(noise=(0.5, 0.5), drift=2.0)
    course = TimeCourse(rise=0.16, hold=0.04, fall=0.24)
    frames, truth = animate_portrait(
        image, matrix, {1: 1.0, 2: 1.0}, course, 30, nuisances=camera, before=6, after=6
    )
    return np.stack(list(frames)), truth[0]


def brow_height(frames, similarity, rest) -> list[float]:
    """How much darker rows lie above where they were, found by matching the band of the brows, in rows."""
    band = align(rest, similarity, 128)[24:56, 24:104].astype(float).mean(-1)
    heights = []
    for frame in frames:
        crop = align(frame, similarity, 128).astype(float).mean(-1)
        errors = [np.square(crop[24 - k : 56 - k, 24:104] - band).mean() for k in range(-12, 13)]
        heights.append(float(np.argmin(errors) - 12))
    return heights


def short(portrait) -> tuple[np.ndarray, tuple[int, int, int]]:
    """The event with four frames before and two after it."""
    frames, (onset, apex, offset) = portrait
    return frames[onset - 4 : offset + 3], (4, apex - onset + 4, offset - onset + 4)


def test_magnification_makes_the_action_larger_and_leaves_the_rest(portrait):
    frames, (onset, apex, offset) = short(portrait)
    shown = magnify_motion(frames, 4, onset, offset, fps=30)
    large = list(shown.frames)
    assert (shown.start, len(large)) == (0, len(frames)) and shown.fps == 30 and shown.lost == 0
    assert 1.2 < shown.peak < 5
    rest = frames[onset]
    similarity = fit_similarity(*locate(rest, make_detector().detect(rest)[0]))
    (before,) = brow_height([frames[apex]], similarity, rest)
    (after,) = brow_height([large[apex - shown.start]], similarity, rest)
    assert after >= 2 * max(1, before)
    change = np.abs(large[apex - shown.start].astype(int) - frames[apex]).max(-1)
    assert not change[:, :20].any() and not change[200:].any()
    still = np.abs(large[0].astype(float) - frames[shown.start]).mean()
    assert still < 0.3 * np.abs(large[apex - shown.start].astype(float) - frames[apex]).mean()


@pytest.mark.parametrize("read_by_seeking", [False, True])
def test_a_video_that_was_cut_off_is_magnified_as_far_as_it_goes(portrait, tmp_path, read_by_seeking):
    frames, (onset, _, offset) = short(portrait)
    before = 60 if read_by_seeking else 0
    write_video(tmp_path / "whole.mp4", [frames[0]] * before + list(frames), 30)
    path = cut_off(tmp_path / "whole.mp4", before + 12)
    there = sum(1 for _ in open_frames(path))
    assert before + onset < there < open_frames(path).frame_count
    shown = magnify_motion(path, 4, before + onset, before + offset)
    assert shown.stop == there == shown.start + sum(1 for _ in shown.frames)


def test_factor_one_is_the_clip_and_zero_holds_the_face_still(portrait):
    frames, (onset, apex, offset) = short(portrait)
    same = magnify_motion(frames, 1, onset, offset, fps=30)
    assert all(np.array_equal(a, b) for a, b in zip(same.frames, frames[same.start :], strict=False))
    held = magnify_motion(frames, 0, onset, offset, fps=30)
    image = list(held.frames)[apex - held.start].astype(float)
    assert (
        np.square(image - frames[onset]).mean() < 0.5 * np.square(frames[apex] - frames[onset] * 1.0).mean()
    )


def test_the_head_is_followed_and_not_magnified(turning):
    frames, truth = turning
    shown = magnify_motion(frames, 5, truth.onset, truth.offset, fps=30)
    assert shown.lost == 0 and 0.4 < shown.peak < 2.0


def test_the_fixed_point_puts_the_motion_where_it_is_going():
    side = (np.arange(96) + 0.5) / 48 - 1
    bump = np.exp(-(side[:, None] ** 2 + side**2) / 0.1)
    flow = np.stack([np.zeros_like(bump), 0.004 * bump], -1).astype(np.float32)
    shift = further(flow, 5.0)
    rows = side[:, None] + shift[..., 1]  # p = y + 4 flow(p)
    at = np.interp(rows[:, 48], side, flow[:, 48, 1])
    assert np.abs(shift[:, 48, 1] - 4 * at).max() < 2e-4
    assert not further(flow, 1.0).any()


def test_magnification_stops_before_the_face_folds():
    rng = np.random.default_rng(0)
    flow = cv2.GaussianBlur(rng.normal(0, 1, (96, 96, 2)).astype(np.float32), (0, 0), 4)
    shift = further(flow * (0.1 / np.abs(flow).max()), 40.0)
    assert np.abs(shift).max() > 0.05
    (u_y, u_x), (v_y, v_x) = (np.gradient(shift[24:-24, 24:-24, k], 2 / 96) for k in (0, 1))
    assert ((1 + u_x) * (1 + v_y) - u_y * v_x).min() > 0


def test_bad_clips_to_magnify_are_told(portrait):
    frames = portrait[0]
    with pytest.raises(ClipError, match="no event found in 5 frames; give --onset"):
        magnify_motion(np.repeat(frames[:1], 5, axis=0), fps=30)
    with pytest.raises(ClipError, match="no face found in the onset frame 0"):
        magnify_motion(np.full_like(frames[:5], 80), onset=0, fps=30)
    with pytest.raises(ClipError, match="onset 5, offset 5"):
        magnify_motion(frames, onset=5, offset=5, fps=30)
    with pytest.raises(ClipError, match="nothing follows the onset 103"):
        magnify_motion(frames, onset=103, fps=30)
    with pytest.raises(ValueError, match="factor is nan"):
        magnify_motion(frames, float("nan"))


def test_gif_plays_at_the_speed_of_the_clip(tmp_path):
    ramps = np.repeat(np.arange(0, 240, 8, dtype=np.uint8)[None], 20, axis=0)
    frames = [np.repeat(np.roll(ramps, k // 4, axis=1)[..., None], 3, axis=2) for k in range(60)]
    write_animation(tmp_path / "a.gif", frames, fps=200)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.size == (30, 20) and picture.n_frames == 15
        assert picture.info["duration"] == 20 and picture.info["loop"] == 0
    assert os.listdir(tmp_path) == ["a.gif"]


def test_videos_take_grey_and_transparent_frames(tmp_path):
    for name, shape in (("grey.mp4", (20, 30)), ("clear.mp4", (20, 30, 4))):
        write_animation(tmp_path / name, [np.full(shape, 90, np.uint8)] * 3, fps=25)
        assert len(list(open_frames(str(tmp_path / name)))) == 3
    with av.open(str(tmp_path / "grey.mp4")) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (30, 20)
    for name in ("none.gif", "none.mp4"):
        with pytest.raises(ClipError, match="no frames to write"):
            write_animation(tmp_path / name, [], fps=25)
    assert sorted(os.listdir(tmp_path)) == ["clear.mp4", "grey.mp4"]


def test_pictures_keep_their_mode(tmp_path):
    for shape, mode in (((8, 9), "L"), ((8, 9, 3), "RGB"), ((8, 9, 4), "RGBA")):
        write_picture(tmp_path / "a.png", np.zeros(shape, np.uint8))
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.mode == mode and picture.size == (9, 8)
    with pytest.raises(ClipError, match="cannot be written"):
        write_picture(tmp_path / "gone" / "a.png", np.zeros((8, 9), np.uint8))


def test_grids_and_squares():
    cells = [np.full((4, 4, 3), level, np.uint8) for level in (10, 20, 30)]
    (grid,) = tile([cells])
    assert grid.shape == (8, 8, 3) and grid[0, 7, 0] == 20 and grid[7, 0, 0] == 30 and grid[7, 7, 0] == 255
    square = square_around(ramp(), (130, 100), 50, 40)
    assert square.shape == (40, 40, 3) and abs(int(square[20, 20, 0]) - 100) <= 2
    assert square_around(ramp(), (0, 0), 50, 40)[0, 0, 0] == 0  # beyond the corner
