"""Cards rendered from templates, and checkpoint folders as they are published."""

from .build import UNSEEN_SEED, build_classifier, train_checkpoint
from .cards import render_card
from .checkpoint import write_checkpoint
from .converted import check_output, write_converted
from .push import Pushed, PushError, Target, check_target, push_folder
from .staging import check_checkpoint, push_checkpoint, push_dataset, push_metric, push_space
from .trained import continued_classifier, train_on_clips

__all__ = [
    "UNSEEN_SEED",
    "PushError",
    "Pushed",
    "Target",
    "build_classifier",
    "check_checkpoint",
    "check_output",
    "check_target",
    "continued_classifier",
    "push_checkpoint",
    "push_dataset",
    "push_folder",
    "push_metric",
    "push_space",
    "render_card",
    "train_checkpoint",
    "train_on_clips",
    "write_checkpoint",
    "write_converted",
]
