"""Unlimited face clips with known motion: identities x action-unit warps x nuisances. Arrays in, arrays
out."""

from .clips import ClipTruth, animate_portrait, long_video, render_clip
from .fields import ActionFields, identity_modes, load_fields, warp_backward
from .identities import IdentityBank, faces_from_images, procedural_faces, vary_faces
from .nuisances import NuisanceConfig
from .pairs import UNITS, ActionSet, PairBatch, PairSampler
from .timing import TimeCourse, draw_time_course
from .tracks import Event, Track, action_weights, long_track

__all__ = [
    "UNITS",
    "ActionFields",
    "ActionSet",
    "ClipTruth",
    "Event",
    "IdentityBank",
    "NuisanceConfig",
    "PairBatch",
    "PairSampler",
    "TimeCourse",
    "Track",
    "action_weights",
    "animate_portrait",
    "draw_time_course",
    "faces_from_images",
    "identity_modes",
    "load_fields",
    "long_track",
    "long_video",
    "procedural_faces",
    "render_clip",
    "vary_faces",
    "warp_backward",
]
