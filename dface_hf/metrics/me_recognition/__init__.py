"""UF1, UAR and accuracy of emotion classes; `me_recognition.py` is the module for `evaluate`."""

from .recognition import (
    check_labels,
    class_count,
    class_scores,
    confusion_counts,
    confusion_scores,
    recognition_scores,
)

__all__ = [
    "check_labels",
    "class_count",
    "class_scores",
    "confusion_counts",
    "confusion_scores",
    "recognition_scores",
]
