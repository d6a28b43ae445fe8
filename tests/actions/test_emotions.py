"""Emotion words, prototypes and objective classes."""

import pytest

from dface_hf.actions import (
    ACTION_UNITS,
    CASME2_RULES,
    COARSE_EMOTIONS,
    EMOTION_PROTOTYPES,
    EMOTIONS,
    OBJECTIVE_CLASS_EMOTIONS,
    OBJECTIVE_CLASSES,
    normalise_emotion,
    objective_class,
)


@pytest.mark.parametrize("name", [*EMOTIONS, *COARSE_EMOTIONS])
def test_canonical_names_stay(name):
    assert normalise_emotion(name) == normalise_emotion(f" {name.upper()} ") == name


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Others", "others"),
        ("Other", "others"),
        ("oth", "others"),
        ("sad", "sadness"),
        ("happy", "happiness"),
        ("Anger", "anger"),
        ("Contempt", "contempt"),
        ("sur", "surprise"),
        ("neg", "negative"),
        ("Positive", "positive"),
    ],
)
def test_spellings_of_the_sheets(word, name):
    assert normalise_emotion(word) == name


@pytest.mark.parametrize("word", ["joy", "", "happines", None, float("nan"), 3])
def test_unknown_word_is_named_with_the_known_ones(word):
    with pytest.raises(ValueError, match="unknown emotion .*happiness, surprise") as error:
        normalise_emotion(word)
    assert repr(word) in str(error.value)


def test_every_describable_emotion_has_a_prototype():
    assert set(EMOTION_PROTOTYPES) == set(EMOTIONS) - {"others", "tense"}
    for emotion, prototype in EMOTION_PROTOTYPES.items():
        assert prototype.emotion == emotion
        assert set(prototype.signature) <= set(prototype.units) <= set(ACTION_UNITS)
        assert len(prototype.units) == len(set(prototype.units)) and len(prototype.signature) in (1, 2)
    assert [name for name, prototype in EMOTION_PROTOTYPES.items() if prototype.one_sided] == ["contempt"]


def test_prototypes_differ():
    assert len({frozenset(prototype.units) for prototype in EMOTION_PROTOTYPES.values()}) == 8
    assert len({prototype.adjective for prototype in EMOTION_PROTOTYPES.values()}) == 8


def test_positive_negative_and_surprise_share_no_signature_unit():
    groups = (*COARSE_EMOTIONS.values(), ("surprise",))
    units = [{unit for name in group for unit in EMOTION_PROTOTYPES[name].signature} for group in groups]
    assert sum(map(len, units)) == len(set.union(*units))


@pytest.mark.parametrize("emotion", CASME2_RULES)
def test_signatures_follow_the_casme2_rules(emotion):
    signature = set(EMOTION_PROTOTYPES[emotion].signature)
    assert any(rule <= signature for rule in CASME2_RULES[emotion])


@pytest.mark.parametrize(
    ("units", "name"),
    [
        ((12,), "I"),
        ((12, 6), "I"),
        ((7, 6, 12), "I"),
        ((1, 2), "II"),
        ((5, 24), "II"),
        ((4,), "III"),
        ((4, 38), "III"),
        ((4, 7, 9), "IV"),
        ((7, 10), "IV"),
        ((15, 17), "V"),
        ((1,), "V"),
        ((1, 2, 4), "VI"),
        ((20,), "VI"),
        ((14,), "VII"),
        ((17,), "VII"),
        ((12, 14, 17), "VII"),
        ([12, 12, 6], "I"),
    ],
)
def test_objective_class(units, name):
    assert objective_class(units) == name


def test_objective_classes_do_not_overlap():
    combinations = [combination for sets in OBJECTIVE_CLASSES.values() for combination in sets]
    assert len(combinations) == len(set(combinations)) == 36
    assert set(OBJECTIVE_CLASS_EMOTIONS) == {*OBJECTIVE_CLASSES, "VII"}


def test_objective_class_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one action unit"):
        objective_class(())
