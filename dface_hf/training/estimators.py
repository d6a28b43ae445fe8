"""scikit-learn estimators on features of motion, by name; fitted anew for each fold, never saved."""

from __future__ import annotations

from collections.abc import Callable

from sklearn.base import ClassifierMixin
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

ESTIMATORS: dict[str, Callable[[], ClassifierMixin]] = {
    "svm": lambda: make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced")),
    "svm-mdmo": lambda: make_pipeline(SVC(C=28.0, class_weight="balanced")),
    "svm-lbp-top": lambda: make_pipeline(StandardScaler(), SVC(C=1.0, class_weight="balanced")),
}
"""Names -> RBF-SVMs: on flow pictures; on MDMO with the C of the CD6ME bench, unscaled because MDMO weighs
its own parts; on LBP-TOP."""


def make_estimator(name: str) -> ClassifierMixin:
    """An unfitted estimator. A scaler is part of it, so that it is fitted on training clips only.

    Args:
        name: One of `ESTIMATORS`.

    Raises:
        ValueError: Unknown name; the message lists the known ones.
    """
    if name not in ESTIMATORS:
        raise ValueError(f"unknown estimator {name!r}; known: {', '.join(ESTIMATORS)}")
    return ESTIMATORS[name]()
