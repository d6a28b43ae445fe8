"""From a released corpus to one dataset of the clip schema: aligned crops in Parquet files.

The clips of a shard are cut into parts of a few clips; each part becomes one Parquet file, written under a
temporary name and renamed. A run that was interrupted, however hard, goes on after its last finished part.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from dface_hf.whole_files import write_text

from .clip import CLIP_FEATURES, SPLITS, TRAIN, check_clip
from .corpora import CorpusClip, CorpusListing, SkippedRow, read_corpus
from .crops import Cutting, cut_clip
from .resumable_parts import check_same_run, in_processes, make_folder

RECIPE = 1
"""Raised whenever the pictures or rows change, so that an older run is not continued."""
CLIPS_PER_PART = 8
HIDDEN = ".prepare"
REPORT_COLUMNS = ("row", "clip", "status", "reason")


@dataclass(frozen=True)
class PreparedCorpus:
    """What a run of `prepare` left in its folder.

    Attributes:
        output: The folder; `datasets.load_dataset(str(output))` reads it.
        clips: Clips written, those of earlier runs included.
        skipped: What was left out, and why.
        notes: (row, clip, note) of everything that was repaired or assumed.
        reports: The files report.csv and report.json (with the shard in their names, if there are several).
        difference: How the release differs in size from those that are known; empty where it does not.
    """

    output: Path
    clips: int
    skipped: tuple[SkippedRow, ...]
    notes: tuple[tuple[int | None, str, str], ...]
    reports: tuple[Path, Path]
    difference: str = ""


@dataclass(frozen=True)
class _Part:
    """The work of one Parquet file."""

    clips: tuple[CorpusClip, ...]
    target: str
    state: str
    cutting: Cutting


def prepare(
    corpus: str,
    root: str | Path,
    output: str | Path,
    size: int = 128,
    frames: str = "all",
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
    cropped: bool = False,
    margin: float = 0.1,
    detector: str = "haar",
) -> PreparedCorpus:
    """Align the clips of a corpus and write them as Parquet in the clip schema.

    Args:
        corpus: Name as in `read_corpus`.
        root: Folder of the release.
        output: Folder to write to; a run with the same options is continued there.
        size: Side of the aligned crops in pixels.
        frames: "all" from onset to offset with a margin, or "keyframes": onset, apex and offset only.
        workers: Processes.
        shard: (i, n): every n-th clip from the i-th on, counted from 1. Shards are independent of each other
            and may be written to one folder from several machines.
        cropped: Read the release of cropped faces; where no face is found in one, the whole picture is taken
            and the report says so.
        margin: Seconds before the onset and after the offset.
        detector: Name of the face detector.

    Returns:
        [`PreparedCorpus`].

    Raises:
        ValueError: Bad options, a root that is not this corpus, or a folder with a run of other options.
        OSError: A file that cannot be written; nothing half-written is left, and the run can be continued.
    """
    cutting = Cutting(size, frames, margin, cropped, detector)
    _check_options(cutting, workers, shard)
    listing = read_corpus(corpus, root, cropped)
    if not listing.clips:
        first = listing.skipped[0].reason if listing.skipped else "its sheet has no rows"
        raise ValueError(f"{root}: none of the {len(listing.skipped)} clips of {corpus} can be used: {first}")
    return write_clips(listing, Path(output), cutting, workers, shard)


def write_clips(
    listing: CorpusListing,
    output: Path,
    cutting: Cutting,
    workers: int = 1,
    shard: tuple[int, int] = (1, 1),
) -> PreparedCorpus:
    """As `prepare`, for a listing that has been read."""
    state = output / HIDDEN / f"shard-{shard[0]}-of-{shard[1]}"
    _claim(output, state, listing, cutting, shard)
    parts = list(_parts(listing, output, state, cutting, shard))
    waiting = [part for part in parts if not (Path(part.target).exists() and Path(part.state).exists())]
    done = sum(len(part.clips) for part in parts if part not in waiting)
    total = sum(len(part.clips) for part in parts)
    with tqdm(total=total, initial=done, desc=f"prepare {listing.corpus}", unit="clip") as bar:
        for part in in_processes(_write_part, waiting, workers):
            bar.update(len(part.clips))
    return _report(listing, output, [Path(part.state) for part in parts], shard)


def _check_options(cutting: Cutting, workers: int, shard: tuple[int, int]) -> None:
    if cutting.frames not in ("all", "keyframes"):
        raise ValueError(f"frames={cutting.frames!r} must be 'all' or 'keyframes'")
    if not 16 <= cutting.size <= 2048:
        raise ValueError(f"size={cutting.size} must be 16 to 2048 pixels")
    if not 0 <= cutting.margin <= 60:
        raise ValueError(f"margin={cutting.margin} must be 0 to 60 seconds")
    if workers < 1:
        raise ValueError(f"workers={workers} must be at least 1")
    if not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard {shard[0]}/{shard[1]} must be i/n with i from 1 to n")


def _claim(
    output: Path, state: Path, listing: CorpusListing, cutting: Cutting, shard: tuple[int, int]
) -> None:
    """Make the folder, or make sure that it holds a run of the same options; clear what is half-done."""
    known = {"recipe": RECIPE, "corpus": listing.corpus, "shards": shard[1], **asdict(cutting)}
    known |= {"clips": len(listing.clips), "annotation": _digest(listing.clips)}
    # Looked for first, and made after the plan: of several shards that start at once, none sees data alone.
    plan, held = output / HIDDEN / "options.json", (output / "data").exists()
    if plan.exists():
        check_same_run(plan, known, output)
    elif held:
        raise ValueError(f"{output}: holds data that no run of prepare left; give another folder")
    make_folder(state)
    for partial in state.glob("*.partial*"):
        partial.unlink(missing_ok=True)
    if not plan.exists():
        write_text(output / "README.md", _card(listing, cutting))
        write_text(plan, json.dumps(known, indent=2) + "\n")
    make_folder(output / "data")


def _digest(clips: Sequence[CorpusClip]) -> str:
    """A fingerprint of the annotation; the place of the files does not count."""
    rows = [(c.clip_id, c.onset, c.apex, c.offset, c.emotion, c.action_units, len(c.frames)) for c in clips]
    rows += [c.split for c in clips if c.split != TRAIN]
    return hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()


def _card(listing: CorpusListing, cutting: Cutting) -> str:
    """Tells `datasets` which files are data, and people what they may do with them."""
    splits = sorted({clip.split for clip in listing.clips}, key=SPLITS.index)
    names = [f"{split}-*" if _has_splits(listing) else "*" for split in splits]
    pairs = zip(splits, names, strict=True)
    files = "".join(f"  - split: {split}\n    path: data/{name}.parquet\n" for split, name in pairs)
    return (
        f"---\nconfigs:\n- config_name: default\n  data_files:\n{files}---\n"
        f"# {listing.corpus}, aligned crops of {cutting.size} px\n\n"
        f"Written by `dface prepare {listing.corpus}`; frames: {cutting.frames}. "
        f"Terms: {listing.clips[0].license}.\n"
    )


def _parts(
    listing: CorpusListing, output: Path, state: Path, cutting: Cutting, shard: tuple[int, int]
) -> Iterator[_Part]:
    whole = listing.clips[shard[0] - 1 :: shard[1]]
    for split in SPLITS:
        clips = [clip for clip in whole if clip.split == split]
        first = f"{split}-" if _has_splits(listing) else ""  # what `datasets` knows a split's files by
        for number, start in enumerate(range(0, len(clips), CLIPS_PER_PART)):
            name = f"{first}{listing.corpus}-{shard[0]:03d}-of-{shard[1]:03d}-{number:05d}"
            some = tuple(clips[start : start + CLIPS_PER_PART])
            yield _Part(some, str(output / "data" / f"{name}.parquet"), str(state / f"{name}.json"), cutting)


def _has_splits(listing: CorpusListing) -> bool:
    return any(clip.split != TRAIN for clip in listing.clips)


def _write_part(part: _Part) -> None:
    """Write a Parquet file and the state that says what is in it, clip by clip; both appear when complete."""
    target, state = Path(part.target), Path(part.state)
    partial = state.with_suffix(".parquet.partial")
    schema = CLIP_FEATURES.arrow_schema
    told: dict[str, list] = {"written": [], "skipped": [], "notes": []}
    try:
        with pq.ParquetWriter(partial, schema, compression="none") as writer:  # PNG is compressed already
            for clip in part.clips:
                row = _try(clip, part.cutting, told)
                if row is not None:
                    encoded = CLIP_FEATURES.encode_example(row)
                    writer.write_table(pa.Table.from_pylist([encoded], schema))
        write_text(state, json.dumps(told))
        os.replace(partial, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            f"{target}: cannot be written ({reason}); make room, then run the same again to go on"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def _try(clip: CorpusClip, cutting: Cutting, told: dict[str, list]) -> dict | None:
    """The row of a clip; None, and an entry in the report, when it cannot be made."""
    try:
        row, notes = cut_clip(clip, cutting)
        check_clip(row)
    except (ValueError, cv2.error) as error:
        told["skipped"].append([clip.row, clip.clip_id, " ".join(str(error).split())])
        return None
    told["written"].append(clip.clip_id)
    told["notes"] += [[clip.row, clip.clip_id, note] for note in (*clip.notes, *notes)]
    return row


def _report(
    listing: CorpusListing, output: Path, states: list[Path], shard: tuple[int, int]
) -> PreparedCorpus:
    """Put the parts' reports together and write them as CSV and JSON."""
    told = [json.loads(state.read_text(encoding="utf-8")) for state in states]
    written = [name for one in told for name in one["written"]]
    skipped = [SkippedRow(*entry) for one in told for entry in one["skipped"]]
    if shard[0] == 1:  # rows without usable frames belong to no shard; the first one reports them
        skipped = listing.skipped + skipped
    skipped.sort(key=lambda one: (one.row is None, one.row or 0))
    notes = [tuple(entry) for one in told for entry in one["notes"]]
    suffix = "" if shard[1] == 1 else f"-{shard[0]}-of-{shard[1]}"
    reports = tuple(output / f"report{suffix}.{kind}" for kind in ("csv", "json"))
    document = {"corpus": listing.corpus, "clips": len(written), "skipped": [asdict(one) for one in skipped]}
    document |= {"annotated": listing.annotated, "published": list(listing.published)}
    document |= {"notes": [dict(zip(("row", "clip", "note"), note, strict=True)) for note in notes]}
    write_text(reports[1], json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    write_text(reports[0], _csv(skipped, notes))
    return PreparedCorpus(output, len(written), tuple(skipped), tuple(notes), reports, listing.difference)


def _csv(skipped: list[SkippedRow], notes: list[tuple]) -> str:
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow(REPORT_COLUMNS)
    table.writerows((one.row, one.clip, "skipped", one.reason) for one in skipped)
    table.writerows((row, clip, "note", note) for row, clip, note in notes)
    return buffer.getvalue()
