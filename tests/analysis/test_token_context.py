import numpy as np
import pytest
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis.token_context import context_of, drift_read_out, linear_read_out
from dface_hf.data import pretraining_pairs, render_clips
from dface_hf.synthesis import procedural_faces

from .test_tokens import CONFIG


@pytest.fixture
def tokenizer():
    torch.manual_seed(0)
    config = DFaceTokenizerConfig(**(CONFIG.to_dict() | {"context_codebook_size": 16}))
    return DFaceTokenizerModel(config).eval()


def test_what_is_linear_in_the_features_is_read_out_and_nothing_else():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 5))
    linear, noise = features @ [1, 2, 0, 0, -1], rng.normal(size=400)
    found = linear_read_out(features, np.stack([linear, linear + noise, noise], axis=1))
    assert found[0] == pytest.approx(1) and 0.7 < found[1] < 0.95 and abs(found[2]) < 0.1


def test_the_drift_is_read_from_codes_that_follow_it(tokenizer):
    faces = procedural_faces(32, 48, 3)
    tokenizer.context.quantizer.running_rms.fill_(1e6)  # too short for anything but code 0
    assert max(drift_read_out(tokenizer, faces, 256)) < 0.05
    pairs = pretraining_pairs(32, 9, bank=32, refresh_every=0, still_share=1.0).sample(256, 0)
    tokenizer.context.quantizer.running_rms.fill_(1)
    with torch.no_grad():
        vectors = tokenizer.context_vectors(torch.stack([pairs.onset, pairs.apex], dim=1))
        tokenizer.context.quantizer.running_rms.copy_(vectors.pow(2).mean().sqrt())
        vectors = tokenizer.context_vectors(torch.stack([pairs.onset, pairs.apex], dim=1))
        tokenizer.context.quantizer.initialise_codebook(vectors.flatten(0, 1))
    assert sum(drift_read_out(tokenizer, faces, 256)) > 0.2  # weights are random, but show motion


def test_codes_of_clips_are_those_of_the_tokenizer(tokenizer):
    clips = render_clips(pretraining_pairs(32, bank=32, refresh_every=0), 6)
    onset, apex = torch.cat(list(clips.pixel_values(32))).unbind(1)
    tokenizer.context.quantizer.running_rms.fill_(1e-3)
    features = context_of(tokenizer, clips)
    assert features.shape == (6, 16) and (features.sum(axis=1) == 1).all()
    assert (features.argmax(axis=1) == tokenizer.encode_context(onset, apex)[:, 0].numpy()).all()
    with pytest.raises(ValueError, match="no second codebook"):
        context_of(DFaceTokenizerModel(CONFIG), clips)
