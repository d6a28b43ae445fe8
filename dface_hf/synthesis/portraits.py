"""Procedural portraits: a frontal face painted from a few dozen numbers, vectorised over a batch.

A face is a height field (head ellipsoid, brow ridge, sockets, nose, lips, chin) that is lit from a random
direction, an albedo (skin tone, blotches, pores, freckles, brows, lips, beard, hair) and a few things drawn
on top (eyes, lid lines, nostrils, lip line, glasses). Every number is drawn from the seed, and nothing
comes from a photograph: the means below are the average proportions of adult faces in the aligned crop,
rounded.

Coordinates are those of the aligned crop: [-1, 1], x to the right, y down, eye centres near (+-0.35,
-0.21), mouth centre near (0, 0.48). Almost everything is painted once for both sides in the folded
coordinate ``ax = |x|``; a small smooth warp of the coordinates makes the sides differ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .drawing import Draw, bump, edge, over
from .features import (
    fold_line,
    paint_brows_and_beard,
    paint_eyes,
    paint_glasses,
    paint_hair,
    paint_lines,
    paint_lips,
    paint_skin,
)

# name: (mean, standard deviation); drawn from a normal distribution clipped at 2 standard deviations.
NORMAL = {
    "head_width": (0.735, 0.042),
    "chin_y": (0.985, 0.045),
    "jaw_square": (2.5, 0.45),
    "eye_x": (0.33, 0.012),
    "eye_y": (-0.192, 0.01),
    "eye_half_width": (0.14, 0.01),
    "eye_tilt": (-0.012, 0.012),
    "upper_lid": (0.073, 0.013),
    "lower_lid": (0.034, 0.007),
    "crease_gap": (0.042, 0.014),
    "iris_radius": (0.062, 0.004),
    "gaze_x": (0.0, 0.012),
    "gaze_y": (-0.214, 0.008),
    "brow_y": (-0.365, 0.03),
    "brow_inner": (0.15, 0.03),
    "brow_outer": (0.61, 0.03),
    "brow_arch": (0.23, 0.09),
    "brow_drop": (0.06, 0.03),
    "brow_half_thickness": (0.034, 0.009),
    "nose_width": (0.165, 0.022),
    "nose_y": (0.235, 0.022),
    "nose_height": (0.26, 0.05),
    "bridge_width": (0.075, 0.014),
    "mouth_half_width": (0.26, 0.022),
    "lip_line_y": (0.497, 0.012),
    "lip_curve": (0.005, 0.012),
    "upper_lip": (0.084, 0.018),
    "lower_lip": (0.11, 0.02),
    "cupid_bow": (0.018, 0.008),
    "fold": (0.4, 0.4),
    "age_lines": (0.1, 0.4),
    "blotches": (0.03, 0.014),
    "pores": (0.02, 0.011),
    "light_x": (0.0, 0.45),
    "light_y": (-0.45, 0.35),
    "hairline": (0.84, 0.10),
    "hair_volume": (0.12, 0.05),
    "neck": (0.5, 0.05),
}

# share of the faces that have the trait
SHARES = {
    "freckles": 0.15,
    "moles": 0.25,
    "beard": 0.12,
    "stubble": 0.2,
    "bald": 0.06,
    "fringe": 0.15,
    "long_hair": 0.4,
    "glasses": 0.05,
    "lipstick": 0.15,
    "ears": 0.7,
    "curl": 0.4,
}

# skin from light to dark, sRGB in [0, 1]; a face interpolates between neighbours
SKIN = (
    (0.96, 0.80, 0.73),
    (0.92, 0.73, 0.64),
    (0.84, 0.64, 0.52),
    (0.70, 0.49, 0.38),
    (0.50, 0.34, 0.26),
    (0.30, 0.20, 0.16),
)
HAIR = (
    (0.07, 0.06, 0.06),
    (0.17, 0.11, 0.08),
    (0.33, 0.21, 0.13),
    (0.52, 0.37, 0.22),
    (0.72, 0.58, 0.38),
    (0.6, 0.58, 0.56),
)


def paint_portraits(n: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Paint ``n`` faces.

    Args:
        n: Number of faces.
        size: Height and width in pixels; edges are about one pixel soft, so paint larger and shrink.
        generator: CPU generator; the faces depend on nothing else.

    Returns:
        (n, 3, size, size) float32 in [0, 1].
    """
    draw = Draw(n, generator)
    face = {name: draw.normal(*spec) for name, spec in NORMAL.items()}
    face |= {name: draw.chance(share) for name, share in SHARES.items()}
    face["softness"] = 0.6 * 2 / size
    x, y = _coordinates(size, draw)
    masks = _masks(x, y, face, draw, size)
    height = _height(x, y, face)
    light = _light(height, face, draw, size)
    face["melanin"] = draw.uniform() ** 1.25
    face["hair_colour"] = draw.palette(HAIR, 0.15, draw.uniform() ** (1 + 2.5 * face["melanin"]))
    face["skin"] = draw.palette(SKIN, 0.05, face["melanin"])
    albedo = paint_skin(x, y, face, draw, size)
    albedo = paint_lips(albedo, x, y, face, draw)
    albedo = paint_brows_and_beard(albedo, x, y, face, draw, size)
    below = edge(-_outline(x, y, face, 0.01), 0.03) * edge(y - 0.45, 0.05)
    throat = 1 - draw.uniform(0.25, 0.6) * below * (0.5 + 0.5 * torch.exp(-(y - 0.8).clamp_min(0) / 0.25))
    image = albedo * (light["diffuse"] * throat)[:, None] + light["specular"][:, None]
    image = paint_lines(image, x, y, face)
    image = paint_eyes(image, x, y, face, draw, light["level"])
    image = over(_background(draw, size, x, y, face), image, masks["head"])
    image = paint_hair(image, masks["hair"], face, draw, size, light["level"])
    image = paint_glasses(image, x, y, face, draw)
    return _camera(image, draw)


def _coordinates(size: int, draw: Draw):
    """The canvas coordinates (n, size, size), bent by a smooth warp that differs between the sides and
    faces."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bend = 0.010
    x = x / 1.045 + bend * draw.noise(size, 5, 5)
    return x, (y - 0.002) / 0.97 + bend * draw.noise(size, 5, 5)


def _outline(x, y, face, grow=0.0):
    """Signed distance (roughly) to the head outline: a superellipse, squarer in the jaw, rounder on the
    skull."""
    centre, width = -0.1, face["head_width"] + grow
    down, up = face["chin_y"] - centre + grow, 1.22 + grow
    t = torch.where(y > centre, (y - centre) / down, (centre - y) / up)
    power = torch.where(y > centre, face["jaw_square"], torch.full_like(y, 2.0))
    level = 1 - (x.abs() / width).clamp_min(1e-4) ** 1.9 - t.clamp_min(1e-4) ** power
    return 0.4 * level


def _masks(x, y, face, draw: Draw, size: int) -> dict:
    """Coverage of head (with ears and neck) and of hair, each (n, size, size)."""
    soft = face["softness"]
    ears = face["ears"] * edge(
        0.09 * (1 - ((x.abs() - face["head_width"] - 0.06) / 0.1) ** 2 - ((y + 0.02) / 0.25) ** 2), soft
    )
    neck = edge(torch.minimum(face["neck"] - x.abs() + 0.12 * (y - 0.8), y - 0.5), 2 * soft)
    skull = edge(_outline(x, y, face), soft)
    head = torch.maximum(torch.maximum(skull, ears), neck)
    fine = min(size, 110)
    ragged = 0.03 * draw.noise(size, fine // 3, fine // 2) + 0.02 * draw.noise(size, fine // 6, fine)
    ragged = face["curl"] * 0.03 * draw.noise(size, 14, 14) + ragged
    reach = face["hairline"] * (
        1 - 0.42 * face["fringe"] * (1 + 0.3 * draw.noise(size, 1, 6)).clamp(0.3, 1.5)
    )
    line = 1 - (x.abs() / (face["head_width"] - 0.02)) ** 2.6 - ((-0.2 - y).clamp_min(0) / reach) ** 2.4
    above = edge(0.35 * (-line) + ragged, 4 * soft)
    volume = edge(_outline(x, y, face, face["hair_volume"]) + 0.5 * ragged, 3 * soft) * edge(-0.05 - y, 0.06)
    side = face["long_hair"] * edge(
        face["hair_volume"] + 0.1 + face["head_width"] - x.abs() + ragged, 3 * soft
    )
    side = side * edge(-_outline(x, y, face, -0.015) + 0.4 * ragged, 2 * soft)
    hair = torch.maximum(above * volume, side * edge(0.75 * draw.uniform(0.3, 2.0) - y, 0.1))
    return {"head": head, "hair": hair * (1 - face["bald"]), "skull": skull}


def _height(x, y, face):
    """Height of the face towards the viewer (n, h, w), in units of the crop."""
    ax = x.abs()
    radius = 1 - (ax / 0.98) ** 2 - ((y - 0.02) / 1.4) ** 2
    z = 0.85 * radius.clamp_min(0.02).sqrt()
    nose_y = face["nose_y"]
    ramp = ((y + 0.3) / (nose_y + 0.22)).clamp(0, 1)
    tip = nose_y - 0.03 - 1.4 * ax**2
    profile = ramp**1.6 * torch.sigmoid((tip - y) / 0.026)
    wide = face["bridge_width"] + 0.25 * (face["nose_width"] - 0.08) * ramp**3
    z = z + face["nose_height"] * profile * torch.exp(-0.5 * (ax / wide) ** 2)
    z = z + 0.08 * bump(ax, y, face["nose_width"] * 0.78, nose_y - 0.05, 0.042, 0.045)
    z = (
        z
        - 0.09 * bump(ax, y, 0.30, face["eye_y"] - 0.02, 0.17, 0.09)
        + 0.055 * bump(ax, y, face["eye_x"], face["eye_y"] - 0.01, 0.12, 0.08)
    )
    z = (
        z
        + 0.035 * bump(ax, y, 0.3, face["brow_y"] - 0.03, 0.28, 0.06)
        + 0.05 * bump(ax, y, 0.48, 0.08, 0.17, 0.14)
    )
    z = z + 0.06 * bump(ax, y, 0, 0.46, 0.26, 0.17) + 0.06 * bump(ax, y, 0, 0.83, 0.16, 0.1)
    lip = face["lip_line_y"]
    z = z + 0.03 * bump(ax, y, 0, lip - 0.035, 0.19, 0.03) + 0.045 * bump(ax, y, 0, lip + 0.045, 0.16, 0.035)
    z = z - 0.035 * bump(ax, y, 0, lip + 0.175, 0.17, 0.035) - 0.012 * bump(ax, y, 0, 0.34, 0.025, 0.06)
    beyond = ax - fold_line(y)
    cheek = (
        torch.sigmoid(beyond / 0.018)
        * torch.exp(-beyond.clamp_min(0) / 0.16)
        * bump(ax, y, 0.3, 0.28, 1, 0.14)
    )
    return z + 0.03 * face["fold"].clamp_min(0) * cheek


def _light(height, face, draw: Draw, size: int) -> dict:
    """Lambert light from one soft lamp and a fill, cavity darkening, a small gloss; each (n, h, w)."""
    step = 2 / size
    padded = F.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / (2 * step)
    dy = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / (2 * step)
    norm = (1 + dx**2 + dy**2).rsqrt()
    lamp = torch.stack([face["light_x"], face["light_y"], torch.ones_like(face["light_x"])])
    lamp = lamp / lamp.norm(dim=0, keepdim=True)
    cosine = (-dx * lamp[0] - dy * lamp[1] + lamp[2]) * norm
    wrap = draw.uniform(0.0, 0.5)
    lit = ((cosine + wrap) / (1 + wrap)).clamp_min(0)
    ambient = draw.uniform(0.25, 0.6)
    coarse = F.interpolate(
        F.avg_pool2d(height[:, None], size // 16), size=(size, size), mode="bilinear", align_corners=False
    )[:, 0]
    cavity = 1 + draw.uniform(1.0, 3.5) * (height - coarse).clamp(-0.06, 0.03)
    half = torch.stack([lamp[0], lamp[1], lamp[2] + 1])
    half = half / half.norm(dim=0, keepdim=True)
    gloss = ((-dx * half[0] - dy * half[1] + half[2]) * norm).clamp_min(0) ** 22
    return {
        "diffuse": (ambient + (1 - ambient) * lit) * cavity * draw.uniform(0.95, 1.12),
        "specular": gloss * draw.uniform(0.0, 0.13),
        "level": ambient + (1 - ambient) * lit,
    }


def _background(draw: Draw, size: int, x, y, face):
    """A gradient between two colours with soft blobs, clothes below."""
    grey = draw.uniform(0.05, 0.95, 1, 1, 1)
    spread = draw.uniform(0.0, 0.3, 1, 1, 1)
    first, second = (grey + spread * draw.uniform(-1, 1, 3, 1, 1) for _ in range(2))
    angle = draw.uniform(0, 6.2832)
    ramp = (
        0.5 + 0.35 * (x * angle.cos() + y * angle.sin()) + draw.uniform(0, 0.35) * draw.noise(size, 4, 4)
    ).clamp(0, 1)
    clutter = draw.uniform() ** 4 * 0.25 * draw.noise(size, 14, 14)
    image = first + (second - first) * ramp[:, None] + clutter[:, None]
    cloth = draw.palette(((0.06, 0.07, 0.1), (0.3, 0.3, 0.35), (0.85, 0.85, 0.88), (0.5, 0.15, 0.15)), 0.2)
    return over(image, cloth, edge(y - 0.95 + 0.25 * (x.abs() - 0.5) - 0.1 * face["bald"], 0.02)).clamp(0, 1)


def _camera(image, draw: Draw):
    """Exposure, contrast and colour cast of the picture."""
    cast = 1 + 0.06 * draw.uniform(-1, 1, 3, 1, 1)
    image = (image * cast).clamp(1e-4, 1) ** draw.uniform(0.8, 1.3, 1, 1, 1)
    return (0.5 + (image * draw.uniform(0.85, 1.1, 1, 1, 1) - 0.5) * draw.uniform(0.85, 1.1, 1, 1, 1)).clamp(
        0, 1
    )
