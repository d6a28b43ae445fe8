"""Look-alike releases of the other corpora, with faces in them, from sheet and frames to Parquet and back."""

import numpy as np
import pytest

from dface_hf.data import check_clip, open_clips, prepare
from dface_hf.data.prepared_clips import read_frame

from .releases import frames, moving_face, workbook
from .test_corpora_others import (
    CASME3_HEADER,
    CASME_HEADER,
    DFME_HEADER,
    FOURDME_HEADER,
    MMEW_HEADER,
    SAMM_LONG_HEADER,
)

# Of twelve frames the second is still and the fifth the strongest.
NUMBERS = list(range(1, 13))


def casme(root):
    workbook(root / "casme.xlsx", [CASME_HEADER, (1, "EP01_12", None, "tense", 2, 5, None, 9, None, "4")])
    frames(root / "CASME_raw_selected" / "sub01" / "EP01_12", NUMBERS, "EP01_12-{}.jpg", moving_face())


def casme3(root):
    """Frame 7 was dropped by the camera."""
    row = ("spNO.1", "a", 2, 5, 9, "R4", "III", "disgust")
    workbook(root / "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", [CASME3_HEADER, row], "label")
    there = [number for number in NUMBERS if number != 7]
    pictures = [moving_face()[number - 1] for number in there]
    frames(root / "part_A" / "spNO.1" / "a" / "color", there, "{}.jpg", pictures)


def casme3c(root):
    header = ("sub", "count", "onset", "offset", "au", "emotion")
    workbook(root / "CAS(ME)3_part_C_ME.xlsx", [header, ("1", 2, 2, 8, "4，5", "neg")])
    frames(root / "part_C" / "01" / "2" / "color", NUMBERS, "{}.jpg", moving_face())


def mmew(root):
    workbook(root / "MMEW_Micro_Exp.xlsx", [MMEW_HEADER, (3, "S03-01-002", 2, 5, 9, "4", "fear", None)])
    frames(root / "Micro_Expression" / "fear" / "S03-01-002", NUMBERS, "{}.jpg", moving_face())


def fourdme(root):
    """The sheet counts in the recording, the folder from 1; the pictures are grey."""
    row = ("sub1", "f1", 1, "x", 311, 314, 322, "AU4(k)+AU7", 0, 0, 0, 1, 0, 0, 0, 1)
    workbook(root / "4DME_Labelling_Micro_release v1.xlsx", [FOURDME_HEADER, row])
    frames(root / "gray_micro" / "sub1" / "f1", NUMBERS, "{:04d}.jpg", moving_face(), grey=True)


def dfme(root):
    row = ("sub0003", "sub0003_01", 1, 4, 9, "happiness", 4, 500, "12")
    workbook(root / "training_full_with_AU.xlsx", [DFME_HEADER, row])
    frames(root / "DFME_train" / "sub0003_01", range(12), "{}.png", moving_face())


def casme2_long(root):
    """Two expressions of one recording: the clips overlap in their margins."""
    rows = [(1, "disgust1_1", 2, 5, 8, "4+10", "disgust", "micro-expression", "disgust"),
            (1, "disgust1_2", 14, 17, 0, "4", "anger", "micro-expression", "disgust")]  # fmt: skip
    people, videos = [(1, "s15", 1)], [("0101", "disgust1")]
    workbook(root / "code_final.xlsx", rows, "label", people=people, videos=videos)
    folder = root / "rawpic" / "s15" / "15_0101disgustingteeth"
    frames(folder, range(1, 25), "img{:03d}.jpg", moving_face())


def samm_long(root):
    row = ("006", "006_1_2", 1, 2, 5, 9, 8, "Micro - 1/2", "4+7", None)
    workbook(root / "SAMM_LongVideos_V2_Release.xlsx", [*[("text",)] * 10, SAMM_LONG_HEADER, row])
    frames(root / "SAMM_longvideos" / "006_1", NUMBERS, "006_1_{:04d}.jpg", moving_face(), grey=True)


# Corpus -> who makes it, and of its clips (subject, emotion, frames a second, apex - onset, offset - onset).
RELEASES = {
    "casme": (casme, [("sub01", "tense", 60, 3, 7)]),
    "casme3": (casme3, [("spNO.1", "disgust", 30, 3, 6)]),
    "casme3c": (casme3c, [("01", "negative", 30, 3, 6)]),
    "mmew": (mmew, [("S03", "fear", 90, 3, 7)]),
    "4dme": (fourdme, [("sub1", "negative", 60, 3, 11)]),
    "dfme": (dfme, [("sub0003", "happiness", 500, 3, 8)]),
    "casme2_long": (casme2_long, [("s15", "disgust", 30, 3, 6), ("s15", "anger", 30, 3, 3)]),
    "samm_long": (samm_long, [("006", None, 200, 3, 7)]),
}


@pytest.mark.parametrize("corpus", RELEASES)
def test_a_release_with_faces_becomes_clips(corpus, tmp_path):
    make, expected = RELEASES[corpus]
    make(tmp_path / "release")
    done = prepare(corpus, tmp_path / "release", tmp_path / "out", size=48)
    assert done.clips == len(expected) and not done.skipped
    found = list(open_clips(tmp_path / "out"))
    told = [
        (row["subject"], row["emotion"], row["fps"], row["apex"] - row["onset"], row["offset"] - row["onset"])
        for row in found
    ]
    assert told == expected
    for row in found:
        check_clip(row)
        pictures = np.stack([read_frame(row, number) for number in range(len(row["frames"]))]).astype(int)
        assert pictures.shape[1:] == (48, 48, 3) and row["offset"] < len(pictures)
        moved = np.abs(pictures - pictures[row["onset"]]).mean(axis=(1, 2, 3))
        assert moved[row["apex"]] > 0.5 and moved[row["apex"]] > moved[row["onset"] + 1]
        grey = np.abs(pictures - pictures[..., :1]).max()
        assert (grey == 0) == (corpus in ("4dme", "samm_long"))
