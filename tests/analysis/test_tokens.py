import numpy as np
import torch

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis import (
    action_unit_probe,
    evaluate_tokenizer,
    one_hot_tokens,
    pooled_difference,
    tokenise,
)
from dface_hf.data import labelled_pairs, pretraining_pairs

CONFIG = DFaceTokenizerConfig(
    image_size=32, patch_size=4, hidden_size=32, num_spatial_layers=1, num_attention_heads=2, head_dim=16
)


def test_a_probe_reads_what_is_there_and_not_what_is_not():
    rng = np.random.default_rng(0)
    units = rng.integers(0, 2, (400, 2))
    features = np.column_stack([units[:, 0] * 1e-3, rng.normal(size=400)]).astype(np.float32)
    result = action_unit_probe(features[:200], units[:200], features[200:], units[200:], (1, 12))
    assert result.f1[1] == 1.0, "features are scaled, however small they are"
    assert result.f1[12] < 0.75
    assert result.macro_f1 == np.mean([result.f1[1], result.f1[12]])


def test_one_hot_and_pooled_difference():
    assert one_hot_tokens(torch.tensor([[0, 3]]), 4).tolist() == [[1, 0, 0, 0, 0, 0, 0, 1]]
    onset = torch.zeros(1, 3, 4, 4)
    apex = onset.clone()
    apex[:, :, :2, :2] = 1
    assert pooled_difference(onset, apex).tolist() == [[1, 0, 0, 0]]


def test_evaluation_of_a_tokenizer_that_says_nothing():
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    tokenizer.quantizer.running_rms.fill_(1e6)  # every vector is short: code 0 everywhere
    streams = [pretraining_pairs(32, seed=seed, bank=32, refresh_every=0, still_share=0.3) for seed in (0, 1)]
    result = evaluate_tokenizer(tokenizer, *streams, clips=(128, 64))
    assert result["null_share_still"] == result["null_share_moving"] == 1.0
    assert result["codes_used"] == 1 and abs(result["perplexity"] - 1) < 1e-5
    assert result["copy_l1"] > 0 and 0 <= result["probe_f1_tokens"] < result["probe_f1_frame_difference"] <= 1


def test_tokenised_pairs_carry_their_classes():
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    ids, labels = tokenise(tokenizer, labelled_pairs("default4", 32, seed=0, bank=32, refresh_every=0), 100)
    assert ids.shape == (128, 16) and labels.shape == (128,)
    assert set(labels.tolist()) == {0, 1, 2, 3}
