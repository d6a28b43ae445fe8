"""What tokenizers are pretrained on: procedural faces and, where they are at hand, portraits and videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .real_portraits import read_index, real_portraits
from .real_videos import real_pairs
from .streams import MixedPairs, RepeatedPairs, VideoPairs, pretraining_pairs

SHARES = {"procedural": 0.45, "portraits": 0.40, "videos": 0.15}
MOST_FACES = 600
PAIRS_PER_PERSON = 120


def pretraining_mix(
    size: int,
    seed: int = 0,
    faces: str | Path | None = None,
    fields: str | Path | None = None,
    batches: int = 320,
    batch_size: int = 48,
    cache: str | Path | None = None,
    parts: Sequence[str] | None = None,
    **options,
) -> tuple[MixedPairs, list[str]]:
    """Procedural faces with the package's motion fields; where they are at hand, real portraits with measured
    fields (nearly as often) and pairs of real videos (one batch in seven).

    Args:
        size: Side of the crops in pixels.
        seed: The stream is a function of (seed, step).
        faces: Folder of portraits and videos with an ``index.csv``; tier A of its training part is used.
        fields: File of measured motion fields, for the portraits.
        batches: Batches of a stream before it repeats.
        batch_size: Pairs of a batch, of all processes.
        cache: Folder to keep aligned faces in: pictures of people, not a folder that is published.
        parts: Some of "procedural", "portraits", "videos": all that are at hand by default. A tokenizer that
            has met one origin of motion only is trained on one part.
        options: Whatever `pretraining_pairs` takes, for everything but the videos.

    Returns:
        The stream, and a line about each of its parts.

    Raises:
        ValueError: A part is unknown, or needs `faces`.
    """
    parts = (list(SHARES) if faces else ["procedural"]) if parts is None else list(parts)
    if not parts or (unknown := set(parts) - set(SHARES)):
        raise ValueError(f"parts {sorted(unknown) if parts else parts}; known are {', '.join(SHARES)}")
    if not faces and parts != ["procedural"]:
        raise ValueError(f"{' and '.join(parts)}: portraits and videos need a folder of faces (faces=)")
    made = {
        "procedural": lambda: _procedural(size, seed, batches, batch_size, options),
        "portraits": lambda: _portraits(size, seed, faces, fields, batches, cache, options),
        "videos": lambda: _videos(size, seed, faces, cache),
    }
    found = {part: made[part]() for part in SHARES if part in parts}
    streams = [(stream, SHARES[part]) for part, (stream, _) in found.items()]
    return MixedPairs(streams, seed), [line for _, line in found.values()]


def _procedural(size: int, seed: int, batches: int, batch_size: int, options: dict):
    # No more faces than pairs: painting them takes its time.
    bank = min(MOST_FACES, batches * batch_size)
    pairs = pretraining_pairs(size, seed, **dict(bank=bank, refresh_every=0) | options)
    line = f"{bank} procedural faces (nobody's) with motion fields fitted to ICT-FaceKit (MIT, USC ICT)"
    return RepeatedPairs(pairs, batches), line


def _portraits(size: int, seed: int, faces, fields, batches: int, cache, options: dict):
    stills = real_portraits(faces, "train", size * 3 // 2, cache)
    pairs = pretraining_pairs(size, seed, fields, stills.faces, **options)
    measured = "measured" if fields else "fitted"
    people = set(stills.identities)
    line = (
        f"{len(stills.faces)} portraits of {len(people)} people, with motion fields {measured} on ICT-FaceKit"
    )
    return RepeatedPairs(pairs, batches), f"{line} (MIT, USC ICT): {_licences(faces, 'still', people)}"


def _videos(size: int, seed: int, faces, cache):
    # At the size of the shipped checkpoint: one cache for all, and the stream shrinks them.
    videos = real_pairs(faces, "train", tiers="A", per_identity=PAIRS_PER_PERSON, size=128, cache=cache)
    people = set(videos.identities)
    line = f"{len(videos.clips)} pairs of frames, 8 to 15 apart, from videos of {len(people)} people"
    return VideoPairs(videos.clips, size, seed), f"{line}: {_licences(faces, 'video', people)}"


def _licences(folder: str | Path, kind: str, identities: set[str]) -> str:
    """The licences of what was used, without the remarks in brackets."""
    rows = (row for row in read_index(folder) if row["kind"] == kind and row["identity"] in identities)
    return "; ".join(sorted({row["licence"].split(" (")[0] for row in rows if row["tier"] == "A"}))
