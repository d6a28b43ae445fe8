"""The streams that models are trained on: pairs as stabilisation leaves them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

from dface_hf.faces.images import IMAGE_SUFFIXES, to_rgb
from dface_hf.synthesis import NuisanceConfig, PairBatch, PairSampler, faces_from_images, load_fields

from .pair_clips import PairClips, resized
from .synthetic_me import emotion_pairs

#: What is left between two frames after stabilisation and brightness matching, at the noise of a 128 px crop.
RESIDUAL_NUISANCES = NuisanceConfig(drift=0.2, rotation=0.15, scale=0.002, noise=(0.6, 3.0))


def residual_nuisances(size: int) -> NuisanceConfig:
    """`RESIDUAL_NUISANCES` at a crop size in pixels: a smaller crop averages several pixels of the camera."""
    low, high = RESIDUAL_NUISANCES.noise
    share = min(1.0, size / 128)
    return RESIDUAL_NUISANCES.but(noise=(low * share, high * share))


def pretraining_pairs(
    size: int = 64,
    seed: int = 0,
    fields: str | Path | None = None,
    identities: torch.Tensor | None = None,
    **options,
) -> PairSampler:
    """Return the endless stream of pairs for pretraining a tokenizer.

    Args:
        size: Side of the crops in pixels.
        seed: The stream is a function of (seed, step).
        fields: File of measured motion fields; the package's own figures by default.
        identities: (n, 3, side, side) aligned faces in [0, 1]; procedural faces by default.
        options: Whatever else `PairSampler` takes.
    """
    known = dict(nuisances=residual_nuisances(size), still_share=0.12, amplitude=(0.5, 6.0))
    known |= {} if identities is not None else dict(bank=2048, refresh_every=20)
    return PairSampler(
        size, fields=load_fields(size, fields), identities=identities, seed=seed, **(known | options)
    )


@dataclass(frozen=True)
class StoredPairs:
    """A batch of pairs, and what is known about them.

    Attributes:
        onset: (batch, 3, height, width) float32 in [0, 1], of 8 bits.
        apex: The same.
        weights: (batch, actions) weight of each action field; None where it is not known.
        backward: (batch, 2, height / 4, width / 4) backward motion in px of the crop; None where not known.
    """

    onset: torch.Tensor
    apex: torch.Tensor
    weights: torch.Tensor | None
    backward: torch.Tensor | None


class PairStream(Protocol):
    """What pretraining needs of a source of pairs; `dface_hf.synthesis.PairSampler` is one.

    A stream is a function of (seed, step), or has `state_dict()` and `load_state_dict(state)`, which the
    checkpoints of a run keep. One with `sample_share` (see `share_of`) deals out its pairs itself.
    """

    amplitude: tuple[float, float] | None
    num_actions: int

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> Any:
        """Return an object with `onset` and `apex`, both (batch, 3, height, width) in [0, 1], and the truth:
        `weights` (batch, actions), zero where nothing acts, and `backward` (batch, 2, height, width) in px;
        both None for a batch of real pairs."""


def rows_of(pairs: Any, first: int, stride: int) -> StoredPairs:
    """Every `stride`-th pair of a batch: pairs i and i + batch / 2, which may be twins, stay together."""
    columns = (pairs.onset, pairs.apex, pairs.weights, pairs.backward)
    return StoredPairs(*(None if column is None else column[first::stride] for column in columns))


def share_of(
    stream: PairStream, batch: int, step: int, twins: bool = False, rank: int = 0, ranks: int = 1
) -> StoredPairs:
    """One process's pairs of a step.

    The batch is drawn whole by every process, so that it is the same however many there are, unless the
    stream has a way of its own.

    Args:
        stream: Source of pairs.
        batch: Pairs of all processes.
        step: Of the run.
        twins: Whether the second half does what the first half does.
        rank: Number of the process.
        ranks: How many there are.
    """
    if hasattr(stream, "sample_share"):
        return stream.sample_share(batch, step, twins, rank, ranks)
    return rows_of(stream.sample(batch, step, twins=twins), rank, ranks)


class RepeatedPairs:
    """The first batches of a stream over and over: drawing a pair takes longer than learning from it.

    Args:
        stream: Where the pairs are drawn, once.
        batches: How many batches are kept, in memory, as bytes: 13 KB a pair of 64 px, 115 KB of 128 px.
    """

    def __init__(self, stream: PairSampler, batches: int):
        self.stream, self.batches = stream, batches
        self.kept: dict[tuple[int, ...], tuple[torch.Tensor, ...]] = {}

    @property
    def amplitude(self) -> tuple[float, float]:
        """The stream's range of motion; a change of it drops the pairs that were kept."""
        return self.stream.amplitude

    @amplitude.setter
    def amplitude(self, wanted: tuple[float, float]) -> None:
        if wanted != self.stream.amplitude:
            self.stream.amplitude = wanted
            self.kept.clear()

    @property
    def num_actions(self) -> int:
        """Of the stream."""
        return self.stream.num_actions

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> StoredPairs:
        """The pairs of a step; those of step + `batches` are the same."""
        return self.sample_share(batch, step or 0, twins)

    def sample_share(
        self, batch: int, step: int, twins: bool = False, rank: int = 0, ranks: int = 1
    ) -> StoredPairs:
        """One process's pairs of a step, as `share_of` says; only these are kept."""
        key = (step % self.batches, batch, twins, rank, ranks)
        if key not in self.kept:
            drawn = share_of(self.stream, batch, key[0], twins, rank, ranks)
            frames = ((frame * 255 + 0.5).byte() for frame in (drawn.onset, drawn.apex))
            self.kept[key] = (*frames, drawn.weights, F.avg_pool2d(drawn.backward, 4).half())
        onset, apex, weights, backward = self.kept[key]
        return StoredPairs(onset.float() / 255, apex.float() / 255, weights, backward.float())


class MixedPairs:
    """Whole batches of several streams in turn, by shares.

    Args:
        streams: Sources of pairs, each with its share of the batches.
        seed: Which stream a step draws from is a function of (seed, step).
    """

    def __init__(self, streams: Sequence[tuple[PairStream, float]], seed: int = 0):
        self.streams = [stream for stream, _ in streams]
        self.shares, self.seed = [share for _, share in streams], seed
        self.num_actions = max(stream.num_actions for stream in self.streams)

    @property
    def amplitude(self) -> tuple[float, float] | None:
        """The range of motion of the streams that have one: the first one's, and set for all of them."""
        return next((stream.amplitude for stream in self.streams if stream.amplitude), None)

    @amplitude.setter
    def amplitude(self, wanted: tuple[float, float]) -> None:
        for stream in self.streams:
            if stream.amplitude:
                stream.amplitude = wanted

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> PairBatch | StoredPairs:
        """The pairs of a step, all of one stream."""
        return self._at(step).sample(batch, step, twins=twins)

    def sample_share(
        self, batch: int, step: int, twins: bool = False, rank: int = 0, ranks: int = 1
    ) -> StoredPairs:
        """One process's pairs of a step, as `share_of` says."""
        return share_of(self._at(step), batch, step, twins, rank, ranks)

    def state_dict(self) -> dict[str, Any]:
        """The state of each stream that has one, by its number."""
        return {str(i): s.state_dict() for i, s in enumerate(self.streams) if hasattr(s, "state_dict")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where the streams stood."""
        for number, own in state.items():
            self.streams[int(number)].load_state_dict(own)

    def _at(self, step: int | None) -> PairStream:
        return random.Random(f"{self.seed} {step}").choices(self.streams, self.shares)[0]


class VideoPairs:
    """Pairs of real videos, of which nothing is known but the frames.

    Args:
        clips: Aligned, stabilised pairs, such as those of `real_pairs`.
        size: Side of the crops in pixels.
        seed: The stream is a function of (seed, step).
    """

    amplitude: tuple[float, float] | None = None
    num_actions = 0

    def __init__(self, clips: PairClips, size: int, seed: int = 0):
        self.clips, self.size, self.seed = clips, size, seed

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> StoredPairs:
        """Pairs drawn evenly over the persons, half of them mirrored; there are no twins."""
        generator = np.random.default_rng([self.seed, step or 0])
        persons = np.unique(self.clips.identity)
        rows = [
            generator.choice(np.flatnonzero(self.clips.identity == person))
            for person in generator.choice(persons, batch)
        ]
        frames = [self._frames(getattr(self.clips, name)[rows]) for name in ("onset", "apex")]
        mirrored = torch.from_numpy(generator.random(batch) < 0.5)[:, None, None, None]
        onset, apex = (torch.where(mirrored, frame.flip(-1), frame) for frame in frames)
        return StoredPairs(onset, apex, None, None)

    def _frames(self, pixels: np.ndarray) -> torch.Tensor:
        return resized(torch.from_numpy(pixels).permute(0, 3, 1, 2), self.size)


def aligned_faces(folder: str | Path, size: int = 64) -> torch.Tensor:
    """Read a folder of aligned crops as identities (n, 3, size, size) in [0, 1].

    Raises:
        ValueError: If the folder holds no image, or one cannot be read or is not square; the message names
            it.
    """
    files = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        told = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ValueError(f"{folder}: no image ({told}); give a folder of aligned face crops")
    faces = []
    for path in files:
        try:
            faces.append(faces_from_images([to_rgb(PIL.Image.open(path), path.name)], size))
        except (OSError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error
    return torch.cat(faces)


def labelled_pairs(scheme: str = "default4", size: int = 64, seed: int = 0, **options) -> PairSampler:
    """Return the endless stream of pairs with class labels for training heads, every class equally often."""
    known = dict(nuisances=residual_nuisances(size), amplitude=(0.5, 3.0), bank=2048, refresh_every=20)
    return emotion_pairs(scheme, size=size, seed=seed, **(known | options))
