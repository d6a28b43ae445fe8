"""Checkpoints that are broken, and the one line that each is answered with."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from dface_hf import DFaceForVideoClassification, DFaceTokenizerModel
from dface_hf.pipelines.loading import (
    CheckpointError,
    load_config,
    load_model,
    load_processor,
    load_recogniser,
)


@pytest.fixture
def broken(checkpoint, tmp_path):
    """Makes a copy of the checkpoint with one file changed by a function, or removed."""

    def make(file, change=None):
        folder = shutil.copytree(checkpoint, tmp_path / "broken")
        path = folder / file
        data = path.read_bytes()
        path.unlink()
        if change is not None:
            path.write_bytes(change(data))
        return folder

    return make


def config_with(**changes):
    return lambda data: json.dumps(json.loads(data) | changes).encode()


def other_codebook(data: bytes) -> bytes:
    config = json.loads(data)
    config["tokenizer_config"]["codebook_size"] = 64
    return json.dumps(config).encode()


BROKEN = {
    "no config": ("config.json", None, "holds no config.json"),
    "half a config": ("config.json", lambda data: data[: len(data) // 2], "not a valid JSON file"),
    "a list as config": ("config.json", lambda data: b"[1, 2]", "cannot read config.json"),
    "another system": ("config.json", lambda data: b'{"model_type": "bert"}', "of a 'bert' model"),
    "a wrong value": ("config.json", config_with(hidden_size="big"), "'hidden_size' expected int"),
    "sizes that do not fit": ("config.json", config_with(hidden_size=33), "33 is not a multiple"),
    "another codebook": (
        "config.json",
        other_codebook,
        r"codebook is \(32, 8\) in the weights, \(64, 8\) by",
    ),
    "no weights": ("model.safetensors", None, "no file named model.safetensors"),
    "half the weights": ("model.safetensors", lambda data: data[: len(data) // 2], "cannot load the weights"),
    "text as weights": ("model.safetensors", lambda data: b"hello", "cannot load the weights"),
    "no processor": ("preprocessor_config.json", None, "holds no preprocessor_config.json"),
    "a broken processor": ("preprocessor_config.json", lambda data: b"{", "preprocessor_config.json"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checkpoint_is_named_with_what_is_wrong(broken, name):
    file, change, told = BROKEN[name]
    folder = broken(file, change)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_recogniser(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}: ") and "\n" not in message and len(message) < 600


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights["classifier.bias"].fill_(torch.nan), "classifier.bias holds NaN"),
        (
            lambda weights: weights["classifier.bias"].fill_(torch.inf),
            "classifier.bias holds NaN or infinite",
        ),
        (lambda weights: weights.pop("classifier.bias"), "the weights lack classifier.bias"),
    ],
)
def test_weights_with_nan_or_gaps(broken, change, told):
    folder = broken("model.safetensors", lambda data: data)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=told):
        load_model(folder)
    assert load_model(folder, DFaceTokenizerModel).config.codebook_size == 32  # its own part is whole


def test_a_whole_checkpoint_loads(checkpoint):
    model = load_model(checkpoint)
    assert isinstance(model, DFaceForVideoClassification) and not model.training
    tokenizer = load_model(checkpoint, DFaceTokenizerModel)
    codebook = model.dface.tokenizer.quantizer.codebook
    torch.testing.assert_close(tokenizer.quantizer.codebook, codebook, rtol=0, atol=0)
    assert load_config(checkpoint).num_labels == 4 and load_processor(checkpoint).size.height == 32
    assert load_recogniser(checkpoint).device.type == "cpu"


def test_a_tokenizer_is_no_recogniser(checkpoint, tmp_path):
    load_model(checkpoint, DFaceTokenizerModel).save_pretrained(tmp_path)
    assert load_model(tmp_path, DFaceTokenizerModel).config.model_type == "dface_tokenizer"
    with pytest.raises(CheckpointError, match="holds a tokenizer only"):
        load_recogniser(tmp_path)


@pytest.mark.parametrize("name", ["/nonexistent/folder", "./nowhere", "a/b/c"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(name):
    with pytest.raises(CheckpointError, match=f"{name}: no such folder"):
        load_model(name)


def test_a_file_is_no_checkpoint(checkpoint):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_model(checkpoint / "config.json")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_devices_that_do_not_exist(checkpoint, device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used") as caught:
        load_recogniser(checkpoint, device)
    assert "\n" not in str(caught.value)
