"""The parts of the head that the paper's ablations replace."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError

from dface_hf import DFaceConfig, DFaceForVideoClassification

from ..conftest import TINY

ABLATIONS = [
    {"pooling": "mean"},
    {"pooling": "class_token"},
    {"positions": "2d"},
    {"head": "conv"},
    {"head": "conv", "pooling": "mean", "positions": "2d"},
]


def model_of(**options) -> DFaceForVideoClassification:
    torch.manual_seed(0)
    return DFaceForVideoClassification(DFaceConfig(tokenizer_config=TINY, hidden_size=32, **options)).eval()


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_saved_and_loaded_they_are_the_same(options, tmp_path):
    model = model_of(**options)
    ids = torch.randint(0, 8, (3, 16), generator=torch.Generator().manual_seed(2))
    ids = ids % model.config.tokenizer_config.codebook_size
    model.save_pretrained(tmp_path)
    loaded, info = DFaceForVideoClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    expected, found = model(action_ids=ids), loaded.eval()(action_ids=ids)
    assert torch.equal(expected.logits, found.logits)
    torch.testing.assert_close(found.pooling_attention.sum(-1), torch.ones(3))


@pytest.mark.parametrize("options", ABLATIONS, ids=str)
def test_every_parameter_of_the_head_learns(options):
    model = model_of(**options).train()
    ids = torch.randint(0, model.config.tokenizer_config.codebook_size, (6, 16))
    model(action_ids=ids, labels=torch.tensor([0, 1, 0, 1, 1, 0])).loss.backward()
    heads = {
        name: value
        for name, value in model.named_parameters()
        if "tokenizer" not in name and "text_" not in name
    }
    silent = [name for name, value in heads.items() if value.grad is None or not value.grad.abs().sum()]
    assert not silent


@pytest.mark.parametrize("options", [{"pooling": "mean"}, {"pooling": "class_token"}], ids=str)
def test_poolings_without_a_query_weigh_alike(options):
    weights = model_of(**options)(action_ids=torch.zeros(2, 16, dtype=torch.long)).pooling_attention
    torch.testing.assert_close(weights, torch.full((2, 16), 1 / 16))


@pytest.mark.parametrize(
    "options, told",
    [
        ({"pooling": "max"}, "choose attention or mean or class_token"),
        ({"positions": "3d"}, "choose 1d or 2d"),
        ({"head": "mlp"}, "choose transformer or conv"),
        ({"head": "conv", "pooling": "class_token"}, "choose mean"),
    ],
    ids=str,
)
def test_unknown_choices_are_named(options, told):
    with pytest.raises((ValueError, StrictDataclassClassValidationError), match=told):
        DFaceConfig(tokenizer_config=TINY, **options)
