"""Which action units an emotion draws in a micro-expression, and how often: the generator's tables.

The combinations are those of the CASME II release rules and of the objective classes (see
`dface_hf.actions.emotions`), with one or two units each, as in the published corpora (1.3-1.7 units a clip
on average). The weights are rounded to suggest how common a combination is; they are engineering choices.
As in the corpora, the classes overlap: a lowered brow alone may be anything.
"""

from __future__ import annotations

from dface_hf.actions import ClassScheme, get_class_scheme
from dface_hf.synthesis import ActionSet

# emotion: "units:weight"; a leading "~" marks a set that acts on one side only.
EMOTION_ACTIONS: dict[str, str] = {
    "happiness": "12:6 6+12:4 6:1 ~12:4 6+7+12:1",
    "surprise": "1+2:6 2:2 1+2+25:2 5:2 25:1 25+26:1 ~2:1",
    "disgust": "4+7:5 4:2 4+9:3 9:2 10:2 4+10:2 4+7+9:1",
    "repression": "17:5 15:2 15+17:2 17+24:1 14+17:1",
    "anger": "4:3 4+7:4 7:4 4+5:1 23:1 17+24:1",
    "contempt": "~14:6 ~12:1 ~14+17:1",
    "fear": "20:4 1+2+4:2 5+20:1",
    "sadness": "15:3 1+4:2 15+17:2 1:2",
    "others": "4:2 14:4 4+14:1 18:2 4+12:2 5+7:1 1+4+7:1 7+17:1 24:2 12+15:1 1+14:1 23:1 6+17:1",
}


def emotion_action_sets(emotion: str, probability: float = 1.0, label: int = -1) -> list[ActionSet]:
    """The action sets of one emotion.

    Args:
        emotion: A key of `EMOTION_ACTIONS`.
        probability: Shared among the sets by their weights.
        label: Class number that the sets carry.

    Raises:
        ValueError: An emotion without a table.
    """
    if emotion not in EMOTION_ACTIONS:
        raise ValueError(f"no action sets for emotion {emotion!r}; known: {', '.join(EMOTION_ACTIONS)}")
    entries = [entry.split(":") for entry in EMOTION_ACTIONS[emotion].split()]
    total = sum(float(weight) for _, weight in entries)
    return [
        ActionSet(
            tuple(int(unit) for unit in units.lstrip("~").split("+")),
            probability * float(weight) / total,
            label,
            units.startswith("~"),
        )
        for units, weight in entries
    ]


def scheme_action_sets(scheme: ClassScheme | str, balance: bool = False) -> list[ActionSet]:
    """Action sets labelled with the classes of a scheme.

    Args:
        scheme: A class scheme or its name, such as "default4".
        balance: Every class equally often; otherwise every emotion as often as in CASME II's release.

    Returns:
        Sets whose ``label`` is the scheme's class number. Emotions that the scheme drops are left out.
    """
    scheme = get_class_scheme(scheme)
    share = {e: CASME2_SHARES[e] for e in EMOTION_ACTIONS if scheme.label_of(e) is not None}
    per_class = {
        label: sum(s for e, s in share.items() if scheme.label_of(e) == label) for label in scheme.labels
    }
    sets = []
    for emotion, amount in share.items():
        label = scheme.label_of(emotion)
        probability = amount / per_class[label] if balance else amount
        sets += emotion_action_sets(emotion, probability, scheme.label2id[label])
    return sets


# Clips of 255 in the CASME II release; anger and contempt, which it has not, after SAMM's share.
CASME2_SHARES = {
    "others": 99.0,
    "disgust": 63.0,
    "happiness": 32.0,
    "repression": 27.0,
    "surprise": 25.0,
    "sadness": 7.0,
    "fear": 2.0,
    "anger": 20.0,
    "contempt": 8.0,
}
