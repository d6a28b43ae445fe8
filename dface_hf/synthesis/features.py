"""The parts of a painted face: skin, lips, brows and beard, lines, eyes, hair, glasses.

Each takes the coordinates ``x``, ``y`` (n, h, w) of the aligned crop and the numbers ``face`` of a batch of
faces, each (n, 1, 1), and paints over an image (n, 3, h, w). ``ax = |x|`` folds both sides onto one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .drawing import Draw, bump, edge, over, ridge, tint

Face = dict[str, Tensor]

IRIS = (
    (0.20, 0.12, 0.08),
    (0.28, 0.18, 0.11),
    (0.38, 0.30, 0.17),
    (0.36, 0.42, 0.30),
    (0.36, 0.46, 0.55),
    (0.45, 0.52, 0.58),
)


def paint_skin(x: Tensor, y: Tensor, face: Face, draw: Draw, size: int) -> Tensor:
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
    skin = skin * (
        1 + red[:, None] * tint(0.02, -0.16, -0.14) + (tired + socket)[:, None] * tint(-0.55, -0.62, -0.52)
    )
    spots = (draw.noise(size, 44, 44) - 1.3).clamp(0, 1) * bump(ax, y, 0.3, 0.06, 0.3, 0.22)
    moles = (draw.noise(size, 40, 40) - 3.0).clamp(0, 1)
    marks = (0.45 * face["freckles"] * spots + 0.8 * face["moles"] * moles).clamp(0, 0.7)
    return over(skin, face["skin"] * 0.45, marks)


def paint_lips(albedo: Tensor, x: Tensor, y: Tensor, face: Face, draw: Draw) -> Tensor:
    """Paint the lips, and the shadow under the lower one."""
    ax, half = x.abs(), face["mouth_half_width"]
    u = (ax / half).clamp(0, 1.2)
    line = lip_line(ax, face)
    shape = (1 - u.clamp(0, 1) ** 2.2) ** 0.8
    bow = face["cupid_bow"] * (bump(ax, y, 0, y, 0.03, 1) - 0.4 * bump(ax, y, 0.075, y, 0.05, 1))
    upper = line - (face["upper_lip"] * shape - bow * shape)
    lower = line + face["lower_lip"] * shape
    soft = face["softness"] * 1.6
    mask = edge(y - upper, soft) * edge(lower - y, soft) * edge(half - ax, soft)
    colour = face["skin"] * tint(0.90, 0.66, 0.66) * draw.uniform(0.85, 1.05, 1, 1, 1)
    bright = draw.palette(((0.75, 0.25, 0.28), (0.62, 0.16, 0.22), (0.85, 0.45, 0.45)), 0.1)
    colour = torch.where(face["lipstick"][:, None] > 0, bright, colour)
    wet = 0.10 * bump(ax, y, 0.06, line + 0.045, 0.07, 0.014)
    shade = 1 - 0.16 * edge(line - y, 0.012)
    albedo = over(albedo, colour * (shade + wet)[:, None], mask * draw.uniform(0.55, 1.0))
    under = draw.uniform(0.1, 0.35) * bump(ax, y, 0, lower + 0.03, 0.14, 0.022)
    return albedo * (1 - under[:, None])


def lip_line(ax: Tensor, face: Face) -> Tensor:
    """Height of the line between the lips at distance ``ax`` from the middle."""
    u = (ax / face["mouth_half_width"]).clamp(0, 1.1)
    return face["lip_line_y"] + face["lip_curve"] * u**2 - 0.007 * torch.exp(-(((u - 0.35) / 0.2) ** 2))


def fold_line(y: Tensor) -> Tensor:
    """Distance of the nasolabial fold from the middle at height ``y``, starting beside the nose."""
    below = y - 0.13
    return 0.19 + 0.62 * below.clamp_min(0) * (1 - 0.45 * below.clamp(0, 0.5))


def paint_brows_and_beard(albedo: Tensor, x: Tensor, y: Tensor, face: Face, draw: Draw, size: int) -> Tensor:
    """Brows, beard and stubble."""
    ax, soft = x.abs(), face["softness"]
    t = ((ax - face["brow_inner"]) / (face["brow_outer"] - face["brow_inner"])).clamp(-0.2, 1.2)
    centre = face["brow_y"] - face["brow_arch"] * t * (1 - t) + face["brow_drop"] * t.clamp_min(0) ** 3
    thick = face["brow_half_thickness"] * (1.05 - 0.75 * t.clamp(0, 1) ** 1.6)
    strands = 0.7 * draw.noise(size, min(size, 64), min(size, 90)) + 0.5 * draw.noise(size, 14, 44)
    inside = thick * (1 + 0.16 * strands) - (y - centre).abs()
    ends = edge(t + 0.01 + 0.015 * strands, 0.025) * edge(1.0 - t, 0.03)
    density = draw.uniform(0.55, 0.98) * (0.85 + 0.18 * strands).clamp(0.3, 1)
    colour = face["hair_colour"] * draw.uniform(0.4, 0.8, 1, 1, 1)
    albedo = over(albedo, colour, edge(inside, 2.2 * soft) * ends * density)
    return over(albedo, colour, _beard(ax, y, face, draw, size))


def _beard(ax, y, face, draw: Draw, size: int):
    """Coverage of beard and stubble on cheeks, lip and chin, spared around the mouth."""
    lower_face = edge(y - (0.28 + 0.35 * (ax - 0.3).clamp_min(0) - 0.9 * (ax - 0.52).clamp_min(0)), 0.05)
    mouth = bump(ax, y, 0, face["lip_line_y"] + 0.01, 0.2, 0.065)
    region = lower_face * (1 - mouth) * (1 - 0.6 * bump(ax, y, 0.32, 0.36, 0.1, 0.1))
    fine = draw.noise(size, min(size, 128), min(size, 110))
    grain = (0.8 + 0.2 * fine + 0.1 * draw.noise(size, 24, 30)).clamp(0, 1.2)
    beard, stubble = draw.uniform(0.5, 0.9), draw.uniform(0.1, 0.35)
    amount = face["beard"] * beard + (1 - face["beard"]) * face["stubble"] * stubble
    return (region * grain * amount).clamp(0, 0.95)


def paint_lines(image: Tensor, x: Tensor, y: Tensor, face: Face) -> Tensor:
    """Dark lines: between the lips, around the nose, folds and wrinkles."""
    ax, soft, line = x.abs(), face["softness"], lip_line(x.abs(), face)
    half = face["mouth_half_width"]
    lips = ridge(y - line, 0.009 + 0.3 * soft) * edge(half * 1.02 - ax, 0.012)
    lips = lips.maximum(0.7 * bump(ax, y, half, line + 0.004, 0.022, 0.014))
    fold = face["fold"].clamp_min(0) * ridge(ax - fold_line(y), 0.016) * bump(ax, y, 0.28, 0.28, 1, 0.11)
    wrinkles = face["age_lines"].clamp_min(0) * _wrinkles(x, y)
    dark = 0.68 * lips + _nose_lines(ax, y, face) + 0.32 * fold + 0.3 * wrinkles
    return over(image, 0.32 * image * tint(1.0, 0.8, 0.75), dark.clamp(0, 1))


def _nose_lines(ax, y, face):
    """Nostrils, the groove around the wings, the shadow beneath."""
    width, nose_y, soft = face["nose_width"], face["nose_y"], face["softness"]
    oval = 1 - ((ax - 0.45 * width) / 0.045) ** 2 - ((y - nose_y + 0.01 + 0.2 * (ax - 0.06)) / 0.022) ** 2
    wing_x = width * 1.08 - 0.7 * (y - nose_y + 0.045) ** 2 / 0.06
    wing = bump(ax, y, wing_x, nose_y - 0.045, 0.012 + 0.3 * soft, 0.045)
    return 0.72 * edge(0.02 * oval, 0.006) + 0.42 * wing + 0.22 * bump(ax, y, 0, nose_y + 0.03, 0.12, 0.016)


def _wrinkles(x, y):
    """Forehead lines, the frown line, crow's feet."""
    ax = x.abs()
    rows = ((y + 0.62 + 0.05 * x**2) / 0.11 + 0.5) % 1 - 0.5
    forehead = 0.45 * ridge(rows, 0.09) * bump(ax, y, 0, -0.68, 0.36, 0.11)
    rays = ((y + 0.17) / (ax - 0.38).clamp_min(0.05) / 0.45 + 0.5) % 1 - 0.5
    crow = ridge(rays, 0.14) * bump(ax, y, 0.56, -0.18, 0.05, 0.07)
    return forehead + 0.6 * (bump(ax, y, 0.055, -0.36, 0.011, 0.055) + crow)


def paint_eyes(image: Tensor, x: Tensor, y: Tensor, face: Face, draw: Draw, level: Tensor) -> Tensor:
    """Eyeballs in their openings, and the lines of the lids. ``level`` (n, h, w) is the light."""
    soft = face["softness"]
    u = ((x.abs() - face["eye_x"]) / face["eye_half_width"]).clamp(-1.3, 1.3)
    base = face["eye_y"] + face["eye_tilt"] * u
    upper = base - face["upper_lid"] * (1 - u.abs().clamp(max=1) ** 2.2) * (1 - 0.12 * u)
    lower = base + face["lower_lid"] * (1 - u.abs().clamp(max=1) ** 2.4) * (1 + 0.15 * u)
    opening = edge(y - upper, soft) * edge(lower - y, soft) * edge(1 - u.abs(), 0.03)
    shadow = 1 - 0.45 * torch.exp(-((y - upper).clamp_min(0) / 0.03))
    white = tint(0.86, 0.82, 0.80) * (level.clamp(0.35, 1.1) * shadow * (1 - 0.25 * u.abs() ** 3))[:, None]
    ball = over(white, tint(0.72, 0.45, 0.42) * shadow[:, None], edge(-0.86 - u, 0.05))
    image = over(image, _paint_iris(ball, x, y, face, draw, shadow), opening)
    return over(image, 0.2 * image, _lid_lines(u, y - upper, y - lower, face, draw))


def _paint_iris(ball, x, y, face, draw: Draw, shadow):
    """Iris with its dark rim, pupil and catch light."""
    ax, soft, side = x.abs(), face["softness"], torch.sign(x)
    r = ((ax - face["eye_x"] + 0.003 - side * face["gaze_x"]) ** 2 + (y - face["gaze_y"]) ** 2).sqrt()
    iris = draw.palette(IRIS, 0.15, draw.uniform() ** (1 + 4 * face["melanin"]))
    iris = iris * draw.uniform(0.75, 1.3, 1, 1, 1)
    rim = 1 - 0.55 * edge(r - 0.82 * face["iris_radius"], 0.008)
    ball = over(ball, iris * (rim * shadow)[:, None], edge(face["iris_radius"] - r, soft))
    ball = over(ball, tint(0.03, 0.03, 0.03), edge(draw.uniform(0.02, 0.032) - r, soft))
    spark_x = face["eye_x"] + 0.02 * torch.sign(face["light_x"]) * side
    spark = bump(ax, y, spark_x, face["gaze_y"] - 0.022, 0.011, 0.011)
    return over(ball, tint(1.0, 1.0, 1.0), spark * draw.uniform(0.2, 0.9))


def _lid_lines(u, above, below, face, draw: Draw):
    """Darkness of lashes, lower lid, lid crease and bag, from the distances to the upper and lower lid."""
    in_eye, reach = edge(1.05 - u.abs(), 0.05), u.abs().clamp(max=1)
    width = draw.uniform(0.007, 0.014) + 0.3 * face["softness"]
    lash = ridge(above + 0.004, width) * in_eye * (0.75 + 0.25 * u)
    under = ridge(below - 0.004, 0.008) * in_eye
    gap = face["crease_gap"].clamp_min(0.012) * (1 - 0.5 * reach**3)
    crease = ridge(above + gap, 0.010) * edge(1.12 - u.abs(), 0.08)
    bag = ridge(below - 0.055, 0.014) * edge(1.0 - u.abs(), 0.15)
    dark = draw.uniform(0.6, 0.95) * lash + draw.uniform(0.1, 0.45) * under + draw.uniform(0.15, 0.6) * crease
    return (dark + 0.25 * face["age_lines"].clamp_min(0) * bag).clamp(0, 0.95)


def paint_hair(image: Tensor, mask: Tensor, face: Face, draw: Draw, size: int, level: Tensor) -> Tensor:
    """Hair over head and background, streaked."""
    streaks = 0.16 * draw.noise(size, 10, 60) + 0.12 * draw.noise(size, 40, 40)
    gloss = 0.12 * draw.noise(size, 3, 5).clamp_min(0)
    colour = face["hair_colour"] * (1 + streaks + gloss)[:, None] * level[:, None].clamp(0.5, 1.1)
    return over(image, colour.clamp(0, 1), mask)


def paint_glasses(image: Tensor, x: Tensor, y: Tensor, face: Face, draw: Draw) -> Tensor:
    """Thin or thick frames with a bridge; a faint reflection."""
    ax = x.abs()
    half_w, half_h, power = draw.uniform(0.2, 0.25), draw.uniform(0.13, 0.19), draw.uniform(2, 5)
    level = (
        ((ax - 0.34).abs() / half_w).clamp_min(1e-4) ** power
        + ((y + 0.19).abs() / half_h).clamp_min(1e-4) ** power
    ) ** (1 / power)
    rim = ridge(level - 1, draw.uniform(0.04, 0.12))
    bridge = bump(ax, y, 0, -0.24, 0.07, 0.012) + edge(ax - 0.57, 0.01) * torch.exp(
        -0.5 * ((y + 0.24) / 0.014) ** 2
    )
    colour = draw.palette(((0.05, 0.05, 0.05), (0.25, 0.15, 0.1), (0.6, 0.6, 0.6)), 0.2)
    image = over(image, colour, (face["glasses"] * rim.maximum(bridge)).clamp(0, 0.95))
    return over(image, tint(1.0, 1.0, 1.0), face["glasses"] * edge(1 - level, 0.05) * 0.05)
