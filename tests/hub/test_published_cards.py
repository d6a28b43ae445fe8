"""What cards gain when they are published: scores of other runs, energy, the name on the Hub."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from huggingface_hub import DatasetCard, ModelCard

from dface_hf import AC4AUConfig, AC4AUForActionUnitDetection
from dface_hf.actions import class_prompts
from dface_hf.data import CLIP_FEATURES
from dface_hf.data.prepared_clips import parquet_files
from dface_hf.data.unit_clips import read_unit_clips
from dface_hf.hub import (
    PushError,
    data_lines,
    preview_card,
    subjects_of,
    write_checkpoint,
    write_tokenizer_card,
)
from dface_hf.hub.cards import HERE, read_report
from dface_hf.hub.published import Power, published_dataset_card
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.cross_validate import CrossValidationConfig
from dface_hf.training.cross_validate_scores import score_rows
from dface_hf.training.cross_validate_units import cross_validate_units, unit_table
from dface_hf.training.train_units import AC4AU_RECIPE
from dface_hf.training.unit_rows import AC4AURow, row_named

from ..conftest import tiny_classifier
from ..data.clip_sets import rows, write_clips
from ..training.tiny_run import MODEL, RECIPE, ShiftStream

COST = [{"part": "heads", "machine": "8 CPU cores", "device": "cpu", "processes": 1}]
COST[0] |= {"seconds": 7200.0, "processor_seconds": 14400.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny classifier that knows the default scheme's descriptions."""
    made, texts = tiny_classifier(), class_prompts("default4")
    made.dface.set_text_anchors(torch.eye(12)[: len(texts)], texts, "none")
    folder = tmp_path_factory.mktemp("checkpoints") / "described"
    write_checkpoint(made, folder, report={"name": "tiny", "cost": COST})
    return folder


@pytest.fixture(scope="module")
def validated(model, tmp_path_factory):
    """What `dface cross-validate` leaves of a few clips."""
    from typer.testing import CliRunner

    from dface_hf.cli import app

    folder = tmp_path_factory.mktemp("cv")
    data = write_clips(folder / "clips", frames=12)
    words = ["cross-validate", "--data", data, "--scheme", "composite3", "--model", model, "--model", "svm"]
    words += ["--seeds", "2", "--epochs", "2", "--protocol", "kfold", "--k", "2", "--output", folder / "run"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return folder / "run"


@pytest.fixture
def results(validated, tmp_path):
    return shutil.copytree(validated, tmp_path / "cv")


def change(results, edit) -> dict:
    path = results / "scores.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return document


def test_scores_of_a_cross_validation_come_into_card_and_header(model, results):
    document = change(results, lambda document: None)
    card = ModelCard(preview_card(model, "ada/tiny", False, results))
    for name, cells in score_rows(document).items():
        row = next(line for line in card.text.splitlines() if line.startswith(f"| {name} |"))
        assert all(cell in row for cell in cells.values())
    for told in ("kfold, 2 folds", "12 clips of 4 subjects", "seeds 0, 1", "cc0-1.0", "2000 draws"):
        assert told in card.text, told
    assert "(results/scores.png)" in card.text and HERE not in card.text
    assert str(model.parent.name) not in str(card)  # nor any other folder of this machine
    own = next(iter(document["rows"]))
    found = {one.metric_name: one for one in card.data.eval_results}
    assert card.data.model_name == "tiny" and len(found) == len(card.data.eval_results) == 6
    assert found["UF1"].metric_value == round(document["rows"][own]["uf1"], 4)
    assert found["UF1 (EDCLIP)"].metric_value == round(document["rows"][f"{own}-edclip"]["uf1"], 4)
    args = found["UF1"].metric_args
    assert args["folds"] == 2 and args["seeds"] == [0, 1] and args["subjects"] == 4 and args["epochs"] == 2
    assert args["interval_95"] == [round(n, 4) for n in document["rows"][own]["intervals"]["uf1"]]


def test_the_card_follows_the_file_and_is_silent_without_it(model, results):
    before = preview_card(model, "ada/tiny", False, results)

    def other(document):
        row = next(iter(document["rows"].values()))
        row["uf1"], document["clips"]["subjects"], document["seeds"] = 0.7071, 77, [5, 6]

    change(results, other)
    after = preview_card(model, "ada/tiny", False, results)
    for told in ("0.7071", "0.707 ±", "of 77 subjects", "seeds 5, 6"):
        assert told in after and told not in before
    plain = preview_card(model, "ada/tiny")
    assert "Cross-validation" not in plain and "model-index" not in plain and "not measured" in plain
    (results / "scores.json").unlink()
    with pytest.raises(PushError, match="holds no scores"):
        preview_card(model, "ada/tiny", False, results)


def test_scores_of_another_model_are_refused(model, results, tmp_path, checkpoint):
    other = tiny_classifier()
    other.dface.tokenizer.quantizer.codebook.data.add_(1)
    write_checkpoint(other, tmp_path / "other")
    with pytest.raises(PushError, match="is about another tokenizer .* run `dface cross-validate --model"):
        preview_card(tmp_path / "other", "ada/tiny", False, results)

    def baselines_only(document):
        own = next(iter(document["models"]))
        document["models"].pop(own)

    change(results, baselines_only)
    with pytest.raises(PushError, match="has no row of dface"):
        preview_card(model, "ada/tiny", False, results)


def test_scores_of_prediction_logs_name_no_folder(model, results, dface, tmp_path):
    (tmp_path / "told").mkdir()
    logs = [results / f"predictions-seed{seed}.txt" for seed in (0, 1)]
    code, _, err = dface("evaluate", *logs, "--json", tmp_path / "told" / "evaluation.json")
    assert code == 0, err
    card = ModelCard(preview_card(model, "ada/tiny", False, tmp_path / "told"))
    assert "### Predictions of predictions-seed0.txt, predictions-seed1.txt" in card.text
    assert "12 clips of 4 subjects (look-alike)" in card.text and str(tmp_path) not in str(card)
    document = json.loads((tmp_path / "told" / "evaluation.json").read_text())
    assert [one.metric_value for one in card.data.eval_results] == [
        round(document[name], 4) for name in ("uf1", "uar", "accuracy")
    ]


def test_scores_of_action_units(tmp_path):
    sizes = dict(stem_channels=8, stage_channels=[8, 16, 16], stage_depths=[0, 0, 0], head_channels=16)
    config = AC4AUConfig(num_frames=4, image_size=32, hidden_size=16, num_attention_heads=2, **sizes)
    AC4AUForActionUnitDetection(config).save_pretrained(tmp_path / "units")
    coded = [row | {"action_units": ("12", "4+7", "1+2")[index % 3]} for index, row in enumerate(rows(8))]
    data = Dataset.from_list(coded, features=CLIP_FEATURES)
    (tmp_path / "clips").mkdir()
    data.to_parquet(tmp_path / "clips" / "part.parquet")
    candidates = [AC4AURow("ac4au", config, replace(AC4AU_RECIPE, epochs=1)), row_named("all-ones")]
    plan = CrossValidationConfig("kfold", 2, (0,))
    clips = read_unit_clips([tmp_path / "clips"], 32, 4)
    document = cross_validate_units(clips, candidates, plan, tmp_path / "cv")
    card = ModelCard(preview_card(tmp_path / "units", "ada/units", False, tmp_path / "cv"))
    for line in unit_table(document)[1:]:
        assert "| " + " | ".join(line) + " |" in card.text
    assert "8 clips of look-alike. Protocol kfold, 2 folds" in card.text and "cc0-1.0" in card.text
    own = document["rows"]["ac4au"]
    found = [one.metric_value for one in card.data.eval_results]
    assert found == [round(own[name], 4) for name in ("f1", "f1_corpus_mean")]


def test_a_run_says_what_it_learned_from(dface, tmp_path):
    emotions = ("disgust", "happiness", "surprise", "others")
    data = write_clips(tmp_path / "clips", 8, 2, emotions=emotions, frames=9)
    pretrain(MODEL, ShiftStream(), PretrainConfig(**RECIPE), tmp_path / "tok")
    write_tokenizer_card(tmp_path / "tok", data_lines([data]), subjects_of([data]))
    card = (tmp_path / "tok" / "model" / "README.md").read_text()
    assert "8 clips of 4 subjects of look-alike; terms: cc0-1.0" in card
    assert f"{RECIPE['steps']} steps of {RECIPE['batch_size']} pairs" in card
    assert "Tokens: not measured." in card and "| training | cpu" in card
    heads = ["--tokenizer", tmp_path / "tok" / "model", "--output", tmp_path / "run"]
    code, _, err = dface("train", *heads, "--pairs", 64, "--epochs", 1)
    assert code == 0, err
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "8 clips of 4 subjects of look-alike; terms: cc0-1.0" in card and "64 synthetic pairs" in card
    assert "| tokenizer | cpu" in card and "| heads | cpu" in card
    people = {"look-alike": ["s0", "s1", "s2", "s3"]}
    assert read_report(tmp_path / "run" / "model")["subjects"] == people
    heads[-1] = tmp_path / "other"
    code, _, err = dface("train", *heads, "--data", data, "--epochs", 1, "--train-tokenizer")
    assert code == 0, err
    assert read_report(tmp_path / "other" / "model")["subjects"] == people


def test_energy_is_estimated_from_what_was_measured_and_given(model, checkpoint):
    plain = preview_card(model, "ada/tiny")
    assert (
        "| heads | cpu, 8 CPU cores | 1 | 2 | 4 |" in plain and "Energy and emissions: not measured." in plain
    )
    assert "kWh" not in plain and "co2_eq_emissions" not in plain
    watts = preview_card(model, "ada/tiny", False, None, Power(65))
    assert "0.13 kWh at 65 W" in watts and "Emissions: not measured." in watts
    card = ModelCard(preview_card(model, "ada/tiny", False, None, Power(65, 380)))
    assert "49.4 g of CO2e at 380 g a kWh" in card.text
    assert card.data["co2_eq_emissions"]["emissions"] == 49.4
    with pytest.raises(PushError, match="holds no cost"):
        preview_card(checkpoint, "ada/tiny", False, None, Power(65))


def test_what_was_written_by_hand_stays(model, results, tmp_path):
    folder = shutil.copytree(model, tmp_path / "mine")
    (folder / "README.md").write_text("# Mine\n\nBy hand.\n\n## Results\n\nGood.\n\n## Thanks\n\nTo all.\n")
    card = preview_card(folder, "ada/mine", True, results, Power(65))
    order = ["# Mine", "By hand.", "Good.", "### Cross-validation", "## Thanks", "## Environmental cost"]
    places = [card.index(words) for words in [*order, "## From the Hub"]]
    assert places == sorted(places) and "trust_remote_code=True" in card
    assert ModelCard(card).data.eval_results
    (folder / "README.md").write_text(card + "\n## Later\n\nWritten below the push's last words.\n")
    again = preview_card(folder, "ada/mine", True, results, Power(65))
    assert "Written below" in again and again.count("## From the Hub") == 1
    (folder / "README.md").write_text(card)  # a card that comes back from the Hub gains nothing twice
    assert preview_card(folder, "ada/mine", True, results, Power(65)) == card


def test_a_push_is_one_commit_with_scores_and_logs(hub, pusher, model, results, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(model, run / "model")
    for name in ("recipe.json", "metrics.jsonl", "cost.json"):
        (run / name).write_text("{}")
    words = ["push", run, "ada/tiny", "--results", results, "--watts", 65, "--grams-per-kwh", 380]
    done = pusher.dface(*words)
    assert done.code == 0, done.err
    repo = hub.state.repos["model", "ada/tiny"]
    assert repo.history == ["dface by dface push", "initial commit"]
    files = repo.resolve("main").files
    expected = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "report.json"}
    expected |= {f"training/{name}" for name in ("recipe.json", "metrics.jsonl", "cost.json")}
    expected |= {"results/scores.json", "results/scores.png", "results/tokens.png", "results/scores-svm.png"}
    assert expected < set(files)
    assert not any("predictions" in name or "outcomes" in name for name in files)  # names of clips stay here
    published = json.loads(files["results/scores.json"].content)
    assert published["rows"] == json.loads((results / "scores.json").read_text())["rows"]
    card = files["README.md"].content.decode()
    shown = pusher.dface("card", *words[1:])
    assert shown.out == card and "0.13 kWh" in card and "results/scores.png" in card
    refused = pusher.dface("push", run, "ada/tiny", "--grams-per-kwh", 380)
    assert refused.code == 2 and "needs --watts" in refused.err
    assert "no commit" in pusher.dface(*words).err


def test_the_card_of_clips_counts_what_the_files_hold(tmp_path):
    folder = tmp_path / "clips"
    write_clips(folder, 8, 2, emotions=("disgust", "happiness", "surprise", "others"), frames=9)
    text = "---\nconfigs:\n- config_name: default\n---\n# Mine\n\nBy hand.\n"
    card = DatasetCard(published_dataset_card(text, folder, parquet_files(folder), "ada/clips"))
    row = "| look-alike | 8 | 4 | 25 | 2 disgust, 2 happiness, 2 surprise, 2 others | 0 | cc0-1.0 |"
    assert row in card.text and "By hand." in card.text and 'load_dataset("ada/clips"' in card.text
    assert "not recorded" in card.text and "lie detector" in card.text
    assert card.data.license == "cc0-1.0" and card.data["configs"] == [{"config_name": "default"}]
    assert card.data.task_categories == ["video-classification"] and card.data.pretty_name == "look-alike"
    report = {"corpus": "look-alike", "skipped": [{"clip": "c9", "reason": "no apex"}] * 3}
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "data" / "part-1.parquet").unlink()
    again = published_dataset_card(str(card), folder, parquet_files(folder), "ada/clips")
    assert "| look-alike | 4 |" in again and "Left out: 3 clips" in again and again.count("## Clips") == 1
