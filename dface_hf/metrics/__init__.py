"""Scores: recognition (UF1, UAR), action units (F1), spotting (F1 at an overlap), intervals, prediction logs.

Each of the folders is also a module of the library `evaluate`, as it is pushed to the Hub; the functions here
need nothing of it.
"""

from .au_detection import CD6ME_UNITS, au_scores, unit_f1
from .intervals import bootstrap_interval, paired_bootstrap
from .logs import Prediction, aligned, read_log, write_log
from .me_recognition import class_scores, recognition_scores
from .me_spotting import interval_overlaps, match_events, spotting_scores
from .oracle import scores_with_oracle
from .runs import scores_of_runs

__all__ = [
    "CD6ME_UNITS",
    "Prediction",
    "aligned",
    "au_scores",
    "bootstrap_interval",
    "class_scores",
    "interval_overlaps",
    "match_events",
    "paired_bootstrap",
    "read_log",
    "recognition_scores",
    "scores_of_runs",
    "scores_with_oracle",
    "spotting_scores",
    "unit_f1",
    "write_log",
]
