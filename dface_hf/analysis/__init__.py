"""What a model has learned, and what it found in a clip: probes, figures, overlay video and report page."""

from .overlay import overlay_frames, write_overlay
from .pictures import magnify, motion_picture
from .plots import plot_clip, plot_event, save_figure
from .probes import (
    ActionUnitProbe,
    ProbeResult,
    action_unit_probe,
    flow_of,
    one_hot_tokens,
    pooled_difference,
    subject_probe,
    tuned_probe,
)
from .recognition import animated_features, leave_subjects_out
from .report import write_report
from .style import label_colours
from .tables import markdown_table
from .tokens import (
    Representation,
    codebook_use,
    evaluate_tokenizer,
    reconstruction,
    represent,
    token_agreement,
)

__all__ = [
    "ActionUnitProbe",
    "ProbeResult",
    "Representation",
    "action_unit_probe",
    "animated_features",
    "codebook_use",
    "evaluate_tokenizer",
    "flow_of",
    "label_colours",
    "leave_subjects_out",
    "magnify",
    "markdown_table",
    "motion_picture",
    "one_hot_tokens",
    "overlay_frames",
    "plot_clip",
    "plot_event",
    "pooled_difference",
    "reconstruction",
    "represent",
    "save_figure",
    "subject_probe",
    "token_agreement",
    "tuned_probe",
    "write_overlay",
    "write_report",
]
