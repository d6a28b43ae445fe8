"""What stays and what changes over time: the redundancy decomposer of AC4AU, for any features of a clip."""

import torch


def split_frequencies(states: torch.Tensor, dim: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Split features over time into bin 0 of a real discrete Fourier transform and all others.

    The constant part says who and where, the changing part what moved. The paper's equation for the inverse
    adds the conjugate half to all bins, which counts the Nyquist bin of an even number of frames twice; the
    true inverse (irfft) gives the features minus their mean over time, and that is what is computed here.

    Args:
        states: Features of any shape, real, with time along `dim`.
        dim: The dimension of time, T long.

    Returns:
        The changing part (AC), of the shape and type of `states` and with mean 0 over time; and the constant
        part (DC), the real part of bin 0, without `dim`. As in the paper the transform is not normalised, so
        that the constant part is T times the mean.
    """
    # Without complex numbers, which exported graphs do not know; in float32, for the mean must cancel.
    total = states.float().sum(dim=dim, keepdim=True)
    changing = states.float() - total / states.shape[dim]
    return changing.to(states.dtype), total.squeeze(dim).to(states.dtype)


__all__ = ["split_frequencies"]
