import numpy as np
import pytest

from dface_hf.faces.reselection import reselect_keyframes


def ramp(onset: int, apex: int, offset: int):
    """Frames of a picture that brightens from onset to apex, stays so for none, and fades until offset."""
    pattern = np.random.default_rng(0).uniform(0, 255, (8, 8))

    def frame(index: int) -> np.ndarray:
        return np.interp(index, [onset, apex, offset], [0.0, 1.0, 0.0]) * pattern

    return frame


def test_keyframes_that_were_set_too_wide_are_moved_back():
    found = reselect_keyframes(ramp(100, 140, 180), 100, 143, 180)
    assert (found.onset, found.apex) == (100, 140) and found.gain > 1
    late = reselect_keyframes(ramp(102, 140, 180), 100, 140)
    assert (late.onset, late.apex, late.offset, late.gain) == (100, 140, None, 1)  # 100..102 are alike


def test_offset_lies_farthest_from_the_new_apex():
    rebound = ramp(0, 40, 77)  # by frame 80 it is still at rest; of equals the annotated one
    assert reselect_keyframes(rebound, 0, 40, 80).offset == 80
    grows = reselect_keyframes(lambda i: np.full((2, 2), 40.0 if i > 77 else 80 - i), 0, 40, 80)
    assert grows.offset == 77


def test_the_search_never_leaves_its_windows():
    seen, noise = set(), np.random.default_rng(1).normal(size=(400, 4, 4))

    def frame(index: int) -> np.ndarray:
        seen.add(index)
        return noise[index]

    found = reselect_keyframes(frame, 100, 150, 250, share=0.1)
    assert seen <= {*range(100, 106), *range(145, 151), *range(240, 251)}
    assert (
        found.onset in range(100, 106) and found.apex in range(145, 151) and found.offset in range(240, 251)
    )
    distance = np.linalg.norm(noise[found.apex] - noise[found.onset])
    assert distance == max(
        np.linalg.norm(noise[b] - noise[a]) for a in range(100, 106) for b in range(145, 151)
    )
    assert reselect_keyframes(frame, 100, 150, share=0).gain == 1


@pytest.mark.parametrize(
    ("keyframes", "share", "message"),
    [((5, 5), 0.1, "onset < apex"), ((1, 5, 4), 0.1, "onset < apex"), ((1, 5), 0.5, "share 0.5")],
)
def test_wrong_keyframes_are_refused(keyframes, share, message):
    with pytest.raises(ValueError, match=message):
        reselect_keyframes(ramp(0, 1, 2), *keyframes, share=share)
