"""Cards: no number that is not in a file, "not measured" where the file is missing, examples that run."""

import copy
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import dface_hf
from dface_hf import AC4AUConfig, DFaceConfig, DFaceTokenizerConfig, STSTNetConfig
from dface_hf.hub import checkpoint_card, render_card
from dface_hf.hub.cards import HERE, NOT_MEASURED, put_section

from ..conftest import TINY

TEMPLATES = {
    path.name: path.read_text(encoding="utf-8")
    for path in files("dface_hf.hub_cards").iterdir()
    if path.name.endswith(".md")
}
# What is typed on purpose: names, ranges of pixels, the level of an interval.
TYPED = (
    "ICLR 2026",
    "SHA-256",
    "95 % interval",
    "[0, 1]",
    "[-1, 1]",
    "CAS(ME)3",
    "ViT-L/14",
    "3-D",
    "L1 error",
)
TYPED += ("code 0", "Code 0", "counted from 0", "UF1", "F1", "CO2e", "AC4AU", "ac4au")
COST = [
    {
        "part": "heads",
        "machine": "77 CPU cores",
        "device": "cpu",
        "processes": 78,
        "seconds": 7524.0,
        "processor_seconds": 9324.0,
    }
]
MADE = {"command": "dface make 79", "date": "2031-12-30", "machine": "a machine with 76 cores", "cost": COST}
DATA = ["81 faces (licence Z)", "82 videos (licence Y)"]
PRETRAINING = {"steps": 8301, "batch_size": 8302, "learning_rate": 0.8303, "seed": 8304}
TRAINING = {"epochs": 8401, "batch_size": 8402, "learning_rate": 0.8403, "seed": 8404, "clips": 8405}
TOKENS = {
    "reconstruction_l1": 0.8501,
    "copy_l1": 0.8502,
    "perplexity": 85.3,
    "codes_used": 8504,
    "null_share_still": 0.855,
    "null_share_moving": 0.856,
    "probe_f1_tokens": 0.857,
    "probe_f1_frame_difference": 0.858,
}


def scores(start: int) -> dict:
    numbers = {name: (start + step) / 1000 for step, name in enumerate(("uf1", "uar", "accuracy"))}
    return numbers | {"n": 8000 + start, "confusion": [[1]], "per_corpus": {}}


CLASSIFIER = DFaceConfig(
    tokenizer_config=TINY,
    id2label={0: "negative", 1: "positive"},
    anchor_texts={"negative": "a frown"},
    others_label="positive",
    text_encoder="an encoder",
)
SYNTHETIC = {
    "name": "one",
    "license": "mit",
    "text_encoder": {"name": "an encoder", "version": "8.9.1"},
    "pretraining": PRETRAINING,
    "tokens": TOKENS,
    "data": DATA,
    "training": TRAINING,
    "synthetic": {"classifier": scores(611), "edclip": scores(621)},
}
CLIPS = {
    "n": 861,
    "corpora": ["casme9", "samm9"],
    "licenses": ["ask the owner"],
    "per_class": {"negative": 862, "positive": 863},
    "left_out": {"no emotion": 864},
}
ON_CLIPS = {
    "name": "two",
    "training": TRAINING | {"train_tokenizer": False},
    "clips": CLIPS,
    "validation": {"classifier": scores(631), "edclip": scores(641), "subjects": ["casme9/s1", "casme9/s2"]},
    "pretraining": PRETRAINING,
    "data": DATA,
    "text_encoder": {"name": "an encoder", "version": "8.9.1"},
}
UNITS = {
    "f1": 0.651,
    "f1_corpus_mean": 0.652,
    "n": 653,
    "per_unit": {"1": 0.66, "2": 0.67},
    "baselines": {"all ones": 0.654},
}
KINDS = {
    "classifier on synthetic pairs": (CLASSIFIER, SYNTHETIC | MADE),
    "classifier on clips": (CLASSIFIER, ON_CLIPS | MADE),
    "tokenizer": (
        DFaceTokenizerConfig(**TINY),
        {"name": "three", "data": DATA, "pretraining": PRETRAINING, "tokens": TOKENS}
        | {"last": {"step": 871, "perplexity": 87.2}}
        | MADE,
    ),
    "units": (
        AC4AUConfig(),
        {"name": "four", "license": "mit", "data": DATA, "training": TRAINING}
        | {"units": {"CD6ME 2023": UNITS}, "protocol": "One corpus held out."}
        | MADE,
    ),
    "another": (
        STSTNetConfig(),
        {"name": "five", "training": TRAINING, "last": {"epoch": 881, "loss": 0.882}} | MADE,
    ),
}


@pytest.fixture(params=KINDS)
def told(request, tmp_path):
    """Folder of a checkpoint, and its report as `checkpoint_card` finds it there."""
    config, report = KINDS[request.param]
    config.save_pretrained(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps(report))
    return tmp_path, copy.deepcopy(report)


def prose(card: str) -> str:
    """Without examples, links and what stands there on purpose."""
    text = re.sub(r"```.*?```|https?://\S+", "", card, flags=re.DOTALL)
    for words in TYPED:
        text = text.replace(words, "")
    return text


def numerals(card: str) -> set[str]:
    return set(re.findall(r"\d[\d.,:-]*\d|\d", prose(card)))


def paths_of_numbers(value, path=()):
    """Where numbers are in a report."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [found for key, item in items for found in paths_of_numbers(item, (*path, key))]
    return [path] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_number_is_typed_into_a_template(name):
    static = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", TEMPLATES[name], flags=re.DOTALL)
    assert not numerals(static), name


def test_a_full_report_leaves_nothing_unmeasured_but_the_energy(told):
    folder, _ = told
    card = checkpoint_card(folder)
    assert card.lower().count(NOT_MEASURED) == 1 and "Energy and emissions: not measured." in card
    assert "not recorded" not in card


def test_without_its_file_a_card_claims_nothing(told):
    folder, report = told
    full = numerals(checkpoint_card(folder))
    (folder / "report.json").unlink()
    card = ModelCard(checkpoint_card(folder))
    assert NOT_MEASURED in card.text and "not recorded" in card.text
    assert card.data.eval_results is None and card.data.get("model-index") is None
    left = numerals(card.text)
    assert left < full
    config = numerals((folder / "config.json").read_text()) | {"4"}  # 4: codes to a side times four
    assert left <= config, left - config
    for claim in ("fixed beforehand", "synthetic", "held out", "learned from", "Made on"):
        assert claim not in card.text


def test_each_part_of_a_report_is_the_only_source_of_its_numbers(told):
    folder, report = told
    full = checkpoint_card(folder)
    for key in set(report) - {"name", "license"}:
        rest = {name: value for name, value in report.items() if name != key}
        lost = numerals(full) - numerals(checkpoint_card(folder, rest))
        assert lost or prose(full) != prose(checkpoint_card(folder, rest)), key
        both = lost & numerals(json.dumps(rest))
        assert not {number for number in both if len(number) > 1}, key


def test_every_number_of_a_report_that_is_shown_follows_the_file(told):
    folder, report = told
    full, unseen = checkpoint_card(folder), []
    for path in paths_of_numbers(report):
        changed = copy.deepcopy(report)
        part = changed
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] *= 2
        (folder / "report.json").write_text(json.dumps(changed))
        if checkpoint_card(folder) == full:
            unseen.append(path)
    hidden = {"confusion", "clips"}  # the number of pairs is shown where there are no clips
    assert all(hidden & set(map(str, path)) for path in unseen), unseen


def test_scores_are_in_the_header_as_the_hub_reads_it(told):
    folder, report = told
    card = ModelCard.load(folder / "README.md") if (folder / "README.md").exists() else None
    card = card or ModelCard(checkpoint_card(folder))
    again = ModelCard(str(card))
    measured = [part for key in ("synthetic", "validation") for part in (report.get(key) or {}).values()]
    expected = [part[name] for part in measured if "uf1" in part for name in ("uf1", "uar", "accuracy")]
    expected += [part[name] for part in report.get("units", {}).values() for name in ("f1", "f1_corpus_mean")]
    found = again.data.eval_results or []
    assert [one.metric_value for one in found] == expected
    assert len({(one.unique_identifier, one.metric_name) for one in found}) == len(found)
    assert again.data.tags and again.data.library_name == "transformers"
    if found:
        assert again.data.model_name == report["name"]
        assert all(one.task_type == "video-classification" for one in found)


@pytest.mark.parametrize(
    "folder",
    [path for path in Path(dface_hf.DEFAULT_CHECKPOINT).parent.iterdir() if path.is_dir()],
    ids=lambda path: path.name,
)
def test_a_shipped_card_is_what_its_files_say(folder):
    card = checkpoint_card(folder)
    again = "write checkpoint_card(folder) to it: the template has changed"
    assert (folder / "README.md").read_text(encoding="utf-8") == card, again
    assert ModelCard(card).data.eval_results and "synthetic" in card


def test_a_template_that_does_not_exist_is_an_error():
    with pytest.raises(FileNotFoundError):
        render_card("no-such-card")


def test_sections_are_put_where_they_belong():
    text = "# A\n\n## Use\n\n```python\n# a comment\n```\n\n## Results\n\nNone.\n\n## Limits\n\nMany.\n"
    once = put_section(text, "### Scores\n\n1\n")
    assert once == text.replace("None.\n", "None.\n\n### Scores\n\n1\n")
    assert put_section(once, "### Scores\n\n2\n") == once.replace("\n1\n", "\n2\n")
    assert put_section(text, "## Use\n\nLike this.\n").startswith(
        "# A\n\n## Use\n\nLike this.\n\n## Results\n"
    )
    assert put_section("Mine.\n", "### Scores\n\n1\n") == "Mine.\n\n### Scores\n\n1\n"


def run_examples(card: str, folder: Path, monkeypatch) -> dict:
    """Run the Python of a card, one block after the other."""
    namespace: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert blocks
    monkeypatch.chdir(folder)
    for block in blocks:
        exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102
    return namespace


def test_the_examples_of_the_shipped_card_run(clip, monkeypatch, tmp_path):
    (tmp_path / "clip.mp4").symlink_to(clip)
    card = (Path(dface_hf.DEFAULT_CHECKPOINT) / "README.md").read_text(encoding="utf-8")
    assert "dface_hf.DEFAULT_CHECKPOINT" not in card  # it may be read far from this package
    found = run_examples(card.replace(HERE, dface_hf.DEFAULT_CHECKPOINT), tmp_path, monkeypatch)
    assert found["event"]["label"] in ("negative", "positive", "surprise", "others")
    assert found["replayed"].shape == (1, 3, 128, 128) and found["similarities"].shape == (1, 2)


def test_the_examples_of_a_tokenizer_run(checkpoint, monkeypatch, tmp_path):
    model = dface_hf.DFaceForVideoClassification.from_pretrained(checkpoint).dface.tokenizer
    model.save_pretrained(tmp_path)
    found = run_examples(checkpoint_card(tmp_path).replace(HERE, str(tmp_path)), tmp_path, monkeypatch)
    assert found["action_ids"].shape == (1, 16) and found["replayed"].shape == (1, 3, 32, 32)


def test_the_examples_of_action_units_run(clip, monkeypatch, tmp_path):
    (tmp_path / "clip.mp4").symlink_to(clip)
    torch.manual_seed(0)
    sizes = dict(stem_channels=8, stage_channels=[8, 16, 16], stage_depths=[0, 0, 0], head_channels=16)
    config = AC4AUConfig(num_frames=4, image_size=32, hidden_size=16, num_attention_heads=2, **sizes)
    dface_hf.AC4AUForActionUnitDetection(config).save_pretrained(tmp_path)
    dface_hf.AC4AUImageProcessor(size={"height": 32, "width": 32}, num_frames=4).save_pretrained(tmp_path)
    found = run_examples(checkpoint_card(tmp_path).replace(HERE, str(tmp_path)), tmp_path, monkeypatch)
    assert len(found["event"]["action_units"]) == 12
