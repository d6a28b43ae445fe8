"""Corpora: real and synthetic clips in one schema, as `datasets.Dataset`."""

from .clip import CLIP_FEATURES, check_clip
from .emotion_actions import EMOTION_ACTIONS, emotion_action_sets, scheme_action_sets
from .flow_images import FlowImages, read_flow_images
from .pair_clips import EvenPairs, PairClips, cached_clips, keyframe_clips, render_clips
from .real_portraits import RealPortraits, part_of_identities, read_index, real_portraits
from .real_videos import RealPairs, real_pairs
from .streams import (
    RESIDUAL_NUISANCES,
    MixedPairs,
    RepeatedPairs,
    StoredPairs,
    VideoPairs,
    aligned_faces,
    labelled_pairs,
    pretraining_pairs,
)
from .synthetic_me import CORPORA, ClipPlan, emotion_pairs, plan_corpus, synthetic_me

__all__ = [
    "CLIP_FEATURES",
    "CORPORA",
    "EMOTION_ACTIONS",
    "RESIDUAL_NUISANCES",
    "ClipPlan",
    "EvenPairs",
    "MixedPairs",
    "FlowImages",
    "PairClips",
    "RealPairs",
    "RealPortraits",
    "RepeatedPairs",
    "StoredPairs",
    "VideoPairs",
    "aligned_faces",
    "cached_clips",
    "check_clip",
    "emotion_action_sets",
    "emotion_pairs",
    "keyframe_clips",
    "labelled_pairs",
    "part_of_identities",
    "plan_corpus",
    "pretraining_pairs",
    "read_flow_images",
    "read_index",
    "real_pairs",
    "real_portraits",
    "render_clips",
    "scheme_action_sets",
    "synthetic_me",
]
