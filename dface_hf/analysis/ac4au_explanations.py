"""What AC4AU makes of clips: which experts each unit listens to, what changes and what stays, and where."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from tqdm import tqdm
from transformers.image_processing_utils import BaseImageProcessor

from dface_hf.models import AC4AUForActionUnitDetection, split_frequencies

from .identity_leak import identity_leak

AT_ONCE = 8  # clips that go through the model together
FEWEST = 8  # clips of which a map of neighbours says something
COMPONENTS = 50


@dataclass(frozen=True, eq=False)
class UnitReading:
    """What the model computes of n clips of T frames.

    Attributes:
        names: Of the K units.
        scores: (n, K) probabilities.
        gates: (n, K, experts), each row of which sums to 1; None for a model without experts.
        changing: (n, T, hidden_size) AC, the features minus their mean over time.
        constant: (n, hidden_size) DC, T times that mean.
        pooled: (n, hidden_size) after the temporal transformer.
        changing_map: (n, T, g, g) root mean square over the channels of AC of the backbone's last maps, which
            are split like the features: where something changes, and when.
        constant_map: (n, g, g) the same of their mean over time.
    """

    names: tuple[str, ...]
    scores: np.ndarray
    gates: np.ndarray | None
    changing: np.ndarray
    constant: np.ndarray
    pooled: np.ndarray
    changing_map: np.ndarray
    constant_map: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def energy(self) -> np.ndarray:
        """(n, T) share of each frame's change in the features: mean square of AC over that of the mean."""
        mean = self.constant / self.changing.shape[1]
        return (self.changing**2).mean(axis=2) / np.maximum((mean**2).mean(axis=1, keepdims=True), 1e-12)


@torch.no_grad()
def read_clips(
    model: AC4AUForActionUnitDetection, processor: BaseImageProcessor, frames: np.ndarray
) -> UnitReading:
    """Run clips through the model and keep what it computes on the way.

    Args:
        model: In evaluation mode.
        processor: Of the same checkpoint.
        frames: (n, T, size, size, 3) uint8 RGB aligned crops, T as the model takes them.
    """
    rows: list[tuple[torch.Tensor | None, ...]] = []
    maps: list[torch.Tensor] = []
    hook = model.ac4au.backbone.head[0].register_forward_hook(lambda *args: maps.append(args[2]))
    try:
        for start in tqdm(range(0, len(frames), AT_ONCE), desc="reading clips", unit="batch", leave=False):
            maps.clear()
            inputs = processor(list(frames[start : start + AT_ONCE]), return_tensors="pt")
            rows.append(_read(model, inputs["pixel_values"].to(model.device), maps))
    finally:
        hook.remove()
    columns = [
        None if parts[0] is None else torch.cat(parts).cpu().numpy() for parts in zip(*rows, strict=True)
    ]
    names = tuple(label for _, label in sorted(model.config.id2label.items()))
    return UnitReading(names, *columns)


def _read(model, pixel_values: torch.Tensor, maps: list[torch.Tensor]) -> tuple[torch.Tensor | None, ...]:
    """The tensors of a [`UnitReading`] for a batch."""
    output = model.ac4au(pixel_values)
    read = model.classifier(output.pooler_output)
    logits, gates = read if model.config.use_experts else (read, None)
    changing, constant = split_frequencies(output.frame_features.float())
    count = pixel_values.shape[1]
    moving, still = split_frequencies(maps[0].float().unflatten(0, (-1, count)))
    rms = [part.square().mean(dim=-3).sqrt() for part in (moving, still / count)]
    scores, pooled = logits.float().sigmoid(), output.pooler_output.float()
    return scores, None if gates is None else gates.float(), changing, constant, pooled, *rms


def gate_table(gates: np.ndarray, names: Sequence[str]) -> str:
    """Mean gate weights as CSV, one row a unit; `effective_experts` is exp(entropy): 1 if a unit listens to
    one expert only, the number of experts if to all alike.

    Args:
        gates: (n, K, experts).
        names: Of the K units.
    """
    mean = gates.mean(axis=0)
    spread = gates.std(axis=0).max(axis=1)
    effective = np.exp(-(mean * np.log(np.maximum(mean, 1e-12))).sum(axis=1))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    experts = [f"expert{number}" for number in range(1, mean.shape[1] + 1)]
    table.writerow(["unit", *experts, "effective_experts", "largest_sd_over_clips"])
    for name, row, *rest in zip(names, mean, effective, spread, strict=True):
        table.writerow([name, *(f"{value:.4f}" for value in (*row, *rest))])
    return text.getvalue()


def neighbours(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """A plane in which clips with like features lie close (t-SNE of the first principal components).

    Args:
        features: (n, ...), n >= 8.
        seed: Of the placement.

    Returns:
        (n, 2) float32.

    Raises:
        ValueError: Fewer clips.
    """
    flat = np.asarray(features, np.float64).reshape(len(features), -1)
    if len(flat) < FEWEST:
        raise ValueError(f"{len(flat)} clips: a map of neighbours needs {FEWEST} or more")
    flat = PCA(min(COMPONENTS, len(flat) - 1, flat.shape[1]), random_state=seed).fit_transform(flat)
    scale = flat.std()
    perplexity = min(30.0, (len(flat) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(flat / (scale or 1.0))
    return plane.astype(np.float32)


def subject_probes(reading: UnitReading, subjects: Sequence[str]) -> dict[str, float]:
    """How well subjects are told apart by each part of the features; those with one clip are left out.

    Returns:
        Accuracy of linear probes on `AC` (its root mean square over time), `DC` and `pooled`, and `chance`;
        empty where fewer than two subjects have two clips.
    """
    names, index, counts = np.unique(np.asarray(subjects), return_inverse=True, return_counts=True)
    kept = counts[index] > 1
    if (counts > 1).sum() < 2:
        return {}
    count = reading.changing.shape[1]
    frames = reading.changing[kept] + reading.constant[kept, None] / count
    found = identity_leak(frames, names[index[kept]])
    pooled = identity_leak(reading.pooled[kept, None], names[index[kept]])["DC"]
    return {"AC": found["AC"], "DC": found["DC"], "pooled": pooled, "chance": found["chance"]}


__all__ = ["FEWEST", "UnitReading", "gate_table", "neighbours", "read_clips", "subject_probes"]
