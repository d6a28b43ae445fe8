"""Removing head motion and a change of light between two aligned crops of one face.

A micro-expression moves skin by a fraction of a pixel; a head that drifts by one pixel between onset and apex
would drown it. One small similarity (shift, rotation, scale) is fitted and taken out of the apex frame.

The fit must not eat the facial action it is there to reveal. So it works on the motion of blocks, not of
pixels: each cell of a grid over the face gives the motion its texture can tell (the 2x2 normal equations of
Lucas & Kanade 1981), and the similarity is the motion most cells agree on: iteratively reweighted least
squares with Geman-McClure weights, whose unit is then pixels of motion, so that a cell on a raised brow is an
outlier however faint its texture. The scale of the weights shrinks from coarse to fine (graduated
non-convexity, Black & Rangarajan 1996).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from .flow import grey_image

Region = Literal["upper", "all"]

GRID = 16
"""Cells along one side of the crop in which motion is measured."""

WORKING_SIZE = 128
"""Larger crops are fitted at this side: the fit is good to a few hundredths of a pixel of it."""


# Centres of the cells in [-1, 1].
_CELL_SIDE = (np.arange(GRID) + 0.5) * 2 / GRID - 1
_DAMPING = 0.05
# Scale of the weights (pixels of motion) in each step, for the three levels of the pyramid.
_SIGMAS = ((2.0, 1.0), (0.7, 0.4), (0.3, 0.15, 0.1))


@dataclass(frozen=True)
class Stabilised:
    """An apex frame brought onto its onset frame, and what was taken out of it.

    Attributes:
        apex: the apex frame, same shape, type and range; the very array given where nothing was changed.
        shift_px: (x, y) shift of the apex at the centre of the crop, pixels of the crop.
        rotation_deg: rotation of the apex, degrees, positive from x to y (clockwise on screen).
        scale: size of the apex divided by the size of the onset.
        gain: contrast of the apex divided by that of the onset.
        offset: brightness added to the apex after the gain, grey levels of 255.
        applied: whether anything was taken out (False: nothing to do, or the motion was implausible).
        plausible: whether the fitted motion was within the limits.
        agreement: share of the weighed cells that follow the fitted motion, in [0, 1].
        matrix: (2, 3) float64, pixel of the onset -> pixel of the apex as it was given.
    """

    apex: NDArray
    shift_px: tuple[float, float]
    rotation_deg: float
    scale: float
    gain: float
    offset: float
    applied: bool
    plausible: bool
    agreement: float
    matrix: NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One scale of a grey crop, prepared for measuring the motion of other crops against it.

    Attributes:
        smooth: (h, w) float32, the slightly blurred picture without its local mean.
        gradient: (h, w, 2) float32, its x and y derivatives per pixel of this scale.
        texture: (N,) how much each cell can tell: the trace of its structure tensor.
        inverse: (N, 2, 2) takes the gradient-weighted difference of a cell to its motion in pixels.
        whiten: (N, 2, 2) takes the same difference to motion whose length is in pixels *along the texture*:
            a cell with one straight edge has no say about motion along that edge.
        rows: (N, 2, 4) whitened motion of each cell for a unit of each parameter of the similarity.
    """

    smooth: NDArray[np.float32]
    gradient: NDArray[np.float32]
    texture: NDArray[np.float32]
    inverse: NDArray[np.float32]
    whiten: NDArray[np.float32]
    rows: NDArray[np.float32]


def stabilise(
    onset: NDArray,
    apex: NDArray,
    region: Region = "upper",
    *,
    match_brightness: bool = True,
    max_shift: float = 0.06,
    max_rotation_deg: float = 5.0,
    max_scale: float = 0.05,
) -> Stabilised:
    """Take head motion and a change of light out of the apex frame.

    Args:
        onset: aligned crop (H, W, 3) or (H, W), H = W; uint8, or floating point in [0, 1]. Eye centres at
            (±0.35, -0.21) and mouth centre at (0, 0.48) of [-1, 1], y down.
        apex: the same shape and type.
        region: which cells vote: "upper", mostly those of the rigid upper face (nose bridge, temples, upper
            cheeks, forehead), or "all", the whole face alike.
        match_brightness: also bring the brightness of the apex to that of the onset.
        max_shift: largest plausible shift as a share of the crop's side; beyond it nothing is applied.
        max_rotation_deg: largest plausible rotation.
        max_scale: largest plausible change of size.

    Returns:
        the stabilised apex and the parameters. An identical pair comes back as it is.

    Raises:
        ValueError: for crops of different shape or type, too small, or not square.
    """
    _check_pair(onset, apex)
    size = np.shape(onset)[0]
    first, second = (_working(grey_image(x)) for x in (onset, apex))
    p, agreement = head_motion(prepare(first), second, cell_prior(region))
    matrix = pixel_matrix(p, size)
    gain, offset = _brightness(first, moved(second, p)) if match_brightness else (1.0, 0.0)
    shift = float(p[2]) * size / 2, float(p[3]) * size / 2
    rotation, scale = float(np.degrees(np.arctan2(p[1], 1 + p[0]))), float(np.hypot(1 + p[0], p[1]))
    plausible = (
        max(abs(s) for s in shift) <= max_shift * size
        and abs(rotation) <= max_rotation_deg
        and abs(scale - 1) <= max_scale
        and 0.5 < gain < 2
    )
    moves, shines = _reach(p) * size / 2 > 0.03, abs(gain - 1) > 0.002 or abs(offset) > 0.25
    stable = apex
    if plausible and moves:
        stable = _resample(stable, matrix)
        if stable.dtype != np.uint8:
            stable = stable.clip(0, 1)  # the filter overshoots at edges
    if plausible and shines:
        stable = _relight(stable, gain, offset)
    return Stabilised(
        stable, shift, rotation, scale, gain, offset, stable is not apex, plausible, agreement, matrix
    )


def prepare(image: NDArray[np.float32]) -> list[Level]:
    """A square grey crop (H, H) float32 in [0, 255] as a pyramid of levels, coarse first."""
    return [_level(band_pass(x)) for x in _pyramid(image)]


def head_motion(
    reference: list[Level],
    image: NDArray[np.float32],
    prior: NDArray[np.float32],
    start: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], float]:
    """The similarity that most cells agree on, coarse to fine.

    Args:
        reference: the prepared onset crop; with only its last levels, and a start, a search nearby.
        image: (H, H) float32, grey apex crop of the same size.
        prior: (N,) weight of each cell.
        start: parameters to start from; zeros when not given.

    Returns:
        parameters (a, b, tx, ty): the point z = x + iy of the [-1, 1] square is seen at
        (1 + a + ib) z + tx + i ty in the image; and the share of the weighed cells that agree.
    """
    p, agreement = np.zeros(4) if start is None else np.array(start, dtype=np.float64), 0.0
    levels = len(reference)
    for level, picture, sigmas in zip(reference, _pyramid(image)[-levels:], _SIGMAS[-levels:], strict=True):
        smooth = band_pass(picture)
        for sigma in sigmas:
            motion = (level.whiten @ _difference(level, moved(smooth, p)))[..., 0]
            step, agreement = _agreed_step(level, motion, prior, sigma)
            p = _compose(p, step)
    return p, agreement


def cell_motion(level: Level, smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Motion of each cell from the reference to a band-passed crop, one Lucas-Kanade step: (N, 2) pixels."""
    return (level.inverse @ _difference(level, smooth))[..., 0]


def band_pass(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light blur against noise, less the local mean: what is left does not see a slow change of light."""
    window = 2 * (image.shape[0] // 16) + 1
    fine = cv2.GaussianBlur(image, (5, 5), 1.0)
    return fine - cv2.blur(fine, (window, window), borderType=cv2.BORDER_REPLICATE)


def moved(image: NDArray, p: NDArray[np.float64]) -> NDArray:
    """Sample a crop where the similarity p puts each pixel; the picture itself for p = 0."""
    if not p.any():
        return image
    return _resample(image, pixel_matrix(p, image.shape[0]), cv2.INTER_LINEAR)


def pixel_matrix(p: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The similarity p as a (2, 3) matrix, pixel -> pixel, for a crop of this side."""
    centre = (size - 1) / 2
    linear = np.array([[1 + p[0], -p[1]], [p[1], 1 + p[0]]])
    shift = p[2:] * size / 2 + centre - linear @ [centre, centre]
    return np.column_stack([linear, shift])


@lru_cache(maxsize=4)
def cell_prior(region: Region = "upper") -> NDArray[np.float32]:
    """How far each cell of the grid is trusted to move with the head: (N,) in [0, 1], 0 off the face."""
    if region not in get_args(Region):
        raise ValueError(f"unknown region {region!r}: choose 'upper' or 'all'")
    x, y = np.abs(_CELL_SIDE)[None, :], _CELL_SIDE[:, None]
    # An ellipse just inside the outline of the face: what is behind it does not move with the head.
    face = (x / 0.78) ** 2 + ((y + 0.02) / 0.92) ** 2 < 1
    trust = np.ones((GRID, GRID))
    if region == "upper":
        trust[np.broadcast_to(y > 0.22, trust.shape)] = 0.5
        trust[(np.abs(y + 0.32) < 0.25) & (np.abs(x - 0.37) < 0.26)] = 0.25  # brows and lids
    return (trust * face).ravel().astype(np.float32)


def _level(smooth: NDArray[np.float32]) -> Level:
    gx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    gy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8, borderType=cv2.BORDER_REPLICATE)
    xx, xy, yy = cell_means(cv2.merge([gx * gx, gx * gy, gy * gy])).T
    # The damping is about the squared gradient that sensor noise leaves after the blur.
    tensor = np.stack([xx + _DAMPING, xy, xy, yy + _DAMPING], -1).reshape(-1, 2, 2)
    texture = xx + yy + 2 * _DAMPING
    root = np.linalg.cholesky(tensor) / np.sqrt(texture)[:, None, None]
    whiten = np.linalg.inv(root) / texture[:, None, None]
    rows = root.transpose(0, 2, 1) @ _jacobian(smooth.shape[0])
    return Level(smooth, cv2.merge([gx, gy]), texture, np.linalg.inv(tensor), whiten, rows)


def _difference(level: Level, smooth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean of gradient times difference over each cell: (N, 2, 1), the right side of Lucas & Kanade."""
    return cell_means(level.gradient * (level.smooth - smooth)[..., None])[..., None]


@lru_cache(maxsize=16)
def _jacobian(size: int) -> NDArray[np.float32]:
    y, x = (z.ravel() for z in np.meshgrid(_CELL_SIDE, _CELL_SIDE, indexing="ij"))
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.stack([np.stack([x, -y, one, zero], -1), np.stack([y, x, zero, one], -1)], 1)
    return (rows * size / 2).astype(np.float32)


def cell_means(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of (h, w, C) over the cells of the grid, a little overlapping: (N, C)."""
    cells = cv2.resize(planes, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(cells, (3, 3), 0.6, borderType=cv2.BORDER_REPLICATE).reshape(GRID * GRID, -1)


def _agreed_step(
    level: Level, motion: NDArray[np.float32], prior: NDArray[np.float32], sigma: float
) -> tuple[NDArray[np.float64], float]:
    """Similarity that fits the cells' motion, by reweighted least squares: parameters and agreement."""
    # Nearly equal votes for well-textured cells: otherwise hair and brows outvote the skin.
    vote = prior * level.texture / (level.texture + np.median(level.texture))
    step = np.zeros(4, np.float32)
    for _ in range(3):
        rest = motion - level.rows @ step
        weight = vote * (sigma**2 / (sigma**2 + (rest * rest).sum(1))) ** 2
        weighed = (level.rows * weight[:, None, None]).reshape(-1, 4).T
        normal = weighed @ level.rows.reshape(-1, 4) + 1e-6 * np.eye(4, dtype=np.float32)
        step = np.linalg.solve(normal, weighed @ motion.reshape(-1))
    # Judged at half a pixel, whatever sigma: the last ones are as small as the noise.
    agreed = vote @ (0.25 / (0.25 + ((motion - level.rows @ step) ** 2).sum(1))) ** 2
    return step.astype(np.float64), float(agreed / max(vote.sum(), 1e-9))


def _compose(p: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """First ``step``, then ``p``, as similarities of the complex plane."""
    outer, inner = 1 + complex(*p[:2]), 1 + complex(*step[:2])
    turn, shift = outer * inner - 1, outer * complex(*step[2:]) + complex(*p[2:])
    return np.array([turn.real, turn.imag, shift.real, shift.imag])


def _pyramid(image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    half = cv2.pyrDown(image)
    return [cv2.pyrDown(half), half, image]


def _working(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    if grey.shape[0] <= WORKING_SIZE:
        return grey
    return cv2.resize(grey, (WORKING_SIZE, WORKING_SIZE), interpolation=cv2.INTER_AREA)


def _brightness(onset: NDArray[np.float32], apex: NDArray[np.float32]) -> tuple[float, float]:
    """Gain and offset that turn the onset's cell means into the apex's, cells that do not fit left out."""
    inside = cell_prior("all") > 0
    x, y = (cell_means(z[..., None])[inside, 0].astype(np.float64) for z in (onset, apex))
    gain, offset = 1.0, 0.0
    for _ in range(5):
        rest = y - gain * x - offset
        weight = (9 / (9 + rest**2)) ** 2
        mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
        spread = np.average((x - mean_x) ** 2, weights=weight)
        # A gain of 1 is the answer for a face of one tone, which cannot tell gain from offset.
        gain = (np.average((x - mean_x) * (y - mean_y), weights=weight) + 25) / (spread + 25)
        offset = mean_y - gain * mean_x
    return float(gain), float(offset)


def _reach(p: NDArray[np.float64]) -> float:
    """Upper bound of the motion on the face, in [-1, 1] units."""
    return float(0.9 * np.hypot(p[0], p[1]) + np.hypot(p[2], p[3]))


def _resample(
    image: NDArray, matrix: NDArray[np.float64], interpolation: int = cv2.INTER_LANCZOS4
) -> NDArray:
    size = image.shape[1], image.shape[0]
    dtype = image.dtype
    source = image if dtype in (np.uint8, np.float32) else image.astype(np.float32)
    moved = cv2.warpAffine(
        source, matrix, size, flags=interpolation | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    ).reshape(image.shape)
    return moved.astype(dtype, copy=False)


def _relight(image: NDArray, gain: float, offset: float) -> NDArray:
    top = 255.0 if image.dtype == np.uint8 else 1.0
    lit = ((image.astype(np.float32) - offset * top / 255) / gain).clip(0, top)
    return np.rint(lit).astype(np.uint8) if image.dtype == np.uint8 else lit.astype(image.dtype)


def _check_pair(onset: NDArray, apex: NDArray) -> None:
    if np.shape(onset) != np.shape(apex) or onset.dtype != apex.dtype:
        raise ValueError(
            f"onset and apex must have one shape and type, got {np.shape(onset)} {onset.dtype} and "
            f"{np.shape(apex)} {apex.dtype}"
        )
    if np.ndim(onset) < 2 or np.shape(onset)[0] != np.shape(onset)[1] or np.shape(onset)[0] < 32:
        raise ValueError(f"expected square aligned crops of at least 32x32 pixels, got {np.shape(onset)}")
