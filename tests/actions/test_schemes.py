"""Class schemes against the published class counts."""

from collections import Counter

import pytest

from dface_hf.actions import CLASS_SCHEMES, EMOTIONS, ClassScheme, get_class_scheme

CASME2 = dict(others=99, disgust=63, happiness=32, repression=27, surprise=25, sadness=7, fear=2)
SAMM = dict(Anger=57, Happiness=26, Other=26, Surprise=15, Contempt=12, Disgust=9, Fear=8, Sadness=6)
CASME3 = dict(disgust=250, surprise=187, others=158, Others=3, fear=86, anger=64, sad=57, happy=55)
MMEW = dict(happiness=36, anger=8, surprise=89, disgust=72, fear=16, sadness=13, others=66)
COMPOSITE = {
    "smic": dict(negative=70, positive=51, surprise=43),
    "casme2": dict(disgust=61, repression=27, happiness=32, surprise=25),
    "samm": dict(SAMM, Other=0),
}


def counts(scheme: str, sheet: dict[str, int]) -> dict[str, int]:
    total = Counter()
    for word, count in sheet.items():
        if label := CLASS_SCHEMES[scheme].label_of(word):
            total[label] += count
    return {label: total[label] for label in CLASS_SCHEMES[scheme].labels}


@pytest.mark.parametrize(
    ("scheme", "sheet", "expected"),
    [
        ("casme2_5", CASME2, dict(happiness=32, disgust=63, repression=27, surprise=25, others=99)),
        ("samm_5", SAMM, dict(anger=57, happiness=26, contempt=12, surprise=15, others=26)),
        ("casme3_3", CASME3, dict(negative=457, positive=55, surprise=187)),
        ("casme3_4", CASME3, dict(negative=457, positive=55, surprise=187, others=161)),
        (
            "casme3_7",
            CASME3,
            dict(happiness=55, surprise=187, disgust=250, fear=86, anger=64, sadness=57, others=161),
        ),
        ("mmew_7", MMEW, MMEW),
        ("composite3", COMPOSITE["smic"], dict(negative=70, positive=51, surprise=43)),
        ("composite3", COMPOSITE["casme2"], dict(negative=88, positive=32, surprise=25)),
        ("composite3", COMPOSITE["samm"], dict(negative=92, positive=26, surprise=15)),
    ],
)
def test_published_counts(scheme, sheet, expected):
    assert counts(scheme, sheet) == expected


def test_published_totals():
    assert sum(CASME2.values()) == 255 and sum(counts("casme2_5", CASME2).values()) == 246
    assert sum(SAMM.values()) == 159 and sum(counts("samm_5", SAMM).values()) == 136
    assert sum(CASME3.values()) == 860 and sum(counts("casme3_3", CASME3).values()) == 699
    assert sum(sum(counts("composite3", sheet).values()) for sheet in COMPOSITE.values()) == 442


def test_ids_of_the_challenges():
    assert CLASS_SCHEMES["composite3"].label2id == {"negative": 0, "positive": 1, "surprise": 2}
    assert CLASS_SCHEMES["default4"].id2label == {0: "negative", 1: "positive", 2: "surprise", 3: "others"}
    dfme = CLASS_SCHEMES["dfme_7"]
    assert (
        dfme.id2label[0] == "anger"
        and dfme.label2id["surprise"] == 6
        and dfme.labels == tuple(sorted(dfme.labels))
    )


@pytest.mark.parametrize("scheme", CLASS_SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_scheme_is_consistent(scheme):
    assert CLASS_SCHEMES[scheme.name] is scheme is get_class_scheme(scheme) is get_class_scheme(scheme.name)
    assert len(set(scheme.labels)) == len(scheme.labels)
    assert {scheme.id2label[index]: index for index in scheme.id2label} == scheme.label2id
    assert set(scheme.mapping.values()) == set(scheme.labels)
    assert scheme.others in (None, "others") and scheme.multi_label == (scheme.name == "fourdme_5")
    assert scheme.source
    gathered = [emotion for label in scheme.labels for emotion in scheme.emotions_of(label)]
    assert len(gathered) == len(set(gathered)) and set(gathered) <= set(EMOTIONS)
    assert all(scheme.label_of(label) == label for label in scheme.labels)


def test_sizes_match_the_names():
    sizes = {"composite3": 3, "default4": 4, "casme2_5": 5, "samm_5": 5, "casme3_3": 3}
    sizes |= {"casme3_4": 4, "casme3_7": 7, "dfme_7": 7, "mmew_7": 7, "fourdme_5": 5}
    assert {name: len(scheme.labels) for name, scheme in CLASS_SCHEMES.items()} == sizes


def test_dropped_emotions_are_none_and_unknown_ones_an_error():
    assert CLASS_SCHEMES["composite3"].label_of("others") is None
    assert CLASS_SCHEMES["casme2_5"].label_of("fear") is None
    assert CLASS_SCHEMES["default4"].label_of("tense") == "others"
    assert CLASS_SCHEMES["mmew_7"].label_of("repression") == "others"
    assert CLASS_SCHEMES["fourdme_5"].label_of("Repression") == "repression"
    with pytest.raises(ValueError, match="unknown emotion 'joyful'"):
        CLASS_SCHEMES["composite3"].label_of("joyful")


def test_named_labels_leave_others_out():
    assert CLASS_SCHEMES["default4"].named_labels == ("negative", "positive", "surprise")
    assert CLASS_SCHEMES["dfme_7"].named_labels == CLASS_SCHEMES["dfme_7"].labels


def test_lookups_name_what_is_known():
    with pytest.raises(ValueError, match="unknown class scheme 'casme2'; known: composite3"):
        get_class_scheme("casme2")
    with pytest.raises(
        ValueError, match="scheme 'composite3' has no class 'others'; its classes: negative, positive"
    ):
        CLASS_SCHEMES["composite3"].emotions_of("others")


def test_mapping_is_read_only_and_checked():
    with pytest.raises(TypeError):
        CLASS_SCHEMES["composite3"].mapping["others"] = "negative"
    with pytest.raises(ValueError, match=r"'mine': labels and mapping disagree about \['b'\]"):
        ClassScheme("mine", ("a", "b"), {"anger": "a"})
    with pytest.raises(ValueError, match="others='rest' is not one of"):
        ClassScheme("mine", ("a",), {"anger": "a"}, others="rest")
