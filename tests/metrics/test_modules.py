"""The folders of `dface_hf/metrics` as what they become on the Hub: modules of `evaluate` and Spaces.

They are copied away and used by a Python that cannot import dface_hf: a Space has nothing but its folder.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dface_hf.metrics
from dface_hf.metrics import au_scores, recognition_scores, spotting_scores

ROOT = Path(dface_hf.metrics.__file__).parent
NAMES = ("au_detection", "me_recognition", "me_spotting")
FILES = {"README.md", "app.py", "requirements.txt", "__init__.py"}

PROBE = """
import importlib.util, json, os, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "dface_hf":
            raise ImportError("a Space has no dface_hf")

sys.meta_path.insert(0, Blocker())
"""

LOAD = """
import evaluate
calls, examples = json.loads(sys.argv[1])
for example in examples:
    exec(example, {})
print(json.dumps([evaluate.load(name, cache_dir="cache").compute(**inputs) for name, inputs in calls]))
"""

APPS = """
results = []
for folder, inputs in json.loads(sys.argv[1]):
    sys.path.insert(0, os.path.abspath(folder))
    spec = importlib.util.spec_from_file_location(f"app_{folder}", os.path.join(folder, "app.py"))
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    results.append(app.scores(*inputs))
    try:
        app.scores(*inputs[:-2], "oops", inputs[-1])
    except Exception as error:
        results.append(type(error).__name__)
    sys.path.pop(0)
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def spaces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("spaces")
    for name in NAMES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(script: str, calls: list, cwd: Path) -> list:
    variables = os.environ | {"HF_HOME": str(cwd / "home"), "GRADIO_ANALYTICS_ENABLED": "False"}
    variables |= {"HF_EVALUATE_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", PROBE + script, json.dumps(calls)]
    done = subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def as_json(value):
    return json.loads(json.dumps(value))


def test_loaded_by_path_they_are_the_plain_functions_and_the_examples_of_the_cards_run(spaces):
    pytest.importorskip("evaluate")
    truth, predicted, corpora = [0, 0, 1, 2, 2], [0, 1, 1, 2, 0], ["a", "b", "a", "b", "a"]
    units = {"references": [[1, 0], [0, 1], [1, 1]], "predictions": [[0.5, -1], [-2, 3], [1, -1]]}
    events = {"references": [[[0, 9, 1]], []], "predictions": [[[1, 9, 1], [40, 50, 0]], []]}
    plain = {name: [[row[:2] for row in video] for video in videos] for name, videos in events.items()}
    classes = {"references": truth, "predictions": predicted}
    calls = [
        ("me_recognition", classes),
        ("me_recognition", classes | {"labels": 4, "corpora": corpora}),
        ("me_recognition/me_recognition.py", classes | {"labels": ["x", "y", "z"]}),
        ("au_detection", units | {"units": [4, 12], "corpora": ["a", "b", "b"]}),
        ("me_spotting", plain | {"threshold": 0.95}),
        ("me_spotting", events | {"labels": 2}),
    ]
    expected = [
        recognition_scores(truth, predicted, 3),
        recognition_scores(truth, predicted, 4, corpora),
        recognition_scores(truth, predicted, 3),
        au_scores(units["references"], units["predictions"], (4, 12), ["a", "b", "b"]),
        spotting_scores(plain["references"], plain["predictions"], 0.95),
        spotting_scores(events["references"], events["predictions"], labels=2),
    ]
    assert expected[4]["hits"] == 0 < expected[5]["hits"]
    cards = [(spaces / name / "README.md").read_text(encoding="utf-8") for name in NAMES]
    examples = [text.split("```python\n")[1].split("```")[0].replace("path/to/", "") for text in cards]
    assert run(LOAD, [calls, examples], spaces) == as_json(expected)


def test_apps_score_what_is_typed(spaces):
    pytest.importorskip("gradio")
    calls = [
        ("me_recognition", ["0, 0 1\n2", "0 1 1 2", 3]),
        ("au_detection", ["4 12", "1 0\n0 1", "1 0\n1 1"]),
        ("me_spotting", ["10-25 80-91\n\n40-52", "12-27\n1-2\n40-52", 0.5]),
    ]
    expected = [
        recognition_scores([0, 0, 1, 2], [0, 1, 1, 2], 3),
        au_scores([[1, 0], [0, 1]], [[1, 0], [1, 1]], (4, 12)),
        spotting_scores([[(10, 25), (80, 91)], [], [(40, 52)]], [[(12, 27)], [(1, 2)], [(40, 52)]]),
    ]
    results = run(APPS, calls, spaces)
    assert results[::2] == as_json(expected)
    assert results[1::2] == ["Error"] * 3  # shown in the page instead of a traceback


@pytest.mark.parametrize("name", NAMES)
def test_a_space_has_its_card_and_its_requirements(name):
    files = {path.name for path in (ROOT / name).iterdir() if path.is_file()}
    assert FILES | {f"{name}.py"} < files and len(files) == len(FILES) + 2
    _, header, text = (ROOT / name / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["sdk"] == "gradio" and card["app_file"] == "app.py" and card["license"] == "apache-2.0"
    assert {"evaluate", "metric"} <= set(card["tags"]) and len(card["description"]) < 120
    assert f'evaluate.load("path/to/{name}")' in text
    needed = (ROOT / name / "requirements.txt").read_text().split()
    assert needed and all(line[0].isalpha() and ">=" in line for line in needed)
