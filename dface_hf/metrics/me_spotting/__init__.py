"""F1 of events found in long videos, and STRS; `me_spotting.py` is the module for `evaluate`."""

from .spotting import interval_overlaps, match_events, spotting_scores

__all__ = ["interval_overlaps", "match_events", "spotting_scores"]
