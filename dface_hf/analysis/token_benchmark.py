"""What a linear probe reads of the benchmark's pairs, by where the pairs come from.

Columns: 1. same origin: fitted and tested on the package's motion fields and procedural faces, other
identities; 2. other origin: fitted as in 1, tested on measured motion fields over real portraits; 2r the
reverse; 3. cross-face: fitted on procedural faces, tested on real portraits, the package's motion fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import cv2
import numpy as np
from tqdm import tqdm

from dface_hf.data.benchmark_pairs import AMPLITUDES, UNITS, BenchmarkPairs
from dface_hf.data.pair_clips import PairClips
from dface_hf.faces.flow import optical_flow

from .probes import ProbeResult, tuned_probe
from .tokens import Representation

#: Column: (pairs that the probe is fitted on, pairs that it is tested on).
ORIGINS = {
    "1": ("fitted-procedural-train", "fitted-procedural-test"),
    "2": ("fitted-procedural-train", "measured-real-test"),
    "2r": ("measured-real-train", "fitted-procedural-test"),
    "3": ("fitted-procedural-train", "fitted-real-test"),
}


def columns_of(pairs: BenchmarkPairs) -> list[str]:
    """The columns that can be measured with the data at hand."""
    return [column for column, sets in ORIGINS.items() if all(map(pairs.has, sets))]


def probe_results(
    pairs: BenchmarkPairs,
    columns: Iterable[str],
    features: Callable[[PairClips], np.ndarray],
    sizes: Iterable[str] = tuple(AMPLITUDES),
) -> dict[str, ProbeResult]:
    """By "column size", what a probe reads of the features (n, d) of clips.

    Args:
        pairs: The benchmark's pairs.
        columns: Of `ORIGINS`.
        features: Of a set of clips.
        sizes: "micro", "macro" or both.
    """
    found, features, columns = {}, cache(features), list(columns)
    fit = cache(lambda clips: tuned_probe(features(clips), clips.units, clips.identity, UNITS))
    for size in sizes:
        for column in columns:
            train, test = (pairs.clips(name, size) for name in ORIGINS[column])
            found[f"{column} {size}"] = fit(train).score(features(test), test.units)
    return found


def view_results(
    pairs: BenchmarkPairs,
    columns: Iterable[str],
    read: Callable[[PairClips], Representation],
    sizes: Iterable[str] = tuple(AMPLITUDES),
    views: Iterable[str] = Representation.VIEWS,
) -> dict[str, dict[str, ProbeResult]]:
    """`probe_results` of each view of what a tokenizer reads, which is read once."""
    seen, columns, sizes = cache(lambda clips: read(clips).features), list(columns), tuple(sizes)
    return {
        view: probe_results(pairs, columns, lambda clips, view=view: seen(clips)[view], sizes)
        for view in views
    }


def flow_errors(clips: PairClips, cells: Iterable[int] = (128, 16, 4)) -> dict[str, dict[str, float]]:
    """How well the apex is redrawn from the onset and the optical flow between them, unquantised.

    What sixteen tokens are up against: a 4x4 grid of mean flow vectors is as many numbers as a token grid has
    places, each with two real numbers in place of five bits.

    Args:
        clips: Onset/apex pairs.
        cells: Along a side of the grid that the flow is averaged over.

    Returns:
        By grid, as `reconstruction`: mean absolute and mean squared error relative to copying the onset.
    """
    copied, drawn = [], {count: [] for count in cells}
    for onset, apex in tqdm(list(zip(clips.onset, clips.apex, strict=True)), desc="flow", leave=False):
        backward = optical_flow(apex, onset, "dis")
        copied.append(_errors(onset, apex))
        for count, errors in drawn.items():
            small = cv2.resize(backward, (count, count), interpolation=cv2.INTER_AREA)
            laid = cv2.resize(small, backward.shape[1::-1], interpolation=cv2.INTER_CUBIC)
            errors.append(_errors(_moved(onset, laid), apex))
    base = np.mean(copied, axis=0)
    found = {}
    for count, errors in drawn.items():
        l1, squared = (np.mean(errors, axis=0) / base).tolist()
        found[f"optical flow, {count}x{count}"] = {"l1": l1, "squared": squared}
    return found


def _moved(onset: np.ndarray, backward: np.ndarray) -> np.ndarray:
    places = np.indices(onset.shape[:2], np.float32)[::-1].transpose(1, 2, 0) + backward
    return cv2.remap(onset, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _errors(drawn: np.ndarray, apex: np.ndarray) -> tuple[float, float]:
    error = drawn.astype(np.float64) - apex
    return np.abs(error).mean(), np.square(error).mean()
