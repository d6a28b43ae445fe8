"""The task `micro-expression-recognition`, as a user of transformers calls it."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline

import dface_hf
from dface_hf.faces import ClipError
from dface_hf.hub import write_checkpoint

from ..conftest import TINY

TASK = "micro-expression-recognition"
EVENT_KEYS = [
    "onset",
    "apex",
    "offset",
    "onset_s",
    "apex_s",
    "offset_s",
    "label",
    "scores",
    "action_ids",
    "attention",
    "similarities",
    "explanation",
    "box",
    "confidence",
    "stabilisation",
]


@pytest.fixture(scope="module")
def recognise(checkpoint):
    return pipeline(TASK, model=str(checkpoint))


@pytest.fixture(scope="module")
def result(recognise, clip):
    return recognise(str(clip))


def strangers(value, path="result") -> list[str]:
    """Where a value is not made of plain Python types and finite numbers."""
    if type(value) is dict:
        return [bad for key, item in value.items() for bad in strangers(item, f"{path}.{key}")]
    if type(value) is list:
        return [bad for index, item in enumerate(value) for bad in strangers(item, f"{path}[{index}]")]
    plain = type(value) in (str, int, bool, type(None)) or (type(value) is float and np.isfinite(value))
    return [] if plain else [f"{path}: {type(value)} {value}"]


def nearly(value):
    """The same value, its numbers up to rounding: in another batch sums are made in another order."""
    if isinstance(value, dict):
        return {key: nearly(item) for key, item in value.items()}
    if isinstance(value, list):
        return [nearly(item) for item in value]
    return pytest.approx(value, rel=1e-4, abs=3e-5) if isinstance(value, float) else value


def test_the_result_of_a_video_file(result, clip, portrait):
    assert list(result) == ["path", "fps", "frames", "events", "warnings"]
    assert (result["path"], result["fps"], result["frames"]) == (str(clip), 30.0, 104)
    assert strangers(result) == [] and json.loads(json.dumps(result, allow_nan=False)) == result
    (event,) = result["events"]
    assert list(event) == EVENT_KEYS
    assert event["onset"] < event["apex"] <= event["offset"]
    assert abs(event["apex"] - portrait[1][1]) / 30 <= 0.060
    assert event["apex_s"] == pytest.approx(event["apex"] / 30, abs=1e-3)
    assert len(event["action_ids"]) == len(event["attention"]) == 16
    assert all(type(code) is int and 0 <= code < 32 for code in event["action_ids"])
    assert sum(event["attention"]) == pytest.approx(1, abs=1e-3) and min(event["attention"]) >= 0
    assert set(event["scores"]) == {"negative", "positive", "surprise", "others"}
    assert event["label"] == max(event["scores"], key=event["scores"].get)
    assert sum(event["scores"].values()) == pytest.approx(1, abs=1e-3)
    assert set(event["similarities"]) == {"negative", "positive", "surprise"}
    assert all(-1.001 <= value <= 1.001 for value in event["similarities"].values())
    assert len(event["box"]) == 4 and 0 <= event["confidence"] <= 1
    assert {"applied", "shift_px", "rotation_deg", "scale", "gain"} <= set(event["stabilisation"])


def test_the_model_is_that_of_the_checkpoint(recognise, result, checkpoint, portrait):
    """The numbers are those of the model on the aligned pair."""
    (event,) = recognise(portrait[0], fps=30, return_images=True)["events"]
    model = dface_hf.DFaceForVideoClassification.from_pretrained(checkpoint).eval()
    pair = [event["onset_image"], event["apex_image"]]
    with torch.no_grad():
        output = model(**recognise.image_processor(pair, return_tensors="pt"))
    scores = output.logits.softmax(-1)[0].tolist()
    assert list(event["scores"].values()) == pytest.approx(scores, abs=1e-4)
    assert event["action_ids"] == output.action_ids[0].tolist()
    assert event["attention"] == pytest.approx(output.pooling_attention[0].tolist(), abs=1e-4)


def test_every_kind_of_clip_gives_the_same(recognise, portrait, tmp_path):
    frames, (onset, apex, _) = portrait
    some, options = frames[onset - 5 : apex + 5], {"onset": 5, "apex": 5 + apex - onset, "fps": 30}
    for number, frame in enumerate(some, 96):  # 96 to 110: sorted as text, 100 would come before 96
        Image.fromarray(frame).save(tmp_path / f"img{number}.png")
    array = recognise(some, **options)
    pictures = [Image.fromarray(frame) for frame in some]
    for clip in (list(some), tuple(some), pictures, some / 255.0, str(tmp_path)):
        other = recognise(clip, **options)
        assert other["events"] == array["events"] and other["frames"] == len(some)
    assert recognise(str(tmp_path), **options)["path"] == str(tmp_path)


def test_lists_generators_and_datasets_are_several_clips(recognise, clip, portrait):
    options = {"onset": 45, "apex": 50}
    one = recognise(str(clip), **options)
    assert recognise([str(clip), str(clip)], **options) == [one, one]
    assert recognise((str(clip),), **options) == [one] and recognise([]) == []
    arrays = recognise([portrait[0][:6], portrait[0][:8]], onset=0, apex=5, fps=30)
    assert [result["frames"] for result in arrays] == [6, 8]
    streamed = recognise((path for path in [str(clip)]), **options)
    assert not isinstance(streamed, (list, dict)) and list(streamed) == [one]

    class Clips(torch.utils.data.Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return str(clip)

    assert list(recognise(Clips(), **options)) == [one, one]


def test_batch_size_changes_nothing_but_the_batches(recognise, checkpoint, two_faces):
    together = recognise(two_faces, fps=30, faces="all")
    assert len(together["events"]) == 2
    configured = pipeline(TASK, model=str(checkpoint), batch_size=1, faces="all", fps=30)
    sizes, forward = [], configured.model.forward

    def counted(**inputs):
        sizes.extend(len(frames) for name, frames in inputs.items() if name == "pixel_values")
        return forward(**inputs)

    configured.model.forward = counted
    assert configured([two_faces])[0]["events"] == nearly(together["events"]) and sizes == [1, 1]
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="batch_size must be at least 1"):
            recognise(two_faces, batch_size=wrong)


def test_events_are_explained_unless_told_otherwise(recognise, checkpoint, result, portrait):
    (event,) = result["events"]
    told = event["explanation"]
    assert list(told) == ["tokens", "action_units", "sentence", "agreement"]
    assert {"AU1", "AU2"} <= set(told["action_units"])  # the portrait's brows rise
    assert "inner brow raiser" in told["sentence"] and "outer brow raiser" in told["sentence"]
    positions = {token["position"] for token in told["tokens"]}
    assert positions == {k for k, code in enumerate(event["action_ids"]) if code}
    options = {"onset": 45, "apex": 50, "fps": 30}
    (plain,) = recognise(portrait[0], explain=False, **options)["events"]
    (explained,) = recognise(portrait[0], **options)["events"]
    assert {name: explained[name] for name in plain} == plain
    assert list(explained) == EVENT_KEYS and set(explained) - set(plain) == {"explanation"}
    configured = pipeline(TASK, model=str(checkpoint), explain=False)
    assert "explanation" not in configured(portrait[0], **options)["events"][0]


def test_decoders_without_flow_leave_regions_out(tmp_path, portrait):
    config = dface_hf.DFaceConfig(
        num_labels=3, hidden_size=32, tokenizer_config=TINY | {"decoder_head": "pixels"}
    )
    write_checkpoint(dface_hf.DFaceForVideoClassification(config), tmp_path / "pixels")
    recognise = pipeline(TASK, model=str(tmp_path / "pixels"))
    (event,) = recognise(portrait[0], onset=45, apex=50, fps=30, return_images=True)["events"]
    assert event["explanation"]["agreement"] is None and "saliency" not in event
    assert {token["region"] for token in event["explanation"]["tokens"]} <= {None}


def test_pictures_and_curve_on_request(recognise, clip, result):
    full = recognise(str(clip), return_images=True)
    assert full["score"].shape == (104,) and full["threshold"] > 0
    assert full["events"][0]["onset_image"].shape == (128, 128, 3)
    assert full["events"][0]["decoded_motion"].shape == (2, 32, 32)
    assert full["events"][0]["saliency"].shape == (32, 32)
    assert "score" not in result and "onset_image" not in result["events"][0]


def test_a_clip_without_events(recognise, portrait):
    result = recognise(portrait[0][:4], fps=30)
    assert result["events"] == [] and result["warnings"] == ["no micro-expression found"]


def test_half_precision(checkpoint, portrait):
    half = pipeline(TASK, model=str(checkpoint), dtype=torch.bfloat16)
    assert half.model.dtype == torch.bfloat16
    given = []
    half.model.register_forward_pre_hook(
        lambda module, args, inputs: given.append(inputs.get("pixel_values")), with_kwargs=True
    )
    (event,) = half(portrait[0], onset=45, apex=50, fps=30)["events"]
    assert given[0].dtype == torch.float32  # bfloat16 would not tell neighbouring greys apart
    assert sum(event["attention"]) == pytest.approx(1, abs=1e-3) and strangers(event) == []


def test_a_saved_pipeline_loads_like_the_checkpoint(recognise, portrait, tmp_path):
    recognise.save_pretrained(tmp_path / "saved")
    assert not list((tmp_path / "saved").glob("*.py"))
    again = pipeline(TASK, model=str(tmp_path / "saved"))
    options = dict(onset=45, apex=50, fps=30)
    assert again(portrait[0], **options) == recognise(portrait[0], **options)


def test_misspelt_options_and_bad_clips_are_refused(recognise, clip):
    with pytest.raises(TypeError, match="unknown option 'onest'; known are onset, apex"):
        recognise(str(clip), onest=4)
    with pytest.raises(ClipError, match="gone.mp4: no such file"):
        recognise([str(clip), "gone.mp4"], onset=45, apex=50)
    with pytest.raises(ClipError, match="shape"):
        recognise(np.zeros((3, 2), np.uint8))


def test_nan_never_reaches_a_result(checkpoint, portrait, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "nan")
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"].fill_(torch.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    broken = pipeline(TASK, model=str(folder))
    with pytest.raises(ValueError, match="the model gives NaN"):
        broken(portrait[0], onset=45, apex=50, fps=30)
