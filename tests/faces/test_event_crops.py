"""The frames of an event in the alignment of its onset, from the face's box alone."""

import cv2
import numpy as np
import pytest

from dface_hf.faces import ClipError, align, fit_similarity, locate, make_detector, open_frames
from dface_hf.faces.event_crops import event_crops, similarity_in_box


def test_the_box_gives_the_alignment_of_the_detector(portrait):
    frames = portrait[0]
    face = make_detector().detect(frames[45])[0]
    known = fit_similarity(*locate(frames[45], face))
    assert np.allclose(similarity_in_box(frames[45], face.box).matrix, known.matrix, atol=1e-6)
    crops = event_crops(open_frames(frames, fps=30), face.box, [45, 50, 50, 47], 64)
    expected = [align(frames[index], known, 64) for index in (45, 50, 50, 47)]
    np.testing.assert_array_equal(crops, expected)


def test_boxes_are_those_of_the_clip_not_of_what_is_read(portrait):
    large = np.stack([cv2.resize(frame, (768, 768)) for frame in portrait[0][45:48]])
    box = make_detector().detect(portrait[0][45])[0].box
    plain = event_crops(open_frames(portrait[0][45:48], fps=30), box, [0, 2], 64)
    shrunk = event_crops(open_frames(large, fps=30, max_side=256), [3 * v for v in box], [0, 2], 64)
    assert np.abs(np.stack(plain).astype(int) - np.stack(shrunk)).mean() < 3


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (1, 2, 3), (0, 0, np.nan, 4)])
def test_no_box(portrait, box):
    with pytest.raises(ClipError, match="event at frame 1; give x, y, width and height"):
        event_crops(open_frames(portrait[0][:4], fps=30), box, [1, 2])


def test_frames_beyond_the_end(portrait):
    with pytest.raises(ClipError, match="frame 9 does not exist"):
        event_crops(open_frames(portrait[0][:4], fps=30), (76, 66, 96, 96), [1, 9])
