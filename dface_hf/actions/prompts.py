"""Sentences about faces, composed from an emotion's adjective and the phrases of its action units.

Nothing is written per class. A class named after one emotion is described by that emotion's prototype, a
coarse class (negative) by the signatures of all its emotions, so a new scheme has prompts as soon as it has a
mapping. The class "others" has none: it is whatever the named classes are not.
"""

from collections.abc import Iterable, Sequence

from dface_hf.actions.action_units import get_action_unit
from dface_hf.actions.annotations import ActionUnitLabel
from dface_hf.actions.emotions import COARSE_EMOTIONS, EMOTION_PROTOTYPES, EmotionPrototype, normalise_emotion
from dface_hf.actions.schemes import ClassScheme, get_class_scheme


def emotion_prompt(label: str, scheme: ClassScheme | str | None = None) -> str:
    """Describes a face that shows an emotion or a class.

    Args:
        label: an emotion word, "positive" or "negative"; with a scheme, one of its named labels.
        scheme: the scheme, or its name, that says which emotions the label gathers. Without one, "negative"
            and "positive" gather the emotions of `COARSE_EMOTIONS`.

    Returns:
        One lower-case sentence without a full stop, e.g. "a happy face: the lip corners are pulled up and
        out, and the cheeks are lifted".

    Raises:
        ValueError: if the scheme lacks the label, the word is unknown, or it cannot be described ("others").
    """
    if scheme is None:
        label = normalise_emotion(label)
        emotions = COARSE_EMOTIONS.get(label, (label,))
    else:
        scheme = get_class_scheme(scheme)
        emotions = () if label == scheme.others else scheme.emotions_of(label)
    prototypes = [EMOTION_PROTOTYPES[emotion] for emotion in emotions if emotion in EMOTION_PROTOTYPES]
    if not prototypes:
        raise ValueError(f"{label!r} has no prompt: it stands for all that the named classes are not")
    return _fine(prototypes[0]) if label == prototypes[0].emotion else _coarse(label, prototypes)


def class_prompts(scheme: ClassScheme | str) -> dict[str, str]:
    """The prompt of every named class.

    Args:
        scheme: a scheme or its name in `CLASS_SCHEMES`.

    Returns:
        Label to prompt, in the order of the labels; "others" is absent.

    Raises:
        ValueError: if there is no scheme of that name.
    """
    scheme = get_class_scheme(scheme)
    return {label: emotion_prompt(label, scheme) for label in scheme.named_labels}


def action_unit_prompt(number: int, present: bool = True) -> str:
    """Describes a face by one action unit, shown or not: the two texts of a binary contrast.

    Args:
        number: FACS number.
        present: whether the unit is active.

    Returns:
        E.g. "a face in which the lips are parted" or "a face in which the lips are not parted".

    Raises:
        ValueError: if the vocabulary has no such unit.
    """
    phrase = get_action_unit(number).phrase
    return f"a face in which {phrase if present else _negate(phrase)}"


def describe_action_units(units: Iterable[int | ActionUnitLabel]) -> str:
    """Puts a set of action units into words.

    Args:
        units: FACS numbers, or labels of `parse_action_units`, whose sides are then named.

    Returns:
        Clauses in the given order, joined by commas and "and"; "the face is at rest" for no unit.

    Raises:
        ValueError: if the vocabulary lacks one of the units.
    """
    clauses = list(dict.fromkeys(_clause(unit) for unit in units))
    return _enumerate(clauses, "and") if clauses else "the face is at rest"


def _fine(prototype: EmotionPrototype) -> str:
    where = "on one side only, " if prototype.one_sided else ""
    return f"{_with_article(prototype.adjective)} face: {where}{_clauses(prototype.units, 'and')}"


def _coarse(label: str, prototypes: Sequence[EmotionPrototype]) -> str:
    units = sorted({unit for prototype in prototypes for unit in prototype.signature})
    adjectives = _enumerate([prototype.adjective for prototype in prototypes], "or")
    return f"{_with_article(label)} face, {adjectives}: {_clauses(units, 'or')}"


def _clause(unit: int | ActionUnitLabel) -> str:
    if not isinstance(unit, ActionUnitLabel):
        return get_action_unit(unit).phrase
    side = f" on the {unit.side} side" if unit.side else ""
    return get_action_unit(unit.number).phrase + side


def _clauses(units: Sequence[int], conjunction: str) -> str:
    return _enumerate([get_action_unit(unit).phrase for unit in units], conjunction)


def _enumerate(parts: Sequence[str], conjunction: str) -> str:
    """Joins with commas, one before the conjunction too, since phrases hold an "and" of their own."""
    return ", ".join([*parts[:-1], f"{conjunction} {parts[-1]}" if len(parts) > 1 else parts[-1]])


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def _negate(phrase: str) -> str:
    """Negates the one verb of a phrase."""
    verb = " is " if " is " in phrase else " are "
    return phrase.replace(verb, f"{verb}not ", 1)
