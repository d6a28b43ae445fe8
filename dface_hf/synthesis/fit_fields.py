"""Fit the compact figures of `fields.py` to measured action fields.

    python -m dface_hf.synthesis.fit_fields PATH/action_fields.npz --out field_figures.json

Each expression shape of the subject's left side (and each bilateral shape, as one half plus its mirror
image) becomes a sum of Gaussians. Their places are found by Adam; the amplitudes are solved exactly for
the current places in every step (variable projection, Golub and Pereyra 1973), so that only five numbers
per Gaussian are searched. Deterministic: no random number is drawn.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from dface_hf.whole_files import write_text

from .fields import (
    CROP,
    GEOMETRY,
    MEDIAN_UNITS,
    SIDED_UNITS,
    both_sides,
    cosine_basis,
    gaussians,
    lip_step,
    pixel_grid,
    recipes,
    render_motion,
    render_shading,
    unit_name,
)
from .measured_fields import measured_maps, measured_modes, open_measured

LIP = (94.4, 0.9, 0.5, 16.0, 0.7)  # start of the search: see fields.lip_step
BUDGETS = (8, 14, 22)  # numbers of Gaussians tried in turn
GOAL = 0.985  # R² at which a shape needs no more of them
SHADING_GAUSSIANS = 14
MODES, ORDER = 20, 12
OUTSIDE = 0.05  # weight of the tapered surroundings of the head: keeps Gaussians tame there
SIGMA = (1.0, 45.0)


def columns(
    geometry: torch.Tensor, x: torch.Tensor, y: torch.Tensor, step: torch.Tensor | None
) -> torch.Tensor:
    """(B, N or 2N, P) basis functions: Gaussians, and the same times the lip step where given."""
    basis = gaussians(geometry, x, y)
    return basis if step is None else torch.cat([basis, basis * step], 1)


class Problem:
    """Targets (B, C, 128, 128) on one half-face or both, with the weights of their pixels.

    Args:
        targets: (B, C, 128, 128) maps to fit.
        weight: (128, 128) weights of the pixels.
        signs: (C,) sign of each channel under mirroring, or None when the maps have no symmetry.
        split: whether the Gaussians may jump at the lip line.
        lip: start values of the lip line.
    """

    def __init__(self, targets, weight, signs, split, lip):
        self.scale = targets.abs().amax((1, 2, 3), keepdim=True)
        self.targets = (targets / self.scale).flatten(2)
        self.weight = weight.flatten()
        self.signs, self.split = signs, split
        self.lip = torch.tensor(lip)
        self.x, self.y = pixel_grid()

    def basis(self, geometry: torch.Tensor, pick: torch.Tensor) -> list[torch.Tensor]:
        """Basis functions (B, M, P) for every channel at the picked pixels."""
        x, y = self.x[pick], self.y[pick]
        near = self._columns(geometry, x, y)
        channels = self.targets.shape[1]
        if self.signs is None:
            return [near] * channels
        far = self._columns(geometry, CROP - x, y)
        return [near + s * far for s in self.signs]

    def _columns(self, geometry: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        basis = gaussians(geometry, x, y)
        return torch.cat([basis, basis * lip_step(x, y, self.lip)], 1) if self.split else basis

    def solve(self, basis: list[torch.Tensor], pick: torch.Tensor) -> torch.Tensor:
        """(B, C, M) amplitudes: weighted least squares with a little ridge against cancelling pairs."""
        found = []
        for c, phi in enumerate(basis):
            phi = phi.double()
            heavy = phi * self.weight[pick].double()
            gram = heavy @ phi.mT
            ridge = 1e-4 * gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-9
            gram = gram + ridge * torch.eye(gram.shape[-1], dtype=gram.dtype)
            found.append(torch.linalg.solve(gram, heavy @ self.targets[:, c, pick, None].double())[..., 0])
        return torch.stack(found, 1).float()

    def residual(self, geometry: torch.Tensor, pick: torch.Tensor) -> torch.Tensor:
        """(B, C, P) what the best amplitudes leave."""
        basis = self.basis(geometry, pick)
        with torch.no_grad():
            amplitudes = self.solve(basis, pick)
        fitted = torch.stack(
            [(a[:, None] @ phi)[:, 0] for a, phi in zip(amplitudes.unbind(1), basis, strict=True)], 1
        )
        return self.targets[:, :, pick] - fitted

    def loss(self, geometry: torch.Tensor, pick: torch.Tensor) -> torch.Tensor:
        """(B,) share of the weighted energy that is left."""
        heavy = self.weight[pick]
        left = (self.residual(geometry, pick) ** 2 * heavy).sum((1, 2))
        return left / (self.targets[:, :, pick] ** 2 * heavy).sum((1, 2))


def start(problem: Problem, count: int) -> torch.Tensor:
    """(B, count, 5) first places: one Gaussian after the other where most energy is left."""
    pick = torch.arange(0, CROP * CROP)
    geometry = torch.zeros(len(problem.targets), 0, GEOMETRY)
    left = problem.targets
    for n in range(count):
        energy = ((left**2).sum(1) * problem.weight).view(-1, 1, CROP, CROP)
        energy = torch.nn.functional.avg_pool2d(energy, 9, 1, 4).flatten(1)
        if problem.signs is not None:
            energy = energy * (problem.x > CROP / 2 - 2)
        peak = energy.argmax(1)
        size = torch.full_like(problem.x[peak], 12.0 if n < count // 3 else 6.0)
        place = torch.stack([problem.x[peak], problem.y[peak], size, size, torch.zeros_like(size)], -1)
        geometry = torch.cat([geometry, place[:, None]], 1)
        left = problem.residual(geometry, pick)
    return geometry


def fit(
    problem: Problem, count: int, steps: int, learn_lip: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places (B, count, 5) and amplitudes (B, C, M) of ``count`` Gaussians per map."""
    first = start(problem, count)
    free = torch.cat([first[..., :2] / 10, first[..., 2:4].log(), first[..., 4:]], -1).requires_grad_()
    lip = problem.lip.clone().requires_grad_(learn_lip)
    groups = [{"params": [free], "lr": 0.04}] + ([{"params": [lip], "lr": 0.01}] if learn_lip else [])
    adam = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, [g["lr"] for g in groups], total_steps=steps)
    inside = problem.weight > 0
    parity = (problem.x.int() % 2) * 2 + problem.y.int() % 2
    phases = [torch.nonzero(inside & (parity == p))[:, 0] for p in range(4)]
    for step in range(steps):
        if learn_lip:
            problem.lip = lip
        loss = problem.loss(_placed(free), phases[step % 4]).sqrt().sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    problem.lip = lip.detach()
    geometry = _placed(free).detach()
    everywhere = torch.nonzero(inside)[:, 0]
    amplitudes = problem.solve(problem.basis(geometry, everywhere), everywhere) * problem.scale[..., 0]
    return geometry, amplitudes


def _placed(free: torch.Tensor) -> torch.Tensor:
    centre = (free[..., :2] * 10).clamp(-10, CROP + 10)
    return torch.cat([centre, free[..., 2:4].exp().clamp(*SIGMA), free[..., 4:]], -1)


def table(geometry: torch.Tensor, amplitudes: torch.Tensor, digits: int) -> list[list[float]]:
    """Rows [5 places, amplitudes (dx, dy), then those of the lip step] of one map, rounded."""
    count = len(geometry)
    parts = amplitudes.view(amplitudes.shape[0], -1, count).permute(2, 1, 0).flatten(1)
    rows = [[round(v, 2) for v in g[:4]] + [round(g[4], 3)] for g in geometry.tolist()]
    return [g + [round(v, digits) for v in a] for g, a in zip(rows, parts.tolist(), strict=True)]


def r_squared(truth: torch.Tensor, fitted: torch.Tensor, mask: torch.Tensor) -> float:
    """1 - residual / total energy about the mean of each channel over the mask (maps (C, H, W))."""
    truth, fitted = truth[:, mask], fitted[:, mask]
    return float(1 - ((truth - fitted) ** 2).sum() / ((truth - truth.mean(1, keepdim=True)) ** 2).sum())


@dataclass(frozen=True)
class Family:
    """Shapes fitted side by side: maps (B, 2, 128, 128) and (B, 128, 128), and what they have in common."""

    names: list[str]
    motion: torch.Tensor
    shading: torch.Tensor
    symmetric: bool
    split: bool


def fit_motion(family: Family, weight: torch.Tensor, mask: torch.Tensor, lip: tuple, steps: int) -> tuple:
    """Figures of the displacements, with ever more Gaussians until `GOAL` is reached, and the lip line.

    The lip line is searched together with the bilateral shapes, which open the mouth widest.
    """
    shapes, waiting = {}, list(range(len(family.names)))
    signs = (-1.0, 1.0) if family.symmetric else None
    for budget in BUDGETS:
        if not waiting:
            break
        learn = family.symmetric and budget == BUDGETS[0]
        problem = Problem(family.motion[waiting], weight, signs, family.split, lip)
        geometry, amplitudes = fit(problem, budget, steps, learn)
        lip = tuple(round(v, 3) for v in problem.lip.tolist()) if learn else lip
        for i, g, a in zip(list(waiting), geometry, amplitudes, strict=True):
            shape = {"symmetric": family.symmetric, "components": table(g, a, 3), "shading": []}
            shape["r2"] = round(r_squared(family.motion[i], render_motion(shape, lip), mask), 4)
            shapes[family.names[i]] = max(shape, shapes.get(family.names[i], shape), key=lambda s: s["r2"])
            if shape["r2"] >= GOAL:
                waiting.remove(i)
    return shapes, lip


def fit_shading(family: Family, weight: torch.Tensor, mask: torch.Tensor, shapes: dict, steps: int) -> None:
    """Add the figures of the shading to ``shapes``."""
    problem = Problem(family.shading[:, None], weight, (1.0,) if family.symmetric else None, False, LIP)
    found = fit(problem, SHADING_GAUSSIANS, steps)
    for name, truth, g, a in zip(family.names, family.shading, *found, strict=True):
        shapes[name]["shading"] = table(g, a, 4)
        fitted = render_shading(shapes[name])
        shapes[name]["shading_r2"] = round(r_squared(truth[None], fitted[None], mask), 4)


def fit_modes(modes: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor) -> dict:
    """Cosine coefficients (M, 2, ORDER, ORDER) of modes (M, 2, 128, 128) by weighted least squares."""
    basis = cosine_basis(ORDER)
    phi = torch.einsum("iy,jx->ijyx", basis, basis).flatten(0, 1).flatten(1)
    heavy = phi * weight.flatten().double()
    gram = heavy @ phi.T
    gram += 1e-4 * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    flat = modes.flatten(0, 1).flatten(1).double()
    found = torch.linalg.solve(gram, heavy @ flat.T).T.reshape(*modes.shape[:2], -1)
    found = torch.round(found * 1000) / 1000
    fitted = (found @ phi).view_as(modes)
    quality = [round(r_squared(m, f, mask), 4) for m, f in zip(modes.double(), fitted, strict=True)]
    return {"r2": quality, "cosines": found.view(*modes.shape[:2], ORDER, ORDER).tolist()}


def unit_quality(shapes: dict, lip: tuple, truth: dict, mask: torch.Tensor) -> dict[str, float]:
    """R² of each action unit, its shapes added up as in `fields.py`, on the side it stands for."""
    fitted = both_sides({"lip": lip, "shapes": shapes})
    quality = {}
    for unit, side, recipe in recipes():
        measured = sum(w * truth[s] for s, w in recipe)
        found = sum(w * fitted[s][0] for s, w in recipe)
        quality[unit_name(unit, side)] = round(r_squared(measured, found, mask), 4)
    return quality


def fit_file(path: Path, steps: int = 200) -> dict:
    """All figures for the measured fields in ``path`` (see module docstring)."""
    with open_measured(path) as z:
        keys = [str(k) for k in z["action_keys"]]
        mask = torch.from_numpy(z["mask_head"])
        motion, shading = measured_maps(z)
        modes = measured_modes(z)[:MODES]
    weight = torch.where(mask, 1.0, OUTSIDE)
    median = sorted({s for recipe in MEDIAN_UNITS.values() for s, _ in recipe if s in keys and "_" not in s})
    sided = sorted({s for recipe in SIDED_UNITS.values() for s, _ in recipe})
    lip, shapes = LIP, {}
    for symmetric, split in ((True, True), (False, True), (False, False)):
        names = median if symmetric else [s for s in sided if s.startswith(("mouth", "nose")) == split]
        rows = [keys.index(n if symmetric else f"{n}_L") for n in names]
        family = Family(names, motion[rows], shading[rows], symmetric, split)
        found, lip = fit_motion(family, weight, mask, lip, steps)
        fit_shading(family, weight, mask, found, steps)
        for name, s in found.items():
            print(f"{name:16} {len(s['components']):3} Gaussians  R² {s['r2']}  shading R² {s['shading_r2']}")
        shapes.update(found)
    return {
        "about": "fitted to frontal motion fields of ICT-FaceKit expression shapes (USC ICT, MIT licence)",
        "crop": CROP,
        "lip": list(lip),
        "unit_r2": unit_quality(shapes, lip, dict(zip(keys, motion, strict=True)), mask),
        "shapes": shapes,
        "modes": fit_modes(modes, weight, mask),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("path", type=Path, help="action_fields.npz")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("field_figures.json"))
    parser.add_argument("--steps", type=int, default=200, help="Adam steps per fit")
    args = parser.parse_args()
    text = json.dumps(fit_file(args.path, args.steps), separators=(",", ":"))
    write_text(args.out, text.replace('},"', '},\n"') + "\n")


if __name__ == "__main__":
    main()
