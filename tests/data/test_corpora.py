"""Readers of the corpora that MEGC2019 is made of, on look-alike releases."""

from collections import Counter

import pytest

from dface_hf.data import CORPORA, read_corpus
from dface_hf.data.corpora import Annotation, read_annotations

from . import releases
from .releases import casme2, casme2_frames, casme2_row, samm, samm_row, smic_clip


def only(listing):
    assert len(listing.clips) == 1 and not listing.skipped, listing.skipped
    return listing.clips[0]


def reasons(listing):
    return {(one.row, one.clip): one.reason for one in listing.skipped}


@pytest.mark.parametrize(("corpus", "write", "row"), [
    ("casme2", casme2, lambda s, i, word: casme2_row(f"{s:02d}", f"EP{i:03d}", 46, 59, 86, "4", word)),
    ("samm", samm, lambda s, i, word: samm_row(f"{s:03d}", f"{s:03d}_1_{i}", 562, 588, 632, "4+7", word)),
])  # fmt: skip
def test_counts_are_the_published_ones(tmp_path, corpus, write, row):
    published = CORPORA[corpus]
    clips = releases.spread(published.emotions, published.subjects)
    write(tmp_path, [row(subject, i, word) for i, (subject, word) in enumerate(clips)])
    rows = read_annotations(corpus, tmp_path)
    assert all(isinstance(one, Annotation) for one in rows)
    assert Counter(one.emotion for one in rows) == published.emotions
    assert len({one.subject for one in rows}) == published.subjects


def test_smic_counts_come_from_its_folders(tmp_path):
    published = CORPORA["smic"]
    for count, (subject, word) in enumerate(releases.spread(published.emotions, published.subjects)):
        smic_clip(tmp_path, subject, word, count, range(559740 + count, 559743 + count))
    found = read_corpus("smic", tmp_path)
    assert found.emotions == published.emotions and len(found.subjects) == 16 and not found.skipped
    assert all((c.onset, c.apex, c.offset) == (0, 1, 2) for c in found.clips)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    casme2(tmp_path, [casme2_row("01", "EP02_01f", 99, 101, 103, "4+7+L10", "Disgust")])
    folder = casme2_frames(tmp_path, "sub01", "EP02_01f", range(95, 106))
    (folder / "Thumbs.db").touch()
    clip = only(read_corpus("casme2", tmp_path))
    assert [path.rsplit("/", 1)[1] for path in clip.frames[3:6]] == ["img98.jpg", "img99.jpg", "img100.jpg"]
    assert (clip.onset, clip.apex, clip.offset) == (4, 6, 8) and clip.row == 2 and clip.notes == ()
    assert (clip.clip_id, clip.subject, clip.corpus) == ("sub01/EP02_01f", "sub01", "casme2")
    assert (clip.emotion, clip.action_units, clip.fps) == ("disgust", "4+7+L10", 200.0)


@pytest.mark.parametrize("subject", [1, "1", "01", "sub01", 1.0])
@pytest.mark.parametrize("folder", ["sub01", "sub1", "01"])
def test_subjects_are_found_whatever_their_padding(tmp_path, subject, folder):
    casme2(tmp_path / "docs", [casme2_row(subject, "EP02_01", 5, 7, 9)])
    casme2_frames(tmp_path, folder, "EP02_01", range(1, 12))
    assert only(read_corpus("casme2", tmp_path)).subject == "sub01"


def test_a_clip_name_that_differs_by_padding_alone_is_not_mixed_up(tmp_path):
    casme2(tmp_path, [casme2_row("03", "EP01_2", 5, 7, 9), casme2_row("03", "EP01_02", 6, 8, 9),
                      casme2_row("03", "EP01_002", 6, 8, 9)])  # fmt: skip
    casme2_frames(tmp_path, "sub03", "EP01_2", range(1, 12))
    casme2_frames(tmp_path, "sub03", "EP01_02", range(2, 12))
    found = read_corpus("casme2", tmp_path)
    assert [clip.frames[0].split("/")[-2] for clip in found.clips] == ["EP01_2", "EP01_02"]
    assert "could be any of the folders EP01_02, EP01_2" in reasons(found)[4, "sub03/EP01_002"]


@pytest.mark.parametrize(("onset", "apex", "offset", "indices", "note"), [
    (5, "/", 11, (4, 7, 10), "no apex annotated; the middle 8 used"),
    (5, None, 11, (4, 7, 10), "no apex annotated"),
    (5, 0, 11, (4, 7, 10), "no apex annotated"),
    (5, 5, 11, (4, 7, 10), "apex 5 is the onset"),
    (5, 8, 0, (4, 7, 7), "offset 0; the apex 8 used"),
    (5, 8, None, (4, 7, 7), "offset missing; the apex 8 used"),
    (5, 8, 99, (4, 7, 11), "offset 99 is beyond the last frame; 12 used"),
    ("5", "8", "11", (4, 7, 10), None),
])  # fmt: skip
def test_gaps_of_the_annotation_are_repaired_and_told(tmp_path, onset, apex, offset, indices, note):
    casme2(tmp_path, [casme2_row("01", "EP02_01", onset, apex, offset)])
    casme2_frames(tmp_path, "sub01", "EP02_01", range(1, 13))
    clip = only(read_corpus("casme2", tmp_path))
    assert (clip.onset, clip.apex, clip.offset) == indices
    assert len(clip.notes) == (note is not None) and (note is None or note in clip.notes[0])


@pytest.mark.parametrize(("row", "reason"), [
    (casme2_row("01", "EP02_01", 5, 3, 9), "apex 3 lies outside its clip, onset 5 to offset 9"),
    (casme2_row("01", "EP02_01", 5, 10, 9), "apex 10 lies outside its clip, onset 5 to offset 9"),
    (casme2_row("01", "EP02_01", "five", 7, 9), "onset='five' is no frame number"),
    (casme2_row("01", "EP02_01", None, 7, 9), "the cell onset is empty"),
    (casme2_row("01", "EP02_01", 5, 7, 9, "4", "joyless"), "unknown emotion 'joyless'"),
    (casme2_row("01", "EP99_99", 5, 7, 9), "no folder sub01/EP99_99"),
    (casme2_row("02", "EP02_01", 5, 7, 9), "no folder sub02/EP02_01"),
    (casme2_row("one", "EP02_01", 5, 7, 9), "'one' holds no number"),
    (casme2_row("01", "EP02_02", 5, 7, 9), "onset frame 5 is missing"),
    (casme2_row("01", "EP02_02", 1, 3, 7), "1 frames are missing between onset and offset, the first is 5"),
    (casme2_row("01", "EP02_03", 1, 3, 7), "no numbered frames"),
])  # fmt: skip
def test_rows_that_cannot_be_used_are_listed_with_row_and_reason(tmp_path, row, reason):
    casme2(tmp_path, [casme2_row("01", "EP02_01", 5, 7, 9), (None,) * 9, row])
    casme2_frames(tmp_path, "sub01", "EP02_01", range(1, 12))
    casme2_frames(tmp_path, "sub01", "EP02_02", [1, 2, 3, 4, 6, 7, 8, 9])
    casme2_frames(tmp_path, "sub01", "EP02_03", [])
    found = read_corpus("casme2", tmp_path)
    assert len(found.clips) == 1 and [one.row for one in found.skipped] == [4]
    assert reason in found.skipped[0].reason


def test_unreadable_action_units_are_left_out_and_told(tmp_path):
    cells = [(5, "4 plus seven", "disgust"), (5, 12, "disgust"), (6, None, "Others ")]
    casme2(tmp_path, [casme2_row("01", "EP02_01", onset, 7, 9, *more) for onset, *more in cells])
    casme2_frames(tmp_path, "sub01", "EP02_01", range(1, 12))
    bad, number, none = read_corpus("casme2", tmp_path).clips
    assert bad.action_units == "" and "cannot read action units from '4 plus seven'" in bad.notes[0]
    assert (number.action_units, none.action_units, none.emotion) == ("12", "", "others")
    names = ["sub01/EP02_01@5#2", "sub01/EP02_01@5#3", "sub01/EP02_01@6"]
    assert [bad.clip_id, number.clip_id, none.clip_id] == names, "a repeated name is told apart"


def test_a_missing_column_or_a_wrong_root_is_an_error(tmp_path):
    header = [name if name != "ApexFrame" else "Apex" for name in releases.CASME2_HEADER]
    casme2(tmp_path / "a", [casme2_row("01", "EP02_01", 5, 7, 9)], header)
    with pytest.raises(ValueError, match=r"20140508.xlsx: no column 'ApexFrame'; its header, row 1"):
        read_corpus("casme2", tmp_path / "a")
    with pytest.raises(ValueError, match="is no SAMM release: no sheet SAMM_Micro_FACS_Codes"):
        read_corpus("samm", tmp_path / "a")
    with pytest.raises(ValueError, match="is no SMIC-HS release"):
        read_corpus("smic", tmp_path / "a")
    with pytest.raises(ValueError, match="no such folder"):
        read_corpus("casme2", tmp_path / "none")
    with pytest.raises(ValueError, match="unknown corpus 'casme9'; known: .*casme2"):
        read_corpus("casme9", tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "CASME2-coding-20140508.xlsx").write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="not a readable spreadsheet"):
        read_corpus("casme2", tmp_path / "b")


def test_samm_has_text_above_its_header_and_padding_that_varies(tmp_path):
    samm(
        tmp_path,
        [
            samm_row("006", "006_1_2", 5562, 5588, 5632),
            samm_row("014", "014_3_1", 10, -1, 14, "(R6 or R12)+R15"),
        ],
    )
    releases.frames(tmp_path / "SAMM" / "006" / "006_1_2", range(5562, 5633), "006_{:05d}.jpg")
    releases.frames(tmp_path / "SAMM" / "14" / "14_3_1", range(10, 15), "014_{:04d}.jpg")
    first, second = read_corpus("samm", tmp_path).clips
    assert (first.row, first.subject, first.emotion) == (15, "006", "anger")
    assert (first.onset, first.apex, first.offset) == (0, 26, 70)
    assert (second.subject, second.apex, second.action_units) == ("014", 2, "(R6 or R12)+R15")


def test_smic_takes_class_and_extent_from_the_folder_and_the_row_from_the_sheet(tmp_path):
    smic_clip(tmp_path, 18, "surprise", 3, range(99998, 100003))
    smic_clip(tmp_path, 1, "negative", 1, range(7, 9))
    rows = [(18, "s18_sur_03", None, 99998, 100002, None, None, None, 1, 9, 5, None, 9, "negative")]
    releases.workbook(tmp_path / "SMIC-HS-E_annotation.xlsx", [releases.SMIC_HEADER, *rows], "HS")
    negative, surprise = read_corpus("smic", tmp_path).clips
    assert (negative.clip_id, negative.emotion, negative.row) == ("s01/s01_ne_01", "negative", None)
    assert (surprise.clip_id, surprise.emotion, surprise.row) == ("s18/s18_sur_03", "surprise", 2)
    assert (surprise.onset, surprise.apex, surprise.offset) == (0, 2, 4) and surprise.fps == 100
    assert surprise.notes[0] == "the sheet says negative; the class surprise of the name used"
    assert "no apex annotated" in surprise.notes[1]


def test_cropped_faces_are_read_where_they_are_asked_for(tmp_path):
    casme2(tmp_path, [casme2_row("01", "EP02_01", 5, 7, 9)])
    casme2_frames(tmp_path, "sub01", "EP02_01", range(1, 12))
    releases.frames(tmp_path / "Cropped" / "sub01" / "EP02_01", range(5, 10), "reg_img{}.jpg")
    assert len(only(read_corpus("casme2", tmp_path)).frames) == 11
    clip = only(read_corpus("casme2", tmp_path, cropped=True))
    assert (len(clip.frames), clip.onset, clip.offset) == (5, 0, 4)
