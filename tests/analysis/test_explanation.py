"""Explanations of a model whose reasons are known, and of the checkpoint on motion that is known."""

import json

import numpy as np
import pytest
import torch

import dface_hf
from dface_hf.analysis import explain, facs_sentence
from dface_hf.analysis.decoded_motion import null_ids
from dface_hf.analysis.explanation import (
    label_scores,
    measured_motion,
    saliency_of,
    token_motions,
    token_weights,
)
from dface_hf.analysis.face_regions import FACE_REGIONS, main_region, region_shares
from dface_hf.data import pretraining_pairs
from dface_hf.models.dface.configuration_dface_tokenizer import REFERENCE_SETTINGS

from ..conftest import TINY


@pytest.fixture(scope="module")
def model():
    return dface_hf.DFaceForVideoClassification.from_pretrained(dface_hf.DEFAULT_CHECKPOINT).eval()


@pytest.fixture(scope="module")
def pairs(model):
    """Onsets (6, 3, S, S) of unseen faces, tokens, classes and optical flow; the last one is still."""
    size = model.config.tokenizer_config.image_size
    batch = pretraining_pairs(size, 4000, bank=8).sample(5, 0)
    frames = torch.stack([batch.onset, batch.apex], dim=1)
    frames = torch.cat([frames, frames[:1, :1].expand(-1, 2, -1, -1, -1)])
    with torch.no_grad():
        output = model(pixel_values=frames)
    crops = (frames * 255 + 0.5).byte().permute(0, 1, 3, 4, 2).numpy()
    return frames[:, 0], output.action_ids, output.logits.argmax(-1), measured_motion(crops)


def test_weights_are_what_deletion_takes_away(model, pairs):
    _, ids, labels, _ = pairs
    weights = token_weights(model, ids, labels, torch.zeros_like(ids))
    assert weights.shape == ids.shape
    event, position = torch.nonzero(ids)[3].tolist()
    without = ids[event].clone()
    without[position] = 0
    with torch.no_grad():
        kept, gone = model(action_ids=torch.stack([ids[event], without])).logits.softmax(-1)[:, labels[event]]
    assert weights[event, position] == pytest.approx(float(kept.logit() - gone.logit()), abs=1e-3)
    assert (weights[ids == 0] == 0).all() and (weights[ids != 0] != 0).any()


def test_scores_are_log_odds(model, pairs):
    _, ids, labels, _ = pairs
    with torch.no_grad():
        scores = model(action_ids=ids).logits.softmax(-1).gather(1, labels[:, None])[:, 0]
    assert label_scores(model, ids, labels) == pytest.approx(scores.logit().numpy(), abs=1e-3)


def test_a_token_moves_what_is_missing_without_it(model, pairs):
    onsets, ids, *_ = pairs
    tokenizer, null = model.dface.tokenizer, torch.zeros_like(ids)
    whole, parts = token_motions(tokenizer, onsets, ids, null)
    assert whole.shape == (6, 2, 32, 32) and parts.shape == (6, 16, 2, 32, 32)
    assert (parts[(ids == 0).numpy()] == 0).all() and np.abs(whole[-1]).max() == 0
    only = torch.zeros_like(ids[:1])
    only[0, 5] = 9
    alone, part = token_motions(tokenizer, onsets[:1], only, null[:1])
    assert part[0, 5] == pytest.approx(alone[0], abs=1e-6) and np.abs(alone).max() > 0.03


def test_an_explanation_is_plain_and_sorted(model, pairs):
    _, ids, _, _ = pairs
    *moving, still = explain(model, *pairs)
    for one, codes in zip(moving, ids.tolist(), strict=False):
        assert json.loads(json.dumps(one.plain, allow_nan=False)) == one.plain
        weights = [token["weight"] for token in one.tokens]
        assert weights == sorted(weights, reverse=True)
        assert {token["position"]: token["code"] for token in one.tokens} == {
            position: code for position, code in enumerate(codes) if code
        }
        assert {token["region"] for token in one.tokens} <= {*FACE_REGIONS, None}
        assert one.motion.shape == (2, 32, 32) and one.saliency.shape == (32, 32)
        assert (
            one.saliency.max() == pytest.approx(float(max(weights, default=0) > 0))
            and one.saliency.min() >= 0
        )
        assert -1 <= one.agreement <= 1
    assert np.mean([one.agreement for one in moving]) > 0.4
    assert still.plain == {
        "tokens": [], "action_units": {}, "sentence": "no clear action unit", "agreement": 0.0
    }  # fmt: skip
    together = [one.plain["action_units"] for one in explain(model, *pairs)]
    alone = [explain(model, *(x[k : k + 1] for x in pairs))[0].plain["action_units"] for k in range(6)]
    assert together == alone


def test_a_decoder_of_pixels_tells_weights_and_units_only():
    config = dface_hf.DFaceConfig(
        num_labels=3, hidden_size=32, tokenizer_config=TINY | {"decoder_head": "pixels"}
    )
    model = dface_hf.DFaceForVideoClassification(config).eval()
    ids, flows = torch.tensor([[3] + 15 * [0], 16 * [1]]), np.zeros((2, 2, 32, 32), np.float32)
    first, second = explain(model, torch.rand(2, 3, 32, 32), ids, torch.tensor([0, 2]), flows)
    assert [(token["position"], token["region"]) for token in first.tokens] == [(0, None)]
    assert len(second.tokens) == 16 and first.motion is first.saliency is first.agreement is None
    json.dumps([first.plain, second.plain], allow_nan=False)


def test_the_published_implementation_rests_differently_on_each_face():
    config = dface_hf.DFaceTokenizerConfig(**TINY | REFERENCE_SETTINGS, reference_compat=True)
    tokenizer = dface_hf.DFaceTokenizerModel(config).eval()
    onsets = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(null_ids(tokenizer, onsets), tokenizer.encode(onsets, onsets))


def test_tokens_that_speak_for_another_label_are_not_salient():
    parts = np.zeros((2, 2, 4, 4), np.float32)
    parts[0, 0, :2], parts[1, 1, 2:] = 1.0, 5.0
    picture = saliency_of(np.array([0.5, -2.0]), parts)
    assert (picture[:2] == 1).all() and (picture[2:] == 0).all()
    assert (saliency_of(np.zeros(2), parts) == 0).all()


@pytest.mark.parametrize(
    ("units", "sentence"),
    [
        ({}, "no clear action unit"),
        ({"AU1": (1, 0.9)}, "inner brow raiser"),
        ({"AU1": (1, 0.5), "AU12": (2, 1)}, "inner brow raiser and lip corner puller, left stronger"),
        ({"AU1": (0.9, 1), "AU12": (2, 1)}, "inner brow raiser and lip corner puller (left stronger)"),
        ({"AU14": (0, 1)}, "dimpler, right only"),
        ({"AU4": (1, 1), "AU9": (1, 1), "AU17": (1, 1)}, "brow lowerer, nose wrinkler and chin raiser"),
    ],
)
def test_sentences(units, sentence):
    assert facs_sentence({unit: {"left": a, "right": b} for unit, (a, b) in units.items()}) == sentence


def test_regions_are_of_the_persons_side():
    motion = np.zeros((2, 32, 32))
    motion[1, 9:11, 24:26] = -1.0  # right in the picture, at the height of the brows
    assert main_region(motion) == "left outer brow" and main_region(0 * motion) is None
    assert main_region(motion[..., ::-1]) == "right outer brow"
    shares = region_shares(np.stack([motion, np.zeros_like(motion)]))
    assert shares.sum(axis=1) == pytest.approx([1, 0]) and shares.shape == (2, len(FACE_REGIONS))
