"""Three synthetic corpora for leave-one-dataset-out evaluation of action units.

They differ in what real corpora differ in: camera (rate, colour, noise, compression), size of the motion,
people, and how well a head holds still. The twelve units of CD6ME appear alone and in the combinations that
are common in micro-expressions, on one side or both, in upper and lower face at once. No person is shown, and
scores on these corpora are scores on synthetic data.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset

from dface_hf.models.ac4au.configuration_ac4au import UNITS
from dface_hf.synthesis import (
    ActionFields,
    ActionSet,
    NuisanceConfig,
    draw_time_course,
    load_fields,
    procedural_faces,
    render_clip,
)
from dface_hf.synthesis.seeds import seed_of, seeded
from dface_hf.synthesis.timing import jitter_labels
from dface_hf.whole_files import write_text

from .clip import CLIP_FEATURES
from .synthetic_me import LICENSE, ClipPlan, draw_sides, field_weights, png_bytes

RECIPE = 1
"""Raised whenever the pictures of a seed change, so that no stale cache is read."""
RECIPE_FILE = "recipe.json"
COMBINATIONS = (
    "1+2:5 1:2 2:2 1+4:1 1+2+5:2 5:2 4:5 4+7:2 7:2 6+12:3 6:1 6+7+12:1 12:3 ~12:1 9:3 4+9:1 10:3 14:3 ~14:2 "
    "15:3 15+17:2 17:3"
)
"""Units that act together, and how often; "~": on one side. After the correlations of CD6ME (1 with 2, 6 with
12, 15 with 17), with rare units less rare than there; the weights are engineering choices."""
SECOND = 0.5  # share of the clips in which a second combination acts, of other units
TAKE = 1000  # from the seed of a corpus to that of its next take
MARGIN = 0.05  # seconds before the onset and after the offset


@dataclass(frozen=True)
class CameraRecipe:
    """What a corpus looks like.

    Attributes:
        seed: Of people, actions and sensor.
        clips: Number of clips.
        subjects: People, with about equally many clips each; fewer where there would not be two for each.
        fps: Frames a second.
        amplitude: Range of the largest motion, px of a 128 crop (log-uniform).
        nuisances: Camera and head.
    """

    seed: int
    clips: int
    subjects: int
    fps: int
    amplitude: tuple[float, float]
    nuisances: NuisanceConfig


_STEADY = NuisanceConfig(geometry=0.0, tone=0.0, mirror=0.0, tilt=0.0, offset=0.0, blur=0.0)
AU_CORPORA = {
    "fast": CameraRecipe(
        811, 160, 10, 100, (1.0, 3.0),
        _STEADY.but(pose=1.0, drift=0.3, rotation=0.2, noise=(0.5, 1.5), jpeg_share=0.0, grey=0.0, gain=0.01),
    ),
    "grey": CameraRecipe(
        812, 160, 10, 60, (1.5, 4.0),
        _STEADY.but(pose=2.0, drift=0.7, rotation=0.5, noise=(2.0, 3.0), jpeg_share=0.0, grey=1.0, gain=0.02),
    ),
    "web": CameraRecipe(
        813, 160, 10, 30, (2.0, 6.0),
        _STEADY.but(pose=3.0, drift=1.0, noise=(1.0, 2.0), jpeg_share=1.0, jpeg_quality=(70, 90), grey=0.0,
        gain=0.04),
    ),
}  # fmt: skip
"""A steady fast camera with small motion, a noisy grey one, and a compressed slow one with large motion."""


def synthetic_au(
    corpus: str,
    clips: int | None = None,
    seed: int | None = None,
    size: int = 128,
    label_jitter: float = 0.05,
    cache_dir: str | None = None,
) -> Dataset:
    """SyntheticAU-{corpus} as a dataset of the clip schema, with all frames from onset to offset.

    Args:
        corpus: A key of `AU_CORPORA`.
        clips: Number of clips (default: the recipe's).
        seed: Other people and actions before the same camera (default: the recipe's); then it is part of
            the names of subjects and clips.
        size: Pixels of the aligned crops.
        label_jitter: Annotators' error of onset and apex as a share of the length (twice that for the
            offset).
        cache_dir: Where the Arrow file goes (default: that of `datasets`).

    Returns:
        Rows of `CLIP_FEATURES` with embedded PNG frames and no emotion.

    Raises:
        ValueError: An unknown corpus, or fewer clips than one.
    """
    if corpus not in AU_CORPORA:
        raise ValueError(f"unknown corpus {corpus!r}; known: {', '.join(AU_CORPORA)}")
    recipe = AU_CORPORA[corpus]
    seed, clips = recipe.seed if seed is None else seed, recipe.clips if clips is None else clips
    if clips < 1:
        raise ValueError(f"clips={clips} must be at least 1")
    arguments = {"corpus": corpus, "plan": plan_units(corpus, clips, seed), "seed": seed, "size": size}
    arguments |= {"label_jitter": label_jitter, "recipe": (RECIPE, recipe)}
    return Dataset.from_generator(_rows, features=CLIP_FEATURES, gen_kwargs=arguments, cache_dir=cache_dir)


def write_au_corpora(
    folder: str | Path, clips: int | None = None, size: int = 128, takes: int = 1
) -> list[str]:
    """All corpora as folders of Parquet files; those that are there and were made so stay as they are.

    Args:
        folder: Of the folders.
        clips: Of each corpus (default: the recipe's).
        size: Pixels of the aligned crops.
        takes: How often each is made, with other people and actions: `fast`, `fast-1` and so on.

    Returns:
        The folders, as `open_clips` takes them.

    Raises:
        ValueError: A corpus is there that was made otherwise.
    """
    folders = []
    for take, name in itertools.product(range(takes), AU_CORPORA):
        path = Path(folder) / (f"{name}-{take}" if take else name) / "clips.parquet"
        folders.append(str(path.parent))
        seed = AU_CORPORA[name].seed + TAKE * take
        count = AU_CORPORA[name].clips if clips is None else clips
        made_so = {"recipe": RECIPE, "clips": count, "seed": seed, "size": size}
        if path.is_file():
            _check_recipe(path.parent, made_so)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path.parent / RECIPE_FILE, json.dumps(made_so) + "\n")
        made = synthetic_au(name, clips, seed, size, cache_dir=str(Path(folder) / ".cache"))
        partial = path.with_name(".clips.partial")
        made.to_parquet(partial)
        partial.rename(path)
    return folders


def _check_recipe(folder: Path, wanted: dict[str, int]) -> None:
    file = folder / RECIPE_FILE
    found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    other = [key for key in wanted if found.get(key) != wanted[key]]
    told = (f"{key} {found.get(key, 'unknown')}, not {wanted[key]}" for key in other)
    if differs := "; ".join(told):
        raise ValueError(f"{folder}: made with {differs}: remove the folder, or take another")


def plan_units(corpus: str, clips: int, seed: int) -> list[ClipPlan]:
    """What every clip of a corpus will be, before anything is drawn."""
    recipe, fields = AU_CORPORA[corpus], load_fields(64)
    people = max(1, min(recipe.subjects, clips // 2))
    return [_plan(corpus, number, number % people, seed, recipe.amplitude, fields) for number in range(clips)]


def unit_combinations() -> list[ActionSet]:
    """The sets of units that act together."""
    entries = [entry.split(":") for entry in COMBINATIONS.split()]
    sets = [
        ActionSet(tuple(map(int, units.lstrip("~").split("+"))), float(weight), unilateral=units[0] == "~")
        for units, weight in entries
    ]
    assert {unit for one in sets for unit in one.units} == set(UNITS)
    return sets


def _plan(corpus: str, number: int, person: int, seed: int, amplitude, fields: ActionFields) -> ClipPlan:
    generator = seeded("au plan", corpus, seed, number)
    sets = unit_combinations()
    chosen = [_drawn(sets, generator)]
    if torch.rand(1, generator=generator).item() < SECOND:
        others = [one for one in sets if not set(one.units) & set(chosen[0].units)]
        chosen.append(_drawn(others, generator))
    units = tuple(unit for one in chosen for unit in one.units)
    sides = sum((draw_sides(fields, one.units, one.unilateral, generator) for one in chosen), ())
    low, high = amplitude
    peak = low * (high / low) ** torch.rand(1, generator=generator).item()
    course, take = draw_time_course(generator), "" if seed == AU_CORPORA[corpus].seed else f"{seed}-"
    names = f"{take}{corpus}_{number + 1:03d}", f"{take}sub{person + 1:02d}"
    return ClipPlan(*names, "", units, sides, peak, course)


def _drawn(sets: list[ActionSet], generator: torch.Generator) -> ActionSet:
    weights = torch.tensor([one.probability for one in sets])
    return sets[int(torch.multinomial(weights, 1, generator=generator))]


def _rows(
    corpus: str, plan: list[ClipPlan], seed: int, size: int, label_jitter: float, recipe: tuple
) -> Iterator[dict]:
    """Rows of the schema, each person's face painted once."""
    fields, faces = load_fields(size), {}
    for clip in plan:
        if clip.subject not in faces:
            face_seed = seed_of("au subject", corpus, clip.subject, seed)
            faces[clip.subject] = procedural_faces(1, size * 3 // 2, face_seed)[0]
        yield _row(corpus, clip, faces[clip.subject], seed, fields, label_jitter, recipe[1])


def _row(corpus, clip: ClipPlan, face, seed: int, fields: ActionFields, jitter: float, recipe) -> dict:
    generator = seeded("au clip", corpus, seed, clip.clip_id)
    margin = round(MARGIN * recipe.fps)
    weights = field_weights(fields, clip, generator)
    _, truth = clip.course.frames(recipe.fps, margin, margin)
    onset, apex, offset = jitter_labels(truth, generator, jitter)
    offset = min(offset, truth[2] + margin)
    size, camera_seed = fields.displacement.shape[-1], seed_of("au", corpus, seed, clip.clip_id)
    camera = (clip.course, recipe.fps, recipe.nuisances, camera_seed)
    pictures, _ = render_clip(face, weights, *camera, fields, margin, margin, size)
    return {
        "clip_id": clip.clip_id,
        "corpus": f"SyntheticAU-{corpus}",
        "subject": clip.subject,
        "frames": [{"bytes": png_bytes(picture), "path": None} for picture in pictures],
        "path": None,
        "fps": float(recipe.fps),
        "onset": onset,
        "apex": min(apex, offset),
        "offset": offset,
        "emotion": None,
        "action_units": clip.notation,
        "license": LICENSE,
    }
