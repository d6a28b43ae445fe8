import json
from pathlib import Path

import numpy as np
import pytest

from dface_hf.analysis import markdown_table
from dface_hf.analysis.au_statistics import matrix_rows, strongest_pairs, unit_rows, unit_statistics
from dface_hf.data.action_unit_table import ActionUnitTable, read_action_units
from dface_hf.metrics.au_detection import CD6ME_UNITS, unit_f1

MANIFEST = Path(__file__).resolve().parents[3] / "shared" / "data" / "megc2019" / "manifest.csv"
CD6ME_COUNTS = (304, 280, 708, 134, 60, 252, 117, 75, 176, 277, 52, 86)
"""Clips of each unit among the 2031 of CD6ME (Varanka et al. 2023)."""


def table(shown, corpora=None, durations=None, units=(1, 2, 4, 12)):
    shown = np.array(shown, bool)
    corpora = np.array(["ours"] * len(shown) if corpora is None else corpora)
    durations = np.full(len(shown), np.nan) if durations is None else np.array(durations, float)
    return ActionUnitTable(units, shown, corpora, durations, {})


SMALL = table(
    [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
    corpora=["b", "b", "a", "a", "a"],
    durations=[0.2, 0.4, np.nan, 0.3, 0.3],
)


def test_counts():
    found = unit_statistics(SMALL)
    assert found["counts"] == [3, 2, 2, 0] and found["rates"] == [0.6, 0.4, 0.4, 0]
    assert found["imbalance"] == [pytest.approx(2 / 3), 1.5, 1.5, None]
    assert found["per_corpus"] == {"b": [2, 1, 1, 0], "a": [1, 1, 1, 0]}
    assert found["corpora"] == {"b": 2, "a": 3} and found["n"] == 5 and found["units_per_clip"] == 1.4
    assert found["cooccurrence"] == [[3, 2, 1, 0], [2, 2, 0, 0], [1, 0, 2, 0], [0] * 4]
    assert found["durations"]["b"] == pytest.approx({"n": 2, "median": 0.3, "low": 0.21, "high": 0.39})
    assert found["durations"]["a"]["n"] == 2
    everywhere = unit_f1(SMALL.shown, np.ones_like(SMALL.shown))
    assert found["all_ones_f1"] == pytest.approx(everywhere)
    json.dumps(found, allow_nan=False)


def test_correlations_are_those_of_numpy():
    found = unit_statistics(SMALL)["correlation"]
    expected = np.corrcoef(SMALL.shown[:, :3].T.astype(float))
    np.testing.assert_allclose(np.array([row[:3] for row in found[:3]], float), expected, atol=1e-12)
    assert found[3] == [None] * 4 and [row[3] for row in found] == [None] * 4
    assert strongest_pairs(unit_statistics(SMALL), 1)[0][:2] == (1, 2)
    assert len(strongest_pairs(unit_statistics(SMALL))) == 3


def test_published_counts_give_the_published_f1_of_all_ones():
    shown = np.arange(2031)[:, None] < np.array(CD6ME_COUNTS)
    found = unit_statistics(table(shown, units=CD6ME_UNITS))
    assert found["counts"] == list(CD6ME_COUNTS)
    assert 100 * np.mean(found["all_ones_f1"]) == pytest.approx(17.77, abs=0.005)


def test_tables():
    found = unit_statistics(SMALL)
    rows = unit_rows(found)
    assert rows["AU1"]["clips"] == 3 and rows["AU4"]["a"] == 1 and rows["AU12"]["without : with"] is None
    assert set(unit_rows(unit_statistics(table([[1, 0, 0, 0]])))["AU1"]) == {
        "clips",
        "share",
        "without : with",
        "F1 of all ones",
    }
    assert matrix_rows(found, "cooccurrence")["AU1"] == {"AU1": 3, "AU2": 2, "AU4": 1, "AU12": 0}
    assert markdown_table(matrix_rows(found, "correlation")).splitlines()[-1] == "| AU12 | - | - | - | - |"


@pytest.mark.skipif(not MANIFEST.is_file(), reason="the annotations of CASME II and SAMM are not here")
def test_annotations_of_casme2_and_samm():
    """Signs and rough size of what AC4AU's paper prints for six corpora: 1-2 +.73, 4-1 -.31, 4-2 -.32."""
    found = unit_statistics(read_action_units([MANIFEST], CD6ME_UNITS))
    of = {
        unit: dict(zip(CD6ME_UNITS, row, strict=True))
        for unit, row in zip(CD6ME_UNITS, found["correlation"], strict=True)
    }
    assert found["corpora"] == {"casme2": 145, "samm": 133} and found["uncoded"] == {"smic": 164}
    assert 0.6 < of[1][2] < 0.85
    assert -0.4 < of[4][1] < -0.15 and -0.4 < of[4][2] < -0.15
    assert 0.1 < of[6][12] < 0.35 and 0.1 < of[15][17] < 0.3 and -0.35 < of[4][14] < -0.1
    assert strongest_pairs(found, 1)[0][:2] == (1, 2)
    assert all(0.3 < one["median"] < 0.45 for one in found["durations"].values())
