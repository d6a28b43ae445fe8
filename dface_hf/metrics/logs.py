"""Prediction logs of the Micro-Expression Grand Challenge: who, which clip, truth, prediction.

    casme2 sub01
    EP02_01f 1 1
    EP19_05f 0 0
    smic s01
    ...

A line of two words starts a subject of a corpus; the lines of three below are its clips with the true and the
predicted class number. Names hold no white space in this format: it is written as in a URL (%20), and so is
the percent sign, so that every name comes back as it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from dface_hf.whole_files import write_text


@dataclass(frozen=True)
class Prediction:
    """One clip: its corpus, subject and name, its true and its predicted class number."""

    corpus: str
    subject: str
    clip: str
    truth: int
    predicted: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells clips apart."""
        return self.corpus, self.subject, self.clip


def read_log(path: str | os.PathLike) -> list[Prediction]:
    """Read a log, clips in the order of the file.

    Raises:
        ValueError: A line that is neither a subject nor a clip, a clip without a subject, a class that is no
            number from 0, a clip that comes twice, or no clip at all; the message names file, line and value.
        OSError: The file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise type(error)(f"{path}: cannot be read ({error.strerror or error})") from error
    person, found, lines = None, [], {}
    # Not splitlines(): it also breaks at characters that a name may hold.
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        words = [_decoded(word) for word in line.strip(" \t").split()]
        where = f"{path}, line {number}"
        if len(words) == 2:
            person = words
        elif len(words) == 3:
            if person is None:
                raise ValueError(
                    f"{where}: clip {words[0]!r} before any subject; start with 'corpus subject'"
                )
            found.append(Prediction(*person, words[0], *(_class(word, where) for word in words[1:])))
            if (first := lines.setdefault(found[-1].key, number)) != number:
                raise ValueError(f"{where}: clip {'/'.join(found[-1].key)} was in line {first} already")
        elif words:
            raise ValueError(f"{where}: {line[:60]!r}; expected 'corpus subject' or 'clip truth prediction'")
    if not found:
        raise ValueError(
            f"{path}: holds no clip; expected 'corpus subject', then 'clip truth prediction' lines"
        )
    return found


def write_log(path: str | os.PathLike, predictions: Sequence[Prediction]) -> None:
    """Write a log; clips of one subject come together, otherwise the order is kept.

    The file appears under its name when it is complete.

    Raises:
        ValueError: No prediction, an empty name, a class that is no whole number from 0, or a clip that comes
            twice.
        OSError: The file cannot be written.
    """
    people: dict[tuple[str, str], dict[str, Prediction]] = {}
    for one in predictions:
        name = "/".join(map(str, one.key))
        if not all(isinstance(part, str) and part for part in one.key):
            raise ValueError(f"{path}: clip {name!r}: corpus, subject and clip must be non-empty text")
        for value in (one.truth, one.predicted):
            if int(value) != value or value < 0:
                raise ValueError(f"{path}: clip {name}: class {value!r}; expected a whole number from 0")
        clips = people.setdefault(one.key[:2], {})
        if one.clip in clips:
            raise ValueError(f"{path}: clip {name} comes twice; a log holds one prediction a clip")
        clips[one.clip] = one
    if not people:
        raise ValueError(f"{path}: there is no prediction to write")
    lines = []
    for person, clips in people.items():
        lines.append(" ".join(map(_encoded, person)))
        lines += [f"{_encoded(one.clip)} {int(one.truth)} {int(one.predicted)}" for one in clips.values()]
    write_text(path, "\n".join(lines) + "\n")


def aligned(
    first: Sequence[Prediction], second: Sequence[Prediction], names: tuple[str, str] = ("first", "second")
) -> list[Prediction]:
    """The second list in the order of the first.

    Args:
        first: Predictions.
        second: Predictions of the same clips in any order.
        names: What the lists are called in messages, such as their files.

    Raises:
        ValueError: A clip is in one list only, or its true classes differ.
    """
    there = {one.key: one for one in second}
    for here, other, name in ((first, there, names[1]), (second, {one.key for one in first}, names[0])):
        if missing := [one for one in here if one.key not in other]:
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise ValueError(
                f"{name}: lacks clip {'/'.join(missing[0].key)}{more}; both must hold the same clips"
            )
    for one in first:
        if (truth := there[one.key].truth) != one.truth:
            raise ValueError(
                f"{names[1]}: clip {'/'.join(one.key)} has truth {truth}, in {names[0]} {one.truth}"
            )
    return [there[one.key] for one in first]


def _class(word: str, where: str) -> int:
    if not (word.isascii() and word.isdecimal()):
        raise ValueError(f"{where}: class {word!r}; expected a whole number from 0, such as 2")
    return int(word)


def _encoded(name: str) -> str:
    """The name without white space."""
    return re.sub(r"[%\s\x1c-\x1f\x85\ufeff]", lambda match: quote(match[0], safe=""), name)


def _decoded(word: str) -> str:
    return unquote(word, errors="surrogateescape") if "%" in word else word
