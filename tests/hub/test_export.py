"""`dface export`: files that say what their model says, without dface_hf."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

import dface_hf
from dface_hf import AC4AUConfig, AC4AUForActionUnitDetection, DFaceForVideoClassification
from dface_hf.hub.export import (
    BATCHES,
    PARTS,
    ExportError,
    compare,
    export_model,
    parts_of,
    refuse_difference,
)

from ..conftest import TINY, tiny_classifier
from ..models.test_ac4au import TINY as TINY_AC4AU

ROOT = Path(__file__).resolve().parents[2]
# Run where dface_hf is not imported.
ALONE = """
import sys, torch
given, folder = torch.load(sys.argv[1]), sys.argv[2]
files = {"tokenizer": "pixel_values", "heads": "action_ids"}
found = {}
for name, key in files.items():
    told = {"dface.json": ""}
    program = torch.export.load(f"{folder}/{name}.pt2", extra_files=told)
    found[name] = [told["dface.json"], *program.module()(given[key])]
    found[f"weights of {name}"] = list(program.state_dict)
assert "dface_hf" not in sys.modules
torch.save(found, sys.argv[1])
"""


# torch takes seconds for each layer and scale that it draws.
ONE_OF_EACH = dict(tokenizer=TINY | {"motion_levels": 1}, num_hidden_layers=1)


@pytest.fixture(scope="module")
def lively() -> DFaceForVideoClassification:
    """A tiny model whose tokens are not all zero."""
    model = tiny_classifier(**ONE_OF_EACH)
    model.dface.tokenizer.quantizer.running_rms.fill_(1e-2)
    return model


@pytest.fixture(scope="module")
def lively_folder(lively, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lively") / "tiny"
    lively.save_pretrained(folder)
    return folder


@pytest.fixture
def pairs() -> torch.Tensor:
    return torch.rand(7, 2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_an_onnx_classifier_says_what_the_model_says(dface, lively, lively_folder, pairs, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra [export]")
    out = tmp_path / "exported"
    code, told, _ = dface("export", lively_folder, "--out", out, "--part", "classifier", "--opset", "18")
    assert code == 0 and [path.name for path in out.iterdir()] == ["classifier.onnx"]
    assert "pixel_values (batch, 2, 3, 32, 32) -> logits" in told and "equal action ids 100.00%" in told
    content = (out / "classifier.onnx").read_bytes()
    assert str(ROOT).encode() not in content and str(lively_folder.parent).encode() not in content

    session = onnxruntime.InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    assert session.get_inputs()[0].shape == ["batch", 2, 3, 32, 32]
    expected = lively(pixel_values=pairs)
    assert expected.action_ids.unique().numel() > 4
    for name, found in zip(names, session.run(None, {"pixel_values": pairs.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(found), expected[name], atol=1e-5, rtol=0)
    assert {"logits", "pooling_attention", "similarities", "action_ids"} <= set(names)

    meta = session.get_modelmeta().custom_metadata_map
    assert meta["name"] == "tiny" and meta["part"] == "classifier" and meta["input_range"] == "[0.0, 1.0]"
    assert json.loads(meta["labels"]) == ["negative", "positive", "surprise", "others"]


@torch.no_grad()
def test_programs_run_where_the_package_is_not(dface, lively, lively_folder, pairs, tmp_path):
    out, given = tmp_path / "exported", tmp_path / "given.pt"
    for part in ("tokenizer", "heads"):
        code, told, _ = dface(
            "export", lively_folder, "--out", out, "--format", "torch-export", "--part", part
        )
        assert code == 0 and told.count("largest difference to the model") == 1
    assert {path.name for path in out.iterdir()} == {"tokenizer.pt2", "heads.pt2"}
    expected = lively(pixel_values=pairs)
    torch.save({"pixel_values": pairs, "action_ids": expected.action_ids.flip(0)}, given)
    subprocess.run([sys.executable, "-I", "-c", ALONE, given, out], check=True, cwd=tmp_path)
    found, tokenizer = torch.load(given), lively.dface.tokenizer
    assert torch.equal(found["tokenizer"][1], tokenizer.encode(*pairs.unbind(dim=1)))
    assert torch.equal(found["tokenizer"][2], tokenizer.quantizer.codes()[expected.action_ids])
    torch.testing.assert_close(found["heads"][1].flip(0), expected.logits)
    assert json.loads(found["tokenizer"][0])["model_type"] == "dface"
    weights = found["weights of heads"]
    assert weights and not [name for name in weights if "decoder" in name or "encoder" in name]


LABELS = {"id2label": {0: "down", 1: "up"}}
OTHERS = {
    "ac4au": (AC4AUForActionUnitDetection, AC4AUConfig(**TINY_AC4AU, spatial_stages=(0,))),
    "ststnet": (dface_hf.STSTNetForImageClassification, dface_hf.STSTNetConfig(**LABELS)),
    "htnet": (
        dface_hf.HTNetForImageClassification,
        dface_hf.HTNetConfig(hidden_size=32, depths=(1, 1), **LABELS),
    ),
}


def untrained(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model_class, config = OTHERS[name]
    return model_class(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("name", OTHERS)
def test_other_systems_as_onnx(dface, name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="extra [export]")
    model = untrained(name)
    model.save_pretrained(tmp_path / name)
    code, told, _ = dface("export", tmp_path / name, "--out", tmp_path)
    part = parts_of(model)["classifier"]
    shape = ", ".join(map(str, part.shape))
    assert code == 0 and f"pixel_values (batch, {shape}) -> logits" in told and "action ids" not in told
    given = torch.rand(3, *part.shape)
    session = onnxruntime.InferenceSession(tmp_path / "classifier.onnx")
    found = session.run(["logits"], {"pixel_values": given.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), model(given).logits, atol=1e-5, rtol=0)
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["name"] == name and json.loads(meta["labels"]) == list(model.config.id2label.values())
    low, high = json.loads(meta["input_range"])
    assert (low, high) == ((-1, 1) if name == "ac4au" else (0, 1))
    assert part.example(4).min() >= low and part.example(4).max() <= high


@pytest.mark.parametrize("choice", [{"pooling": "class_token"}, {"head": "conv", "positions": "2d"}], ids=str)
def test_heads_of_the_ablations(choice, tmp_path):
    model = tiny_classifier(**ONE_OF_EACH, **choice)
    [done] = export_model(model, tmp_path, "torch-export", "heads")
    assert done.part.outputs == ("logits", "pooling_attention", "action_embeds", "similarities")
    assert max(done.differences.values()) < 1e-5 and done.path == tmp_path / "heads.pt2"


def test_what_differs_is_told_and_refused(lively):
    parts = parts_of(lively)
    assert set(parts) == set(PARTS)
    part = parts["classifier"]
    names = part.outputs

    def off(given, name, change):
        return [
            change(one) if key == name else one for key, one in zip(names, part.module(given), strict=True)
        ]

    with torch.no_grad():
        same, equal = compare(part, part.module)
        moved, _ = compare(part, lambda given: off(given, "logits", lambda logits: logits + 0.01))
        broken, _ = compare(part, lambda given: off(given, "logits", lambda logits: logits * torch.nan))
        _, flipped = compare(part, lambda given: off(given, "action_ids", lambda ids: (ids + 1) % 32))
    assert set(same.values()) == {0.0} and equal == 1.0
    assert moved["logits"] == pytest.approx(0.01, rel=1e-3) and moved["similarities"] == 0
    refuse_difference(Path("x.onnx"), same, equal, 1e-3)
    with pytest.raises(ExportError, match="x.onnx: its logits differ from the model's by 0.01, more than"):
        refuse_difference(Path("x.onnx"), moved, equal, 1e-3)
    with pytest.raises(ExportError, match="its logits differ"):
        refuse_difference(Path("x.onnx"), broken, equal, 1e-3)
    with pytest.raises(ExportError, match="only 0.0% of its action ids are the model's"):
        refuse_difference(Path("x.onnx"), same, flipped, 1e-3)


def test_examples_are_of_any_batch_and_show_motion():
    part = parts_of(tiny_classifier())["tokenizer"]
    for batch in BATCHES:
        given = part.example(batch)
        assert given.shape == (batch, 2, 3, 32, 32) and torch.equal(given, part.example(batch))
        assert not torch.equal(given[:, 0], given[:, 1])


def test_a_file_that_is_refused_leaves_the_older_one_or_nothing(tmp_path):
    (tmp_path / "classifier.pt2").write_text("older")
    model = untrained("ststnet")
    for folder in (tmp_path, tmp_path / "new" / "deeper"):
        with pytest.raises(ExportError, match="more than the tolerance of -1; not written"):
            list(export_model(model, folder, "torch-export", tolerance=-1))
    assert [path.name for path in tmp_path.iterdir()] == ["classifier.pt2"]
    assert (tmp_path / "classifier.pt2").read_text() == "older"


def test_options_that_do_not_fit(dface, checkpoint, tmp_path):
    model = untrained("ststnet")
    with pytest.raises(ExportError, match="a 'ststnet' model has no part 'tokenizer'; it has classifier"):
        list(export_model(model, tmp_path, "torch-export", "tokenizer"))
    with pytest.raises(ExportError, match="format 'tflite': use one of onnx, torch-export"):
        list(export_model(model, tmp_path, "tflite"))
    file = tmp_path / "file"
    file.write_text("")
    told = (
        (["--format", "torch-export", "--opset", "18"], "opset 18 belongs to format onnx"),
        (["--opset", "99"], "opset 99 is unknown to onnx"),
        (["--format", "torch-export", "--out", file], f"{file}: is a file; give a folder"),
    )
    for options, expected in told:
        code, out, err = dface("export", checkpoint, "--out", tmp_path / "out", *options)
        assert code == 2 and out == "" and err.startswith("error: ") and expected in err
        assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("config", "told"),
    [(b'{"model_type": "bert"}', "of a 'bert' model, not of D-FACE"), (b"{", "cannot read config.json")],
)
def test_checkpoints_of_others(dface, tmp_path, config, told):
    (tmp_path / "config.json").write_bytes(config)
    code, out, err = dface("export", tmp_path, "--out", tmp_path / "out")
    assert code == 2 and out == "" and told in err and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_what_is_missing_is_named_with_the_extra(dface, checkpoint, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert importlib.util.find_spec(package) is None
    code, _, err = dface("export", checkpoint, "--out", tmp_path / "out")
    assert code == 2 and not (tmp_path / "out").exists()
    assert f"format onnx needs {package}, which" in err and "pip install dface-hf[export]" in err
