"""Datasets, metrics and Spaces on a local Hub, and runs that publish themselves."""

import json
from pathlib import Path

import pytest

import dface_hf
import dface_hf.hub

from ..data.clip_sets import write_clips
from ..hub_server import Fault


@pytest.fixture
def clips(tmp_path):
    """A folder as `dface prepare` leaves it, of synthetic clips."""
    folder = tmp_path / "clips"
    write_clips(folder, 8, 2, emotions=("disgust", "happiness", "surprise", "others"), frames=9)
    (folder / ".prepare").mkdir()
    (folder / ".prepare" / "plan.json").write_text("{}")
    data = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*.parquet\n"
    (folder / "README.md").write_text(f"---\n{data}---\n# Synthetic clips\n")
    return folder


def test_a_dataset_is_loaded_and_streamed(hub, pusher, loader, clips):
    done = pusher.dface("push-dataset", clips, "ada/clips")
    assert done.code == 0 and done.out.strip() == f"{hub.url}/datasets/ada/clips", done.err
    files = hub.state.repos["dataset", "ada/clips"].resolve("main").files
    assert sum(path.endswith(".parquet") for path in files) == 2 and not any("plan" in path for path in files)
    assert "| look-alike | 8 | 4 | 25 |" in files["README.md"].content.decode()
    read = """
from datasets import load_dataset
from dface_hf.data import labelled_clips
whole = load_dataset("ada/clips", split="train")
stream = load_dataset("ada/clips", split="train", streaming=True)
first = next(iter(stream))
print(len(whole), first["clip_id"], first["frames"][0].size, len(labelled_clips(["ada/clips"], "default4")))
"""
    answer = loader.run(read)
    assert answer.out.split() == ["8", "c0", "(32,", "32)", "8"], answer.err
    stored = [asked for asked in hub.asked if asked.origin == "storage"]
    assert any(asked.part for asked in stored) and not any(asked.token for asked in stored)
    assert "no commit" in pusher.dface("push-dataset", clips, "ada/clips").err


def test_clips_that_are_lent_are_not_given_away(hub, pusher, clips):
    lend = f"""
import pyarrow.parquet as parquet, pathlib
for path in pathlib.Path({str(clips / "data")!r}).glob("*.parquet"):
    table = parquet.read_table(path)
    lent = table.column("license").to_pylist()[:-1] + ["by agreement, for research"]
    index = table.column_names.index("license")
    parquet.write_table(table.set_column(index, "license", [lent]), path)
"""
    assert pusher.run(lend).code == 0
    refused = pusher.dface("push-dataset", clips, "ada/clips")
    assert refused.code == 2 and "by agreement, for research" in refused.err and not hub.state.repos
    assert pusher.dface("push-dataset", clips, "ada/clips", "--private").code == 0
    assert hub.state.repos["dataset", "ada/clips"].private
    (clips / "README.md").unlink()
    assert "no README.md" in pusher.dface("push-dataset", clips, "ada/clips").err
    assert "no .parquet file" in pusher.dface("push-dataset", clips / ".prepare", "ada/clips").err


def test_a_metric_is_loaded_by_evaluate(hub, pusher, loader):
    done = pusher.dface("push-metric", "me_recognition", "ada/me_recognition")
    assert done.code == 0 and done.out.strip() == f"{hub.url}/spaces/ada/me_recognition", done.err
    use = """
import evaluate
metric = evaluate.load("ada/me_recognition")
print(metric.compute(predictions=[0, 1, 1, 2], references=[0, 0, 1, 2])["uar"])
"""
    answer = loader.run(use)
    assert answer.code == 0, answer.err
    assert float(answer.out.split()[-1]) == pytest.approx(5 / 6)
    card = hub.state.repos["space", "ada/me_recognition"].resolve("main").files["README.md"].content.decode()
    assert 'evaluate.load("ada/me_recognition")' in card and card.startswith("---\ntitle: ")
    assert "there are au_detection" in pusher.dface("push-metric", "nosuch", "ada/nosuch").err
    assert "end it in /me_recognition" in pusher.dface("push-metric", "me_recognition", "ada/uf1").err


def test_a_space(hub, pusher, tmp_path):
    (tmp_path / "README.md").write_text("---\ntitle: Demo\nsdk: gradio\napp_file: app.py\n---\n")
    missing = pusher.dface("push-space", "ada/demo", "--folder", tmp_path)
    assert missing.code == 2 and "no app.py" in missing.err
    (tmp_path / "app.py").write_text("print('demo')\n")
    assert pusher.dface("push-space", "ada/demo", "--folder", tmp_path).code == 0
    assert {"app.py", "README.md"} <= set(hub.state.repos["space", "ada/demo"].resolve("main").files)


def test_the_space_of_this_project_goes_out_whole(hub, pusher):
    done = pusher.dface("push-space", "ada/dface")
    assert done.code == 0, done.err
    files = hub.state.repos["space", "ada/dface"].resolve("main").files
    here = {path.name: path for path in Path(dface_hf.__file__).parents[1].joinpath("spaces_demo").iterdir()}
    sent = {name for name, path in here.items() if path.is_file() and name != "__init__.py"}
    assert sent <= set(files) and {"app.py", "requirements.txt", "style.css"} <= sent
    assert not [name for name in files if "__pycache__" in name or name.endswith(".pyc")]
    assert files["app.py"].content == here["app.py"].read_bytes()
    assert b"\nsdk: gradio\n" in files["README.md"].content


def test_training_publishes_its_run(hub, pusher, loader, clips, checkpoint, tmp_path):
    run = ["train", "--data", clips, "--model", checkpoint, "--output", tmp_path / "run", "--no-balance"]
    run += ["--epochs", "1", "--batch-size", "4", "--scheme", "default4", "--push-to-hub", "trained"]
    for token, told in ((None, "no token"), ("hf_wrong", "refuses the token"), ("hf_ada_reads", "may only")):
        early = pusher.dface(*run, token=token)
        assert early.code == 2 and told in early.err and not (tmp_path / "run").exists()
    hub.faults.append(Fault("POST", "/commit/", 500))
    failed = pusher.dface(*run, "--private")
    assert failed.code == 2 and f"`dface push {tmp_path / 'run'} ada/trained --private`" in failed.err
    assert json.loads(failed.out)["clips"] == 8
    hub.faults.clear()
    assert pusher.dface("push", tmp_path / "run", "ada/trained", "--private").code == 0
    files = hub.state.repos["model", "ada/trained"].resolve("main").files
    assert {"training/recipe.json", "training/metrics.jsonl", "model.safetensors"} <= set(files)
    assert not any("step-" in path for path in files)
    done = pusher.dface(*run[:6], tmp_path / "second", *run[7:])
    assert done.code == 0 and f"pushed to {hub.url}/ada/trained" in done.err, done.err
    load = """
from dface_hf import DFaceForVideoClassification
print(DFaceForVideoClassification.from_pretrained("ada/trained").config.num_labels)
"""
    loaded = loader.run(load, "hf_ada")
    assert loaded.out.strip() == "4", loaded.err


def test_a_tokenizer_without_a_card_gets_one_from_its_run(checkpoint, tmp_path):
    from dface_hf import DFaceForVideoClassification

    run = tmp_path / "run"
    tokenizer = DFaceForVideoClassification.from_pretrained(checkpoint).dface.tokenizer
    tokenizer.save_pretrained(run / "model")
    for stage in ("bare", "told"):
        (tmp_path / stage).mkdir()
    dface_hf.hub.staging.stage_checkpoint(run, tmp_path / "bare", "ada/tok")
    bare = (tmp_path / "bare" / "README.md").read_text()
    assert "Tokens: not measured." in bare and "Recipe of the tokenizer: not recorded." in bare
    (run / "recipe.json").write_text('{"steps": 12, "batch_size": 8, "learning_rate": 0.1, "seed": 3}')
    (run / "metrics.jsonl").write_text('{"step": 6, "perplexity": 2.0}\n{"step": 12, "perplexity": 5.5}\n')
    dface_hf.hub.staging.stage_checkpoint(run, tmp_path / "told", "ada/tok")
    told = (tmp_path / "told" / "README.md").read_text()
    assert "12 steps of 8 pairs" in told and "| perplexity | 5.5 |" in told and "not recorded." in told
    assert (tmp_path / "told" / "preprocessor_config.json").exists()
    assert not (run / "model" / "README.md").exists()  # the run stays as it is
