"""Expressions in the long videos of a corpus: found, compared with the annotation, and read by a model."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
from tqdm import tqdm

from dface_hf.actions import CLASS_SCHEMES
from dface_hf.data.corpora import CorpusListing, ExpressionInterval, LongVideo
from dface_hf.data.corpora.listing import Kind
from dface_hf.data.resumable_parts import check_same_run, in_processes, make_folder
from dface_hf.faces import ClipError, find_clip_events, make_detector
from dface_hf.metrics import match_events, spotting_scores
from dface_hf.whole_files import whole_file, write_text

from .recognition import MicroExpressionRecognitionPipeline

RECIPE = 1
"""Raised whenever events are found otherwise, so that an older run is not continued."""
HIDDEN = ".spot"
COLUMNS = ("video", "subject", "source", "kind", "onset", "apex", "offset", "confidence", "label", "match")
COUNTS = ("hits", "true", "found")
KINDS: tuple[Kind, ...] = get_args(Kind)
BATCH = 32


@dataclass(frozen=True)
class EventSearch:
    """How events are looked for: arguments of `find_clip_events`."""

    size: int = 128
    sensitivity: float = 1.0
    detector: str = "haar"
    stabilised: bool = True


@dataclass(frozen=True)
class SpottedVideo:
    """A video with what was found in it.

    Attributes:
        video: With what is annotated.
        events: Found events, by onset: `onset`, `apex`, `offset` (indices from 0), `kind`, `confidence`.
        warnings: What a reader should know; of a video that could not be read, why.
        file: Where the aligned onsets and apices are kept.
    """

    video: LongVideo
    events: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...]
    file: Path

    def pairs(self, kind: Kind) -> list[list[np.ndarray]]:
        """Onset and apex (size, size, 3) uint8 of each found event of a kind."""
        with np.load(self.file, allow_pickle=False) as kept:
            images = kept["images"]
        return [list(pair) for pair, event in zip(images, self.events, strict=True) if event["kind"] == kind]


@dataclass(frozen=True)
class _Part:
    """The work of one file."""

    video: LongVideo
    target: str
    search: EventSearch


def spot_videos(
    listing: CorpusListing, output: Path, search: EventSearch, workers: int = 1
) -> list[SpottedVideo]:
    """Look for micro- and macro-expressions in every long video of a corpus.

    Args:
        listing: A corpus that has been read.
        output: Folder in which each finished video is kept; a run with the same options goes on there.
        search: How events are looked for.
        workers: Processes.

    Returns:
        The videos in the order of the listing. One in which no face is found, or that cannot be decoded, has
        no events, and a warning: what is annotated in it was missed.

    Raises:
        ValueError: A corpus without long videos, or a folder with a run of other options.
        OSError: A file that cannot be written; the run can be continued.
    """
    if not listing.videos:
        long = "casme2_long, samm_long, casme3, or folder with a metadata.csv"
        raise ValueError(f"{listing.corpus} has no long videos to spot expressions in; choose {long}")
    _claim(listing, output, search)
    parts = [
        _Part(video, str(output / HIDDEN / f"{number:05d}.npz"), search)
        for number, video in enumerate(listing.videos)
    ]
    waiting = [part for part in parts if not Path(part.target).exists()]
    done = len(parts) - len(waiting)
    with tqdm(total=len(parts), initial=done, desc=f"spot {listing.corpus}", unit="video") as bar:
        for _ in in_processes(_spot, waiting, workers):
            bar.update()
    return [_read(part) for part in parts]


def _claim(listing: CorpusListing, output: Path, search: EventSearch) -> None:
    """Make the folder, or make sure that it holds a run of the same options."""
    rows = [(video.video_id, len(video.frames), video.fps) for video in listing.videos]
    digest = hashlib.blake2b(repr(rows).encode(errors="surrogateescape"), digest_size=8).hexdigest()
    known = {"recipe": RECIPE, "corpus": listing.corpus, **asdict(search)}
    known |= {"videos": len(rows), "recordings": digest}
    plan = output / HIDDEN / "options.json"
    if plan.exists():
        check_same_run(plan, known, output)
    make_folder(plan.parent)
    write_text(plan, json.dumps(known, indent=2) + "\n")


def _spot(part: _Part) -> None:
    """Write the file of one video; it appears when it is complete."""
    video, search = part.video, part.search
    options = asdict(search) | {"detector": _detector(search.detector), "fps": video.fps or None}
    try:
        found = find_clip_events(video.path or list(video.frames), kinds=KINDS, **options)
        events, warnings = found.events, found.warnings
    except ClipError as error:
        events, warnings = [], [str(error)]
    told = {
        "events": [
            {name: getattr(event, name) for name in ("onset", "apex", "offset", "kind", "confidence")}
            for event in events
        ],
        "warnings": warnings,
    }
    images = np.array([(event.onset_image, event.apex_image) for event in events], np.uint8)
    with whole_file(part.target) as partial:
        np.savez_compressed(partial, told=json.dumps(told), images=images)


@cache
def _detector(name: str):
    return make_detector(name)


def _read(part: _Part) -> SpottedVideo:
    with np.load(part.target, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
    return SpottedVideo(part.video, tuple(told["events"]), tuple(told["warnings"]), Path(part.target))


def read_labels(
    recognise: MicroExpressionRecognitionPipeline, spotted: Sequence[SpottedVideo]
) -> list[list[str]]:
    """The class that a model reads in each found micro-expression, video by video."""
    names = recognise.model.config.id2label
    labels = []
    for one in tqdm(spotted, desc="recognise", unit="video"):
        pairs, ids = one.pairs("micro"), []
        for start in range(0, len(pairs), BATCH):
            inputs = recognise.image_processor(pairs[start : start + BATCH], return_tensors="pt")
            output = recognise.forward({"clip": None, **inputs}, explain=False)["outputs"][0]
            ids += output.logits.argmax(-1).tolist()
        labels.append([names[number] for number in ids])
    return labels


def check_classes(videos: Sequence[LongVideo], classes: Sequence[str]) -> None:
    """Refuse a model whose reading could not be scored, before hours are spent on the videos.

    Raises:
        ValueError: No annotated micro-expression belongs to any of its classes.
    """
    micro = (i for video in videos for i in video.intervals if i.kind == "micro")
    if all(_class_id(interval, list(classes)) < 0 for interval in micro):
        raise ValueError(
            f"no annotated micro-expression is one of the model's classes {', '.join(classes)}, so what it "
            "reads cannot be scored; leave the model out"
        )


def corpus_scores(
    spotted: Sequence[SpottedVideo],
    threshold: float = 0.5,
    read: Sequence[Sequence[str]] | None = None,
    classes: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """F1 of micro- and of macro-expressions, and of both, their counts added up (MEGC 2020 and later).

    Args:
        spotted: All videos of a corpus.
        threshold: Smallest intersection over union of a hit.
        read: The class read in each found micro-expression, as `read_labels` gives it.
        classes: All classes of the model, to score recognition and STRS as well.

    Returns:
        "micro", "macro" and "both": as `spotting_scores`.
    """
    scores = {}
    for kind in KINDS:
        truth = [[(i.onset, i.offset) for i in one.video.intervals if i.kind == kind] for one in spotted]
        found = [[(e["onset"], e["offset"]) for e in one.events if e["kind"] == kind] for one in spotted]
        scores[kind] = spotting_scores(truth, found, threshold)
    counts = {name: sum(scores[kind][name] for kind in KINDS) for name in COUNTS}
    hits, true, found = counts.values()
    rates = {
        "f1": 2 * hits / max(true + found, 1),
        "precision": hits / max(found, 1),
        "recall": hits / max(true, 1),
    }
    scores["both"] = rates | counts
    if read is not None:
        scores["micro"] |= _recognition(spotted, threshold, read, list(classes))
    return scores


def _recognition(spotted, threshold: float, read, classes: list[str]) -> dict[str, Any]:
    truth = [
        [(i.onset, i.offset, _class_id(i, classes)) for i in one.video.intervals if i.kind == "micro"]
        for one in spotted
    ]
    found = [
        [
            (e["onset"], e["offset"], classes.index(label))
            for e, label in zip(_micro(one), labels, strict=True)
        ]
        for one, labels in zip(spotted, read, strict=True)
    ]
    return spotting_scores(truth, found, threshold, classes)


def _micro(one: SpottedVideo) -> list[dict[str, Any]]:
    return [event for event in one.events if event["kind"] == "micro"]


def _class_id(interval: ExpressionInterval, classes: list[str]) -> int:
    """The class of an annotated expression, -1 where its emotion is unknown or none of the model's."""
    if interval.emotion is None:
        return -1
    scheme = next((one for one in CLASS_SCHEMES.values() if set(one.labels) == set(classes)), None)
    label = interval.emotion if scheme is None else scheme.label_of(interval.emotion)
    return classes.index(label) if label in classes else -1


def event_table(
    spotted: Sequence[SpottedVideo], threshold: float = 0.5, read: Sequence[Sequence[str]] | None = None
) -> str:
    """All annotated and found events as CSV; a true one and the found one that hits it share a `match`."""
    buffer = io.StringIO()
    table = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    table.writeheader()
    for number, one in enumerate(spotted):
        known = {"video": one.video.video_id, "subject": one.video.subject}
        labels = None if read is None else read[number]
        table.writerows(known | row for row in _rows(one, threshold, labels))
    return buffer.getvalue()


def _rows(one: SpottedVideo, threshold: float, labels: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    matches = 0
    for kind in KINDS:
        true = [interval for interval in one.video.intervals if interval.kind == kind]
        found = [event for event in one.events if event["kind"] == kind]
        spans = [[(i.onset, i.offset) for i in true], [(e["onset"], e["offset"]) for e in found]]
        pairs = match_events(*spans, threshold)
        numbers = [{pair[side]: matches + k + 1 for k, pair in enumerate(pairs)} for side in (0, 1)]
        matches += len(pairs)
        for row, interval in enumerate(true):
            yield {
                "source": "true", "kind": kind, "onset": interval.onset, "apex": interval.apex,
                "offset": interval.offset, "label": interval.emotion, "match": numbers[0].get(row),
            }  # fmt: skip
        for row, event in enumerate(found):
            label = labels[row] if labels is not None and kind == "micro" else None
            shown = event | {"confidence": round(event["confidence"], 4)}
            yield {"source": "found", **shown, "label": label, "match": numbers[1].get(row)}
