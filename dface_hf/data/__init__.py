"""Corpora: real and synthetic clips in one schema, as `datasets.Dataset`."""

from .clip import CLIP_FEATURES, check_clip
from .corpora import CorpusListing, read_corpus
from .emotion_actions import EMOTION_ACTIONS, emotion_action_sets, scheme_action_sets
from .flow_images import FlowImages, read_flow_images
from .megc2019 import Composite, check_composite, read_manifest, select_composite
from .pair_clips import EvenPairs, PairClips, cached_clips, keyframe_clips, render_clips
from .parquet_pairs import ParquetPairs, mixed_with_clips
from .prepare import PreparedCorpus, prepare
from .prepared_clips import LabelledClips, labelled_clips, open_clips
from .pretraining_mix import pretraining_mix
from .real_portraits import RealPortraits, part_of_identities, read_index, real_portraits
from .real_videos import RealPairs, real_pairs
from .streams import (
    RESIDUAL_NUISANCES,
    MixedPairs,
    PairStream,
    RepeatedPairs,
    StoredPairs,
    VideoPairs,
    aligned_faces,
    labelled_pairs,
    pretraining_pairs,
    rows_of,
    share_of,
)
from .synthetic_au import AU_CORPORA, synthetic_au, write_au_corpora
from .synthetic_me import CORPORA, ClipPlan, emotion_pairs, plan_corpus, synthetic_me
from .tokenising import tokenise, tokenise_clips
from .unit_clips import UnitClips, read_unit_clips

__all__ = [
    "AU_CORPORA",
    "CLIP_FEATURES",
    "CORPORA",
    "EMOTION_ACTIONS",
    "RESIDUAL_NUISANCES",
    "ClipPlan",
    "Composite",
    "CorpusListing",
    "EvenPairs",
    "LabelledClips",
    "MixedPairs",
    "FlowImages",
    "PairClips",
    "PairStream",
    "ParquetPairs",
    "PreparedCorpus",
    "RealPairs",
    "RealPortraits",
    "RepeatedPairs",
    "StoredPairs",
    "UnitClips",
    "VideoPairs",
    "aligned_faces",
    "cached_clips",
    "check_clip",
    "check_composite",
    "emotion_action_sets",
    "emotion_pairs",
    "keyframe_clips",
    "labelled_clips",
    "labelled_pairs",
    "mixed_with_clips",
    "open_clips",
    "part_of_identities",
    "plan_corpus",
    "prepare",
    "pretraining_mix",
    "pretraining_pairs",
    "read_corpus",
    "read_flow_images",
    "read_index",
    "read_manifest",
    "read_unit_clips",
    "real_pairs",
    "real_portraits",
    "render_clips",
    "rows_of",
    "scheme_action_sets",
    "share_of",
    "select_composite",
    "synthetic_au",
    "synthetic_me",
    "tokenise",
    "tokenise_clips",
    "write_au_corpora",
]
