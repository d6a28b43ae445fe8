"""The notebook that the cards link runs from top to bottom in an empty folder, and finds what it says."""

import json
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="extra [dev]")
nbclient = pytest.importorskip("nbclient", reason="extra [dev]")

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The notebook with its outputs, and the folder that it ran in."""
    notebook, folder = read(), tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute()
    return notebook, folder


def outputs(notebook, kind: str) -> list:
    return [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == kind
    ]


def told(notebook) -> str:
    return "".join(output.text for output in outputs(notebook, "stream") if output.name == "stdout")


def numbers(pattern: str, text: str) -> list[float]:
    found = re.search(pattern, text)
    assert found, f"{pattern} is not in {text}"
    return [float(number) for number in found.groups()]


def test_the_event_is_found_where_it_is_and_read(executed):
    text = told(executed[0])
    onset, offset, apex = numbers(r"acts from frame (\d+) to (\d+), most at (\d+)", text)
    start, end, peak = numbers(r"event: frames (\d+) to (\d+), most at (\d+)", text)
    assert onset <= start < peak < end <= offset and abs(peak - apex) <= 3
    assert "read as surprise" in text
    assert numbers(r"moving cells: (\d+) of 16", text)[0] >= 4


def test_the_tokens_raise_the_brows_of_the_other_face(executed):
    upper, lower = numbers(r"upper half of the face: ([\d.]+), lower half: ([\d.]+)", told(executed[0]))
    assert upper > 3 * lower > 0


def test_descriptions_are_ranked_or_the_extra_is_named(executed):
    text = told(executed[0])
    if "no text encoder here" in text:
        assert "dface-hf[text]" in text
        return
    [raised], [pulled] = (numbers(rf"([+-][\d.]+)  {words}", text) for words in ("the brows", "the lip"))
    assert -1 <= pulled < raised <= 1


def test_training_learns_and_is_scored_and_saved(executed):
    notebook, folder = executed
    text = told(notebook)
    first, last = numbers(r"loss ([\d.]+) -> ([\d.]+)", text)
    assert last < first
    clips, uf1, uar = numbers(r"synthetic, (\d+) clips of unseen subjects: UF1 ([\d.]+), UAR ([\d.]+)", text)
    assert clips > 0 and 0 <= uf1 <= 1 and 0 <= uar <= 1
    config = json.loads((folder / "my-model" / "config.json").read_text())
    assert len(config["id2label"]) == 5
    assert text.splitlines()[-1] in config["id2label"].values()


def test_it_shows_pictures(executed):
    shown = outputs(executed[0], "display_data") + outputs(executed[0], "execute_result")
    assert sum("image/png" in output.data for output in shown) == 4


def test_it_is_kept_without_outputs_and_paths():
    notebook = read()
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|work|root|tmp|Users)/", text)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert kinds[0] == "markdown" and max(len(cell.source.splitlines()) for cell in notebook.cells) <= 40


def test_its_links_and_commands_exist():
    from typer.main import get_command

    from dface_hf.cli import app

    words = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", words):
        assert (NOTEBOOK.parent / target).exists(), target
    used = set(re.findall(r"^dface ([\w-]+)", words, flags=re.MULTILINE)) | set(
        re.findall(r"`dface ([\w-]+)", words)
    )
    assert {"push", "export", "prepare"} <= used <= set(get_command(app).commands)
