"""Any folder of face videos for pretraining, VoxCeleb's layout among them: identity/video/00001.mp4.

The first folder level names the identity; a video that lies in the root itself is an identity of its own.
Nothing is annotated, so each video gives one stretch of frames around a pair about half a second apart.
"""

from __future__ import annotations

import os
from pathlib import Path

from .folder import VIDEO_SUFFIXES
from .listing import CorpusClip, CorpusListing

STRETCH = (0, 12, 24)  # onset, apex, offset: what D-FACE pretrains on lies 8 to 15 frames apart
LICENSE = "that of the videos; research use unless their owner says otherwise"


def read_face_videos(root: Path) -> CorpusListing:
    """Every video below a folder, in the order of the names; none is opened.

    Raises:
        ValueError: No such folder, or no video in it.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give a folder of face videos")
    listing = CorpusListing("faces", root)
    for folder, below, files in os.walk(root):
        below.sort()
        for name in sorted(files):
            if Path(name).suffix.lower() in VIDEO_SUFFIXES:
                listing.clips.append(_clip(root, Path(folder) / name))
    if not listing.clips:
        raise ValueError(f"{root}: no video below it; known kinds: {', '.join(sorted(VIDEO_SUFFIXES))}")
    return listing


def _clip(root: Path, path: Path) -> CorpusClip:
    place = path.relative_to(root)
    onset, apex, offset = STRETCH
    return CorpusClip(
        clip_id=place.as_posix(),
        corpus=root.resolve().name,
        subject=place.parts[0] if len(place.parts) > 1 else place.stem,
        frames=(),
        path=str(path),
        fps=0.0,
        onset=onset,
        apex=apex,
        offset=offset,
        emotion=None,
        action_units="",
        license=LICENSE,
    )
