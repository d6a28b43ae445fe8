"""`dface au-statistics`: what it prints and writes, and how it answers bad input."""

import json
from functools import partial

import pytest
from PIL import Image

SHEET = "corpus,action_units,onset,offset,fps\nours,1+2,10,60,200\nours,4,0,30,200\nsmic,,0,9,100\n"


@pytest.fixture
def dface(dface):
    """Runs the command in this process: exit code, stdout, stderr."""
    return partial(dface, "au-statistics")


@pytest.fixture
def sheet(tmp_path):
    path = tmp_path / "sheet.csv"
    path.write_text(SHEET, encoding="utf-8")
    return path


def test_tables_on_stdout_and_a_picture(dface, sheet, tmp_path):
    code, out, err = dface(sheet, "--plot", tmp_path / "units.png")
    assert code == 0 and "2 clips (ours 2); 1.50 of these units a clip" in out
    assert "| AU1 | 1 | .500 | 1.000 | .667 |" in out and "strongest: 1-2 +1.00" in out
    assert "ours: median 200 ms" in out and err.strip() == "smic: 1 clips without codes left out"
    assert Image.open(tmp_path / "units.png").width > 1000


def test_json_on_stdout_is_nothing_but_json(dface, sheet):
    code, out, _ = dface(sheet, "--json", "-", "--units", "4, 1")
    document = json.loads(out)
    assert code == 0 and document["units"] == [4, 1] and document["counts"] == [1, 1]
    assert document["uncoded"] == {"smic": 1} and document["correlation"][0][1] == pytest.approx(-1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--units", "1,x"], "--units is '1,x'; give FACS numbers, such as 1,2,4"),
        (["--units", "1,1"], "different FACS numbers"),
        (["--undecided", "some"], "choose certain, all or first"),
        (["--plot", "units.txt"], "unknown kind of file '.txt'"),
    ],
)
def test_one_line_for_each_mistake(dface, sheet, options, told):
    code, out, err = dface(sheet, *options)
    assert code == 2 and out == "" and told in err and len(err.strip().splitlines()) == 1


def test_a_sheet_is_never_overwritten(dface, sheet):
    code, _, err = dface(sheet, "--json", sheet)
    assert code == 2 and "would be overwritten" in err and sheet.read_text() == SHEET


def test_a_missing_sheet(dface):
    code, _, err = dface("nowhere.csv")
    assert code == 2 and "nowhere.csv: no such file" in err
