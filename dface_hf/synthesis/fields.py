"""Motion and shading fields of facial action units in the aligned crop.

A *field* says where each skin point goes when one action unit acts at weight 1. The package carries fields
as sums of a few anisotropic Gaussians (``field_figures.json``), which `fit_fields.py` fitted to the
frontal projections of the ICT-FaceKit expression shapes (Li et al., "Learning Formation of
Physically-Based Face Attributes", CVPR 2020; MIT licence); no mesh and no array of it is included. The
measured arrays themselves (``action_fields.npz``) can be read instead by giving their path.

Coordinates: pixels of a 128 x 128 aligned crop inside this file, ``[-1, 1]`` (crop half-widths, y down)
in everything returned. Left and right are the SUBJECT's: the subject's left is the right half of the image.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
import torch.nn.functional as F

from .measured_fields import measured_maps, measured_modes, open_measured

CROP = 128
HALF = CROP / 2
GEOMETRY = 5  # numbers that place one Gaussian: centre x, centre y, sigma x, sigma y, angle

# Which expression shapes make up one action unit. The combinations for AU23, AU25, AU26 and AU28 are
# approximations: the 3-D model has no shape of its own for them. AU45 (blink) also stands for AU43.
SIDED_UNITS: dict[int, tuple[tuple[str, float], ...]] = {
    1: (("browInnerUp", 1.0),),
    2: (("browOuterUp", 1.0),),
    4: (("browDown", 1.0),),
    5: (("eyeWide", 1.0),),
    6: (("cheekSquint", 1.0),),
    7: (("eyeSquint", 1.0),),
    9: (("noseSneer", 1.0),),
    10: (("mouthUpperUp", 1.0),),
    12: (("mouthSmile", 1.0),),
    14: (("mouthDimple", 1.0),),
    15: (("mouthFrown", 1.0),),
    16: (("mouthLowerDown", 1.0),),
    20: (("mouthStretch", 1.0),),
    24: (("mouthPress", 1.0),),
    25: (("mouthLowerDown", 0.6), ("mouthUpperUp", 0.2)),
    45: (("eyeBlink", 1.0),),
}
MEDIAN_UNITS: dict[int, tuple[tuple[str, float], ...]] = {
    17: (("mouthShrugLower", 1.0),),
    18: (("mouthPucker", 1.0),),
    22: (("mouthFunnel", 1.0),),
    23: (("mouthPress_L", 0.5), ("mouthPress_R", 0.5), ("mouthRollUpper", 0.35), ("mouthRollLower", 0.35)),
    26: (("jawOpen", 0.35),),
    27: (("jawOpen", 1.0),),
    28: (("mouthRollUpper", 1.0), ("mouthRollLower", 1.0)),
}

# Skin creases of the subject's left half: (x0, y0, x1, y1) in px of the crop, half-width in px, and the
# change of log-luminance at weight 1. [engineering estimate]: places follow the FACS descriptions of the
# wrinkles, depths give at most about 4 of 255 grey levels on mid-grey skin at a third of the full weight.
CREASES: dict[int, tuple[tuple[float, float, float, float, float, float], ...]] = {
    1: ((64, 21, 78, 21.5, 0.9, -0.07), (64, 27, 77, 27, 0.9, -0.08)),
    2: ((80, 21, 100, 24, 0.9, -0.07), (79, 26.5, 99, 28.5, 0.9, -0.06)),
    4: ((67.5, 35, 67, 46, 0.9, -0.10),),
    6: ((101, 49, 107, 46, 0.7, -0.06), (101, 52, 108, 52.5, 0.7, -0.06), (80, 58.5, 95, 58, 0.9, -0.05)),
    9: ((64, 51, 69, 50, 0.8, -0.09), (64, 55, 69.5, 53.5, 0.8, -0.08), (73, 72, 78, 80, 1.1, -0.07)),
    10: ((74.5, 75, 82, 86, 1.2, -0.10),),
    12: ((75.5, 78, 87, 93, 1.2, -0.10),),
    14: ((84.5, 91, 85.5, 99, 0.9, -0.10),),
    15: ((82.5, 97, 85, 105, 1.0, -0.08),),
    17: ((54, 105.5, 74, 105.5, 1.2, -0.09),),
    20: ((85, 90, 87.5, 101, 1.1, -0.06),),
}


@dataclass(frozen=True)
class ActionFields:
    """Fields of K one-sided or bilateral action units on an S x S crop.

    Attributes:
        names: ``"AU12_left"``, ``"AU12_right"``, ``"AU17"``, ...
        units: FACS number of each.
        sides: ``"left"``, ``"right"`` (the subject's) or ``"both"``.
        displacement: (K, 2, S, S) float32, forward motion (dx, dy) of the skin point seen at each pixel at
            weight 1, in crop half-widths (px of a 128 crop / 64), linear in the weight and additive.
        shading: (K, 1, S, S) float32, change of log-luminance at weight 1: multiply by ``exp(w * shading)``.
        peak: (K,) float32, largest motion over the crop at weight 1 in px of a 128 crop.
        lip_edges: (K, 2, S) float32, vertical motion of the upper and the lower lip's inner edge at weight
            1 in each image column, in crop half-widths; where they part, a mouth cavity shows.
        lip_line: (S,) float32, height of the closed lip line in each column, in [-1, 1].
    """

    names: tuple[str, ...]
    units: tuple[int, ...]
    sides: tuple[str, ...]
    displacement: torch.Tensor
    shading: torch.Tensor
    peak: torch.Tensor
    lip_edges: torch.Tensor
    lip_line: torch.Tensor

    @property
    def size(self) -> int:
        """Side S of the crop in pixels."""
        return self.displacement.shape[-1]

    def at(self, size: int) -> ActionFields:
        """The same fields on a ``size`` x ``size`` crop (bilinear, averaged when it shrinks)."""
        columns = functools.partial(F.interpolate, size=size, mode="linear", align_corners=False)
        return ActionFields(
            self.names,
            self.units,
            self.sides,
            _resize(self.displacement, size),
            _resize(self.shading, size),
            self.peak,
            columns(self.lip_edges),
            columns(self.lip_line[None, None])[0, 0],
        )

    def index(self, unit: int, side: str = "both") -> list[int]:
        """Rows that together make action unit ``unit`` on ``side`` (``"both"``: left and right).

        Raises:
            KeyError: no field for this unit and side.
        """
        wanted = {side} if side != "both" else {"left", "right", "both"}
        rows = [
            k
            for k, (u, s) in enumerate(zip(self.units, self.sides, strict=True))
            if u == unit and s in wanted
        ]
        if not rows:
            raise KeyError(f"no field for action unit {unit}, side {side!r}; known: {', '.join(self.names)}")
        return rows

    def weight_for(self, pixels: float) -> torch.Tensor:
        """(K,) weights at which each unit alone moves skin by at most ``pixels`` px of a 128 crop."""
        return pixels / self.peak

    @property
    def opening(self) -> torch.Tensor:
        """(K, 1, S, S) share of each pixel that shows the mouth cavity at weight 1 of each unit alone."""
        return self.mouth_opening(torch.eye(len(self.names)))

    def mouth_opening(self, weights: torch.Tensor) -> torch.Tensor:
        """Share of each pixel that shows the mouth cavity for ``weights`` (B, K): (B, 1, S, S) in [0, 1].

        The lips part where the lower edge has moved further down than the upper one. The map lies in
        the moved crop (after the warp) of the mean face, and is exact for any sum of weights; teeth and the
        inner side of the lips are not told apart from the cavity.
        """
        edges = torch.einsum("bk,kes->bes", weights, self.lip_edges) + self.lip_line
        upper, lower = (edges[:, e, None] for e in (0, 1))
        half = 1 / self.size
        rows = _centres(self.size).to(edges)[None, :, None]
        covered = torch.minimum(rows + half, lower) - torch.maximum(rows - half, upper)
        return (covered / (2 * half)).clamp(0, 1)[:, None]


def load_fields(size: int = 64, path: str | Path | None = None) -> ActionFields:
    """Fields of every action unit on a ``size`` x ``size`` crop.

    Args:
        size: side of the crop in pixels.
        path: None for the fitted figures in the package, or an ``action_fields.npz`` to read instead.

    Raises:
        FileNotFoundError: ``path`` does not exist.
        ValueError: ``path`` is not a file of action fields.
    """
    shapes = both_sides(figures()) if path is None else _measured_shapes(Path(path))
    rows = recipes()
    motion = torch.stack([sum(w * shapes[s][0] for s, w in recipe) for _, _, recipe in rows])
    shading = torch.stack([sum(w * shapes[s][1] for s, w in recipe) for _, _, recipe in rows])
    units, sides = tuple(u for u, _, _ in rows), tuple(s for _, s, _ in rows)
    shading = shading + torch.stack([creases(u, s) for u, s in zip(units, sides, strict=True)])
    full = ActionFields(
        tuple(map(unit_name, units, sides)),
        units,
        sides,
        motion / HALF,
        shading[:, None],
        motion.norm(dim=1).amax((1, 2)),
        _lip_edges(motion) / HALF,
        (lip_line(_pixels(CROP), figures()["lip"]) / HALF - 1).float(),
    )
    return full.at(size)


def warp_backward(displacement: torch.Tensor, iterations: int = 6) -> torch.Tensor:
    """Sampling grid that moves an image along a forward displacement.

    Finds ``b`` with ``b(p) = -F(p + b(p))``, so that ``out(p) = in(p + b(p))``, by fixed-point iteration;
    the last step is halved, which keeps points between parted lips or in folds from jumping.

    Args:
        displacement: (B, 2, S, S) forward motion F in crop half-widths.
        iterations: number of steps. Measured at S = 64 over all units up to weight 1 and sums of two: 6 leave
            less than 0.02 px (of 128) everywhere at peaks of 3 px and in 99.8 % of pixels at 6 px; 3 leave
            less than 0.02 px at 1.5 px.

    Returns:
        (B, S, S, 2) absolute positions p + b in [-1, 1] for ``grid_sample(align_corners=False)``.
    """
    axis = _centres(displacement.shape[-1]).to(displacement)
    rest = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
    shift = -displacement.permute(0, 2, 3, 1)
    for step in range(iterations):
        there = F.grid_sample(displacement, rest + shift, padding_mode="border", align_corners=False)
        moved = -there.permute(0, 2, 3, 1)
        shift = moved if step < iterations - 1 else 0.5 * (shift + moved)
    return rest + shift


def identity_modes(size: int = 64, path: str | Path | None = None) -> torch.Tensor:
    """Modes of face geometry: mean face to another identity, for N(0, 1) weights.

    Args:
        size: side of the crop in pixels.
        path: None for the fitted figures (20 modes), or an ``action_fields.npz`` (50 modes).

    Returns:
        (M, 2, size, size) float32 forward displacements in crop half-widths per unit weight.
    """
    if path is not None:
        with open_measured(Path(path)) as z:
            return _resize(measured_modes(z) / HALF, size)
    coefficients = torch.tensor(figures()["modes"]["cosines"], dtype=torch.float32)
    basis = cosine_basis(coefficients.shape[-1]).float()
    return _resize(torch.einsum("mcij,iy,jx->mcyx", coefficients, basis, basis) / HALF, size)


def fit_quality() -> dict[str, float]:
    """R² of each unit's fitted displacement (dx and dy jointly, over the head) against the measured one."""
    return dict(figures()["unit_r2"])


def gaussians(geometry: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Anisotropic Gaussians of height 1.

    Args:
        geometry: (..., N, 5) centre x, centre y, sigma along, sigma across (px of the 128 crop), angle (rad).
        x: (P,) positions in px.
        y: (P,) positions in px.

    Returns:
        (..., N, P) values in (0, 1].
    """
    cx, cy, along, across, angle = (g[..., None] for g in geometry.unbind(-1))
    u, v = x - cx, y - cy
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.exp(-0.5 * (((cos * u + sin * v) / along) ** 2 + ((cos * v - sin * u) / across) ** 2))


def lip_line(x: torch.Tensor, lip: Sequence[float] | torch.Tensor) -> torch.Tensor:
    """Height in px of the closed lip line at column ``x`` (px): an even polynomial around x = 64."""
    return lip[0] + lip[1] * ((x - HALF) / 16).abs().clamp(max=1.5) ** 4


def lip_step(x: torch.Tensor, y: torch.Tensor, lip: Sequence[float] | torch.Tensor) -> torch.Tensor:
    """-1 on the upper lip, +1 on the lower: sharp along the mouth, ever softer beyond its corners.

    ``lip`` holds height and bend of the line (px), its sharpness inside the mouth (px), the half-width of
    the mouth (px) and how fast the step softens beyond it.
    """
    beyond = F.softplus((x - HALF).abs() - lip[3]) * lip[4]
    return torch.tanh((y - lip_line(x, lip)) / (lip[2] + beyond))


def creases(unit: int, side: str) -> torch.Tensor:
    """(128, 128) dark ridges of the unit's wrinkles, change of log-luminance at weight 1."""
    x, y = pixel_grid()
    total = torch.zeros(CROP * CROP)
    for x0, y0, x1, y1, width, depth in CREASES.get(unit, ()):
        length = math.hypot(x1 - x0, y1 - y0)
        place = torch.tensor(
            [[(x0 + x1) / 2, (y0 + y1) / 2, length / 2.5, width, math.atan2(y1 - y0, x1 - x0)]]
        )
        total += depth * gaussians(place, x, y)[0]
    image = total.view(CROP, CROP)
    return image.flip(-1) if side == "right" else image


def cosine_basis(order: int, length: int = CROP) -> torch.Tensor:
    """(order, length) float64 cosines of the type-II transform sampled at pixel centres, height 1."""
    t = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    return torch.cos(math.pi * torch.arange(order, dtype=torch.float64)[:, None] * t)


def mirrored(field: torch.Tensor) -> torch.Tensor:
    """The same displacement (..., 2, H, W) on the other half of the face."""
    return field.flip(-1) * torch.tensor([-1.0, 1.0]).view(2, 1, 1).to(field)


@functools.cache
def figures() -> dict:
    """The fitted figures of the package (read-only)."""
    return json.loads(resources.files(__package__).joinpath("field_figures.json").read_text("utf-8"))


def render_motion(shape: dict, lip: Sequence[float]) -> torch.Tensor:
    """Displacement (2, 128, 128) in px of one fitted shape, of the subject's left or bilateral."""
    x, y = pixel_grid()
    rows = torch.tensor(shape["components"], dtype=torch.float32)
    basis = gaussians(rows[:, :GEOMETRY], x, y)
    motion = rows[:, GEOMETRY : GEOMETRY + 2].T @ basis
    if rows.shape[1] > GEOMETRY + 2:
        motion += (rows[:, GEOMETRY + 2 :].T @ basis) * lip_step(x, y, lip)
    motion = motion.view(2, CROP, CROP)
    return motion + mirrored(motion) if shape["symmetric"] else motion


def render_shading(shape: dict) -> torch.Tensor:
    """Change of log-luminance (128, 128) of one fitted shape, without creases."""
    if not shape["shading"]:
        return torch.zeros(CROP, CROP)
    rows = torch.tensor(shape["shading"], dtype=torch.float32)
    shading = (rows[:, GEOMETRY] @ gaussians(rows[:, :GEOMETRY], *pixel_grid())).view(CROP, CROP)
    return shading + shading.flip(-1) if shape["symmetric"] else shading


def both_sides(found: dict) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Displacement and shading of every fitted shape; one-sided ones as ``_L`` and, mirrored, ``_R``."""
    shapes = {}
    for name, shape in found["shapes"].items():
        motion, shading = render_motion(shape, found["lip"]), render_shading(shape)
        if shape["symmetric"]:
            shapes[name] = motion, shading
        else:
            shapes[f"{name}_L"] = motion, shading
            shapes[f"{name}_R"] = mirrored(motion), shading.flip(-1)
    return shapes


def _measured_shapes(path: Path) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    with open_measured(path) as z:
        keys = [str(k) for k in z["action_keys"]]
        motion, shading = measured_maps(z)
    return {k: (motion[i], shading[i]) for i, k in enumerate(keys)}


def recipes() -> list[tuple[int, str, tuple[tuple[str, float], ...]]]:
    """(unit, side, ((shape, weight), ...)) of every field, in the order of `ActionFields`."""
    rows = [(u, "both", recipe) for u, recipe in MEDIAN_UNITS.items()]
    for unit, recipe in SIDED_UNITS.items():
        for side, ending in (("left", "_L"), ("right", "_R")):
            rows.append((unit, side, tuple((shape + ending, weight) for shape, weight in recipe)))
    return sorted(rows, key=lambda row: row[:2])


def unit_name(unit: int, side: str) -> str:
    """``"AU17"``, ``"AU12_left"``, ..."""
    return f"AU{unit}" if side == "both" else f"AU{unit}_{side}"


def _lip_edges(motion: torch.Tensor) -> torch.Tensor:
    """(K, 2, 128) vertical motion in px of upper and lower lip edge: extrapolated from 1.5 and 3 px away,
    because a pixel that the line crosses holds a mean of both lips."""
    x = _pixels(CROP)
    line = lip_line(x, figures()["lip"]).float()

    def at(offset: float) -> torch.Tensor:
        grid = torch.stack([x.float() / HALF - 1, (line + offset) / HALF - 1], -1)[None, None]
        grid = grid.expand(len(motion), -1, -1, -1)
        return F.grid_sample(motion[:, 1:], grid, padding_mode="border", align_corners=False)[:, 0, 0]

    return torch.stack([2 * at(s * 1.5) - at(s * 3.0) for s in (-1, 1)], 1)


def _resize(maps: torch.Tensor, size: int) -> torch.Tensor:
    if maps.shape[-1] == size:
        return maps
    return F.interpolate(maps, (size, size), mode="bilinear", align_corners=False, antialias=True)


def _pixels(size: int) -> torch.Tensor:
    return torch.arange(size) + 0.5


def _centres(size: int) -> torch.Tensor:
    return _pixels(size) * (2 / size) - 1


def pixel_grid(size: int = CROP) -> tuple[torch.Tensor, torch.Tensor]:
    """(size * size,) x and y of the pixel centres in px, row by row."""
    y, x = torch.meshgrid(_pixels(size), _pixels(size), indexing="ij")
    return x.flatten(), y.flatten()
