"""Published MobileFaceNet weights as the backbone of AC4AU."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from dface_hf import AC4AUForActionUnitDetection, AC4AUImageProcessor, AC4AUModel
from dface_hf.hub import write_backbone
from dface_hf.models.ac4au.convert_mobilefacenet import convert_mobilefacenet
from dface_hf.pipelines.loading import load_model

from .published_mobilefacenet import published_embedding, published_state

SMALL = dict(embedding=16, scale=16, grid=2)


def saved(path, content):
    torch.save(content, path)
    return path


def pictures(side: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(5)) * 2 - 1


def unit_length(features: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(features)


def plain_backbone(folder):
    """The backbone without the spatial transformers, which the published network does not have."""
    return AC4AUModel.from_pretrained(folder, spatial_stages=[]).eval().backbone


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_the_network_computes_what_the_published_one_does(tmp_path, channels):
    state = published_state()
    conversion = convert_mobilefacenet(saved(tmp_path / "full.pth", state), channels)
    write_backbone(conversion, tmp_path / "backbone")
    seen = pictures(112)
    expected = published_embedding(state, seen if channels == "rgb" else seen.flip(1))
    with torch.no_grad():
        found = unit_length(plain_backbone(tmp_path / "backbone")(seen))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    config = conversion.model.config
    assert (config.image_size, config.hidden_size, config.head_channels) == (112, 512, 512)
    assert tuple(config.stage_channels) == (64, 128, 128) and tuple(config.stage_depths) == (4, 6, 2)
    assert tuple(config.stage_expansions) == (2, 4, 4) and config.expansion == 2


def test_sizes_are_read_from_the_file(tmp_path):
    state = published_state(**SMALL)
    conversion = convert_mobilefacenet(saved(tmp_path / "small.pth", state), "rgb")
    write_backbone(conversion, tmp_path / "small")
    with torch.no_grad():
        found = unit_length(plain_backbone(tmp_path / "small")(pictures(32)))
    torch.testing.assert_close(found, published_embedding(state, pictures(32)), atol=1e-5, rtol=1e-4)


def test_the_folder_starts_a_detector(tmp_path):
    """It is whole, and the same each time: what was not published is untrained."""
    path = saved(tmp_path / "small.pth", published_state(**SMALL))
    conversion = convert_mobilefacenet(path, "rgb")
    told = write_backbone(conversion, tmp_path / "start")
    stored = load_file(tmp_path / "start" / "model.safetensors")
    assert told["tensors"] == len(conversion.state) < len(stored)
    torch.rand(3)
    again = convert_mobilefacenet(path, "rgb").model.state_dict()
    assert stored.keys() == again.keys() and all(torch.equal(again[name], x) for name, x in stored.items())
    loaded = load_model(tmp_path / "start", AC4AUModel).state_dict()
    assert all(torch.equal(loaded[name], x) for name, x in conversion.state.items())
    model = AC4AUForActionUnitDetection.from_pretrained(tmp_path / "start", num_subjects=3, num_experts=4)
    assert all(torch.equal(model.state_dict()[f"ac4au.{name}"], x) for name, x in stored.items())
    processor = AC4AUImageProcessor.from_pretrained(tmp_path / "start")
    output = model.eval()(**processor([torch.zeros(3, 40, 40)] * 5, return_tensors="pt"))
    assert output.logits.shape == (1, 12) and torch.isfinite(output.logits).all()
    assert told["sha256"] in (tmp_path / "start" / "README.md").read_text()


def test_prefixes_wrappers_and_other_ports(tmp_path):
    state = published_state(**SMALL)
    plain = convert_mobilefacenet(saved(tmp_path / "plain.pth", state)).state
    tail = ("conv_6_dw.", "linear.", "bn.")
    moved = {f"output_layer.{name}" if name.startswith(tail) else name: x for name, x in state.items()}
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": x for name, x in moved.items()}}
    old = {name: x for name, x in wrapped["state_dict"].items() if "tracked" not in name}
    save_file(old, tmp_path / "old.safetensors")
    for path in (saved(tmp_path / "wrapped.pth", wrapped), tmp_path / "old.safetensors"):
        other = convert_mobilefacenet(path)
        assert other.state.keys() == plain.keys()
        assert all(torch.equal(x, other.state[n]) for n, x in plain.items() if "tracked" not in n)
    assert convert_mobilefacenet(tmp_path / "wrapped.pth").aside == ("epoch",)


def changed(**changes):
    """The state dict with tensors replaced, or removed where the new one is None."""
    state = published_state(**SMALL) | {name.replace("__", "."): x for name, x in changes.items()}
    return {name: x for name, x in state.items() if x is not None}


BROKEN = {
    "another network": ({"fc.weight": torch.zeros(2, 2)}, "none of its 1 tensors is conv_6_sep"),
    "two of them": ({"a": published_state(**SMALL), "b": published_state(**SMALL)}, "2 networks"),
    "no last layer": (changed(linear__weight=None), "lacks linear.weight"),
    "a gap": (changed(conv_34__project__bn__bias=None), "lacks the tensor of backbone.stages.1.0.layers.2.1"),
    "attention": (changed(conv_23__attention_layer__w=torch.zeros(1)), "holds conv_23.attention_layer.w"),
    "one slope": (
        changed(conv1__prelu__weight=torch.zeros(1)),
        r"conv1.prelu.weight is \(1,\), needed is \(4,\)",
    ),
    "NaN": (changed(conv1__bn__bias=torch.full((4,), torch.nan)), "conv1.bn.bias holds NaN"),
    "an odd width": (changed(linear__weight=torch.zeros(15, 32)), "15 cannot be split into 4 heads"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_files_of_something_else_are_refused(tmp_path, name):
    content, told = BROKEN[name]
    with pytest.raises(ValueError, match=told) as caught:
        convert_mobilefacenet(saved(tmp_path / "broken.pth", content))
    assert str(caught.value).startswith(f"{tmp_path / 'broken.pth'}: ") and "\n" not in str(caught.value)


def test_no_code_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    with pytest.raises(ValueError, match="could run code"):
        convert_mobilefacenet(saved(tmp_path / "evil.pth", {"a": Evil()}))
    (tmp_path / "text.pth").write_text("hello")
    for path, told in ((tmp_path / "none.pth", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(ValueError, match=told):
            convert_mobilefacenet(path)
    with pytest.raises(ValueError, match="text.pth: "):
        convert_mobilefacenet(tmp_path / "text.pth")
    with pytest.raises(ValueError, match="channels 'grb' is unknown"):
        convert_mobilefacenet(tmp_path / "text.pth", "grb")


def test_the_command(dface, tmp_path):
    path = saved(tmp_path / "small.pth", published_state(**SMALL))
    code, out, err = dface("convert", path, tmp_path / "out", "--preset", "mobilefacenet")
    assert code == 0 and "32 px" in out and "[4, 8, 8] maps" in out and "--channels rgb" in err
    swapped, straight = (convert_mobilefacenet(path, order).state for order in ("bgr", "rgb"))
    first = "backbone.stem.0.0.weight"
    stored = load_file(tmp_path / "out" / "model.safetensors")[first]
    assert torch.equal(stored, swapped[first]) and torch.equal(stored.flip(1), straight[first])
    code, out, err = dface("info", tmp_path / "out")
    assert code == 0 and "[4, 8, 8] maps, 16 features" in out and "a start for training" in out
    code, out, err = dface("convert", path, tmp_path / "out2")
    assert code == 2 and "no file of D-FACE" in err and not (tmp_path / "out2").exists()
    for option in (("--labels", "a,b"), ("--num-labels", 2), ("--classifier", path)):
        code, _, err = dface("convert", path, tmp_path / "out3", "--preset", "mobilefacenet", *option)
        assert code == 2 and f"error: {option[0]} is about a classifier" in err
    assert not (tmp_path / "out3").exists()
