"""Pixels in, pixels out: video, detection, alignment, tracking, stabilisation, keyframes and optical flow."""

from .alignment import EYES, MOUTH, Similarity, align, fit_similarity, locate
from .detection import Face, FaceDetector, make_detector
from .errors import ClipError
from .events import ClipEvents, FaceEvent, align_pair, find_clip_events
from .flow import flow_image, flow_to_rgb, optical_flow, optical_strain
from .keyframes import Event, Spotter, SpottingResult, find_apex, find_events, find_keyframes
from .stabilisation import Stabilised, stabilise
from .tracking import FaceTrack, FaceTracker, track_faces
from .video import Frame, FrameSource, open_frames, write_video

__all__ = [
    "ClipError",
    "ClipEvents",
    "EYES",
    "Event",
    "Face",
    "FaceDetector",
    "FaceEvent",
    "FaceTrack",
    "FaceTracker",
    "Frame",
    "FrameSource",
    "MOUTH",
    "Similarity",
    "Spotter",
    "SpottingResult",
    "Stabilised",
    "align",
    "align_pair",
    "find_apex",
    "find_clip_events",
    "find_events",
    "find_keyframes",
    "fit_similarity",
    "flow_image",
    "flow_to_rgb",
    "locate",
    "make_detector",
    "open_frames",
    "optical_flow",
    "optical_strain",
    "stabilise",
    "track_faces",
    "write_video",
]
