"""Where the frames of a clip lie, whatever padding its names have, and which index a frame number has."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dface_hf.faces.images import IMAGE_SUFFIXES

from .listing import Annotation, UnusableRow

DEPTH = 2  # folders below the root in which the folder of the frames is looked for


@dataclass(frozen=True)
class Recording:
    """Numbered pictures of one folder: the number in each name, ascending, and the files."""

    folder: Path
    numbers: tuple[int, ...]
    frames: tuple[str, ...]

    def index(self, number: int) -> int | None:
        """Index of the frame with this number, None when there is none."""
        return self._indices.get(number)

    @functools.cached_property
    def _indices(self) -> dict[int, int]:
        return {number: index for index, number in enumerate(self.numbers)}


def read_recording(folder: Path) -> Recording:
    """The pictures of a folder by the last whole number in their names: img46 before img100.

    Raises:
        UnusableRow: No numbered picture, or two with one number.
    """
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if Path(e.name).suffix.lower() in IMAGE_SUFFIXES]
    numbered = sorted((int(n[-1]), name) for name in names if (n := re.findall(r"\d+", Path(name).stem)))
    if not numbered:
        raise UnusableRow(f"no numbered frames in {folder}")
    for (number, first), (again, second) in zip(numbered, numbered[1:], strict=False):
        if number == again:
            raise UnusableRow(f"{first} and {second} in {folder} have one number")
    return Recording(folder, tuple(n for n, _ in numbered), tuple(str(folder / name) for _, name in numbered))


class FrameFinder:
    """Finds folders of frames under a root; every folder is listed once.

    Args:
        root: Folder of the release.
        bases: Names of the folder that holds the subjects, the preferred one first ("CASME2_RAW_selected").
            The root itself is tried last.
    """

    def __init__(self, root: Path, bases: Iterable[str]) -> None:
        levels = ["*/" * level for level in range(DEPTH + 1)]
        found = [path for base in bases for level in levels for path in sorted(root.glob(level + base))]
        self.bases = list(dict.fromkeys([*(path for path in found if path.is_dir()), root]))
        self.subfolders = functools.cache(subfolders)
        self.recording = functools.cache(read_recording)

    def find(self, places: Sequence[Sequence[str]]) -> Recording:
        """The frames of the first folder that exists.

        Args:
            places: Nested folders below a base, each name in any padding; "15_0101*" is a beginning.

        Raises:
            UnusableRow: No such folder, several that fit equally well, or no frames in it.
        """
        for base in self.bases:
            for parts in places:
                if folder := self._folder(base, parts):
                    return self.recording(folder)
        raise UnusableRow(f"no folder {'/'.join(places[0])} in {self.bases[0]}")

    def _folder(self, base: Path, parts: Sequence[str]) -> Path | None:
        for part in parts:
            name = match_name(part, self.subfolders(base))
            if name is None:
                return None
            base = base / name
        return base


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted."""
    with os.scandir(folder) as entries:
        return tuple(sorted(entry.name for entry in entries if entry.is_dir()))


def match_name(wanted: str, names: Iterable[str]) -> str | None:
    """The name that means the same: exactly, else whatever the case and the zeros before its numbers.

    "006" is "6", "s01_ne_01" is "s1_ne_01". A bare number is also the number of "sub01" or "spNO.1". A name
    that ends in "*" stands for its beginning.

    Raises:
        UnusableRow: Several names fit and none exactly.
    """
    names = tuple(names)
    if wanted in names:
        return wanted
    if wanted.endswith("*"):
        same = [name for name in names if name.lower().startswith(wanted[:-1].lower())]
    else:
        same = [name for name in names if unpadded(name) == unpadded(wanted)]
    if not same:
        same = [name for name in names if _same_subject(wanted, name)]
    if len(same) > 1:
        raise UnusableRow(f"{wanted!r} could be any of the folders {', '.join(same)}")
    return same[0] if same else None


def _same_subject(first: str, second: str) -> bool:
    """One is a bare number, the other that number after letters."""
    parts = [re.fullmatch(r"\D*?(\d+)", name) for name in (first, second)]
    return all(parts) and (first.isdigit() or second.isdigit()) and int(parts[0][1]) == int(parts[1][1])


def unpadded(name: str) -> str:
    """Lower case, numbers without leading zeros."""
    return re.sub(r"\d+", lambda digits: str(int(digits[0])), name.lower())


def last_number(name: str) -> int:
    """The last whole number in a name.

    Raises:
        UnusableRow: There is none.
    """
    if not (numbers := re.findall(r"\d+", name)):
        raise UnusableRow(f"{name!r} holds no number")
    return int(numbers[-1])


@dataclass(frozen=True)
class Placed:
    """Keyframes as indices into a recording, and what was assumed."""

    onset: int
    apex: int
    offset: int
    notes: tuple[str, ...]


def place(annotation: Annotation, recording: Recording, dropped: int = 0) -> Placed:
    """Turn annotated frame numbers into indices.

    An apex that is not annotated, or is the onset itself, becomes the middle of onset and offset. An offset
    that is missing, 0 or before the onset becomes the apex; one beyond the last frame becomes the last.

    Args:
        annotation: Frame numbers; onset and offset None stand for the first and last frame of the folder.
        recording: The clip's frames.
        dropped: Frames that the release may lack between onset and offset; a keyframe among them is
            replaced by the nearest frame within that many.

    Raises:
        UnusableRow: Numbers that contradict each other, or frames that are missing.
    """
    onset, apex, offset, notes = _ordered(annotation, recording)
    if recording.index(onset) is None and _is_cut(recording, onset, offset):
        shift = recording.numbers[0] - onset
        notes.append(f"the folder holds the clip alone, its first frame is the onset {onset}")
        onset, apex, offset = onset + shift, apex + shift, offset + shift
    if offset > recording.numbers[-1] >= apex:
        notes.append(f"offset {offset} is beyond the last frame; {recording.numbers[-1]} used")
        offset = recording.numbers[-1]
    found = [_nearest(recording, name, number, dropped, notes) for name, number in
             (("onset", onset), ("apex", apex), ("offset", offset))]  # fmt: skip
    first, last = recording.numbers[found[0]], recording.numbers[found[2]]
    lacking = last - first - (found[2] - found[0])
    if lacking > dropped:
        lost = next(number for number in range(first, last) if recording.index(number) is None)
        raise UnusableRow(f"{lacking} frames are missing between onset and offset, the first is {lost}")
    if lacking > 0:
        notes.append(f"{lacking} frames are missing between onset and offset; played on")
    if not found[0] < found[1] <= found[2]:
        raise UnusableRow(f"onset {onset}, apex {apex} and offset {offset} leave no two frames")
    return Placed(*found, tuple(notes))


def _ordered(annotation: Annotation, recording: Recording) -> tuple[int, int, int, list[str]]:
    """Frame numbers onset < apex <= offset, and notes."""
    notes: list[str] = []
    onset, apex, offset = annotation.onset, annotation.apex, annotation.offset
    onset = recording.numbers[0] if onset is None else onset
    if offset is None and annotation.onset is None:
        offset = recording.numbers[-1]
    apex = None if apex is None or (apex <= 0 < onset) or apex < 0 else apex
    if offset is None or offset <= onset:
        if apex is None:
            raise UnusableRow(f"neither apex nor offset after the onset {onset}: apex empty, offset {offset}")
        notes.append(f"offset {'missing' if offset is None else offset}; the apex {apex} used")
        offset = apex
    if apex is None or apex == onset:
        middle = (onset + offset) // 2
        told = "no apex annotated" if apex is None else f"apex {apex} is the onset"
        notes.append(f"{told}; the middle {max(middle, onset + 1)} used")
        apex = max(middle, onset + 1)
    if not onset <= apex <= offset:
        raise UnusableRow(f"apex {apex} lies outside its clip, onset {onset} to offset {offset}")
    return onset, apex, offset, notes


def _is_cut(recording: Recording, onset: int, offset: int) -> bool:
    """The folder holds exactly the frames from onset to offset, numbered anew."""
    return len(recording.numbers) == offset - onset + 1 == recording.numbers[-1] - recording.numbers[0] + 1


def _nearest(recording: Recording, name: str, number: int, within: int, notes: list[str]) -> int:
    for distance in range(min(within, 2) + 1):
        for candidate in (number - distance, number + distance):
            if (index := recording.index(candidate)) is not None:
                if distance:
                    notes.append(f"{name} frame {number} is missing; {candidate} used")
                return index
    first, last = recording.numbers[0], recording.numbers[-1]
    raise UnusableRow(
        f"{name} frame {number} is missing in {recording.folder}, which holds {first} to {last}"
    )
