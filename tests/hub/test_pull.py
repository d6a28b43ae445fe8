"""`from_pretrained` of every model: a subfolder of a revision, in shards, offline, in half precision."""

import hashlib
import inspect
import json

import pytest
import torch
from transformers import AutoModelForVideoClassification

import dface_hf
from dface_hf import (
    AC4AUForActionUnitDetection,
    DFaceEDCLIPModel,
    DFaceForVideoClassification,
    DFaceImageProcessor,
    DFaceTokenizerModel,
    STSTNetForImageClassification,
)
from dface_hf.data import pretraining_pairs
from dface_hf.pipelines.loading import CheckpointError, load_model
from dface_hf.synthesis import PairSampler

from ..conftest import tiny_classifier
from ..models.test_ac4au import TINY as TINY_AC4AU
from .conftest import Client

# Subfolder -> what loads it.
LOADERS = {
    "tokenizer": ("DFaceTokenizerModel", "AutoModel"),
    "classifier": (
        "DFaceForVideoClassification",
        "AutoModelForVideoClassification",
        "DFaceTokenizerModel",
        "AutoModel",
    ),
    "edclip": ("DFaceEDCLIPModel",),
    "ac4au": ("AC4AUForActionUnitDetection", "AutoModelForVideoClassification"),
    "ststnet": ("STSTNetForImageClassification", "AutoModelForImageClassification"),
}
PUSH = """
from huggingface_hub import HfApi
HfApi().create_repo("ada/zoo")
HfApi().upload_folder(repo_id="ada/zoo", folder_path={folder!r})
HfApi().create_tag("ada/zoo", tag="v1")
HfApi().delete_file("ststnet/model.safetensors", repo_id="ada/zoo")
"""
LOAD = """
import hashlib, json, transformers, dface_hf
told = {}
for folder, names in json.loads(ASKED).items():
    for name in names:
        loader = getattr(dface_hf, name, None) or getattr(transformers, name)
        options = dict(subfolder=folder, revision=REVISION, output_loading_info=True)
        model, info = loader.from_pretrained("ada/zoo", **options)
        told[f"{folder} {name}"] = [type(model).__name__, digest(model), sorted(info["missing_keys"])]
processor = transformers.AutoImageProcessor.from_pretrained("ada/zoo", subfolder="classifier", revision="v1")
print(json.dumps(told | {"processor": [type(processor).__name__, processor.size.height]}))
"""


def digest(model) -> dict[str, str]:
    """Parameters and buffers; run in other processes, too."""
    return {
        name: hashlib.sha256(str(value.dtype).encode() + value.numpy().tobytes()).hexdigest()
        for name, value in model.state_dict().items()
    }


def load(loaders: dict[str, tuple[str, ...]], revision: str = "v1") -> str:
    return f"{inspect.getsource(digest)}\nASKED, REVISION = {json.dumps(loaders)!r}, {revision!r}\n{LOAD}"


def zoo() -> dict[str, torch.nn.Module]:
    """One model of each kind, none of whose buffers is as it was made."""
    classifier = tiny_classifier()
    edclip = DFaceEDCLIPModel(classifier.config)
    edclip.dface.load_state_dict(classifier.dface.state_dict())
    models = {
        "tokenizer": classifier.dface.tokenizer,
        "classifier": classifier,
        "edclip": edclip,
        "ac4au": AC4AUForActionUnitDetection(dface_hf.AC4AUConfig(**TINY_AC4AU)),
        "ststnet": STSTNetForImageClassification(dface_hf.STSTNetConfig(num_labels=3)),
    }
    generator = torch.Generator().manual_seed(1)
    for model in models.values():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return {name: model.eval() for name, model in models.items()}


def part_of(expected: dict[str, str], loaded: dict[str, str]) -> bool:
    """Whether all that was loaded is what was saved; a part's names lack the prefix of the whole."""
    prefixes = ("", "dface.", "dface.tokenizer.")
    named = [{f"{prefix}{name}": value for name, value in loaded.items()} for prefix in prefixes]
    return bool(loaded) and any(item.items() <= expected.items() for item in named)


def test_a_subfolder_of_a_revision_in_shards_and_then_offline(hub, pusher, tmp_path):
    models, folder, home = zoo(), tmp_path / "zoo", tmp_path / "home"
    home.mkdir()
    for name, model in models.items():
        model.save_pretrained(
            folder / name, max_shard_size="50KB" if name in ("classifier", "ac4au") else "1GB"
        )
    DFaceImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "classifier")
    assert len(list((folder / "classifier").glob("model-*.safetensors"))) > 2
    done = pusher.run(PUSH.format(folder=str(folder)), "hf_ada")
    assert done.code == 0, done.err

    online = Client(hub.url, home)
    try:
        answer = online.run(load(LOADERS))
        of_main = online.run(load({"ststnet": LOADERS["ststnet"]}, "main"))
    finally:
        online.close()
    assert answer.code == 0, answer.err
    assert of_main.code == 1 and "ada/zoo does not appear to have a file named" in of_main.err
    told = json.loads(answer.out)
    assert told.pop("processor") == ["DFaceImageProcessor", 32]
    assert len(told) == sum(map(len, LOADERS.values()))
    for key, (kind, loaded, missing) in told.items():
        name, loader = key.split()
        assert not missing and part_of(digest(models[name]), loaded), key
        assert loader.startswith("Auto") or kind == loader
    assert told["classifier AutoModel"][0] == "DFaceModel"
    assert told["ac4au AutoModelForVideoClassification"][0] == "AC4AUForActionUnitDetection"

    asked = len(hub.asked)
    offline = Client(hub.url, home, HF_HUB_OFFLINE="1")
    try:
        again = offline.run(load(LOADERS))
        never = offline.run("import dface_hf; dface_hf.DFaceTokenizerModel.from_pretrained('ada/never')")
    finally:
        offline.close()
    assert again.out == answer.out, again.err
    assert never.code == 1 and "offline mode" in never.err
    assert len(hub.asked) == asked


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_finite_and_reads_nearly_the_same(tmp_path, dtype):
    pairs = pretraining_pairs(32, seed=3, bank=16).sample(32)
    pixels = torch.stack([pairs.onset, pairs.apex], dim=1)
    model = tiny_classifier()
    model.dface.tokenizer.quantizer.running_rms.fill_(1e-2)
    model.save_pretrained(tmp_path)
    half = AutoModelForVideoClassification.from_pretrained(tmp_path, dtype=dtype).eval()
    assert half.dtype == half.classifier.weight.dtype == dtype
    assert half.dface.tokenizer.quantizer.codebook.dtype == torch.float32
    assert half.dface.tokenizer.quantizer.running_rms == torch.tensor(1e-2)
    with torch.no_grad():
        expected, output = model(pixels), half(pixels.to(dtype))
    assert expected.action_ids.unique().numel() > 4
    assert output.action_ids.eq(expected.action_ids).float().mean() > 0.9
    for name in ("logits", "pooling_attention", "similarities", "action_embeds"):
        assert output[name].isfinite().all(), name
    same = output.action_ids.eq(expected.action_ids).all(dim=1)
    torch.testing.assert_close(output.logits[same].float(), expected.logits[same], atol=0.05, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["ac4au", "ststnet"])
def test_half_precision_of_other_systems(tmp_path, name, dtype):
    model = zoo()[name]
    model.save_pretrained(tmp_path)
    half = type(model).from_pretrained(tmp_path, dtype=dtype).eval()
    shape = (8, 3, 32, 32) if name == "ac4au" else (3, 28, 28)
    given = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, logits = model(given).logits, half(given.to(dtype)).logits
    assert logits.dtype == dtype and logits.isfinite().all()
    if (
        name == "ststnet"
    ):  # AC4AU takes the mean over time away, and of untrained features little else is left
        torch.testing.assert_close(logits.float(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_finds_nearly_the_same_units(dtype):
    model = AC4AUForActionUnitDetection.from_pretrained(dface_hf.AC4AU_CHECKPOINT).eval()
    half = AC4AUForActionUnitDetection.from_pretrained(dface_hf.AC4AU_CHECKPOINT, dtype=dtype).eval()
    pairs = PairSampler(model.config.image_size, bank=8, amplitude=(0.5, 4.0), seed=0).sample(8)
    times = torch.linspace(0, 1, model.config.num_frames)[:, None, None, None]
    clips = 2 * torch.lerp(pairs.onset[:, None], pairs.apex[:, None], times) - 1
    with torch.no_grad():
        expected, logits = model(clips).logits, half(clips.to(dtype)).logits
    assert (expected > 0).any() and logits.isfinite().all()
    assert ((logits > 0) == (expected > 0)).float().mean() > 0.9


@pytest.mark.parametrize("name", LOADERS)
def test_a_pickle_is_refused(tmp_path, name):
    model = zoo()[name]
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="no file named model.safetensors found in"):
        type(model).from_pretrained(tmp_path)
    asked_for = type(model).from_pretrained(tmp_path, use_safetensors=False)
    assert digest(asked_for) == digest(model)


def test_commands_refuse_a_pickle_in_one_line(tmp_path):
    model = zoo()["classifier"]
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    for model_class in (DFaceForVideoClassification, DFaceTokenizerModel):
        with pytest.raises(CheckpointError, match="no file named model.safetensors") as caught:
            load_model(tmp_path, model_class)
        assert "\n" not in str(caught.value)
