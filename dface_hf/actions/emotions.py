"""Emotion words, and which action units go with which emotion.

Three sources disagree, and all are kept: prototypes (what a full expression looks like), the rules by which
CASME II assigned emotions, and the objective classes, which look at the action units alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

EMOTIONS = (
    "happiness",
    "surprise",
    "disgust",
    "repression",
    "contempt",
    "anger",
    "fear",
    "sadness",
    "tense",
    "others",
)
"""Canonical emotion names of the micro-expression corpora ("tense" is CASME's)."""

COARSE_EMOTIONS: dict[str, tuple[str, ...]] = {
    "positive": ("happiness",),
    "negative": ("disgust", "repression", "contempt", "anger", "fear", "sadness"),
}
"""Coarse labels (SMIC and 4DME write them in their sheets) and the emotions MEGC2019 groups under them."""

_ALIASES = {
    "others": "other oth",
    "happiness": "happy",
    "surprise": "surprised sur",
    "disgust": "disgusted",
    "repression": "repressed",
    "contempt": "contemptuous",
    "anger": "angry",
    "fear": "fearful afraid",
    "sadness": "sad",
    "tense": "tension",
    "positive": "pos po",
    "negative": "neg ne",
}
_CANONICAL = {name: name for name in (*EMOTIONS, *COARSE_EMOTIONS)} | {
    alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()
}


def normalise_emotion(word: str) -> str:
    """Brings the emotion words of different sheets to one spelling.

    Args:
        word: as written in a sheet: any case, noun or adjective, short forms ("sur", "oth").

    Returns:
        A member of `EMOTIONS` or a key of `COARSE_EMOTIONS`.

    Raises:
        ValueError: for any other word.
    """
    name = _CANONICAL.get(word.strip().lower()) if isinstance(word, str) else None
    if name is None:
        known = ", ".join((*EMOTIONS, *COARSE_EMOTIONS))
        raise ValueError(f"unknown emotion {word!r}; known: {known}")
    return name


@dataclass(frozen=True)
class EmotionPrototype:
    """What an emotion looks like.

    Attributes:
        emotion: canonical name.
        adjective: the word for a face that shows it.
        units: action units of the full expression, most telling first, with alternatives (23 or 24).
        signature: the one or two of `units` that carry it in a micro-expression, which seldom shows more.
        one_sided: whether only one side of the face moves.
    """

    emotion: str
    adjective: str
    units: tuple[int, ...]
    signature: tuple[int, ...]
    one_sided: bool = False


EMOTION_PROTOTYPES: dict[str, EmotionPrototype] = {
    prototype.emotion: prototype
    for prototype in (
        EmotionPrototype("happiness", "happy", (12, 6), (12, 6)),
        EmotionPrototype("surprise", "surprised", (1, 2, 5, 26), (1, 2)),
        EmotionPrototype("disgust", "disgusted", (9, 10, 4, 7), (9, 10)),
        EmotionPrototype("repression", "repressed", (15, 17, 24), (15, 17)),
        EmotionPrototype("contempt", "contemptuous", (14, 12), (14,), one_sided=True),
        EmotionPrototype("anger", "angry", (4, 7, 5, 23, 24), (4, 7)),
        EmotionPrototype("fear", "fearful", (20, 1, 2, 4, 5, 7, 25), (20,)),
        EmotionPrototype("sadness", "sad", (15, 1, 4, 17), (15,)),
    )
}
"""Units: the usual FACS prototypes of the basic emotions; repression after `CASME2_RULES`, with the lip press
that counters a smile. Signatures: short combinations of `CASME2_RULES` and `OBJECTIVE_CLASSES`, such that
positive, negative and surprise share no unit."""


def _sets(*combinations: str) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(map(int, combination.split("+"))) for combination in combinations)


CASME2_RULES: dict[str, tuple[frozenset[int], ...]] = {
    "happiness": _sets("6", "12"),
    "surprise": _sets("1+2", "25", "2"),
    "disgust": _sets("9", "10", "4+7"),
    "repression": _sets("15", "17"),
}
"""Combinations, any of which suffices, by which the CASME II release assigned emotions; the rest became
"others" (Yan et al., "CASME II", PLoS ONE 2014). Self-reports counted too: the sheet has exceptions."""

OBJECTIVE_CLASSES: dict[str, tuple[frozenset[int], ...]] = {
    "I": _sets("6", "12", "6+12", "6+7+12", "7+12"),
    "II": _sets("1+2", "5", "25", "1+2+25", "25+26", "5+24"),
    "III": _sets("23", "4", "4+7", "4+5", "4+5+7", "17+24", "4+6+7", "4+38"),
    "IV": _sets("10", "9", "4+9", "4+40", "4+5+40", "4+7+9", "4+9+17", "4+7+10", "4+5+7+9", "7+10"),
    "V": _sets("1", "15", "1+4", "6+15", "15+17"),
    "VI": _sets("1+2+4", "20"),
}
"""Exact combinations of each objective class; VII holds all others (Davison, Merghani and Yap, "Objective
Classes for Micro-Facial Expression Recognition", Journal of Imaging 2018)."""

OBJECTIVE_CLASS_EMOTIONS = {
    "I": "happiness",
    "II": "surprise",
    "III": "anger",
    "IV": "disgust",
    "V": "sadness",
    "VI": "fear",
    "VII": "others",
}
"""The emotion that each objective class stands closest to; VII holds contempt and everything else."""


def objective_class(units: Iterable[int]) -> str:
    """The objective class of a set of action units.

    Args:
        units: FACS numbers, as from `active_units`; sides and intensities play no part.

    Returns:
        "I" to "VII". Only the exact combinations of `OBJECTIVE_CLASSES` count, everything else is "VII".

    Raises:
        ValueError: if there is no unit at all, since then nothing was coded.
    """
    present = frozenset(units)
    if not present:
        raise ValueError("an objective class needs at least one action unit, e.g. (6, 12)")
    return next((name for name, sets in OBJECTIVE_CLASSES.items() if present in sets), "VII")
