"""Every grammar of the annotation sheets, and what happens to text that is none of them."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dface_hf.actions import ActionUnitLabel, action_unit_readings, active_units, parse_action_units

MANIFEST = Path(__file__).resolve().parents[2] / "../shared/data/megc2019/manifest.csv"

GRAMMARS = [
    # cell, all, certain, first
    ("12", (12,), (12,), (12,)),
    ("R12", (12,), (12,), (12,)),
    ("4+7+L10", (4, 7, 10), (4, 7, 10), (4, 7, 10)),
    ("L10A+R12", (10, 12), (10, 12), (10, 12)),
    ("4+7+6", (4, 6, 7), (4, 6, 7), (4, 6, 7)),
    (" 12+15 ", (12, 15), (12, 15), (12, 15)),
    ("1A+2B+L14C", (1, 2, 14), (1, 2, 14), (1, 2, 14)),
    ("A9E+ref(10)", (9, 10), (9, 10), (9, 10)),
    ("ref(7B)+43C", (7, 43), (7, 43), (7, 43)),
    ("7B+ ref(43)", (7, 43), (7, 43), (7, 43)),
    ("R14+17+soft focus", (14, 17), (14, 17), (14, 17)),
    ("L12 + 61", (12, 61), (12, 61), (12, 61)),
    ("T23", (23,), (23,), (23,)),
    ("B22+25", (22, 25), (22, 25), (22, 25)),
    ("12 or 14", (12, 14), (), (12,)),
    ("L12 or L14", (12, 14), (), (12,)),
    ("R14A or 17A or 24A", (14, 17, 24), (), (14,)),
    ("(R6 or R12)+R15", (6, 12, 15), (15,), (6, 15)),
    ("(R6 or R12) + R15", (6, 12, 15), (15,), (6, 15)),
    ("12 or 14+17", (12, 14, 17), (), (12,)),
    ("12+17 or 14+17", (12, 14, 17), (17,), (12, 17)),
    ("12/14", (12, 14), (), (12,)),
    ("10A/B", (10,), (10,), (10,)),
    ("A/L12", (12,), (12,), (12,)),
    ("R4,5", (4, 5), (4, 5), (4, 5)),
    ("4，5", (4, 5), (4, 5), (4, 5)),
    ("4、R5", (4, 5), (4, 5), (4, 5)),
    ("（4＋7）", (4, 7), (4, 7), (4, 7)),
    ("AU4+AU12", (4, 12), (4, 12), (4, 12)),
    ("r12", (12,), (12,), (12,)),
    ("4.0", (4,), (4,), (4,)),
    (4, (4,), (4,), (4,)),
    (4.0, (4,), (4,), (4,)),
    (np.int64(12), (12,), (12,), (12,)),
    (np.float64(12), (12,), (12,), (12,)),
]


@pytest.mark.parametrize(
    ("cell", "mentioned", "certain", "first"), GRAMMARS, ids=[repr(row[0]) for row in GRAMMARS]
)
def test_grammar(cell, mentioned, certain, first):
    assert active_units(cell) == active_units(cell, alternatives="all") == mentioned
    assert active_units(cell, alternatives="certain") == certain
    assert active_units(cell, alternatives="first") == first
    assert {label.number for label in parse_action_units(cell)} == set(mentioned)


@pytest.mark.parametrize(
    "cell", [None, float("nan"), np.nan, "", "  ", "nan", "NaN", "None", "/", "-", 0, "0"]
)
def test_missing_value_has_no_unit(cell):
    assert parse_action_units(cell) == active_units(cell) == active_units(cell, alternatives="certain") == ()


def test_pandas_missing_values():
    pandas = pytest.importorskip("pandas")
    assert parse_action_units(pandas.NA) == parse_action_units(pandas.NaT) == ()


def test_label_fields():
    assert parse_action_units("L10A+R12+T23+4") == (
        ActionUnitLabel(10, side="left", intensity="A"),
        ActionUnitLabel(12, side="right"),
        ActionUnitLabel(23, region="top"),
        ActionUnitLabel(4),
    )
    assert parse_action_units("LB22E") == (ActionUnitLabel(22, side="left", region="bottom", intensity="E"),)
    assert parse_action_units("12R") == parse_action_units("R12")
    assert parse_action_units("10B") == (ActionUnitLabel(10, intensity="B"),)
    assert parse_action_units("B10") == (ActionUnitLabel(10, region="bottom"),)
    assert parse_action_units("A12") == parse_action_units("U12") == (ActionUnitLabel(12),)


def test_side_belongs_to_its_own_unit_only():
    assert parse_action_units("R4,5") == (ActionUnitLabel(4, side="right"), ActionUnitLabel(5))


def test_readings_keep_what_belongs_together():
    r6, r12, r15 = (ActionUnitLabel(number, side="right") for number in (6, 12, 15))
    assert action_unit_readings("(R6 or R12)+R15") == ((r6, r15), (r12, r15))
    assert parse_action_units("(R6 or R12)+R15") == (r6, r15, r12)
    assert action_unit_readings("10A/B") == (
        (ActionUnitLabel(10, intensity="A"),),
        (ActionUnitLabel(10, intensity="B"),),
    )
    assert action_unit_readings("A/L12") == ((ActionUnitLabel(12),), (ActionUnitLabel(12, side="left"),))
    assert action_unit_readings("4") == ((ActionUnitLabel(4),),)
    assert action_unit_readings(None) == ((),)


@pytest.mark.parametrize("cell", ["4(k)", "4 (K)", "4?", "(4)(k)"])
def test_uncertain_units_count_only_on_request(cell):
    assert parse_action_units(cell) == (ActionUnitLabel(4, uncertain=True),)
    assert active_units(cell) == ()
    assert active_units(cell, uncertain=True) == (4,)


def test_uncertain_unit_beside_a_certain_one():
    assert active_units("4(k)+12") == (12,)
    assert active_units("4(k)+12", uncertain=True) == (4, 12)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("smile", "stuck at 'SMILE'"),
        ("4 7", "stuck at '7'"),
        ("4-7", "stuck at '-7'"),
        ("R12L14", "stuck"),
        ("4++7", "stuck at '\\+7'"),
        ("4+", "a unit is missing at the end"),
        ("(4+7", "a closing bracket is missing"),
        ("4)", "stuck at '\\)'"),
        ("12 or", "missing at the end"),
        ("4F", "stuck"),
        ("4.5", "stuck"),
        ("1217", "1217 is not a FACS number"),
        (1217, "1217 is not a FACS number"),
        ("2014-05-08", "2014 is not a FACS number"),
        (-4, "stuck"),
        (4.5, "4.5 is no action unit"),
        (float("inf"), "inf is no action unit"),
        (True, "not text or a number"),
        (["4"], "not text or a number"),
    ],
)
def test_unreadable_cell_is_named_with_an_example(cell, reason):
    with pytest.raises(ValueError, match=reason) as error:
        parse_action_units(cell)
    assert repr(cell) in str(error.value)
    assert "4+5" in str(error.value) or "L10A+R12" in str(error.value)
    with pytest.raises(ValueError, match=reason):
        active_units(cell)


def test_unknown_treatment_of_alternatives_is_refused():
    with pytest.raises(ValueError, match='"all", "certain" or "first", not \'some\''):
        active_units("4", alternatives="some")


@pytest.mark.skipif(not MANIFEST.exists(), reason="the MEGC2019 manifest is not here")
def test_every_cell_of_the_composite_sheets_is_read():
    """The counts of SAMM's units that occur only in composite clips equal those published for CD6ME."""
    with MANIFEST.open(newline="") as file:
        rows = list(csv.DictReader(file))
    samm = [row["action_units"] for row in rows if row["corpus"] == "samm"]
    counts = Counter(number for cell in samm for number in active_units(cell, alternatives="certain"))
    assert len(rows) == 442 and len(samm) == 133
    assert {number: counts[number] for number in (1, 5, 6, 7, 9, 10, 15)} == {
        1: 6, 5: 10, 6: 3, 7: 46, 9: 5, 10: 6, 15: 4,
    }  # fmt: skip
    assert all(active_units(row["action_units"]) for row in rows if row["corpus"] != "smic")
