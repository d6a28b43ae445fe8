"""Procedural portraits: a frontal face painted from a few dozen numbers, vectorised over a batch.

A face is a height field (head ellipsoid, brow ridge, sockets, nose, lips, chin) that is lit from a random direction,
an albedo (skin tone, blotches, pores, freckles, brows, lips, beard, hair) and a few things drawn on top (eyes, lid
lines, nostrils, lip line, glasses). Every number is drawn from the seed, and nothing comes from a photograph: the means
below are the average proportions of adult faces in the aligned crop, rounded.

Coordinates are those of the aligned crop: [-1, 1], x to the right, y down, eye centres near (+-0.35, -0.21), mouth
centre near (0, 0.48). Almost everything is painted once for both sides in the folded coordinate ``ax = |x|``; a small
smooth warp of the coordinates makes the sides differ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

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
    "lip_curve": (0.012, 0.012),
    "upper_lip": (0.078, 0.018),
    "lower_lip": (0.105, 0.02),
    "cupid_bow": (0.018, 0.008),
    "fold": (0.5, 0.4),
    "age_lines": (0.25, 0.4),
    "blotches": (0.03, 0.014),
    "pores": (0.02, 0.011),
    "light_x": (0.0, 0.45),
    "light_y": (-0.45, 0.35),
    "hairline": (0.80, 0.10),
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
IRIS = (
    (0.20, 0.12, 0.08),
    (0.28, 0.18, 0.11),
    (0.38, 0.30, 0.17),
    (0.36, 0.42, 0.30),
    (0.36, 0.46, 0.55),
    (0.45, 0.52, 0.58),
)


class Draw:
    """Random numbers of a batch of faces, each of shape (n, 1, 1), from one generator."""

    def __init__(self, n: int, generator: torch.Generator):
        self.n, self.generator = n, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> torch.Tensor:
        shape = shape or (1, 1)
        return low + (high - low) * torch.rand(self.n, *shape, generator=self.generator)

    def normal(self, mean: float, deviation: float) -> torch.Tensor:
        return mean + deviation * torch.randn(self.n, 1, 1, generator=self.generator).clamp(-2, 2)

    def chance(self, share: float) -> torch.Tensor:
        return (self.uniform() < share).float()

    def palette(self, colours: tuple, jitter: float, position: torch.Tensor | None = None) -> torch.Tensor:
        """A colour (n, 3, 1, 1) between two neighbours of a list, with a little jitter per channel."""
        table = torch.tensor(colours)
        position = self.uniform() if position is None else position
        index = position.reshape(-1).clamp(0, 1) * (len(colours) - 1)
        low = index.long().clamp(max=len(colours) - 2)
        part = (index - low)[:, None]
        colour = table[low] * (1 - part) + table[low + 1] * part
        colour = (
            colour[..., None, None]
            * (1 + jitter * self.uniform(-1, 1, 3, 1, 1))
            * self.uniform(1 - jitter, 1 + jitter, 1, 1, 1)
        )
        return colour.clamp(0, 1)

    def noise(self, size: int, rows: int, columns: int) -> torch.Tensor:
        """Smooth noise (n, size, size) of unit deviation with the given number of cells."""
        grid = torch.randn(self.n, 1, rows, columns, generator=self.generator)
        field = F.interpolate(grid, size=(size, size), mode="bicubic", align_corners=False)[:, 0]
        return field / field.std((1, 2), keepdim=True).clamp_min(1e-6)


def bump(x, y, cx, cy, sx, sy):
    """A Gaussian of height 1."""
    return torch.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def edge(distance, softness):
    """Coverage in [0, 1] of a shape whose signed distance (positive inside) is given."""
    return torch.sigmoid(distance / softness)


def over(image, colour, alpha):
    """Paint ``colour`` (n, 3, ., .) or a number over ``image`` (n, 3, h, w) with coverage ``alpha`` (n, h, w)."""
    return image + alpha[:, None] * (colour - image)


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
    albedo = _skin(x, y, face, draw, size)
    albedo = _lips(albedo, x, y, face, draw)
    albedo = _hair_on_face(albedo, x, y, face, draw, size)
    below = edge(-_outline(x, y, face, 0.01), 0.03) * edge(y - 0.45, 0.05)
    throat = 1 - draw.uniform(0.25, 0.6) * below * (0.5 + 0.5 * torch.exp(-(y - 0.8).clamp_min(0) / 0.25))
    image = albedo * (light["diffuse"] * throat)[:, None] + light["specular"][:, None]
    image = _lines(image, x, y, face)
    image = _eyes(image, x, y, face, draw, light)
    image = over(_background(draw, size, x, y, face), image, masks["head"])
    image = _hair(image, masks, face, draw, size, light)
    image = _glasses(image, x, y, face, draw)
    return _camera(image, draw)


def _coordinates(size: int, draw: Draw):
    """The canvas coordinates (n, size, size), bent by a smooth warp that differs between the sides and faces."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    bend = 0.010
    x = x / 1.045 + bend * draw.noise(size, 5, 5)
    return x, (y - 0.002) / 0.97 + bend * draw.noise(size, 5, 5)


def _outline(x, y, face, grow=0.0):
    """Signed distance (roughly) to the head outline: a superellipse, squarer in the jaw, rounder on the skull."""
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
    fold_x = 0.19 + 0.62 * (y - 0.13).clamp_min(0) * (1 - 0.45 * (y - 0.13).clamp(0, 0.5))
    cheek = (
        torch.sigmoid((ax - fold_x) / 0.018)
        * torch.exp(-((ax - fold_x).clamp_min(0) / 0.16))
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


def _skin(x, y, face, draw: Draw, size: int):
    """Skin albedo (n, 3, h, w): tone, blotches, pores, redness, darker sockets, freckles, moles."""
    ax = x.abs()
    blotch = face["blotches"] * (
        0.6 * draw.noise(size, 6, 6) + 0.5 * draw.noise(size, 14, 14) + 0.4 * draw.noise(size, 30, 30)
    )
    pores = face["pores"] * (
        0.6 * draw.noise(size, 52, 52) + 0.8 * draw.noise(size, min(size, 96), min(size, 96))
    )
    skin = face["skin"] * (1 + blotch + pores)[:, None]
    red = draw.uniform(0, 0.35) * (bump(ax, y, 0.42, 0.12, 0.17, 0.16) + bump(ax, y, 0, 0.16, 0.12, 0.1))
    tired = draw.uniform(0, 0.3) * bump(ax, y, face["eye_x"] - 0.03, -0.10, 0.13, 0.04)
    socket = draw.uniform(0.05, 0.35) * bump(ax, y, face["eye_x"] - 0.03, face["eye_y"] - 0.07, 0.16, 0.05)
    red_tint = torch.tensor([0.02, -0.16, -0.14])[:, None, None]
    dark_tint = torch.tensor([-0.55, -0.62, -0.52])[:, None, None]
    skin = skin * (1 + red[:, None] * red_tint + (tired + socket)[:, None] * dark_tint)
    spots = (draw.noise(size, 44, 44) - 1.3).clamp(0, 1) * bump(ax, y, 0.3, 0.06, 0.3, 0.22)
    moles = (draw.noise(size, 40, 40) - 3.0).clamp(0, 1)
    marks = (0.45 * face["freckles"] * spots + 0.8 * face["moles"] * moles).clamp(0, 0.7)
    return over(skin, face["skin"] * 0.45, marks)


def _lips(albedo, x, y, face, draw: Draw):
    """Paint the lips, and the shadow under the lower one."""
    ax, half = x.abs(), face["mouth_half_width"]
    u = (ax / half).clamp(0, 1.2)
    line = _lip_line(ax, face)
    shape = (1 - u.clamp(0, 1) ** 2.2) ** 0.8
    bow = face["cupid_bow"] * (bump(ax, y, 0, y, 0.03, 1) - 0.4 * bump(ax, y, 0.075, y, 0.05, 1))
    upper = line - (face["upper_lip"] * shape - bow * shape)
    lower = line + face["lower_lip"] * shape
    soft = face["softness"] * 1.6
    mask = edge(y - upper, soft) * edge(lower - y, soft) * edge(half - ax, soft)
    colour = (
        face["skin"] * torch.tensor([0.90, 0.66, 0.66])[:, None, None] * draw.uniform(0.85, 1.05, 1, 1, 1)
    )
    bright = draw.palette(((0.75, 0.25, 0.28), (0.62, 0.16, 0.22), (0.85, 0.45, 0.45)), 0.1)
    colour = torch.where(face["lipstick"][:, None] > 0, bright, colour)
    wet = 0.10 * bump(ax, y, 0.06, line + 0.045, 0.07, 0.014)
    shade = 1 - 0.16 * edge(line - y, 0.012)
    albedo = over(albedo, colour * (shade + wet)[:, None], mask * draw.uniform(0.55, 1.0))
    under = draw.uniform(0.1, 0.35) * bump(ax, y, 0, lower + 0.03, 0.14, 0.022)
    return albedo * (1 - under[:, None])


def _lip_line(ax, face):
    """Height of the line between the lips at distance ``ax`` from the middle."""
    u = (ax / face["mouth_half_width"]).clamp(0, 1.1)
    return face["lip_line_y"] + face["lip_curve"] * u**2 - 0.007 * torch.exp(-(((u - 0.35) / 0.2) ** 2))


def _hair_on_face(albedo, x, y, face, draw: Draw, size: int):
    """Brows, beard and stubble."""
    ax, soft = x.abs(), face["softness"]
    t = ((ax - face["brow_inner"]) / (face["brow_outer"] - face["brow_inner"])).clamp(-0.2, 1.2)
    centre = face["brow_y"] - face["brow_arch"] * t * (1 - t) + face["brow_drop"] * t.clamp_min(0) ** 3
    thick = face["brow_half_thickness"] * (1.05 - 0.75 * t.clamp(0, 1) ** 1.6)
    strands = 0.7 * draw.noise(size, min(size, 64), min(size, 90)) + 0.5 * draw.noise(size, 14, 44)
    inside = thick * (1 + 0.16 * strands) - (y - centre).abs()
    ends = edge(t + 0.01 + 0.015 * strands, 0.025) * edge(1.0 - t, 0.03)
    density = draw.uniform(0.45, 0.98) * (0.85 + 0.18 * strands).clamp(0.3, 1)
    brow_colour = face["hair_colour"] * draw.uniform(0.5, 0.9, 1, 1, 1)
    albedo = over(albedo, brow_colour, edge(inside, 2.2 * soft) * ends * density)
    lower_face = edge(y - (0.28 + 0.35 * (ax - 0.3).clamp_min(0) - 0.9 * (ax - 0.52).clamp_min(0)), 0.05)
    mouth = bump(ax, y, 0, face["lip_line_y"] + 0.01, 0.2, 0.065)
    region = lower_face * (1 - mouth) * (1 - 0.6 * bump(ax, y, 0.32, 0.36, 0.1, 0.1))
    grain = (0.8 + 0.2 * draw.noise(size, min(size, 128), min(size, 110)) + 0.1 * draw.noise(size, 24, 30)).clamp(0, 1.2)
    amount = face["beard"] * draw.uniform(0.5, 0.9) + (1 - face["beard"]) * face["stubble"] * draw.uniform(
        0.1, 0.35
    )
    return over(albedo, brow_colour, (region * grain * amount).clamp(0, 0.95))


def _lines(image, x, y, face):
    """Dark lines and creases: lip line, nostrils, wings of the nose, folds, forehead and glabella lines."""
    ax, soft, nose_y = x.abs(), face["softness"], face["nose_y"]
    line = _lip_line(ax, face)
    lips = torch.exp(-0.5 * ((y - line) / (0.009 + 0.3 * soft)) ** 2) * edge(
        face["mouth_half_width"] * 1.02 - ax, 0.012
    )
    corner = bump(ax, y, face["mouth_half_width"], line + 0.004, 0.022, 0.014)
    nostril = edge(
        0.02
        * (
            1
            - ((ax - 0.45 * face["nose_width"]) / 0.045) ** 2
            - ((y - nose_y + 0.01 + 0.2 * (ax - 0.06)) / 0.022) ** 2
        ),
        0.006,
    )
    wing_x = face["nose_width"] * 1.08
    wing = bump(
        ax, y, wing_x - 0.7 * (y - nose_y + 0.045) ** 2 / 0.06, nose_y - 0.045, 0.012 + 0.3 * soft, 0.045
    )
    base = bump(ax, y, 0, nose_y + 0.03, 0.12, 0.016)
    fold_x = 0.19 + 0.62 * (y - 0.13).clamp_min(0) * (1 - 0.45 * (y - 0.13).clamp(0, 0.5))
    fold = (
        face["fold"].clamp_min(0)
        * torch.exp(-0.5 * ((ax - fold_x) / 0.016) ** 2)
        * bump(ax, y, 0.28, 0.28, 1, 0.11)
    )
    age = face["age_lines"].clamp_min(0)
    rows = torch.exp(-0.5 * ((((y + 0.62 + 0.05 * x**2) / 0.11 + 0.5) % 1 - 0.5) / 0.09) ** 2)
    forehead = 0.45 * age * rows * bump(ax, y, 0, -0.68, 0.36, 0.11)
    glabella = 0.6 * age * bump(ax, y, 0.055, -0.36, 0.011, 0.055)
    crow = (
        0.6
        * age
        * torch.exp(-0.5 * ((((y + 0.17) / (ax - 0.38).clamp_min(0.05) / 0.45 + 0.5) % 1 - 0.5) / 0.14) ** 2)
        * bump(ax, y, 0.56, -0.18, 0.05, 0.07)
    )
    dark = (
        0.68 * lips.maximum(0.7 * corner)
        + 0.72 * nostril
        + 0.42 * wing
        + 0.22 * base
        + 0.32 * fold
        + 0.3 * (forehead + glabella + crow)
    )
    return over(image, 0.32 * image * torch.tensor([1.0, 0.8, 0.75])[:, None, None], dark.clamp(0, 1))


def _eyes(image, x, y, face, draw: Draw, light: dict):
    """Sclera, iris, pupil, catch light, tear duct, lash and lid lines, the crease above the lid."""
    ax, soft = x.abs(), face["softness"]
    u = ((ax - face["eye_x"]) / face["eye_half_width"]).clamp(-1.3, 1.3)
    base = face["eye_y"] + face["eye_tilt"] * u
    upper = base - face["upper_lid"] * (1 - u.abs().clamp(max=1) ** 2.2) * (1 - 0.12 * u)
    lower = base + face["lower_lid"] * (1 - u.abs().clamp(max=1) ** 2.4) * (1 + 0.15 * u)
    opening = edge(y - upper, soft) * edge(lower - y, soft) * edge(1 - u.abs(), 0.03)
    side = torch.sign(x) * face["gaze_x"]
    r = (((ax - face["eye_x"] + 0.003 - side) ** 2) + (y - face["gaze_y"]) ** 2).sqrt()
    white = torch.tensor([0.86, 0.82, 0.80])[:, None, None] * light["level"][:, None].clamp(0.35, 1.1)
    shadow = 1 - 0.45 * torch.exp(-((y - upper).clamp_min(0) / 0.03))
    ball = white * (shadow * (1 - 0.25 * u.abs() ** 3))[:, None]
    ball = over(
        ball, torch.tensor([0.72, 0.45, 0.42])[:, None, None] * shadow[:, None], edge(-0.86 - u, 0.05)
    )
    iris = draw.palette(IRIS, 0.15, draw.uniform() ** (1 + 4 * face["melanin"])) * draw.uniform(
        0.75, 1.3, 1, 1, 1
    )
    limbus = 1 - 0.55 * edge(r - 0.82 * face["iris_radius"], 0.008)
    ball = over(ball, iris * (limbus * shadow)[:, None], edge(face["iris_radius"] - r, soft))
    ball = over(ball, torch.full((3, 1, 1), 0.03), edge(draw.uniform(0.02, 0.032) - r, soft))
    spark_x = 0.02 * torch.sign(face["light_x"]) * torch.sign(x)
    spark = bump(ax, y, face["eye_x"] + spark_x, face["gaze_y"] - 0.022, 0.011, 0.011)
    ball = over(ball, torch.ones(3, 1, 1), spark * draw.uniform(0.2, 0.9))
    image = over(image, ball, opening)
    in_eye = edge(1.05 - u.abs(), 0.05)
    lash = (
        torch.exp(-0.5 * ((y - upper + 0.004) / (draw.uniform(0.007, 0.014) + 0.3 * soft)) ** 2)
        * in_eye
        * (0.75 + 0.25 * u)
    )
    under = torch.exp(-0.5 * ((y - lower - 0.004) / 0.008) ** 2) * in_eye
    gap = face["crease_gap"].clamp_min(0.012) * (1 - 0.5 * u.abs().clamp(max=1) ** 3)
    crease = torch.exp(-0.5 * ((y - upper + gap) / 0.010) ** 2) * edge(1.12 - u.abs(), 0.08)
    bag = torch.exp(-0.5 * ((y - lower - 0.055) / 0.014) ** 2) * edge(1.0 - u.abs(), 0.15)
    dark = draw.uniform(0.6, 0.95) * lash + draw.uniform(0.1, 0.45) * under + draw.uniform(0.15, 0.6) * crease
    dark = dark + 0.25 * face["age_lines"].clamp_min(0) * bag
    return over(image, 0.2 * image, dark.clamp(0, 0.95))


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


def _hair(image, masks, face, draw: Draw, size: int, light: dict):
    """Hair over head and background, streaked."""
    streaks = 0.16 * draw.noise(size, 10, 60) + 0.12 * draw.noise(size, 40, 40)
    gloss = 0.12 * draw.noise(size, 3, 5).clamp_min(0)
    colour = face["hair_colour"] * (1 + streaks + gloss)[:, None] * light["level"][:, None].clamp(0.5, 1.1)
    return over(image, colour.clamp(0, 1), masks["hair"])


def _glasses(image, x, y, face, draw: Draw):
    """Thin or thick frames with a bridge; a faint reflection."""
    ax = x.abs()
    half_w, half_h, power = draw.uniform(0.2, 0.25), draw.uniform(0.13, 0.19), draw.uniform(2, 5)
    level = (
        ((ax - 0.34).abs() / half_w).clamp_min(1e-4) ** power
        + ((y + 0.19).abs() / half_h).clamp_min(1e-4) ** power
    ) ** (1 / power)
    rim = torch.exp(-0.5 * ((level - 1) / draw.uniform(0.04, 0.12)) ** 2)
    bridge = bump(ax, y, 0, -0.24, 0.07, 0.012) + edge(ax - 0.57, 0.01) * torch.exp(
        -0.5 * ((y + 0.24) / 0.014) ** 2
    )
    colour = draw.palette(((0.05, 0.05, 0.05), (0.25, 0.15, 0.1), (0.6, 0.6, 0.6)), 0.2)
    image = over(image, colour, (face["glasses"] * rim.maximum(bridge)).clamp(0, 0.95))
    return over(image, torch.ones(3, 1, 1), face["glasses"] * edge(1 - level, 0.05) * 0.05)


def _camera(image, draw: Draw):
    """Exposure, contrast and colour cast of the picture."""
    cast = 1 + 0.06 * draw.uniform(-1, 1, 3, 1, 1)
    image = (image * cast).clamp(1e-4, 1) ** draw.uniform(0.8, 1.3, 1, 1, 1)
    return (0.5 + (image * draw.uniform(0.85, 1.1, 1, 1, 1) - 0.5) * draw.uniform(0.85, 1.1, 1, 1, 1)).clamp(
        0, 1
    )
