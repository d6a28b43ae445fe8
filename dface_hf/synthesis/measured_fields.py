"""Read measured action fields (``action_fields.npz``) and turn them into displacement and shading maps."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

LIGHT = (0.0, -0.45, 0.893)  # frontal and above, x right, y down, z to the viewer
MEASURED = frozenset(
    "action_keys dx dy dnx dny dnz neutral_normal mode_dx mode_dy nearest_row nearest_col feather".split()
)
AMBIENT = 0.45  # share of light without direction in the shading model


def open_measured(path: Path) -> np.lib.npyio.NpzFile:
    """Open an ``action_fields.npz`` after checking that it is one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of action fields")
    try:
        z = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: not an .npz file of action fields ({error})") from None
    missing = MEASURED - set(getattr(z, "files", ()))
    if missing:
        raise ValueError(f"{path}: not a file of action fields, it lacks {', '.join(sorted(missing))}")
    return z


def measured_maps(z: np.lib.npyio.NpzFile) -> tuple[torch.Tensor, torch.Tensor]:
    """Displacement (K, 2, 128, 128) in px and shading (K, 128, 128), tapered off beyond the head."""
    motion = np.stack([z["dx"], z["dy"]], 1).astype(np.float32)
    change = np.stack([z["dnx"], z["dny"], z["dnz"]], 1).astype(np.float32)
    shading = shading_change(z["neutral_normal"].astype(np.float32), change)
    feather = z["feather"].astype(np.float32)
    motion, shading = (carried_on(m, z) * feather for m in (motion, shading))
    return torch.from_numpy(motion), torch.from_numpy(shading)


def measured_modes(z: np.lib.npyio.NpzFile) -> torch.Tensor:
    """(50, 2, 128, 128) identity modes in px; the surroundings go along with the head's outline."""
    return torch.from_numpy(carried_on(np.stack([z["mode_dx"], z["mode_dy"]], 1).astype(np.float32), z))


def carried_on(maps: np.ndarray, z: np.lib.npyio.NpzFile) -> np.ndarray:
    """Maps (..., 128, 128) that take the value of the nearest head pixel outside the head."""
    return maps[..., z["nearest_row"], z["nearest_col"]]


def shading_change(normal: np.ndarray, change: np.ndarray, weight: float = 0.3) -> np.ndarray:
    """Change of log-luminance per unit weight when the surface normals turn by ``change``.

    Lambert's law with an ambient share, a finite difference at ``weight`` (about a micro-expression's).

    Args:
        normal: (3, H, W) unit normals (x right, y down, z to the viewer).
        change: (K, 3, H, W) their change at weight 1.

    Returns:
        (K, H, W) d log-luminance / d weight.
    """
    light = (np.asarray(LIGHT) / np.linalg.norm(LIGHT)).astype(np.float32)

    def shade(n: np.ndarray) -> np.ndarray:
        n = n / np.maximum(np.linalg.norm(n, axis=-3, keepdims=True), 1e-6)
        return AMBIENT + (1 - AMBIENT) * np.maximum(np.einsum("...cyx,c->...yx", n, light), 0)

    return (np.log(shade(normal + weight * change)) - np.log(shade(normal))) / weight
