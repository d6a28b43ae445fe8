"""The facial vocabulary: action units, emotions, class schemes, prompts. Needs only the standard library."""

from dface_hf.actions.action_units import ACTION_UNITS, REGIONS, ActionUnit, get_action_unit
from dface_hf.actions.annotations import (
    ActionUnitLabel,
    action_unit_readings,
    active_units,
    parse_action_units,
)
from dface_hf.actions.emotions import (
    CASME2_RULES,
    COARSE_EMOTIONS,
    EMOTION_PROTOTYPES,
    EMOTIONS,
    OBJECTIVE_CLASS_EMOTIONS,
    OBJECTIVE_CLASSES,
    EmotionPrototype,
    normalise_emotion,
    objective_class,
)
from dface_hf.actions.prompts import action_unit_prompt, class_prompts, describe_action_units, emotion_prompt
from dface_hf.actions.schemes import CLASS_SCHEMES, ClassScheme, get_class_scheme

__all__ = [
    "ACTION_UNITS",
    "CASME2_RULES",
    "CLASS_SCHEMES",
    "COARSE_EMOTIONS",
    "EMOTIONS",
    "EMOTION_PROTOTYPES",
    "OBJECTIVE_CLASSES",
    "OBJECTIVE_CLASS_EMOTIONS",
    "REGIONS",
    "ActionUnit",
    "ActionUnitLabel",
    "ClassScheme",
    "EmotionPrototype",
    "action_unit_prompt",
    "action_unit_readings",
    "active_units",
    "class_prompts",
    "describe_action_units",
    "emotion_prompt",
    "get_action_unit",
    "get_class_scheme",
    "normalise_emotion",
    "objective_class",
    "parse_action_units",
]
