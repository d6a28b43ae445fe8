"""What moves between two frames, as input channels of the D-FACE tokenizer: local motion by least squares."""

import torch
import torch.nn.functional as F

# Luminance of RGB (ITU-R BT.601); a single channel counts as it is.
LUMINANCE = (0.299, 0.587, 0.114)
# Gradient energy of sensor noise (two grey levels): below it, motion is pulled towards zero.
NOISE_ENERGY = 1e-4
# Motions are shown as asinh(px / KNEE): linear below, logarithmic above; 0.2 px is not lost beside 3 px.
KNEE = 0.25


def local_motion(onset: torch.Tensor, apex: torch.Tensor, levels: int) -> torch.Tensor:
    """Estimate motion from brightness constancy, solved in small windows (Lucas and Kanade 1981).

    Gradients are those of the pair's mean frame, so swapping the frames flips the sign of the result, and
    equal frames give exact zeros: what the null action needs.

    Args:
        onset: (batch, channels, height, width) in [0, 1], brightness matched.
        apex: The same.
        levels: Scales; each halves the resolution of the one before, for larger motions.

    Returns:
        (batch, 2 * levels, height, width): x and y of each level as asinh(px / 0.25), finest level first.
    """
    onset, apex = luminance(onset.float()), luminance(apex.float())
    mean, change = (onset + apex) / 2, apex - onset
    flows = []
    for level in range(levels):
        flow = _least_squares(F.avg_pool2d(mean, 2**level), F.avg_pool2d(change, 2**level))
        shown = torch.asinh(flow * (2**level / KNEE))
        flows.append(F.interpolate(shown, size=onset.shape[-2:], mode="bilinear", align_corners=False))
    return torch.cat(flows, dim=1)


def luminance(frames: torch.Tensor) -> torch.Tensor:
    """(batch, channels, height, width) -> (batch, 1, height, width)."""
    if frames.shape[1] != len(LUMINANCE):
        return frames.mean(dim=1, keepdim=True)
    return (frames * frames.new_tensor(LUMINANCE)[:, None, None]).sum(dim=1, keepdim=True)


def _least_squares(mean: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """Motion (batch, 2, h, w) in px that explains the change, least squares over a window of about 9x9."""
    scharr = mean.new_tensor([[-3.0, 0.0, 3.0], [-10.0, 0.0, 10.0], [-3.0, 0.0, 3.0]]) / 32
    kernel = torch.stack([scharr, scharr.T])[:, None]
    dx, dy = F.conv2d(F.pad(mean, (1, 1, 1, 1), mode="replicate"), kernel).chunk(2, dim=1)
    products = torch.cat([dx * dx, dx * dy, dy * dy, dx * change, dy * change], dim=1)
    xx, xy, yy, xt, yt = _window(products).split(1, dim=1)
    xx, yy = xx + NOISE_ENERGY, yy + NOISE_ENERGY
    determinant = xx * yy - xy * xy
    return torch.cat([xy * yt - yy * xt, xy * xt - xx * yt], dim=1) / determinant


def _window(values: torch.Tensor) -> torch.Tensor:
    """Average over a triangular window: a 5x5 box twice."""
    for _ in range(2):
        values = F.avg_pool2d(values, 5, stride=1, padding=2, count_include_pad=False)
    return values


__all__ = ["local_motion"]
