import numpy as np
import PIL.Image
import pytest
import torch
from transformers import AutoImageProcessor

from dface_hf import AC4AUConfig, AC4AUImageProcessor
from dface_hf.models.ac4au.image_processing_ac4au import sample_frames


def counting_clip(length=20, size=32):
    """A clip whose grey values say which frame they come from."""
    return np.broadcast_to(np.arange(length, dtype=np.uint8)[:, None, None, None], (length, size, size, 3))


def frames_of(values):
    return (values[:, :, 0, 0, 0] * 127.5 + 127.5).round().int().tolist()


@pytest.mark.parametrize(
    ("length", "onset", "offset"), [(8, 0, None), (9, 0, None), (100, 13, 77), (50, 41, None)]
)
def test_frames_are_even_and_hold_onset_and_offset(length, onset, offset):
    chosen = sample_frames(length, 8, onset, offset)
    last = length - 1 if offset is None else offset
    assert len(chosen) == len(set(chosen)) == 8 and chosen[0] == onset and chosen[-1] == last
    steps = np.diff(chosen)
    assert steps.max() - steps.min() <= 1


def test_the_last_frame_is_repeated_when_there_are_few():
    assert sample_frames(20, 8, 10, 12) == [10, 11, 12, 12, 12, 12, 12, 12]
    assert sample_frames(1) == [0] * 8


@pytest.mark.parametrize(("onset", "offset"), [(-1, 3), (5, 4), (0, 10)])
def test_limits_outside_the_clip_are_refused(onset, offset):
    with pytest.raises(ValueError, match=f"onset {onset}, offset {offset} must .* < 10"):
        sample_frames(10, 8, onset, offset)


def test_clips_of_any_form_give_the_same():
    processor, clip = AC4AUImageProcessor(), counting_clip()
    expected = processor(clip, onsets=4, offsets=18, return_tensors="pt").pixel_values
    assert expected.shape == (1, 8, 3, 112, 112) and expected.dtype == torch.float32
    assert frames_of(expected) == [[4, 6, 8, 10, 12, 14, 16, 18]]
    for given in (
        list(clip),
        [PIL.Image.fromarray(np.ascontiguousarray(frame)) for frame in clip],
        clip.transpose(0, 3, 1, 2),
        clip / 255.0,
        list(clip[..., 0]),
        torch.from_numpy(clip.copy()),
        [clip],
    ):
        found = processor(given, onsets=[4], offsets=[18], return_tensors="pt").pixel_values
        torch.testing.assert_close(found, expected)


def test_each_clip_has_its_own_limits():
    batch = [counting_clip(30), counting_clip(12, size=48)]
    values = AC4AUImageProcessor()(batch, onsets=[9, 2], offsets=[16, 5], return_tensors="pt").pixel_values
    assert frames_of(values) == [[9, 10, 11, 12, 13, 14, 15, 16], [2, 3, 4, 5, 5, 5, 5, 5]]


def test_range():
    clip = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])
    values = AC4AUImageProcessor()(clip, return_tensors="pt").pixel_values
    assert (values[0, 0] == -1).all() and (values[0, 1:] == 1).all()


def test_saved_with_its_sizes(tmp_path):
    AC4AUConfig(num_frames=6, image_size=64).save_pretrained(tmp_path)
    AC4AUImageProcessor(size={"height": 64, "width": 64}, num_frames=6).save_pretrained(tmp_path)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert isinstance(loaded, AC4AUImageProcessor)
    assert loaded(counting_clip(), return_tensors="pt").pixel_values.shape == (1, 6, 3, 64, 64)


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        ([], {}, "give a clip"),
        (np.zeros((8, 8, 3), np.uint8), {}, "give a clip"),
        (np.full((2, 8, 8, 3), np.nan), {}, "finite"),
        (np.zeros((2, 8, 8, 3), np.int64), {}, "not int64"),
        (np.zeros((2, 8, 8, 5), np.uint8), {}, r"shape \(8, 8, 5\)"),
        ([np.zeros((3, 8, 8, 3), np.uint8)] * 2, {"onsets": [0]}, "1 onsets or offsets for 2 clips"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"onsets": 3}, "onset 3"),
    ],
)
def test_wrong_clips_are_refused(images, options, message):
    with pytest.raises(ValueError, match=message):
        AC4AUImageProcessor()(images, **options)
