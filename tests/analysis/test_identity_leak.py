"""The Fourier split as a probe: who is seen is in what stays, and hardly in tokens."""

import numpy as np
import pytest
import torch

import dface_hf
from dface_hf import DFaceTokenizerModel
from dface_hf.analysis.identity_leak import identity_leak, token_states
from dface_hf.synthesis import procedural_faces

from ..scripts import run


def test_the_split_tells_who_from_what():
    generator = np.random.default_rng(0)
    subjects = np.repeat(["a", "b", "c"], 12)
    faces = np.repeat(np.eye(3), 12, axis=0)[:, None] @ generator.normal(0, 4, (3, 6))
    actions = generator.normal(0, 1, (36, 8, 6))
    found = identity_leak(faces + actions, subjects)
    assert found["DC"] == 1 and found["AC"] < 0.7 and found["chance"] == pytest.approx(1 / 3)
    # Who moves a part of the face more than others do is told apart by the changes.
    habits = 1 + 3 * np.eye(3, 6).repeat(12, axis=0)[:, None]
    assert identity_leak(habits * actions, subjects)["AC"] > 0.9
    with pytest.raises(ValueError, match="1 subject"):
        identity_leak(actions, ["a"] * 36)
    with pytest.raises(ValueError, match="subject b is seen in one clip"):
        identity_leak(actions, ["a"] * 35 + ["b"])


def test_tokens_hold_less_of_the_face_than_patches_do():
    """Five faces, each in eight clips with other camera noise and light."""
    tokenizer = DFaceTokenizerModel.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).eval()
    generator = torch.Generator().manual_seed(0)
    faces = procedural_faces(5, 64, seed=3).repeat_interleave(8, dim=0)[:, None].expand(-1, 3, -1, -1, -1)
    noisy = faces + 0.01 * torch.randn(faces.shape, generator=generator)
    noisy = noisy * (1 + 0.2 * torch.rand(40, 1, 1, 1, 1, generator=generator))
    frames = (noisy.clamp(0, 1) * 255).byte().permute(0, 1, 3, 4, 2).numpy()
    states = token_states(tokenizer, frames)
    assert {name: x.shape[:2] for name, x in states.items()} == dict.fromkeys(states, (40, 3))
    assert np.abs(states["tokens"][:, 0]).max() == 0  # the onset against itself: nothing moves
    found = {name: identity_leak(x, np.arange(5).repeat(8)) for name, x in states.items()}
    assert found["patches"]["DC"] > 0.9
    assert found["tokens"]["DC"] < 0.5 and found["tokens"]["AC"] < 0.5


def test_the_benchmark(monkeypatch, capsys, units_checkpoint, coded_clips):
    arguments = ("--data", str(coded_clips), "--units", str(units_checkpoint))
    run("benchmarks/identity_leak.py", *arguments, monkeypatch=monkeypatch)
    told = capsys.readouterr().out
    assert "12 clips of 3 subjects" in told and "| | AC | DC | chance | pooled |" in told
    assert "| dface-mini: tokens |" in told and "| units: features |" in told
