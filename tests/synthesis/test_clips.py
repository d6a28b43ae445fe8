from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from dface_hf.synthesis import (
    NuisanceConfig,
    TimeCourse,
    action_weights,
    animate_portrait,
    load_fields,
    long_track,
    long_video,
    procedural_faces,
    render_clip,
)
from dface_hf.synthesis.rendering import backward_shift, look
from dface_hf.synthesis.tracks import BLINKS, MACRO, MICRO, SPEECH, peak_motion

COURSE = TimeCourse(0.15, 0.03, 0.22)


@pytest.fixture(scope="module")
def face():
    return procedural_faces(1, 64, seed=2)[0]


def test_weights_from_pixels():
    fields = load_fields(64)
    weights = action_weights(fields, {"AU12_left": 1.5})
    assert (weights > 0).sum() == 1
    assert peak_motion(fields, weights[None]) == pytest.approx(1.5, rel=0.06)
    assert (action_weights(fields, {12: 1.0}) > 0).sum() == 2
    with pytest.raises(KeyError, match="AU99_left"):
        action_weights(fields, {"AU99_left": 1.0})


@pytest.mark.parametrize("size", [64, 96])
def test_a_clip_moves_only_between_onset_and_offset(size):
    face = procedural_faces(1, size, seed=2)[0]
    frames, truth = render_clip(face, {12: 2.0, 4: 1.0}, COURSE, fps=60, before=4, after=3)
    assert frames.shape == (truth.offset + 4, size, size, 3) and frames.dtype == np.uint8
    assert (truth.onset, truth.units) == (4, (4, 12)) and truth.onset < truth.apex < truth.offset
    change = np.abs(frames.astype(int) - frames[0]).mean((1, 2, 3))
    assert change[: truth.onset + 1].max() == 0 == change[truth.offset :].max()
    assert change.argmax() == truth.apex


def test_the_flow_of_a_clip_takes_onset_to_apex(face):
    frames, truth = render_clip(face, {12: 3.0}, COURSE, fps=60)
    onset, apex = (
        torch.from_numpy(frames[i]).permute(2, 0, 1)[None] / 255 for i in (truth.onset, truth.apex)
    )
    rest = torch.nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 1, 64, 64], align_corners=False)
    motion = truth.flow[None] / 32
    warped = look(onset, rest + backward_shift(motion, rest, 8))
    assert (apex - warped).abs().mean() < 0.5 * (apex - onset).abs().mean()
    assert truth.flow.norm(dim=0).max() * 2 == pytest.approx(truth.peak, rel=1e-3)


def test_clips_are_reproducible_and_single_frames_are_those_of_the_clip(face):
    arguments = {"fps": 30, "nuisances": NuisanceConfig(blink=1.0, jpeg_share=1.0), "seed": 3}
    frames, truth = render_clip(face, {1: 1.0}, COURSE, **arguments)
    assert np.array_equal(frames, render_clip(face, {1: 1.0}, COURSE, **arguments)[0])
    some, _ = render_clip(face, {1: 1.0}, COURSE, only=[truth.onset, truth.apex], **arguments)
    assert np.array_equal(some, frames[[truth.onset, truth.apex]])
    assert BLINKS in {e.kind for e in truth.events}
    other, _ = render_clip(face, {1: 1.0}, COURSE, **(arguments | {"seed": 4}))
    assert not np.array_equal(other[0], frames[0])


def test_grey_and_size(face):
    frames, _ = render_clip(
        face, {1: 1.0}, COURSE, fps=25, nuisances=NuisanceConfig.none().but(grey=1.0), size=32
    )
    assert frames.shape[1:] == (32, 32, 3)
    assert np.array_equal(frames[..., 0], frames[..., 1])


def test_long_video_streams_frames_and_tells_the_truth(face):
    stream, events = long_video(face, seconds=20, fps=25, seed=1, micro_per_minute=12)
    kinds = Counter(e.kind for e in events)
    assert kinds[MICRO] == 4 and kinds[BLINKS] > 0 and kinds[MACRO] > 0 and kinds[SPEECH] > 0
    assert all(0 <= e.onset < e.apex < e.offset < 500 for e in events)
    busy = sorted((e.onset, e.offset) for e in events if e.kind != BLINKS)
    assert all(a[1] <= b[0] for a, b in zip(busy, busy[1:], strict=False)), "only blinks overlap others"
    assert all(e.offset - e.onset <= 15 and 0.2 < e.peak <= 2.1 for e in events if e.kind == MICRO)
    assert all(e.peak >= 2.9 for e in events if e.kind == MACRO)
    assert not isinstance(stream, list)
    frames = list(stream)
    assert len(frames) == 500 and frames[0].shape == (64, 64, 3) and frames[0].dtype == np.uint8


def test_an_uneventful_video_holds_still(face):
    fields = load_fields(64)
    track = long_track(
        fields,
        4,
        25,
        micro_per_minute=0,
        macro_per_minute=0,
        blinks_per_minute=0,
        speech_share=0,
        drift=0,
        rotation=0,
    )
    assert track.events == [] and track.weights.abs().sum() == 0 and len(track) == 100
    with pytest.raises(ValueError, match="too short"):
        long_track(fields, 3, 25, micro_per_minute=200)


def portrait():
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 60, 60), np.float32))
    image = torch.nn.functional.interpolate(coarse, (300, 400), mode="bilinear")[0]
    return (image.permute(1, 2, 0).numpy() * 255).astype(np.uint8)


MATRIX = np.array([[60.0, 5.0, 200.0], [-5.0, 60.0, 140.0]])


def test_a_portrait_moves_in_its_face_alone():
    image = portrait()
    stream, events = animate_portrait(image, MATRIX, {12: 4.0}, COURSE, fps=30, before=1)
    frames = np.stack(list(stream))
    assert frames.shape[1:] == image.shape and np.array_equal(frames[0], image)
    moved = np.abs(frames[events[0].apex].astype(int) - image).max(-1) > 2
    rows, columns = np.nonzero(moved)
    aligned = (np.stack([columns, rows], 1) - MATRIX[:, 2]) @ np.linalg.inv(MATRIX[:, :2]).T
    assert len(aligned) > 100 and np.abs(aligned).max() <= 1.02
    assert np.array_equal(frames[events[0].offset], image)
    with pytest.raises(ValueError, match="uint8 RGB"):
        animate_portrait(image[..., 0], MATRIX, {12: 1.0}, COURSE)
    with pytest.raises(ValueError, match="either a track"):
        animate_portrait(image, MATRIX)


def test_a_portrait_moves_by_the_asked_amount():
    x = np.arange(400) / 400 * np.ones((300, 1))
    image = (np.repeat(x[..., None], 3, 2) * 255).round().astype(np.uint8)
    matrix = np.array([[100.0, 0, 200], [0, 100.0, 150]])
    fields = load_fields(256)
    fields = replace(fields, shading=fields.shading * 0)
    stream, events = animate_portrait(image, matrix, {"AU12_left": 4.0}, COURSE, fps=30, fields=fields)
    change = list(stream)[events[0].apex].astype(float) - image
    row = fields.index(12, "left")[0]
    wanted = float(fields.displacement[row, 0].max() * 100 * 4.0 / fields.peak[row])
    assert -change[..., 0].min() / 255 * 400 == pytest.approx(wanted, abs=1.6), "one grey level is 1.6 px"
    assert np.abs(change[:, :100]).max() == 0


def test_a_portrait_can_follow_a_track_with_head_movement():
    fields = load_fields(64)
    track = long_track(fields, 2, 10, micro_per_minute=0, macro_per_minute=0, speech_share=0, drift=6.0)
    frames = list(animate_portrait(portrait(), MATRIX, track=track, fields=fields)[0])
    assert len(frames) == 20
    assert np.abs(frames[0].astype(int) - frames[10]).mean() > 0.5
