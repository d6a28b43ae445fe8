"""Cards rendered from templates, and checkpoint folders as they are published."""

from .build import UNSEEN_SEED, build_classifier, train_checkpoint
from .cards import render_card
from .checkpoint import write_checkpoint
from .converted import check_output, write_converted
from .trained import continued_classifier, train_on_clips

__all__ = [
    "UNSEEN_SEED",
    "build_classifier",
    "check_output",
    "continued_classifier",
    "render_card",
    "train_checkpoint",
    "train_on_clips",
    "write_checkpoint",
    "write_converted",
]
