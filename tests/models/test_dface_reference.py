"""Numbers of the published implementation, where its weights are at hand."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dface_hf import DFaceConfig, DFaceForVideoClassification, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.models.dface.modeling_dface import edclip_loss, pooling_entropy

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/data/dface_reference"
pytestmark = pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs the published reference numbers")

TOKENIZER_NAMES = {
    r"^enc_spatial_transformer": "spatial_encoder",
    r"^enc_temporal_transformer": "temporal_encoder",
    r"^dec_spatial_transformer": "decoder",
    r"layers\.(\d+)\.0\.dsconv": r"layers.\1.position_conv.conv",
    r"layers\.(\d+)\.1\.": r"layers.\1.self_attn.",
    r"layers\.(\d+)\.2\.": r"layers.\1.cross_attn.",
    r"layers\.(\d+)\.3\.0": r"layers.\1.feed_forward.norm",
    r"layers\.(\d+)\.3\.1": r"layers.\1.feed_forward.up_proj",
    r"layers\.(\d+)\.3\.4": r"layers.\1.feed_forward.down_proj",
    r"to_q": "q_proj",
    r"to_kv": "kv_proj",
    r"to_out": "o_proj",
    r"null_kv": "null_key_values",
    r"norm_out": "norm",
    r"gamma$": "weight",
    r"beta$": "bias",
    r"^spatial_rel_pos_bias\.net\.0\.0": "position_bias.in_proj",
    r"^spatial_rel_pos_bias\.net\.1\.0": "position_bias.hidden_proj",
    r"^spatial_rel_pos_bias\.net\.2": "position_bias.out_proj",
    r"^to_patch_emb_first_frame\.1": "patch_embeddings.patch_norm",
    r"^to_patch_emb_first_frame\.2": "patch_embeddings.projection",
    r"^to_patch_emb_first_frame\.3": "patch_embeddings.norm",
    r"^to_pixels_first_frame\.0": "decoder_head.projection",
    r"^vq\.project_in": "reduction.projection",
    r"^vq\.project_out": "action_projection",
    r"^vq\.codebooks": "quantizer.codebook",
    r"^vq\.cnn_encoder\.0": "reduction.convs.0",
    r"^vq\.cnn_encoder\.2": "reduction.convs.1",
}
CLASSIFIER_NAMES = {
    r"^token_embed": "dface.token_embeddings",
    r"^pos_embed": "dface.position_embeddings",
    r"^transformer": "dface",
    r"^sparse_pool\.ln": "dface.pooling.norm",
    r"^sparse_pool": "dface.pooling",
    r"^cls_proj\.0": "classifier",
    r"^clip_proj\.0": "dface.text_projection",
}


def load_renamed(model, file, names):
    state = {}
    for name, tensor in load_file(REFERENCE / file).items():
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        if tensor.numel():
            state[name] = tensor
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    return missing


def test_tokenizer_gives_the_published_numbers():
    config = DFaceTokenizerConfig(
        image_size=256,
        patch_size=16,
        hidden_size=64,
        num_spatial_layers=2,
        num_temporal_layers=2,
        num_attention_heads=4,
        head_dim=16,
        decoder_head="pixels",
        motion_channels=False,
        match_brightness=False,
        normalize_loss=False,
        motion_weight=0,
        reference_compat=True,
    )
    model = DFaceTokenizerModel(config).eval()
    missing = load_renamed(model, "open.tokenizer.weights.safetensors", TOKENIZER_NAMES)
    assert missing == ["quantizer.running_rms", "quantizer.usage"]
    expected = load_file(REFERENCE / "open.tokenizer.expected.safetensors")
    pixel_values = (expected["video_uint8"].float() / 255).transpose(1, 2)
    with torch.no_grad():
        output = model(pixel_values)
        null = model.encode(pixel_values[:, 0], pixel_values[:, 0])
    assert output.action_ids.equal(expected["action_ids"]) and null.equal(expected["null_action_ids"])
    close = dict(atol=1e-4, rtol=0)
    features = model.action_features(output.action_ids)
    torch.testing.assert_close(features, expected["action_features"], **close)
    torch.testing.assert_close(output.reconstruction, expected["reconstruction"], **close)


def test_classifier_gives_the_published_numbers():
    config = DFaceConfig(
        tokenizer_config=dict(hidden_size=512, num_attention_heads=8, head_dim=64),
        hidden_size=64,
        intermediate_size=64,
        projection_dim=768,
        id2label={0: "happy", 1: "surprise", 2: "negative", 3: "others"},
        others_label="others",
        class_weights=(3.84, 1.16, 0.46, 1.39),
    )
    model = DFaceForVideoClassification(config).eval()
    missing = load_renamed(model, "open.classifier.weights.safetensors", CLASSIFIER_NAMES)
    assert all("tokenizer" in name or name == "dface.text_anchors" for name in missing)
    expected = load_file(REFERENCE / "open.classifier.expected.safetensors")
    base = model.dface
    base.set_text_anchors(
        expected["text_anchors"], dict.fromkeys(["happy", "surprise", "negative"], ""), "clip"
    )
    with torch.no_grad():
        states = base.token_embeddings(expected["action_features"]) + base.position_embeddings
        for layer in base.layers:
            states = layer(states)
        pooled, attention = base.pooling(states)
        projected = torch.nn.functional.normalize(base.text_projection(pooled), dim=-1)
        losses = edclip_loss(base.similarities(projected), expected["labels"], torch.tensor([0, 1, 2, -1]))
        weighted = torch.nn.functional.cross_entropy(
            model.classifier(pooled), expected["labels"], torch.tensor(config.class_weights)
        )
    got = dict(attention=attention, pooled=pooled, projected=projected, logits=model.classifier(pooled))
    got |= dict(zip(("edclip", "edclip_named", "edclip_others"), losses, strict=True))
    got |= dict(entropy=pooling_entropy(attention), weighted_ce=weighted)
    got["total"] = weighted + 1e-3 * got["entropy"] + 0.3 * got["edclip"]
    for name, value in got.items():
        torch.testing.assert_close(value.detach(), expected[name].reshape(value.shape), atol=1e-4, rtol=0)
