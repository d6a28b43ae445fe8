import numpy as np
import pytest
import torch

from dface_hf.synthesis import faces_from_images, procedural_faces, vary_faces
from dface_hf.synthesis.identities import CHUNK, IdentityBank


def region(faces, x0, x1, y0, y1):
    size = faces.shape[-1]
    rows, columns = ((int((v + 1) / 2 * size) for v in pair) for pair in ((y0, y1), (x0, x1)))
    return faces[:, :, slice(*rows), slice(*columns)]


@pytest.fixture(scope="module")
def faces():
    return procedural_faces(CHUNK, 64, seed=3)


def test_faces_have_the_right_form_and_come_from_the_seed(faces):
    assert faces.shape == (CHUNK, 3, 64, 64) and faces.dtype == torch.float32
    assert faces.min() >= 0 and faces.max() <= 1
    assert torch.equal(faces[:4], procedural_faces(CHUNK, 64, seed=3)[:4])
    assert not torch.allclose(faces, procedural_faces(CHUNK, 64, seed=4), atol=0.05)
    assert torch.equal(procedural_faces(CHUNK + 2, 64, seed=3)[:CHUNK], faces)


def test_faces_differ_in_tone_and_in_structure(faces):
    tone = region(faces, -0.3, 0.3, -0.05, 0.1).mean((2, 3))
    assert tone.std(0).min() > 0.08, "skin tones spread widely"
    grey = faces.mean(1).flatten(1)
    grey = (grey - grey.mean(1, keepdim=True)) / grey.std(1, keepdim=True)
    alike = (grey @ grey.T / grey.shape[1])[~torch.eye(CHUNK, dtype=bool)]
    assert alike.mean() < 0.8


def test_brows_eyes_and_lips_have_edges_where_the_aligned_crop_expects_them(faces):
    dark = 1 - faces.mean(1, keepdim=True)
    cheek = region(dark, 0.3, 0.5, 0.05, 0.25).mean((1, 2, 3))
    for x0, x1, y0, y1 in (
        (-0.5, -0.25, -0.46, -0.36),
        (0.28, 0.42, -0.25, -0.17),
        (-0.12, 0.12, 0.45, 0.51),
    ):
        feature = region(dark, x0, x1, y0, y1).amax((1, 2, 3))
        assert (feature > cheek + 0.05).float().mean() > 0.8, (x0, y0)


def test_faces_are_about_symmetric_but_not_exactly(faces):
    difference = (faces - faces.flip(-1)).abs().mean((1, 2, 3))
    assert difference.min() > 0.005 and difference.median() < 0.15


def test_photos_become_identities():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    grey = colour[..., 0]
    faces = faces_from_images([colour, grey, torch.rand(3, 80, 80)], 64)
    assert faces.shape == (3, 3, 64, 64)
    assert faces[0].mean() == pytest.approx(colour.mean() / 255, abs=0.01)
    assert torch.equal(faces[1, 0], faces[1, 2])
    with pytest.raises(ValueError, match=r"image 1 has shape \(90, 100, 3\)"):
        faces_from_images([colour, colour[:90]])


def test_variation_makes_new_faces_reproducibly(faces):
    varied = vary_faces(faces, seed=1)
    assert varied.shape == faces.shape and 0 <= varied.min() and varied.max() <= 1
    assert torch.equal(varied, vary_faces(faces, seed=1))
    assert (varied - faces).abs().mean() > 0.02
    assert vary_faces(faces[:2], count=5).shape == (5, 3, 64, 64)
    still = vary_faces(faces, strength=0, mirror=False)
    assert (still - faces).abs().max() < 0.02


def test_a_bank_is_replaced_in_turn_and_can_be_rebuilt_for_any_step():
    bank = IdentityBank(2 * CHUNK, 24, seed=1, refresh_every=10)
    first = bank.at(0).clone()
    assert first.shape == (2 * CHUNK, 3, 24, 24) and first.dtype == torch.uint8
    assert torch.equal(bank.at(9), first)
    second = bank.at(10).clone()
    changed = (second != first).flatten(1).any(1)
    assert changed.sum() == CHUNK and changed[:CHUNK].all()
    later = bank.at(37).clone()
    assert torch.equal(IdentityBank(2 * CHUNK, 24, seed=1, refresh_every=10).at(37), later)
    assert torch.equal(IdentityBank(2 * CHUNK, 24, seed=1).at(10_000), first)
