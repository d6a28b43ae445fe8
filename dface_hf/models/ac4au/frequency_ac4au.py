"""What stays and what changes over time: the redundancy decomposer of AC4AU, for any features of a clip."""

import torch


def split_frequencies(states: torch.Tensor, dim: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Split features over time by a real discrete Fourier transform.

    The constant part says who and where, the changing part what moved. The paper's equation for the inverse
    adds the conjugate half to all bins, which counts the Nyquist bin of an even number of frames twice; this
    is the true inverse (irfft), so that the changing part is the features minus their mean over time.

    Args:
        states: Features of any shape, real, with time along `dim`.
        dim: The dimension of time, T long.

    Returns:
        The changing part (AC), of the shape and type of `states` and with mean 0 over time; and the constant
        part (DC), the real part of bin 0, without `dim`. As in the paper the transform is not normalised, so
        that the constant part is T times the mean.
    """
    # In float32: there is no Fourier transform of bfloat16, and the mean must cancel.
    spectrum = torch.fft.rfft(states.float(), dim=dim)
    constant = spectrum.select(dim, 0).real
    changing = spectrum.narrow(dim, 1, spectrum.shape[dim] - 1)
    changing = torch.cat([torch.zeros_like(spectrum.narrow(dim, 0, 1)), changing], dim=dim)
    changing = torch.fft.irfft(changing, n=states.shape[dim], dim=dim)
    return changing.to(states.dtype), constant.to(states.dtype)


__all__ = ["split_frequencies"]
