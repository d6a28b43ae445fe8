"""The pairs that tokenizers are compared on: fixed, so that numbers of different days can be compared.

15 action units, each active with p = .15 (a pair that draws none gets one), the largest motion log-uniform in
0.5-2 px ("micro") or 2-6 px ("macro") of a 128 crop, head drift, light, noise, JPEG and blinks as of a
camera, then the package's own stabilisation. None of it is an option.
"""

from __future__ import annotations

import os
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch

from dface_hf.actions import CLASS_SCHEMES
from dface_hf.synthesis import ActionFields, NuisanceConfig, load_fields, procedural_faces

from .pair_clips import (
    SAME,
    EvenPairs,
    PairClips,
    cached_clips,
    keyframe_clips,
    render_clips,
    render_same_action,
    to_bytes,
)
from .real_portraits import real_portraits
from .synthetic_me import synthetic_me

SIZE, FACE_SIZE = 128, 192
UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 25, 26)
AMPLITUDES = {"micro": (0.5, 2.0), "macro": (2.0, 6.0)}
NUISANCES = NuisanceConfig(
    pose=3.0, pose_rotation=3.0, pose_scale=0.04, drift=0.7, rotation=0.5, scale=0.004, gain=0.02,
    offset=0.006, tilt=0.015, noise=(1.0, 3.0), jpeg_share=0.3, jpeg_quality=(85, 100), blink=0.05, grey=0.3,
    blur=0.6, geometry=1.0, tone=1.0, mirror=0.5,
)  # fmt: skip
PAIRS = dict(units=UNITS, unit_probability=0.15, still_share=0.0, unilateral_share=0.15, asymmetry=0.5)
CLIPS = {"train": 2000, "test": 1000, "same": 500, "still": 500, "subjects": 1000}
FACES = {"train": (256, 11), "test": (128, 12)}  # procedural faces of each part, and their seed
SUBJECTS = 20
CORPORA, CORPUS_SEED = ("casme2", "samm", "smic"), 7
FIRST = 32  # faces that are painted to see whether those that were kept are still what is painted
SMOKE = 25  # a smoke run divides the numbers of clips by this

NEEDED = {"measured": "action_fields/action_fields.npz", "real": "faces/index.csv"}
"""What may be absent from the folder of data, by the word for it in the names of sets."""


class BenchmarkPairs:
    """The sets of pairs, each made once and kept in a folder.

    A set is named by its motion ("fitted": the package's fields; "measured": ``action_fields.npz``), its
    faces ("procedural" or "real") and its part ("train" or "test": no face is in both), such as
    "fitted-real-test". A fourth word asks for another kind of pairs of that part: "same" (pairs 2i and 2i + 1
    show one action on two faces), "still" (nothing acts) or "subjects" (20 faces with many pairs each, in
    which only action, head and camera differ).

    Args:
        data: Folder that may hold `NEEDED`.
        folder: Where the pairs are kept. It will hold pictures of people: not a folder that is published.
        smoke: Make few pairs, to see whether everything runs.

    Attributes:
        absent: The words of `NEEDED` for which there is no file.
    """

    def __init__(self, data: Path, folder: Path, smoke: bool = False):
        self.data, self.folder, self.smoke = data, folder, smoke
        self.absent = {word for word, path in NEEDED.items() if not (data / path).is_file()}
        # Each thing is made once. Not by a decorator, which would keep all of them alive.
        self.clips, self.emotions = cache(self.clips), cache(self.emotions)
        self._faces, self._fields = cache(self._faces), cache(self._fields)

    def has(self, name: str) -> bool:
        """Whether a set can be made of the data at hand."""
        return not self.absent & set(name.split("-"))

    def clips(self, name: str, amplitude: str) -> PairClips:
        """The pairs of a set, "micro" or "macro"."""
        motion, kind, part, special = (*name.split("-"), "")[:4]
        faces, options = self._faces(kind, part), PAIRS | {"nuisances": NUISANCES}
        if special == "still":
            options |= {"nuisances": NUISANCES.but(blink=0.0), "still_share": 1.0}
        if special == "subjects":
            faces = faces[: SUBJECTS // 5 if self.smoke else SUBJECTS]
            options["nuisances"] = NUISANCES.but(geometry=0.0, tone=0.0, mirror=0.0)
        options |= {"amplitude": AMPLITUDES[amplitude], "seed": FACES[part][1]}
        stream = EvenPairs(SIZE, self._fields(motion), faces, **options)
        render = render_same_action if special == "same" else render_clips
        path = self.folder / ("smoke" if self.smoke else "full") / f"{name}-{amplitude}"
        count = CLIPS[special or part] // (SMOKE if self.smoke else 1)
        return cached_clips(path, count, partial(render, stream))

    def emotions(self) -> tuple[PairClips, np.ndarray]:
        """Keyframes of SyntheticME and their three classes (n,), as in the MEGC2019 composite."""
        scheme, rows = CLASS_SCHEMES["composite3"], []
        for corpus in CORPORA:
            count = 300 // SMOKE if self.smoke else None
            made = synthetic_me(corpus, count, CORPUS_SEED, SIZE, "keyframes", cache_dir=str(self.folder))
            rows += [row for row in made if scheme.label_of(row["emotion"])]
        labels = [scheme.label2id[scheme.label_of(row["emotion"])] for row in rows]
        return keyframe_clips(rows), np.array(labels)

    def procedural_faces(self, part: str) -> torch.Tensor:
        """(n, 3, 192, 192) procedural faces of a part."""
        return self._faces("procedural", part)

    def _faces(self, kind: str, part: str) -> torch.Tensor:
        if kind == "real":
            return real_portraits(self.data / "faces", part, FACE_SIZE, self.folder).faces
        count, seed = FACES[part]
        first = procedural_faces(FIRST, FACE_SIZE, seed, oversample=1)
        if self.smoke:
            return first
        path = self.folder / f"faces-{part}.npy"
        kept = np.load(path) if path.is_file() else to_bytes(first)
        if len(kept) != count or np.abs(kept[:FIRST].astype(np.int16) - to_bytes(first)).mean() > SAME:
            kept = to_bytes(procedural_faces(count, FACE_SIZE, seed, oversample=1))
            path.parent.mkdir(parents=True, exist_ok=True)
            partial_path = path.with_name(f"{path.stem}.{os.getpid()}.npy")
            np.save(partial_path, kept)
            partial_path.replace(path)
        return torch.from_numpy(kept).permute(0, 3, 1, 2).float() / 255

    def _fields(self, motion: str) -> ActionFields:
        return load_fields(SIZE, self.data / NEEDED["measured"] if motion == "measured" else None)
