"""The action-unit table: complete, consistent, and phrased so that prompts can be built from it."""

import dataclasses

import pytest

from dface_hf.actions import ACTION_UNITS, REGIONS, get_action_unit

REQUIRED = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 27, 28, 43, 45)
NAMES = {
    1: "inner brow raiser",
    4: "brow lowerer",
    7: "lid tightener",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    24: "lip pressor",
    26: "jaw drop",
}


def test_required_units_are_present_in_ascending_order():
    assert set(REQUIRED) <= set(ACTION_UNITS)
    assert list(ACTION_UNITS) == sorted(ACTION_UNITS)
    assert all(number == unit.number for number, unit in ACTION_UNITS.items())


def test_names_are_the_facs_names():
    assert {number: ACTION_UNITS[number].name for number in NAMES} == NAMES


def test_names_and_phrases_are_unique_and_fields_filled():
    units = ACTION_UNITS.values()
    assert len({unit.name for unit in units}) == len({unit.phrase for unit in units}) == len(ACTION_UNITS)
    assert all(all(dataclasses.astuple(unit)) for unit in units)
    assert {unit.region for unit in units} <= set(REGIONS)


@pytest.mark.parametrize("unit", ACTION_UNITS.values(), ids=lambda unit: f"AU{unit.number}")
def test_phrase_is_one_lower_case_clause_with_one_verb(unit):
    words = unit.phrase.split()
    assert unit.phrase == unit.phrase.lower() and unit.phrase[-1].isalpha()
    assert words[0] == "the" and words.count("is") + words.count("are") == 1


@pytest.mark.parametrize(
    ("number", "motion"), [(1, "up"), (4, "down and in"), (12, "up and out"), (26, "down")]
)
def test_motion_direction(number, motion):
    assert ACTION_UNITS[number].motion == motion


def test_units_are_immutable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ACTION_UNITS[1].name = "other"


def test_unknown_number_is_named_with_the_known_ones():
    assert get_action_unit(12) is ACTION_UNITS[12]
    with pytest.raises(ValueError, match="action unit 3 is not in the vocabulary; known units: 1, 2, 4"):
        get_action_unit(3)
