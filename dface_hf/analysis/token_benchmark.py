"""What a linear probe reads of the benchmark's pairs, by where the pairs come from.

Columns: 1. same origin: fitted and tested on the package's motion fields and procedural faces, other
identities; 2. other origin: fitted as in 1, tested on measured motion fields over real portraits; 2r the
reverse; 3. cross-face: fitted on procedural faces, tested on real portraits, the package's motion fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from dface_hf.data.benchmark_pairs import AMPLITUDES, UNITS, BenchmarkPairs
from dface_hf.data.pair_clips import PairClips

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
