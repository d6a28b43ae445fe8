import numpy as np
import pytest
import torch

from dface_hf.synthesis.nuisances import (
    NoiseBank,
    NuisanceConfig,
    blur,
    draw_pose,
    jpeg,
    jpeg_like,
    light_ramp,
    luminance,
    similarity,
)


def test_no_nuisances_means_none():
    none = NuisanceConfig.none()
    pose = draw_pose(4, none, torch.Generator().manual_seed(0))
    assert torch.allclose(pose, torch.eye(2, 3).expand(4, 2, 3))
    assert none.noise == (0.0, 0.0) and none.blink == none.grey == none.drift == 0
    assert none.but(drift=2.0).drift == 2.0


def test_similarity_moves_a_point_as_told():
    one = torch.ones(1)
    matrix = similarity(torch.tensor([[64.0, 0.0]]), 90 * one, 2 * one)[0]
    moved = matrix[:, :2] @ torch.tensor([1.0, 0.0]) + matrix[:, 2]
    assert torch.allclose(moved, torch.tensor([1.0, 2.0]), atol=1e-5)


def test_blur_keeps_the_mean_and_has_the_asked_variance():
    spike = torch.zeros(2, 1, 9, 9)
    spike[:, :, 4, 4] = 1
    out = blur(spike, torch.tensor([0.0, 0.6]))
    assert torch.equal(out[0], spike[0])
    assert out[1].sum() == pytest.approx(1, abs=1e-6)
    offsets = torch.arange(9.0) - 4
    assert (out[1, 0].sum(0) * offsets**2).sum() == pytest.approx(0.36, abs=1e-5)


def test_jpeg_like_is_exact_at_the_top_and_like_real_jpeg_below():
    generator = torch.Generator().manual_seed(0)
    picture = torch.nn.functional.interpolate(
        torch.rand(1, 1, 12, 12, generator=generator), (64, 64), mode="bicubic"
    )
    picture = picture.clamp(0, 1).expand(2, 3, -1, -1).clone()
    out = jpeg_like(picture, torch.tensor([100.0, 50.0]))
    error = (out - picture).pow(2).mean((1, 2, 3)).sqrt() * 255
    assert error[0] < 0.5 < error[1]
    array = (picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    real = jpeg(array, 50).astype(float) - array
    assert error[1] == pytest.approx(np.sqrt((real**2).mean()), rel=0.2)


def test_jpeg_like_takes_any_size_and_leaves_whole_blocks_alone():
    picture = torch.rand(1, 3, 29, 18, generator=torch.Generator().manual_seed(0))
    quality = torch.tensor([60.0])
    out = jpeg_like(picture, quality)
    assert out.shape == picture.shape
    assert torch.allclose(out[..., :24, :16], jpeg_like(picture[..., :24, :16], quality), atol=1e-5)


def test_noise_bank_gives_white_noise_that_the_generator_determines():
    bank = NoiseBank(32, seed=5)
    draw = bank.draw(64, 3, torch.Generator().manual_seed(1))
    assert draw.shape == (64, 3, 32, 32)
    assert draw.std() == pytest.approx(1, abs=0.02) and abs(draw.mean()) < 0.02
    assert torch.equal(draw, NoiseBank(32, seed=5).draw(64, 3, torch.Generator().manual_seed(1)))


def test_luminance_and_ramp():
    assert luminance(torch.ones(1, 3, 2, 2)).allclose(torch.ones(1, 1, 2, 2))
    ramp = light_ramp(64, torch.zeros(1), torch.tensor([0.1]))
    assert ramp[0, 0, 0, -1] > 1.09 and ramp[0, 0, 0, 0] < 0.91 and ramp.mean() == pytest.approx(1, abs=1e-5)
