"""The corpora as their owners release them: one module each, all giving the same listing."""

from __future__ import annotations

from pathlib import Path

from .casme import CASME
from .casme2 import CASME2
from .casme2_long import CASME2_LONG
from .casme3 import CASME3_A, CASME3_C
from .dfme import DFME
from .face_videos import read_face_videos
from .folder import read_folder
from .fourdme import FOURDME
from .listing import (
    Annotation,
    CorpusClip,
    CorpusListing,
    ExpressionInterval,
    LongVideo,
    SkippedRow,
)
from .mmew import MMEW
from .reading import Corpus, read_release
from .samm import SAMM
from .samm_long import SAMM_LONG
from .smic import SMIC

__all__ = [
    "FOLDERS",
    "RELEASES",
    "Annotation",
    "Corpus",
    "CorpusClip",
    "CorpusListing",
    "ExpressionInterval",
    "LongVideo",
    "SkippedRow",
    "read_annotations",
    "read_corpus",
]

RELEASES: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        CASME,
        CASME2,
        SAMM,
        SMIC,
        CASME3_A,
        CASME3_C,
        MMEW,
        FOURDME,
        DFME,
        CASME2_LONG,
        SAMM_LONG,
    )
}
"""Corpora that have a sheet and folders of frames, by name."""


FOLDERS = {"folder": read_folder, "faces": read_face_videos}
"""Readers of folders that are no release: own clips with a metadata.csv, and face videos."""


def get_release(name: str) -> Corpus:
    """A corpus by name.

    Raises:
        ValueError: An unknown name; the message lists the known ones.
    """
    if name not in RELEASES:
        known = ", ".join((*RELEASES, *FOLDERS))
        raise ValueError(f"unknown corpus {name!r}; known: {known}")
    return RELEASES[name]


def read_corpus(name: str, root: str | Path, cropped: bool = False) -> CorpusListing:
    """List the clips of a released corpus: sheet read, frames found, nothing decoded.

    Args:
        name: A key of `RELEASES`; "folder" for own clips, "faces" for face videos.
        root: Folder of the release: sheet and frames at most two folders below it.
        cropped: Prefer the release of cropped faces where a corpus has both.

    Raises:
        ValueError: An unknown name, a folder that is not this release, or a sheet that lacks a column.
    """
    if name in FOLDERS:
        return FOLDERS[name](Path(root))
    return read_release(get_release(name), root, cropped)


def read_annotations(name: str, root: str | Path) -> list[Annotation | SkippedRow]:
    """The rows of a corpus's sheet without looking for frames: frame numbers as annotated.

    Raises:
        ValueError: As `read_corpus`.
    """
    return list(get_release(name).annotate(Path(root)))
