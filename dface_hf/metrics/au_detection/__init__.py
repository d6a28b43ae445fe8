"""F1 of facial action units; `au_detection.py` is the module for `evaluate`."""

from .action_unit_f1 import CD6ME_UNITS, au_scores, unit_f1

__all__ = ["CD6ME_UNITS", "au_scores", "unit_f1"]
