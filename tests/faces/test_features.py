import numpy as np
import pytest

from dface_hf.faces.features import face_regions, lbp_top, mdmo, resample_frames


def test_mdmo_of_a_translation_is_its_vector_everywhere():
    flow = np.zeros((128, 128, 2)) + (3.0, -4.0)
    found = mdmo(flow)
    assert found.shape == (72,)
    np.testing.assert_allclose(found[:36], 0.8, rtol=1e-5)
    np.testing.assert_allclose(found[36:], 0.2 * np.arctan2(-4, 3), rtol=1e-5)


def test_mdmo_takes_the_main_direction_and_leaves_the_rest():
    flow = np.zeros((100, 100, 2))
    flow[..., 0] = 2.0
    flow[::4] = (0.0, -9.0)  # a quarter moves up, and fast
    np.testing.assert_allclose(mdmo(flow, weights=(1, 1))[36:], 0, atol=1e-6)


def test_mdmo_names_the_region_that_moves():
    left, top, right, bottom = face_regions()[14]
    flow = np.zeros((256, 256, 2))
    y, x = (
        slice(round((a + 1) * 128) + 2, round((b + 1) * 128) - 2) for a, b in ((top, bottom), (left, right))
    )
    flow[y, x] = (0.0, 1.5)
    found = mdmo(flow, weights=(1, 1))
    assert found[:36].argmax() == 14 and np.count_nonzero(found[:36]) == 1
    assert found[36 + 14] == pytest.approx(np.pi / 2)
    assert not mdmo(np.zeros((64, 64, 2))).any()


def test_lbp_top_histograms_sum_to_one_and_follow_a_shift():
    video = np.random.default_rng(0).integers(0, 256, (14, 60, 60))
    found = lbp_top(video).reshape(25, 3, 16)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    # One pixel to the right in every frame: all blocks hold nearly the same pixels, each with its pattern.
    moved = lbp_top(np.roll(video, 1, axis=2)).reshape(25, 3, 16)
    assert np.abs(moved - found).mean() < 0.2 * np.abs(found - found[::-1]).mean() + 0.01
    brighter = lbp_top(video * 2 + 7)
    np.testing.assert_array_equal(brighter, lbp_top(video))


def test_lbp_top_tells_planes_apart():
    ramp = np.arange(20)
    in_time = np.broadcast_to(ramp[:, None, None], (20, 20, 20))
    x_y, x_t, y_t = lbp_top(in_time, blocks=(1, 1)).reshape(3, 16)
    assert x_y[15] == 1  # flat: every neighbour is as bright
    # Growing in time: only the neighbour before is darker; its bit is the second of the four.
    assert x_t[15 - 2] == 1 and y_t[15 - 2] == 1
    x_y, x_t, y_t = lbp_top(in_time.transpose(1, 2, 0), blocks=(1, 1)).reshape(3, 16)
    assert x_y[15 - 4] == 1 and x_t[15 - 4] == 1 and y_t[15] == 1


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match=r"flow field of shape \(H, W, 2\), got \(5, 5\)"):
        mdmo(np.zeros((5, 5)))
    with pytest.raises(ValueError, match="regions must be"):
        mdmo(np.zeros((5, 5, 2)), [[0, 0, 2, 2]])
    with pytest.raises(ValueError, match="at least 9 frames"):
        lbp_top(np.zeros((8, 30, 30)))
    with pytest.raises(ValueError, match="grey video"):
        lbp_top(np.zeros((8, 30, 30, 3)))


def test_frames_between_frames_are_mixed_from_both():
    video = np.arange(3.0)[:, None, None] * np.ones((3, 2, 2))
    np.testing.assert_allclose(resample_frames(video, 5)[:, 0, 0], [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(resample_frames(video, 2)[:, 1, 1], [0, 2])
    long = np.random.default_rng(0).uniform(size=(90, 20, 20))
    found = resample_frames(long)
    assert found.shape == (10, 20, 20)
    np.testing.assert_allclose(found[[0, -1]], long[[0, -1]], rtol=1e-6)
    with pytest.raises(ValueError, match="1 frames cannot become 10"):
        resample_frames(video[:1])
