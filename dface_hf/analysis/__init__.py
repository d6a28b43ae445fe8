"""What a model has learned: probes on its tokens."""

from .probes import ProbeResult, action_unit_probe, one_hot_tokens, pooled_difference

__all__ = ["ProbeResult", "action_unit_probe", "one_hot_tokens", "pooled_difference"]
