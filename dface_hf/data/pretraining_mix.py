"""What tokenizers are pretrained on: procedural faces and, where they are at hand, portraits and videos."""

from __future__ import annotations

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
        options: Whatever `pretraining_pairs` takes, for everything but the videos.

    Returns:
        The stream, and a line about each of its parts.
    """
    # No more faces than pairs: painting them takes its time.
    bank = min(MOST_FACES, batches * batch_size)
    procedural = pretraining_pairs(size, seed, **dict(bank=bank, refresh_every=0) | options)
    streams = [(RepeatedPairs(procedural, batches), SHARES["procedural"])]
    lines = [f"{bank} procedural faces (nobody's) with motion fields fitted to ICT-FaceKit (MIT, USC ICT)"]
    if faces:
        stills = real_portraits(faces, "train", size * 3 // 2, cache)
        portraits = pretraining_pairs(size, seed, fields, stills.faces, **options)
        # At the size of the shipped checkpoint: one cache for all, and the stream shrinks them.
        videos = real_pairs(faces, "train", tiers="A", per_identity=PAIRS_PER_PERSON, size=128, cache=cache)
        streams += [
            (RepeatedPairs(portraits, batches), SHARES["portraits"]),
            (VideoPairs(videos.clips, size, seed), SHARES["videos"]),
        ]
        measured = "measured on ICT-FaceKit (MIT, USC ICT)" if fields else "as above"
        names = set(stills.identities), set(videos.identities)
        lines += [
            f"{len(stills.faces)} portraits of {len(names[0])} people, with motion fields {measured}: "
            + _licences(faces, "still", names[0]),
            f"{len(videos.clips)} pairs of frames, 8 to 15 apart, from videos of {len(names[1])} people: "
            + _licences(faces, "video", names[1]),
        ]
    return MixedPairs(streams, seed), lines


def _licences(folder: str | Path, kind: str, identities: set[str]) -> str:
    """The licences of what was used, without the remarks in brackets."""
    rows = (row for row in read_index(folder) if row["kind"] == kind and row["identity"] in identities)
    return "; ".join(sorted({row["licence"].split(" (")[0] for row in rows if row["tier"] == "A"}))
