import math

import pytest
import torch
import torch.nn.functional as F

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.models.dface.motion_dface import KNEE, local_motion


def moved_texture(shift_x, shift_y, size=64):
    """A smooth random texture, and the same moved by a part of a pixel."""
    noise = torch.randn(1, 3, size + 16, size + 16, generator=torch.Generator().manual_seed(0))
    texture = F.avg_pool2d(F.avg_pool2d(noise, 5, 1, 2), 5, 1, 2) + 0.5
    axis = torch.arange(size + 16, dtype=torch.float32)
    y, x = torch.meshgrid(axis - shift_y, axis - shift_x, indexing="ij")
    grid = (torch.stack([x, y], dim=-1) * 2 + 1) / (size + 16) - 1
    moved = F.grid_sample(texture, grid[None], mode="bicubic", align_corners=False)
    return texture[..., 8:-8, 8:-8], moved[..., 8:-8, 8:-8]


@pytest.mark.parametrize("shift", [(0.4, 0.0), (0.0, -0.3), (0.5, 0.5)])
def test_a_shift_is_measured(shift):
    motion = local_motion(*moved_texture(*shift), levels=1)
    middle = (motion.sinh() * KNEE)[0, :, 8:-8, 8:-8].mean(dim=(1, 2))
    torch.testing.assert_close(middle, torch.tensor(shift), atol=0.05, rtol=0)


def test_the_second_level_sees_larger_shifts():
    motion = local_motion(*moved_texture(5.0, 0.0), levels=2)
    fine, coarse = (motion.sinh() * KNEE)[0, ::2, 8:-8, 8:-8].mean(dim=(1, 2)).tolist()
    assert abs(coarse - 5) < abs(fine - 5)


def test_swapping_the_frames_negates_and_equal_frames_give_zero():
    onset, apex = moved_texture(0.4, 0.2)
    forth, back = local_motion(onset, apex, 2), local_motion(apex, onset, 2)
    torch.testing.assert_close(forth, -back, atol=1e-5, rtol=0)
    assert local_motion(onset, onset, 3).abs().max() == 0


def test_one_channel_counts_as_luminance():
    onset, apex = (frame.mean(dim=1, keepdim=True) for frame in moved_texture(0.4, 0.0))
    assert local_motion(onset, apex, 1)[0, 0].mean() > math.asinh(0.3 / KNEE)


def test_without_appearance_only_motion_reaches_the_tokens():
    torch.manual_seed(0)
    config = DFaceTokenizerConfig(image_size=64, patch_size=8, appearance=False, match_brightness=False)
    model = DFaceTokenizerModel(config).eval()
    onset, apex = moved_texture(0.5, 0.0)
    with torch.no_grad():
        vectors = model.action_vectors(torch.stack([onset, apex], dim=1))
        brighter = model.action_vectors(torch.stack([onset + 0.1, apex + 0.1], dim=1))
        swapped = model.action_vectors(torch.stack([apex, onset], dim=1))
    torch.testing.assert_close(vectors, brighter, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(vectors, -swapped, atol=1e-4, rtol=1e-3)
    assert vectors.abs().max() > 0.1


def test_an_encoder_that_sees_nothing_is_refused():
    with pytest.raises(Exception, match="would see nothing"):
        DFaceTokenizerConfig(appearance=False, motion_channels=False)
    with pytest.raises(Exception, match="motion_levels 9"):
        DFaceTokenizerConfig(motion_levels=9)
