"""Look-alike releases: sheets, folders and file names as the corpora have them, with drawn faces or none."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import openpyxl

from dface_hf.synthesis import NuisanceConfig, TimeCourse, render_clip

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 12  # of a moving face


@functools.cache
def look_alike() -> ModuleType:
    """The public script that writes a look-alike of CASME II."""
    spec = importlib.util.spec_from_file_location(
        "make_look_alike_casme2", ROOT / "examples" / "make_look_alike_casme2.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def moving_face(subject: int = 0) -> tuple[np.ndarray, ...]:
    """A drawn face that raises its brows, in front of a wall: `FRAMES` pictures (144, 192, 3) RGB."""
    face = look_alike().detectable_faces(2, 96, 0)[subject % 2]
    course = TimeCourse(rise=0.1, hold=0.0, fall=0.12)
    still = NuisanceConfig.none()
    frames, _ = render_clip(face, {1: 3.0, 2: 3.0}, course, 40, still, before=1, after=4)
    return tuple(look_alike().in_a_room(frame) for frame in frames[:FRAMES])


def workbook(
    path: Path, rows: Iterable[Sequence], sheet: str = "Sheet1", **others: Iterable[Sequence]
) -> Path:
    """An .xlsx file with one sheet, or more by name."""
    book = openpyxl.Workbook()
    book.active.title = sheet
    for row in rows:
        book.active.append(list(row))
    for name, more in others.items():
        page = book.create_sheet(name)
        for row in more:
            page.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
    return path


def frames(
    folder: Path,
    numbers: Iterable[int],
    name: str = "img{}.jpg",
    pictures: Sequence[np.ndarray] | None = None,
    grey: bool = False,
) -> None:
    """Numbered pictures; empty files without pictures, since listing a corpus does not open them."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, number in enumerate(numbers):
        path = folder / name.format(number)
        if pictures is None:
            path.touch()
            continue
        picture = pictures[index % len(pictures)][..., ::-1]
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) if grey else picture
        path.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())


CASME2_HEADER = ("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
                 "Estimated Emotion")  # fmt: skip


def casme2_row(subject, clip, onset, apex, offset, units="4", emotion="disgust") -> tuple:
    return (subject, clip, None, onset, apex, offset, None, units, emotion)


def casme2(root: Path, rows: Sequence[tuple], header: Sequence = CASME2_HEADER) -> Path:
    """The sheet alone."""
    workbook(root / "CASME2-coding-20140508.xlsx", [header, *rows])
    return root


def casme2_frames(root: Path, subject: str, clip: str, numbers: Iterable[int], pictures=None) -> Path:
    folder = root / "CASME2_RAW_selected" / subject / clip
    frames(folder, numbers, "img{}.jpg", pictures)
    return folder


SAMM_HEADER = ("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame",
               "Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes",
               "Notes")  # fmt: skip


def samm_row(subject, clip, onset, apex, offset, units="4+7", emotion="Anger") -> tuple:
    return (subject, clip, 1, onset, apex, offset, None, "Micro - 1/2", units, emotion, 3, None)


def samm(root: Path, rows: Sequence[tuple]) -> Path:
    """Sheet MICRO_ONLY below 13 rows of text, after a sheet about something else."""
    text = [("SAMM Micro-Movements",), *[(f"line {i}", None, "see the paper") for i in range(12)]]
    workbook(
        root / "SAMM_Micro_FACS_Codes_v2.xlsx", [("about",)], "README", MICRO_ONLY=[*text, SAMM_HEADER, *rows]
    )
    return root


SMIC_HEADER = ("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", None, "FirstF",
               "LastF", "TotalMF1", "TotalMF2", "TotalVL", "Emotion")  # fmt: skip
SMIC_WORDS = {"negative": "ne", "positive": "po", "surprise": "sur"}


def smic_clip(
    root: Path, subject: int, emotion: str, count: int, numbers: Iterable[int], pictures=None
) -> None:
    name = f"s{subject}_{SMIC_WORDS[emotion]}_{count:02d}"
    folder = root / "SMIC_all_raw" / "HS" / f"s{subject}" / "micro" / emotion / name
    frames(folder, numbers, "image{:06d}.bmp", pictures)


def spread(emotions: dict[str, int], subjects: int) -> list[tuple[int, str]]:
    """(subject from 1, emotion) of every clip of a corpus with these counts."""
    words = [word for word, count in emotions.items() for _ in range(count)]
    return [(1 + index % subjects, word) for index, word in enumerate(words)]
