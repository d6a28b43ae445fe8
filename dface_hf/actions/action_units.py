"""The action units the package knows by name: muscle, region, direction of motion and a phrase for prompts.

Numbers, names and muscles follow the Facial Action Coding System (Ekman, Friesen and Hager, "Facial Action
Coding System", 2002). Phrases are this package's own words. Each is one clause with a single verb, "is" or
"are", so that prompts can join and negate them mechanically (see `prompts.py`).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ActionUnit:
    """One visible facial movement.

    Attributes:
        number: FACS number.
        name: FACS name in lower case, the word used in MEGC question answering ("lip corner puller").
        muscle: muscle or muscles that cause it.
        region: one of `REGIONS`.
        motion: where the skin goes, in the subject's frame ("in" is toward the midline, "out" away from it).
        phrase: a lower-case clause for use inside a prompt ("the lip corners are pulled up and out").
    """

    number: int
    name: str
    muscle: str
    region: str
    motion: str
    phrase: str


REGIONS = ("brow", "eye", "nose", "cheek", "mouth", "chin", "jaw", "neck")
"""Regions of the face, from top to bottom."""

_UNITS = (
    ActionUnit(
        1,
        "inner brow raiser",
        "frontalis, medial part",
        "brow",
        "up",
        "the inner ends of the brows are raised",
    ),
    ActionUnit(
        2,
        "outer brow raiser",
        "frontalis, lateral part",
        "brow",
        "up",
        "the outer ends of the brows are arched upward",
    ),
    ActionUnit(
        4,
        "brow lowerer",
        "corrugator supercilii, depressor supercilii, procerus",
        "brow",
        "down and in",
        "the brows are drawn down and together",
    ),
    ActionUnit(
        5,
        "upper lid raiser",
        "levator palpebrae superioris",
        "eye",
        "up",
        "the upper eyelids are lifted wide",
    ),
    ActionUnit(
        6,
        "cheek raiser",
        "orbicularis oculi, orbital part",
        "cheek",
        "up and in",
        "the cheeks are lifted",
    ),
    ActionUnit(
        7,
        "lid tightener",
        "orbicularis oculi, palpebral part",
        "eye",
        "up and in",
        "the eyelids are narrowed",
    ),
    ActionUnit(
        9,
        "nose wrinkler",
        "levator labii superioris alaeque nasi",
        "nose",
        "up",
        "the nose is wrinkled",
    ),
    ActionUnit(
        10,
        "upper lip raiser",
        "levator labii superioris",
        "mouth",
        "up",
        "the upper lip is hitched upward",
    ),
    ActionUnit(
        11,
        "nasolabial deepener",
        "zygomaticus minor",
        "cheek",
        "up and out",
        "the folds from nose to mouth are deepened",
    ),
    ActionUnit(
        12,
        "lip corner puller",
        "zygomaticus major",
        "mouth",
        "up and out",
        "the lip corners are pulled up and out",
    ),
    ActionUnit(
        13,
        "sharp lip puller",
        "levator anguli oris",
        "mouth",
        "up",
        "the lip corners are pulled sharply upward",
    ),
    ActionUnit(14, "dimpler", "buccinator", "mouth", "in", "the lip corners are tucked inward"),
    ActionUnit(
        15,
        "lip corner depressor",
        "depressor anguli oris",
        "mouth",
        "down and out",
        "the lip corners are turned down",
    ),
    ActionUnit(
        16,
        "lower lip depressor",
        "depressor labii inferioris",
        "mouth",
        "down",
        "the lower lip is drawn down",
    ),
    ActionUnit(17, "chin raiser", "mentalis", "chin", "up", "the chin is bunched upward"),
    ActionUnit(
        18,
        "lip pucker",
        "incisivii labii superioris and inferioris",
        "mouth",
        "in",
        "the lips are puckered forward",
    ),
    ActionUnit(
        20,
        "lip stretcher",
        "risorius, platysma",
        "mouth",
        "out",
        "the mouth is stretched sideways",
    ),
    ActionUnit(
        21, "neck tightener", "platysma", "neck", "down and out", "the skin of the neck is pulled tight"
    ),
    ActionUnit(
        22, "lip funneler", "orbicularis oris", "mouth", "in", "the lips are rolled outward into a funnel"
    ),
    ActionUnit(
        23, "lip tightener", "orbicularis oris", "mouth", "in", "the lips are tightened into a thin line"
    ),
    ActionUnit(
        24,
        "lip pressor",
        "orbicularis oris",
        "mouth",
        "upper lip down, lower lip up",
        "the lips are pressed against each other",
    ),
    ActionUnit(
        25,
        "lips part",
        "depressor labii inferioris, or relaxed mentalis or orbicularis oris",
        "mouth",
        "upper lip up, lower lip down",
        "the lips are parted",
    ),
    ActionUnit(
        26,
        "jaw drop",
        "relaxed masseter and temporalis, internal pterygoid",
        "jaw",
        "down",
        "the jaw is dropped open",
    ),
    ActionUnit(
        27, "mouth stretch", "pterygoids, digastric", "jaw", "down", "the mouth is stretched wide open"
    ),
    ActionUnit(28, "lip suck", "orbicularis oris", "mouth", "in", "the lips are sucked in over the teeth"),
    ActionUnit(31, "jaw clencher", "masseter", "jaw", "out", "the jaw is clenched"),
    ActionUnit(38, "nostril dilator", "nasalis, alar part", "nose", "out", "the nostrils are flared"),
    ActionUnit(
        39, "nostril compressor", "nasalis, transverse part", "nose", "in", "the nostrils are narrowed"
    ),
    ActionUnit(
        43,
        "eyes closed",
        "relaxed levator palpebrae superioris, orbicularis oculi",
        "eye",
        "upper lid down",
        "the eyes are closed",
    ),
    ActionUnit(
        45,
        "blink",
        "relaxed levator palpebrae superioris, orbicularis oculi",
        "eye",
        "upper lid down and up",
        "the eyes are shut for an instant in a blink",
    ),
)

ACTION_UNITS: dict[int, ActionUnit] = {unit.number: unit for unit in _UNITS}
"""Every known action unit by its FACS number, in ascending order."""


def get_action_unit(number: int) -> ActionUnit:
    """Looks an action unit up.

    Args:
        number: FACS number.

    Returns:
        The entry of `ACTION_UNITS`.

    Raises:
        ValueError: if the vocabulary has no such unit; the message lists the known numbers.
    """
    if number not in ACTION_UNITS:
        known = ", ".join(map(str, ACTION_UNITS))
        raise ValueError(f"action unit {number!r} is not in the vocabulary; known units: {known}")
    return ACTION_UNITS[number]
