"""Numbers of the published implementation, where they are at hand: of converted weights, and of the
plain-tensor implementation that stands in for it elsewhere."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dface_hf.models.dface.convert_dface_original import convert_original
from dface_hf.models.dface.modeling_dface import edclip_loss, pooling_entropy

from . import published_dface as published

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/data/dface_reference"
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs the published reference numbers")
CLOSE = dict(atol=1e-4, rtol=0)
CLASS_WEIGHTS = (3.84, 1.16, 0.46, 1.39)
CLASSIFIER = REFERENCE / "open.classifier.weights.safetensors"


@pytest.fixture(scope="module")
def expected():
    values = load_file(REFERENCE / "open.tokenizer.expected.safetensors")
    return values | {"video": values["video_uint8"].float() / 255}


@pytest.fixture(scope="module")
def expected_classes():
    return load_file(REFERENCE / "open.classifier.expected.safetensors")


@pytest.fixture(scope="module")
def wide_tokenizer(tmp_path_factory):
    """A tokenizer as wide as the reference classifier wants its features: 512."""
    path = tmp_path_factory.mktemp("wide") / "laq.pt"
    sizes = dict(patch=16, dim=512, heads=8, head_dim=64, codes=32, code_dim=32, convs=2)
    torch.save(published.tokenizer_state(**sizes), path)
    return path


def assert_close(got, expected):
    for name, value in got.items():
        torch.testing.assert_close(value.detach(), expected[name].reshape(value.shape), **CLOSE)


@pytest.mark.parametrize("file", ["open.tokenizer.pt", "open.tokenizer.weights.safetensors"])
def test_a_converted_tokenizer_gives_the_published_numbers(file, expected):
    model = convert_original(REFERENCE / file).model
    pixel_values = expected["video"].transpose(1, 2)
    with torch.no_grad():
        output = model(pixel_values)
        null = model.encode(pixel_values[:, 0], pixel_values[:, 0])
    assert output.action_ids.equal(expected["action_ids"]) and null.equal(expected["null_action_ids"])
    features = model.action_features(output.action_ids)
    assert_close(dict(action_features=features, reconstruction=output.reconstruction), expected)
    loss = (expected["reconstruction"] - pixel_values[:, 1]).pow(2).mean()
    torch.testing.assert_close(output.loss, loss, **CLOSE)


def test_a_converted_classifier_gives_the_published_numbers(wide_tokenizer, expected_classes):
    labels = ["happy", "surprise", "negative", "others"]
    model = convert_original(wide_tokenizer, classifier=CLASSIFIER, num_labels=4, labels=labels).model
    base, truth, expected = model.dface, expected_classes["labels"], expected_classes
    base.set_text_anchors(expected["text_anchors"], dict.fromkeys(labels[:3], ""), "clip")
    with torch.no_grad():
        # The features that the reference's classifier was given are of no tokenizer that is at hand.
        states = base.token_embeddings(expected["action_features"]) + base.position_embeddings
        for layer in base.layers:
            states = layer(states)
        pooled, attention = base.pooling(states)
        projected = torch.nn.functional.normalize(base.text_projection(pooled), dim=-1)
        losses = edclip_loss(base.similarities(projected), truth, torch.tensor([0, 1, 2, -1]))
        logits = model.classifier(pooled)
        weighted = torch.nn.functional.cross_entropy(logits, truth, torch.tensor(CLASS_WEIGHTS))
    got = dict(attention=attention, pooled=pooled, projected=projected, logits=logits)
    got |= dict(zip(("edclip", "edclip_named", "edclip_others"), losses, strict=True))
    got |= dict(entropy=pooling_entropy(attention), weighted_ce=weighted)
    got["total"] = weighted + 1e-3 * got["entropy"] + 0.3 * got["edclip"]
    assert_close(got, expected)


def test_the_plain_implementation_gives_the_published_numbers(expected, expected_classes):
    state = torch.load(REFERENCE / "open.tokenizer.pt", weights_only=True)
    output = published.run_tokenizer(state, expected["video"])
    still = published.run_tokenizer(state, expected["video"][:, :, [0, 0]])
    assert output["action_ids"].equal(expected["action_ids"])
    assert still["action_ids"].equal(expected["null_action_ids"])
    assert_close({name: output[name] for name in ("action_features", "reconstruction")}, expected)
    output = published.run_classifier(load_file(CLASSIFIER), expected_classes["action_features"])
    others, weights = 3, torch.tensor(CLASS_WEIGHTS)
    anchors, truth = expected_classes["text_anchors"], expected_classes["labels"]
    losses = published.losses(output, truth, anchors, others, weights)
    assert_close(output | losses, expected_classes)
