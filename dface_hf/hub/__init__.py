"""Cards rendered from templates, and checkpoint folders as they are published."""

from .build import UNSEEN_SEED, build_classifier, train_checkpoint
from .cards import checkpoint_card, render_card
from .checkpoint import write_checkpoint
from .converted import check_output, write_backbone, write_converted
from .published import Power
from .push import Pushed, PushError, Target, check_target, push_folder
from .staging import (
    check_checkpoint,
    preview_card,
    push_checkpoint,
    push_dataset,
    push_metric,
    push_space,
)
from .trained import (
    continued_classifier,
    data_lines,
    subjects_of,
    train_on_clips,
    write_tokenizer_card,
)

__all__ = [
    "UNSEEN_SEED",
    "Power",
    "PushError",
    "Pushed",
    "Target",
    "build_classifier",
    "check_checkpoint",
    "check_output",
    "check_target",
    "checkpoint_card",
    "continued_classifier",
    "data_lines",
    "preview_card",
    "push_checkpoint",
    "push_dataset",
    "push_folder",
    "push_metric",
    "push_space",
    "render_card",
    "train_checkpoint",
    "subjects_of",
    "train_on_clips",
    "write_backbone",
    "write_checkpoint",
    "write_converted",
    "write_tokenizer_card",
]
