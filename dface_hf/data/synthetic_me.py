"""SyntheticME: look-alikes of CASME II, SAMM and SMIC made of procedural faces, and a labelled stream of
pairs.

A look-alike has the published numbers of clips, subjects and emotions, the frame rate and colour of the
original, few subjects with many clips, and motion of micro-expression size. It resembles the originals in
form, not in content: scores on it are scores on synthetic data. No person is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from datasets import Dataset

from dface_hf.actions import ClassScheme
from dface_hf.synthesis import (
    ActionFields,
    NuisanceConfig,
    PairSampler,
    TimeCourse,
    action_weights,
    draw_time_course,
    load_fields,
    procedural_faces,
    render_clip,
)
from dface_hf.synthesis.pairs import RELATIVE_AMPLITUDE
from dface_hf.synthesis.seeds import seed_of, seeded
from dface_hf.synthesis.timing import jitter_labels
from dface_hf.synthesis.tracks import peak_motion

from .clip import CLIP_FEATURES
from .emotion_actions import emotion_action_sets, scheme_action_sets

RECIPE = 1
"""Raised whenever the pictures of a seed change, so that no stale cache is read."""
LICENSE = "cc0-1.0"
SMIC_CLASSES = {
    "negative": "disgust anger sadness fear repression",
    "positive": "happiness",
    "surprise": "surprise",
}


@dataclass(frozen=True)
class CorpusRecipe:
    """What is imitated of a corpus.

    Attributes:
        emotions: Clips per emotion word.
        subjects: Subjects with clips.
        fps: Frames a second.
        grey: No colour.
        apex_annotated: Whether the original annotates the apex; otherwise the middle of onset and offset is
            given.
        units_annotated: Whether it annotates action units.
        zipf: Exponent of the fall of clips per subject.
    """

    emotions: dict[str, int]
    subjects: int
    fps: int
    grey: bool = False
    apex_annotated: bool = True
    units_annotated: bool = True
    zipf: float = 0.8


CORPORA = {
    "casme2": CorpusRecipe(
        {"others": 99, "disgust": 63, "happiness": 32, "repression": 27, "surprise": 25, "sadness": 7,
        "fear": 2}, 26, 200
    ),
    "samm": CorpusRecipe(
        {
            "anger": 57, "happiness": 26, "others": 26, "surprise": 15,
            "contempt": 12, "disgust": 9, "fear": 8, "sadness": 6,
        }, 29, 200, grey=True,
    ),
    "smic": CorpusRecipe(
        {"negative": 70, "positive": 51, "surprise": 43}, 16, 100, apex_annotated=False,
        units_annotated=False, zipf=0.9
    ),
}  # fmt: skip
"""Published counts: CASME II's release sheet (255 clips), SAMM's (159), SMIC-HS as used in MEGC2019 (164)."""


@dataclass(frozen=True)
class ClipPlan:
    """All that a clip is made of; rendering it needs nothing else but the corpus's seed.

    Attributes:
        clip_id, subject, emotion: As in the schema.
        units: FACS numbers.
        sides: Per unit "", "L" or "R" (the subject's).
        peak: Largest motion, px of a 128 crop.
        course: Time course.
    """

    clip_id: str
    subject: str
    emotion: str
    units: tuple[int, ...]
    sides: tuple[str, ...]
    peak: float
    course: TimeCourse

    @property
    def notation(self) -> str:
        """FACS notation, "4+R12"."""
        return "+".join(f"{side}{unit}" for unit, side in zip(self.units, self.sides, strict=True))


def synthetic_me(
    corpus: str = "casme2",
    clips: int | None = None,
    seed: int = 0,
    size: int = 128,
    frames: str = "all",
    amplitude: tuple[float, float] = (0.3, 2.0),
    label_jitter: float = 0.1,
    cache_dir: str | None = None,
) -> Dataset:
    """SyntheticME-{corpus} as a dataset of the clip schema.

    Args:
        corpus: "casme2", "samm" or "smic".
        clips: Number of clips (default: the published one); the proportions of emotions and subjects are
            kept.
        seed: Equal arguments give equal datasets.
        size: Pixels of the aligned crops.
        frames: "all", or "keyframes" for onset, apex and offset only: then these are the frames 0, 1 and 2.
        amplitude: Range of the largest motion, px of a 128 crop (log-uniform).
        label_jitter: Annotators' error of onset and apex as a share of the length (twice that for the
            offset).
        cache_dir: Where the Arrow file goes (default: that of `datasets`).

    Returns:
        Rows of `CLIP_FEATURES`, frames embedded as PNG.

    Raises:
        ValueError: An unknown corpus or mode of frames.
    """
    if frames not in ("all", "keyframes"):
        raise ValueError(f"frames={frames!r} must be 'all' or 'keyframes'")
    plan = plan_corpus(corpus, clips, seed, amplitude)
    recipe = {"size": size, "frames": frames, "label_jitter": label_jitter, "recipe": RECIPE}
    arguments = {"corpus": corpus, "plan": plan, "seed": seed, **recipe}
    return Dataset.from_generator(_rows, features=CLIP_FEATURES, gen_kwargs=arguments, cache_dir=cache_dir)


def plan_corpus(
    corpus: str, clips: int | None = None, seed: int = 0, amplitude: tuple[float, float] = (0.3, 2.0)
) -> list[ClipPlan]:
    """What every clip of a corpus will be, before anything is drawn.

    Raises:
        ValueError: An unknown corpus, or fewer clips than one.
    """
    if corpus not in CORPORA:
        raise ValueError(f"unknown corpus {corpus!r}; known: {', '.join(CORPORA)}")
    recipe = CORPORA[corpus]
    count = sum(recipe.emotions.values()) if clips is None else clips
    if count < 1:
        raise ValueError(f"clips={clips} must be at least 1")
    generator = seeded("corpus", corpus, seed, count)
    emotions = _repeat(recipe.emotions, count)
    ranks = {f"{i + 1:02d}": (i + 1) ** -recipe.zipf for i in range(recipe.subjects)}
    subjects = _repeat(ranks, count, at_least=int(count >= recipe.subjects))
    emotions = [emotions[i] for i in torch.randperm(count, generator=generator).tolist()]
    names = torch.randperm(recipe.subjects, generator=generator).tolist()
    fields = load_fields(64)
    return [
        _plan_clip(corpus, number, f"{names[int(subject) - 1] + 1:02d}", emotion, seed, amplitude, fields)
        for number, (subject, emotion) in enumerate(zip(subjects, emotions, strict=True))
    ]


def emotion_pairs(
    scheme: ClassScheme | str = "default4", balance: bool = True, still_share: float = 0.0, **sampler: object
) -> PairSampler:
    """An endless stream of pairs labelled with the classes of a scheme, for training heads.

    Args:
        scheme: Class scheme or its name; "others" is drawn like any class.
        balance: Every class equally often, or as often as in CASME II's release.
        still_share: Share of pairs without action (their label is -1).
        sampler: Everything else that `PairSampler` takes.

    Returns:
        A sampler whose batches carry ``label``.
    """
    sets = scheme_action_sets(scheme, balance)
    return PairSampler(unit_combinations=sets, still_share=still_share, **sampler)


def _repeat(weights: dict[str, float], count: int, at_least: int = 0) -> list[str]:
    """``count`` keys in proportion to the weights (largest remainders), each at least so often."""
    total, spare = sum(weights.values()), count - at_least * len(weights)
    exact = {key: spare * weight / total for key, weight in weights.items()}
    number = {key: at_least + int(value) for key, value in exact.items()}
    rest = sorted(exact, key=lambda key: int(exact[key]) - exact[key])[: count - sum(number.values())]
    return [key for key in weights for _ in range(number[key] + (key in rest))]


def _plan_clip(corpus, number, subject, emotion, seed, amplitude, fields: ActionFields) -> ClipPlan:
    generator = seeded("plan", corpus, seed, number)
    words = SMIC_CLASSES.get(emotion, emotion).split() if corpus == "smic" else [emotion]
    word = words[int(torch.randint(len(words), (1,), generator=generator))]
    sets = emotion_action_sets(word)
    chosen = sets[int(torch.multinomial(torch.tensor([s.probability for s in sets]), 1, generator=generator))]
    sides = draw_sides(fields, chosen.units, chosen.unilateral, generator)
    low, high = amplitude
    peak = low * (high / low) ** torch.rand(1, generator=generator).item()
    peak *= max(RELATIVE_AMPLITUDE.get(unit, 1.0) for unit in chosen.units)
    course = draw_time_course(generator)
    return ClipPlan(f"{corpus}_{number + 1:03d}", f"sub{subject}", emotion, chosen.units, sides, peak, course)


def draw_sides(
    fields: ActionFields, units: tuple[int, ...], unilateral: bool, generator: torch.Generator
) -> tuple[str, ...]:
    """Per unit "", "L" or "R": one side for all of a unilateral set, and for one unit in ten of others."""
    one_side = "LR"[int(torch.rand(1, generator=generator) < 0.5)]
    alone = torch.rand(len(units), generator=generator) < 0.1
    return tuple(
        one_side if _sided(fields, unit) and (unilateral or alone[i]) else "" for i, unit in enumerate(units)
    )


def _sided(fields: ActionFields, unit: int) -> bool:
    return "left" in {fields.sides[k] for k in fields.index(unit)}


def _rows(corpus: str, plan: list[ClipPlan], seed: int, **recipe) -> Iterator[dict]:
    """Rows of the schema, one subject's face painted once."""
    fields = load_fields(recipe["size"])
    faces: dict[str, torch.Tensor] = {}
    for clip in plan:
        if clip.subject not in faces:
            faces[clip.subject] = _face_of(corpus, clip.subject, seed, recipe["size"])
        yield _row(corpus, clip, faces[clip.subject], seed, fields, recipe)


def _face_of(corpus: str, subject: str, seed: int, size: int) -> torch.Tensor:
    return procedural_faces(1, size * 3 // 2, seed_of("subject", corpus, subject, seed))[0]


def _row(corpus: str, clip: ClipPlan, face, seed: int, fields: ActionFields, recipe: dict) -> dict:
    source, generator = CORPORA[corpus], seeded("clip", corpus, seed, clip.clip_id)
    nuisances = NuisanceConfig(grey=float(source.grey), pose=1.5, pose_rotation=1.5, pose_scale=0.02)
    margin = round(0.1 * source.fps)
    weights = field_weights(fields, clip, generator)
    _, truth = clip.course.frames(source.fps, margin, margin)
    onset, apex, offset = jitter_labels(truth, generator, recipe["label_jitter"])
    offset = min(offset, truth[2] + margin)
    apex = min(apex, offset - 1) if source.apex_annotated else (onset + offset) // 2
    wanted = (onset, apex, offset) if recipe["frames"] == "keyframes" else None
    pictures, _ = render_clip(
        face,
        weights,
        clip.course,
        source.fps,
        nuisances,
        seed_of(corpus, seed, clip.clip_id),
        fields,
        margin,
        margin,
        recipe["size"],
        wanted,
    )
    if wanted:
        onset, apex, offset = 0, 1, 2
    return {
        "clip_id": clip.clip_id,
        "corpus": f"SyntheticME-{corpus}",
        "subject": clip.subject,
        "frames": [{"bytes": png_bytes(picture), "path": None} for picture in pictures],
        "path": None,
        "fps": float(source.fps),
        "onset": onset,
        "apex": apex,
        "offset": offset,
        "emotion": clip.emotion,
        "action_units": clip.notation if source.units_annotated else "",
        "license": LICENSE,
    }


def png_bytes(picture: np.ndarray) -> bytes:
    """A picture (height, width, 3) uint8 RGB as a PNG file."""
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def field_weights(fields: ActionFields, clip: ClipPlan, generator: torch.Generator) -> torch.Tensor:
    """Field weights (K,) whose largest motion is the clip's peak; two-sided units are a little uneven."""
    sides = {"L": "_left", "R": "_right"}
    units: dict[int | str, float] = {}
    for unit, side in zip(clip.units, clip.sides, strict=True):
        units[f"AU{unit}{sides[side]}" if side else unit] = RELATIVE_AMPLITUDE.get(unit, 1.0)
    weights = action_weights(fields, units)
    weak = ("left", "right")[int(torch.rand(1, generator=generator) < 0.5)]
    factor = 0.5 + 0.5 * torch.rand(1, generator=generator).item()
    both = {unit for unit, side in zip(clip.units, clip.sides, strict=True) if not side}
    uneven = [
        factor if s == weak and u in both else 1.0 for u, s in zip(fields.units, fields.sides, strict=True)
    ]
    weights = weights * torch.tensor(uneven)
    return weights * (clip.peak / peak_motion(fields, weights[None]))
