"""An endless stream of pairs from prepared datasets that need not fit on one machine."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import IterableDataset, concatenate_datasets
from datasets.distributed import split_dataset_by_node

from dface_hf.faces import stabilise

from .clip import TRAIN
from .pair_clips import resized
from .prepared_clips import open_clips, parquet_files, read_frame
from .real_videos import GAP
from .streams import MixedPairs, PairStream, StoredPairs

RATE = 25.0  # frames a second that `GAP` counts in


class ParquetPairs:
    """Pairs drawn from the frames of clips, read one after the other with `datasets` streaming.

    A clip gives a few pairs each time it is read: its onset and apex, or two frames 8 to 15 frames of 25 a
    second apart. The files come in another order in each pass, and the pairs of `window` clips are shuffled.
    Which pairs a clip gives is a function of (seed, pass, clip), and `state_dict` holds where in the clips
    the stream stands, so a resumed run sees the pairs of an uninterrupted one.

    Each process of a distributed run reads its own part of the clips (`split_dataset_by_node`): files of its
    own where their number is a multiple of that of the processes. The pairs of a step then depend on how many
    processes there are.

    Args:
        sources: Prepared datasets, as `open_clips` takes them; crops that are aligned. Of a source with
            splits only "train" is read.
        size: Side of the crops in pixels.
        seed: Of order and pairs.
        per_clip: Pairs of a clip and pass.
        keyframe_share: Share of the pairs that are onset and apex.
        window: Clips whose pairs are shuffled; each pair takes 6 x size x size bytes.

    Raises:
        ValueError: A source that is no prepared dataset, or holds no pair.
    """

    amplitude: tuple[float, float] | None = None
    num_actions = 0

    def __init__(
        self,
        sources: Sequence[str | Path],
        size: int,
        seed: int = 0,
        per_clip: int = 4,
        keyframe_share: float = 0.5,
        window: int = 64,
    ):
        self.sources, self.size, self.seed = [str(source) for source in sources], size, seed
        self.per_clip, self.keyframe_share, self.window = per_clip, keyframe_share, window
        for source in self.sources:
            open_clips(source, TRAIN)  # says what is wrong with it before anything is trained
        self.share = (0, 1)
        self.skipped, self._found = 0, False
        self._begin(0)

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> StoredPairs:
        """The next pairs, half of them mirrored; there are no twins."""
        return self.sample_share(batch, step or 0, twins)

    def sample_share(
        self, batch: int, step: int, twins: bool = False, rank: int = 0, ranks: int = 1
    ) -> StoredPairs:
        """One process's `batch` / `ranks` next pairs."""
        if (rank, ranks) != self.share:
            self.share = (rank, ranks)
            self._begin(self.number)
        pairs = torch.from_numpy(np.stack([self._next() for _ in range(batch // ranks)])).float() / 255
        mirrored = np.random.default_rng([self.seed, step]).random(batch)[rank::ranks] < 0.5
        mirror = torch.from_numpy(mirrored)[:, None, None, None, None]
        onset, apex = torch.where(mirror, pairs.flip(-1), pairs).unbind(1)
        return StoredPairs(onset, apex, None, None)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: pass, clips before this window, and pairs taken from it."""
        return {"pass": self.number, "window": self.windows, "clips": self._before, "taken": self._taken,
                "share": list(self.share)}  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the stream stood when `state` was taken; its window is read again."""
        self.share = tuple(state["share"])
        self._begin(state["pass"])
        if state["clips"] is None:
            return
        self._clips.load_state_dict(state["clips"])
        self._rows, self.windows = iter(self._clips), state["window"] - 1
        self._fill()
        self._found = True
        for _ in range(state["taken"]):
            self._pairs.popleft()
        self._taken = state["taken"]

    def _begin(self, number: int) -> None:
        """Start a pass."""
        self.number, self.windows, self._before, self._taken = number, 0, None, 0
        self._clips = split_dataset_by_node(self._in_order(number), *self.share)
        self._rows: Iterator[Mapping[str, Any]] = iter(self._clips)
        self._pairs: deque[np.ndarray] = deque()

    def _in_order(self, number: int) -> IterableDataset:
        """The clips of a pass: all Parquet files shuffled, then what is no folder of files."""
        files = [file for source in self.sources for file in parquet_files(source, TRAIN)]
        order = np.random.default_rng([self.seed, number]).permutation(len(files))
        parts = [open_clips([files[i] for i in order])] if files else []
        parts += [open_clips(source, TRAIN) for source in self.sources if not parquet_files(source)]
        return parts[0] if len(parts) == 1 else concatenate_datasets(parts)

    def _next(self) -> np.ndarray:
        while not self._pairs:
            self._fill()
        self._taken += 1
        return self._pairs.popleft()

    def _fill(self) -> None:
        """Read the next window; at the end of the clips the next pass begins."""
        self._before, found, read = self._clips.state_dict(), [], 0
        for row in self._rows:
            found += self._pairs_of(row)
            read += 1
            if read == self.window:
                break
        if not read:
            if not self.windows or not self._found:
                raise ValueError(f"{', '.join(self.sources)}: no pair of frames for process {self.share[0]}"
                                 f" of {self.share[1]}; {self.skipped} were left out")  # fmt: skip
            return self._begin(self.number + 1)
        self.windows, self._taken = self.windows + 1, 0
        self._found = bool(found) or (self.windows > 1 and self._found)
        order = np.random.default_rng([self.seed, self.number, self.windows]).permutation(len(found))
        self._pairs.extend(found[i] for i in order)

    def _pairs_of(self, row: Mapping[str, Any]) -> Iterator[np.ndarray]:
        """Pairs (2, 3, size, size) uint8 of a clip; without those whose head moved too far."""
        name = zlib.crc32(f"{row['corpus']}/{row['clip_id']}".encode())
        generator = np.random.default_rng([self.seed, self.number, name])
        drawn = {self._draw(row, generator) for _ in range(self.per_clip)}
        for first, second in sorted(drawn):
            onset = read_frame(row, first)
            try:
                stable = stabilise(onset, read_frame(row, second))
            except ValueError as error:
                raise ValueError(f"clip {row['corpus']}/{row['clip_id']}: {error}") from error
            if not stable.plausible:
                self.skipped += 1
                continue
            frames = torch.from_numpy(np.stack([onset, stable.apex])).permute(0, 3, 1, 2)
            yield (resized(frames[None], self.size)[0] * 255).round().byte().numpy()

    def _draw(self, row: Mapping[str, Any], generator: np.random.Generator) -> tuple[int, int]:
        """Indices of two frames."""
        gap = round(generator.integers(GAP[0], GAP[1] + 1) / RATE * row["fps"])
        last = len(row["frames"] or ()) - 1 - gap
        if generator.random() < self.keyframe_share or last < 0 or gap < 1:
            return row["onset"], row["apex"]
        first = int(generator.integers(last + 1))
        return first, first + gap


def mixed_with_clips(
    stream: PairStream | None, sources: Sequence[str | Path], size: int, share: float, seed: int = 0
) -> PairStream:
    """Pairs of prepared clips in turn with those of another stream.

    Args:
        stream: Synthetic pairs, say; None for the clips alone.
        sources: Prepared datasets, as `open_clips` takes them.
        size: Side of the crops in pixels.
        share: Share of the batches that come from the clips.
        seed: Of both orders.
    """
    clips = ParquetPairs(sources, size, seed)
    return clips if stream is None else MixedPairs([(clips, share), (stream, 1 - share)], seed)
