"""Corpora: real and synthetic clips in one schema, as `datasets.Dataset`."""

from .clip import CLIP_FEATURES, check_clip
from .emotion_actions import EMOTION_ACTIONS, emotion_action_sets, scheme_action_sets
from .streams import RESIDUAL_NUISANCES, aligned_faces, labelled_pairs, pretraining_pairs
from .synthetic_me import CORPORA, ClipPlan, emotion_pairs, plan_corpus, synthetic_me

__all__ = [
    "CLIP_FEATURES",
    "CORPORA",
    "RESIDUAL_NUISANCES",
    "EMOTION_ACTIONS",
    "ClipPlan",
    "aligned_faces",
    "check_clip",
    "emotion_action_sets",
    "emotion_pairs",
    "labelled_pairs",
    "plan_corpus",
    "pretraining_pairs",
    "scheme_action_sets",
    "synthetic_me",
]
