import math
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from dface_hf.data.action_unit_table import read_action_units
from dface_hf.data.clip import CLIP_FEATURES

UNITS = (1, 4, 12)
SHEET = """corpus,action_units,onset,offset,fps
casme2,1+L4,10,60,200
casme2,25,0,30,200
samm,12 or 14,5,105,200
samm,R12+15?,,,
smic,,1,20,100
"""


@pytest.fixture
def sheet(tmp_path):
    def write(text=SHEET, name="sheet.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def clip(number, units, onset=3, apex=5, offset=9):
    row = dict.fromkeys(CLIP_FEATURES) | {"clip_id": f"c{number}", "corpus": "ours", "subject": "s"}
    row |= {"path": "there.mp4", "fps": 50.0, "onset": onset, "apex": apex, "offset": offset}
    return row | {"action_units": units, "license": "cc0-1.0"}


def test_a_sheet(sheet):
    table = read_action_units([sheet()], UNITS)
    assert table.shown.tolist() == [[True, True, False], [False] * 3, [False] * 3, [False, False, True]]
    assert table.corpora.tolist() == ["casme2", "casme2", "samm", "samm"] and table.uncoded == {"smic": 1}
    assert table.durations[:3].tolist() == [0.25, 0.15, 0.5] and math.isnan(table.durations[3])
    assert read_action_units([sheet()], UNITS, "all").shown[2].tolist() == [False, False, True]
    assert len(table) == 4


def test_a_sheet_of_nothing_but_units_is_named_after_its_file(sheet):
    table = read_action_units([sheet("action_units\n4\n12\n", "mine.csv")], UNITS)
    assert table.corpora.tolist() == ["mine"] * 2 and np.isnan(table.durations).all()


def test_a_prepared_dataset_and_a_sheet_together(sheet, tmp_path):
    rows = [clip(0, "4+12"), clip(1, ""), clip(2, "1", onset=0, apex=1, offset=2)]
    (tmp_path / "ours").mkdir()
    Dataset.from_list(rows, features=CLIP_FEATURES).to_parquet(tmp_path / "ours" / "part.parquet")
    table = read_action_units([tmp_path / "ours", sheet()], UNITS)
    assert table.shown[:2].tolist() == [[False, True, True], [True, False, False]]
    assert table.uncoded == {"ours": 1, "smic": 1} and len(table) == 6
    # Three keyframes tell no time.
    assert table.durations[0] == pytest.approx(0.12) and math.isnan(table.durations[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip,label\na,1\n", "lacks column 'action_units'; its columns are clip, label"),
        ("", "its columns are none"),
        ("action_units\n4\n4+x\n", "row 3: .*4\\+x"),
        ("action_units,onset,offset,fps\n4,a,9,200\n", "row 2: .*expected numbers"),
        ("action_units,onset,offset,fps\n4,9,8,200\n", "row 2: .*0 <= onset <= offset"),
        ("action_units,onset,offset,fps\n4,0,8,0\n", "row 2: .*fps > 0"),
        ("action_units,corpus\n,smic\n", "none of 1 clips has action units"),
        ("action_units\n", "none of 0 clips"),
    ],
)
def test_bad_sheets(sheet, text, message):
    with pytest.raises(ValueError, match=f"sheet.csv.*{message}"):
        read_action_units([sheet(text)], UNITS)


@pytest.mark.parametrize("units", [(), (1, 1), (0, 4)])
def test_bad_units(sheet, units):
    with pytest.raises(ValueError, match="different FACS numbers"):
        read_action_units([sheet()], units)


def test_a_missing_sheet():
    with pytest.raises(ValueError, match="nowhere.csv: no such file"):
        read_action_units([Path("nowhere.csv")], UNITS)
