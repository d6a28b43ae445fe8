"""Who is held out when: leave one subject out, k-fold by subject, leave one corpus out, folds inside folds.

A subject is a (corpus, subject) pair: "01" of one corpus is nobody else's "01". The MEGC 2019 composite
evaluation (See et al., 2019) is `leave_one_subject_out` over the clips that
`dface_hf.data.select_composite` takes of its three corpora together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold

COMPOSITE = "composite"
PROTOCOLS = ("loso", "kfold", "lodo", COMPOSITE)
"""Leave one subject out, k-fold by subject, leave one dataset (corpus) out, MEGC2019's composite."""


@dataclass(frozen=True, eq=False)
class Fold:
    """One split of a table of clips.

    Attributes:
        name: Who is held out: "casme2 sub01" (as in MEGC logs), "fold 1 of 5", or a corpus.
        train: (n,) int64 row numbers, rising.
        test: (m,) int64 row numbers, rising; no subject of theirs is in `train`.
    """

    name: str
    train: np.ndarray
    test: np.ndarray


def make_folds(
    protocol: str, corpora: Sequence[str], subjects: Sequence[str], k: int = 5, seed: int = 0
) -> list[Fold]:
    """Folds of a protocol.

    Args:
        protocol: One of `PROTOCOLS`.
        corpora: (n,) corpus of each clip.
        subjects: (n,) subject of each clip.
        k: Number of folds of "kfold".
        seed: Of "kfold".

    Raises:
        ValueError: Unknown protocol, or a table that it cannot split.
    """
    if protocol in ("loso", COMPOSITE):
        return leave_one_subject_out(corpora, subjects)
    if protocol == "kfold":
        return subject_k_fold(corpora, subjects, k, seed)
    if protocol == "lodo":
        _people(corpora, subjects)
        return leave_one_corpus_out(corpora)
    raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")


def leave_one_subject_out(corpora: Sequence[str], subjects: Sequence[str]) -> list[Fold]:
    """Every subject held out once, in the order in which they first appear.

    Raises:
        ValueError: Fewer than two subjects, or a row without corpus or subject.
    """
    people, names = _people(corpora, subjects)
    if len(names) < 2:
        raise ValueError(f"leave-one-subject-out needs 2 subjects or more; there is only {names[0]!r}")
    splits = LeaveOneGroupOut().split(people, groups=people)
    return [Fold(name, train, test) for name, (train, test) in zip(names, splits, strict=True)]


def subject_k_fold(corpora: Sequence[str], subjects: Sequence[str], k: int, seed: int) -> list[Fold]:
    """Subjects dealt to k folds of nearly equal numbers of clips.

    The seed shuffles the subjects; each then goes to the fold with the fewest clips so far, so that no two
    folds differ by more clips than the largest subject has.

    Raises:
        ValueError: `k` is below 2 or above the number of subjects, or a row has no corpus or subject.
    """
    people, names = _people(corpora, subjects)
    if not 2 <= k <= len(names):
        raise ValueError(f"k={k} folds of {len(names)} subject(s); k must lie between 2 and their number")
    # Without classes, what scikit-learn stratifies is the number of clips.
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    splits = splitter.split(people, np.zeros(len(people), int), people)
    return [Fold(f"fold {number} of {k}", *split) for number, split in enumerate(splits, 1)]


def leave_one_corpus_out(corpora: Sequence[str]) -> list[Fold]:
    """Every corpus held out once, in the order in which they first appear.

    Raises:
        ValueError: Fewer than two corpora, or a row without one.
    """
    groups, names = _numbered(_texts(corpora, "corpus"))
    if len(names) < 2:
        raise ValueError(f"leave-one-dataset-out needs 2 corpora or more; there is only {names[0]!r}")
    splits = LeaveOneGroupOut().split(groups, groups=groups)
    return [Fold(name, train, test) for name, (train, test) in zip(names, splits, strict=True)]


def inner_folds(
    fold: Fold, corpora: Sequence[str], subjects: Sequence[str], k: int = 5, seed: int = 0
) -> list[Fold]:
    """Split the training part of a fold again, by subject: settings are chosen here, never on `fold.test`.

    Args:
        fold: The outer fold.
        corpora: (n,) corpus of each clip of the WHOLE table.
        subjects: (n,) subject of each clip of the whole table.
        k: Number of inner folds.
        seed: Of the dealing of subjects.

    Returns:
        Folds whose row numbers refer to the whole table; `train` and `test` both lie inside `fold.train`.
    """
    rows = np.asarray(fold.train)
    inside = subject_k_fold(np.asarray(corpora)[rows], np.asarray(subjects)[rows], k, seed)
    return [Fold(f"{fold.name}, {one.name}", rows[one.train], rows[one.test]) for one in inside]


def check_folds(folds: Sequence[Fold], corpora: Sequence[str], subjects: Sequence[str]) -> None:
    """Check that folds of any origin hold people out and test every clip at most once.

    Raises:
        ValueError: A subject stands on both sides of a fold, a row is tested twice or does not exist, or a
            side is empty; the message names fold and subject or row.
    """
    people, names = _people(corpora, subjects)
    tested = np.zeros(len(people), int)
    for fold in folds:
        for side in ("train", "test"):
            rows = getattr(fold, side)
            if not len(rows):
                raise ValueError(f"{fold.name}: no clip in its {side} part")
            if min(rows) < 0 or max(rows) >= len(people):
                raise ValueError(f"{fold.name}: {side} row outside 0..{len(people) - 1}")
        both = np.intersect1d(people[fold.train], people[fold.test])
        if len(both):
            raise ValueError(f"{fold.name}: subject {names[both[0]]!r} is in both train and test")
        np.add.at(tested, fold.test, 1)
    if (tested > 1).any():
        row = int(np.argmax(tested > 1))
        raise ValueError(
            f"row {row} ({names[people[row]]}) is in the test part of {tested[row]} folds; use 1"
        )


def _people(corpora: Sequence[str], subjects: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """Number of each row's (corpus, subject) and the names, both in order of first appearance."""
    corpora, subjects = _texts(corpora, "corpus"), _texts(subjects, "subject")
    if len(corpora) != len(subjects):
        raise ValueError(f"{len(corpora)} corpora but {len(subjects)} subjects; give one of each per clip")
    numbers, pairs = _numbered(list(zip(corpora, subjects, strict=True)))
    return numbers, [" ".join(pair) for pair in pairs]


def _numbered(keys: list) -> tuple[np.ndarray, list]:
    """Each key's place in the order of first appearance, and the keys in this order."""
    place = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return np.array([place[key] for key in keys]), list(place)


def _texts(values: Sequence[str], column: str) -> list[str]:
    """The values as text; sheets hold subjects as numbers at times."""
    texts = ["" if value is None or value != value else str(value) for value in values]
    if not texts:
        raise ValueError("there is no clip to make folds of")
    if "" in texts:
        raise ValueError(f"row {texts.index('')}: no {column}; every clip needs one to be held out by")
    return texts
