"""`dface convert`: a file of published weights becomes a folder that works like any other checkpoint."""

import json
import os

import cv2
import pytest
from transformers import AutoImageProcessor, AutoModel, AutoModelForVideoClassification, pipeline

from dface_hf import DFaceTokenizerModel
from dface_hf.hub.cards import HERE

from .. import test_cli
from ..hub.test_cards import run_examples
from . import published_dface as published
from .test_convert_dface import LABELS, write

dface = test_cli.dface  # the fixture that runs the command line


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A file as the published training script saves it, of a model that reads 64 px."""
    tokenizer, heads = published.tokenizer_state(), published.classifier_state()
    return write(tmp_path_factory.mktemp("original"), {"model": heads, "laq": tokenizer})


@pytest.fixture
def converted(dface, original, tmp_path):
    code, out, err = dface(
        "convert", original, tmp_path / "model", "--image-size", 64, "--labels", ",".join(LABELS), model=False
    )
    assert code == 0 and err == "" and "all placed" in out and "happy, surprise, negative, others" in out
    return tmp_path / "model"


def test_the_folder_is_a_checkpoint(converted):
    files = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "report.json"}
    assert set(os.listdir(converted)) == files
    tokenizer = DFaceTokenizerModel.from_pretrained(converted)
    assert tokenizer.quantizer.codebook.equal(published.tokenizer_state()["vq.codebooks"])
    assert AutoModel.from_pretrained(converted).config.tokenizer_config.reference_compat
    model = AutoModelForVideoClassification.from_pretrained(converted)
    assert list(model.config.id2label.values()) == LABELS and model.config.others_label == "others"
    processor = AutoImageProcessor.from_pretrained(converted)
    assert (processor.size.height, processor.do_normalize) == (64, False)
    card = (converted / "README.md").read_text(encoding="utf-8")
    assert "No licence is known" in card and "reference_compat" in card and "Not a lie detector" in card


def test_the_folder_works(dface, converted, clip, portrait, tmp_path):
    assert "reference compat   True" in dface("info", converted, model=False)[1]
    options = ("--onset", 45, "--apex", 50, "--json", "-", "--model", converted)
    (event,) = json.loads(dface("analyze", clip, *options, model=False)[1])["clips"][0]["events"]
    assert event["stabilisation"] is None and set(event["scores"]) == set(LABELS)
    chosen = json.loads(dface("analyze", clip, "--stabilise", *options, model=False)[1])["clips"][0][
        "events"
    ][0]
    assert chosen["stabilisation"] is not None
    for index, name in ((45, "onset.png"), (50, "apex.png")):
        cv2.imwrite(str(tmp_path / name), portrait[0][index][..., ::-1])
    pair = (tmp_path / "onset.png", tmp_path / "apex.png", "--model", converted)
    tokens, plain, stable = (
        json.loads(dface("tokenize", *pair, *more, model=False)[1])["action_ids"]
        for more in ((), ("--no-stabilise",), ("--stabilise",))
    )
    assert len(tokens) == 16 and tokens == plain != stable


def test_the_pipeline_crops_as_the_tokenizer_needs(converted, clip):
    recognise = pipeline("micro-expression-recognition", model=str(converted))
    (event,) = recognise(str(clip), onset=45, apex=50, return_images=True)["events"]
    assert event["stabilisation"] is None and event["onset_image"].shape == (128, 128, 3)
    recognise.model.config.tokenizer_config.image_size = 192
    cropped = recognise.preprocess(str(clip), onset=45, apex=50)["clip"].events[0]
    assert cropped.onset_image.shape == (192, 192, 3)


def test_a_tokenizer_alone(dface, tmp_path):
    path = write(tmp_path, published.tokenizer_state(convs=2))
    code, out, err = dface(
        "convert", path, tmp_path / "lapa", "--image-size", 64, "--preset", "lapa", model=False
    )
    assert code == 0 and err == "" and "4 of 8 codes" in out and "classes            none" in out
    model = AutoModel.from_pretrained(tmp_path / "lapa")
    assert isinstance(model, DFaceTokenizerModel) and model.config.reduction_convs == [[2, 1], [1, 0]]
    assert "LAPA" in (tmp_path / "lapa" / "README.md").read_text(encoding="utf-8")
    code, out, err = dface("convert", path, tmp_path / "halved", "--image-size", 64, model=False)
    assert code == 0 and "--preset lapa" in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--preset", "mobilefacenet", "--image-size", 112), "--image-size is told by the weights"),
        (("--channels", "rgb"), "--channels is about a mobilefacenet; leave it out with --preset dface"),
    ],
)
def test_options_of_another_preset_are_refused(dface, original, tmp_path, options, told):
    code, out, err = dface("convert", original, tmp_path / "model", *options, model=False)
    assert code == 2 and out == "" and told in test_cli.one_line(err) and not (tmp_path / "model").exists()


def test_nothing_but_a_checkpoint_is_replaced(dface, original, converted):
    again = ("convert", original, converted, "--image-size", 64)
    assert dface(*again, model=False)[0] == 0
    (converted / "notes.txt").write_text("mine")
    code, _, err = dface(*again, model=False)
    assert code == 2 and "the folder holds notes.txt" in test_cli.one_line(err)
    assert (converted / "notes.txt").exists() and (converted / "config.json").exists()
    code, _, err = dface("convert", original, original, model=False)
    assert code == 2 and "is a file; give a folder" in test_cli.one_line(err) and original.exists()


def test_the_examples_of_its_card_run(converted, clip, monkeypatch):
    (converted.parent / "clip.mp4").symlink_to(clip)
    card = (converted / "README.md").read_text(encoding="utf-8").replace(HERE, str(converted))
    found = run_examples(card, converted.parent, monkeypatch)
    assert found["action_ids"].shape == (1, 16) and found["replayed"].shape == (1, 3, 64, 64)
    assert "events" in found["recognise"]("clip.mp4")
