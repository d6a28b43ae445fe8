"""The exponential moving average of a model's weights, which is what a run with one publishes."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def weight_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """Return an average of `model` that `update_parameters(model)` moves on; buffers are copied.

    Args:
        model: Read at each update; the first one copies it.
        decay: Share of the old average that stays at each update; 0 for no average.

    Raises:
        ValueError: If `decay` is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"ema_decay is {decay}; it must be at least 0, which is off, and below 1")
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def restart_average(average: AveragedModel | None) -> None:
    """Let the next update copy the model: what came before is of no more use."""
    if average is not None:
        average.n_averaged.zero_()
