"""Hand-made features of motion that classical recognisers read: MDMO and LBP-TOP. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DIRECTIONS = 8
NEIGHBOURS = ((0, 1), (-1, 0), (0, -1), (1, 0))  # LBP with four neighbours: 16 patterns


def face_regions(rows: int = 6, columns: int = 6) -> NDArray[np.float64]:
    """Boxes over the face in an aligned crop.

    MDMO draws its 36 regions along 68 landmarks. An aligned crop knows eyes and mouth only, so the face
    between brows and chin is divided evenly; boxes along landmarks may be given to `mdmo` instead.

    Returns:
        (rows * columns, 4): left, top, right, bottom in the crop's coordinates, [-1, 1], y down.
    """
    x, y = np.linspace(-0.75, 0.75, columns + 1), np.linspace(-0.60, 0.90, rows + 1)
    return np.array([(x[j], y[i], x[j + 1], y[i + 1]) for i in range(rows) for j in range(columns)])


def mdmo(
    flow: NDArray, regions: NDArray | None = None, weights: tuple[float, float] = (0.8, 0.2)
) -> NDArray[np.float32]:
    """Main directional mean optical flow (Liu et al., IEEE Trans. Affective Computing 2016).

    In each region the flow vectors are sorted into eight directions; the mean of those in the fullest one
    stands for the region, as length and angle. Still vectors have no direction and are not counted.

    Args:
        flow: (H, W, 2) in pixels, onset to apex, of an aligned crop.
        regions: (n, 4) boxes as from `face_regions`, which is the default.
        weights: Of lengths and of angles, as in the CD6ME bench.

    Returns:
        (2 n,): lengths relative to the longest, times the first weight; then angles in [-pi, pi], times the
        second. All 0 for a still face.

    Raises:
        ValueError: For flow of another shape, or a region outside the crop.
    """
    flow = np.asarray(flow, dtype=np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"expected a flow field of shape (H, W, 2), got {flow.shape}")
    boxes = face_regions() if regions is None else np.asarray(regions, dtype=float)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or np.abs(boxes).max() > 1:
        raise ValueError("regions must be (n, 4): left, top, right, bottom, each in [-1, 1]")
    vectors = np.array([_main_vector(_cut(flow, box)) for box in boxes])
    length = np.linalg.norm(vectors, axis=1)
    angle = np.arctan2(vectors[:, 1], vectors[:, 0])
    return np.concatenate([weights[0] * length / max(length.max(), 1e-6), weights[1] * angle]).astype(
        np.float32
    )


def _cut(flow: NDArray, box: NDArray) -> NDArray:
    height, width = flow.shape[:2]
    left, right = np.rint((box[[0, 2]] + 1) / 2 * width).astype(int)
    top, bottom = np.rint((box[[1, 3]] + 1) / 2 * height).astype(int)
    return flow[top : max(bottom, top + 1), left : max(right, left + 1)].reshape(-1, 2)


def _main_vector(vectors: NDArray) -> NDArray:
    vectors = vectors[np.linalg.norm(vectors, axis=1) > 1e-6]
    if not len(vectors):
        return np.zeros(2)
    # Bins are centred on the axes, so that noise does not split a motion that runs along one.
    turns = np.arctan2(vectors[:, 1], vectors[:, 0]) / (2 * np.pi)
    bins = np.rint(turns * DIRECTIONS).astype(int) % DIRECTIONS
    return vectors[bins == np.bincount(bins, minlength=DIRECTIONS).argmax()].mean(axis=0)


def lbp_top(
    video: NDArray, radii: tuple[int, int, int] = (1, 1, 4), blocks: tuple[int, int] = (5, 5)
) -> NDArray[np.float32]:
    """Local binary patterns on three orthogonal planes (Zhao & Pietikainen, TPAMI 2007), four neighbours.

    The defaults are those of CASME II's baseline. A pattern says which neighbours are at least as bright as
    the pixel, in the planes x-y, x-t and y-t; histograms are taken in blocks of the picture and over all
    frames.

    Args:
        video: (T, H, W) grey, T > 2 radii[2].
        radii: Along x, y and t, in pixels and frames.
        blocks: Rows and columns.

    Returns:
        (rows * columns * 3 * 16,): block by block, plane by plane; each histogram sums to 1.

    Raises:
        ValueError: For a video of another shape, or one that is too short or too small.
    """
    video = np.asarray(video)
    if video.ndim != 3:
        raise ValueError(f"expected a grey video of shape (T, H, W), got {video.shape}")
    reach = (radii[2], radii[1], radii[0])  # along t, y, x
    inner = tuple(side - 2 * radius for side, radius in zip(video.shape, reach, strict=True))
    if min(inner) < 1 or inner[1] < blocks[0] or inner[2] < blocks[1]:
        raise ValueError(
            f"a video of {video.shape} is too small for radii {radii} and {blocks} blocks: it needs at least "
            f"{2 * radii[2] + 1} frames of {2 * radii[1] + blocks[0]} x {2 * radii[0] + blocks[1]} pixels"
        )
    block = (np.arange(inner[1]) * blocks[0] // inner[1])[:, None] * blocks[1]
    block = block + np.arange(inner[2]) * blocks[1] // inner[2]
    planes = [_patterns(video, reach, axes) for axes in ((1, 2), (0, 2), (0, 1))]
    count = blocks[0] * blocks[1]
    found = [np.bincount((block * 16 + plane).ravel(), minlength=16 * count) for plane in planes]
    histograms = np.stack(found, axis=1).reshape(count, 16, 3).transpose(0, 2, 1)
    return (histograms / histograms.sum(axis=2, keepdims=True)).ravel().astype(np.float32)


def resample_frames(video: NDArray, count: int = 10) -> NDArray[np.float32]:
    """A clip in a fixed number of frames, so that clips of any length and frame rate can be compared.

    The temporal interpolation that is usual before LBP-TOP (TIM; 10 frames is a common choice), linear in
    time here, where Zhou et al. (CVPR 2011) fit a curve to an embedding of the frames.

    Args:
        video: (T, H, W), T >= 2.
        count: Frames wanted, >= 2; the first and the last stay what they are.

    Returns:
        (count, H, W).

    Raises:
        ValueError: For fewer than 2 frames, given or wanted.
    """
    video = np.asarray(video, dtype=np.float32)
    if min(len(video), count) < 2:
        raise ValueError(f"{len(video)} frames cannot become {count}: both must be at least 2")
    place = np.linspace(0, len(video) - 1, count)
    before = np.minimum(place.astype(int), len(video) - 2)
    share = (place - before).astype(np.float32)[:, None, None]
    return (1 - share) * video[before] + share * video[before + 1]


def _patterns(video: NDArray, reach: tuple[int, int, int], axes: tuple[int, int]) -> NDArray[np.int64]:
    """Patterns 0..15 in the plane of two axes, of all pixels that have their neighbours."""
    centre = video[tuple(slice(r, side - r) for r, side in zip(reach, video.shape, strict=True))]
    code = np.zeros(centre.shape, dtype=np.int64)
    for bit, steps in enumerate(NEIGHBOURS):
        shift = [0, 0, 0]
        for axis, step in zip(axes, steps, strict=True):
            shift[axis] = step * reach[axis]
        window = tuple(
            slice(r + move, side - r + move) for r, move, side in zip(reach, shift, video.shape, strict=True)
        )
        code |= (video[window] >= centre).astype(np.int64) << bit
    return code
