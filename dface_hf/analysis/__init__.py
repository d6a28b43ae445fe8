"""What a model has learned, and what it found in a clip: probes, figures, overlay video and report page."""

from .overlay import overlay_frames, write_overlay
from .pictures import magnify, motion_picture
from .plots import plot_clip, plot_event, save_figure
from .probes import ProbeResult, action_unit_probe, one_hot_tokens, pooled_difference
from .report import write_report
from .style import label_colours
from .tokens import evaluate_tokenizer, tokenise

__all__ = [
    "ProbeResult",
    "action_unit_probe",
    "evaluate_tokenizer",
    "label_colours",
    "magnify",
    "motion_picture",
    "one_hot_tokens",
    "overlay_frames",
    "plot_clip",
    "plot_event",
    "pooled_difference",
    "save_figure",
    "tokenise",
    "write_overlay",
    "write_report",
]
