"""Readers of the other corpora: their sheets, quirks and counts; long videos; folders that are no release."""

import json
import re
from collections import Counter
from zipfile import ZipFile

import pytest
import xlwt

from dface_hf.actions import active_units
from dface_hf.data import read_corpus
from dface_hf.data.corpora import RELEASES, read_annotations
from dface_hf.faces import write_video

from .releases import frames, moving_face, spread, workbook

CASME3 = {"disgust": 250, "surprise": 187, "others": 158, "Others": 3, "fear": 86, "anger": 64, "sad": 57,
          "happy": 55}  # fmt: skip
CASME3_HEADER = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
PART_C = {"neg": 99, "sur": 30, "oth": 20, "pos": 16}
MMEW = {"happiness": 36, "anger": 8, "surprise": 89, "disgust": 72, "fear": 16, "sadness": 13, "others": 66}
MMEW_HEADER = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units",
               "Estimated Emotion", "remarks")  # fmt: skip
DFME_HEADER = ("Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Emotion", "EmotionId", "Fps",
               "AU")  # fmt: skip
CASME_HEADER = ("Subject", "Filename", None, "Emotion", "OnsetF", "ApexF1", "ApexF2", "OffsetF", None, "AU")
FOURDME_HEADER = ("sub_ID", "fold_name", "fold", "Emotion", "Onset", "Apex", "Offset", "AUs", "AU1",
                  "eye blink", "Positive", "Negative", "Surprise", "Repression", "Others",
                  "Total")  # fmt: skip
SAMM_LONG_HEADER = ("Subject", "Filename", "Inducement Code", "Onset", "Apex", "Offset", "Duration", "Type",
                    "Action Units", "Notes")  # fmt: skip


def casme3(root, rows, name="cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", header=CASME3_HEADER):
    workbook(root / name, [header, *rows], "label")
    return root


def test_casme3_counts(tmp_path):
    rows = [(f"spNO.{subject}", "abcdefghijklm"[i % 13], 5 * i + 1, 5 * i + 3, 0 if i == 7 else 5 * i + 6,
             "T4+L10", "IV", word) for i, (subject, word) in enumerate(spread(CASME3, 94))]  # fmt: skip
    found = read_annotations("casme3", casme3(tmp_path, rows))
    assert len(found) == 860 and len({one.subject for one in found}) == 94
    assert Counter(one.emotion for one in found) == {
        "disgust": 250, "surprise": 187, "others": 161, "fear": 86, "anger": 64, "sadness": 57,
        "happiness": 55,
    }  # fmt: skip


def test_part_c_counts_and_commas(tmp_path):
    rows = [(subject, 1 + i, 10 * i, 10 * i + 6, ("R4,5", "4，5", 12)[i % 3], word)
            for i, (subject, word) in enumerate(spread(PART_C, 31))]  # fmt: skip
    workbook(
        tmp_path / "CAS(ME)3_part_C_ME.xlsx", [("sub", "count", "onset", "offset", "au", "emotion"), *rows]
    )
    found = read_annotations("casme3c", tmp_path)
    assert Counter(one.emotion for one in found) == {
        "negative": 99,
        "surprise": 30,
        "others": 20,
        "positive": 16,
    }
    assert [active_units(one.action_units) for one in found[:3]] == [(4, 5), (4, 5), (12,)]
    assert found[0].apex is None and found[0].subject == "01"


def test_mmew_counts(tmp_path):
    rows = [(subject, f"S{subject:02d}-01-{i:03d}", 1, 4, 8, "4+7", word, None)
            for i, (subject, word) in enumerate(spread(MMEW, 30))]  # fmt: skip
    workbook(tmp_path / "MMEW_Micro_Exp.xlsx", [MMEW_HEADER, *rows])
    found = read_annotations("mmew", tmp_path)
    assert Counter(one.emotion for one in found) == MMEW and len(found) == 300
    (tmp_path / "Micro_Expression").mkdir()
    listing = read_corpus("mmew", tmp_path)  # without frames
    assert len(listing.skipped) == listing.annotated == 300 and listing.difference == ""
    workbook(tmp_path / "MMEW_Micro_Exp.xlsx", [MMEW_HEADER, *rows[:-1]])
    told = "299 micro-expressions are listed, in known releases of mmew 300:"
    assert read_corpus("mmew", tmp_path).difference.startswith(told)


def test_dfme_counts(tmp_path):
    emotions = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    rows = [(f"sub{1 + i % 176:04d}", f"sub{1 + i % 176:04d}_{i // 176:02d}", 0, 9, 20, emotions[i % 7],
             i % 7, (200, 300, 500)[i % 3], "4") for i in range(1856)]  # fmt: skip
    workbook(tmp_path / "training_full_with_AU.xlsx", [DFME_HEADER, *rows])
    found = read_annotations("dfme", tmp_path)
    assert len(found) == 1856 and len({one.subject for one in found}) == 176
    assert {one.fps for one in found} == {200.0, 300.0, 500.0}


def test_casme3_repeats_names_drops_frames_and_has_offset_zero(tmp_path):
    rows = [("spNO.1", "a", 349, 355, 360, "R4", "III", "disgust"),
            ("spNO.1", "a", 401, 404, 0, 12, "I", "happy"),
            ("spNO.40", "e", 10, 14, 20, "4", "III", "Others")]  # fmt: skip
    casme3(tmp_path, rows)
    frames(tmp_path / "part_A" / "spNO.1" / "a" / "color", [n for n in range(1, 430) if n != 352], "{}.jpg")
    frames(tmp_path / "part_A" / "spNO.1" / "a" / "depth", range(1, 430), "{}.png")
    frames(tmp_path / "part_A" / "spNO.40" / "e" / "color", [n for n in range(1, 30) if n != 14], "{}.jpg")
    found = read_corpus("casme3", tmp_path)
    first, second, third = found.clips
    assert (first.clip_id, second.clip_id) == (
        "spNO.1/a@349",
        "spNO.1/a@401",
    ) and third.clip_id == "spNO.40/e"
    assert (first.onset, first.apex, first.offset) == (348, 353, 358), "one frame less"
    assert first.notes == ("1 frames are missing between onset and offset; played on",)
    assert (second.apex, second.offset, second.notes) == (402, 402, ("offset 0; the apex 404 used",))
    assert third.notes[0] == "apex frame 14 is missing; 13 used"
    assert first.frames is second.frames, "clips of one recording share the list of its frames"
    assert [(len(video.intervals), len(video.frames)) for video in found.videos] == [(2, 428), (1, 28)]


def test_casme3_with_all_expressions_gives_macro_intervals(tmp_path):
    rows = [("spNO.1", "a", 5, 8, 12, "4", "III", "disgust", "Micro-expression"),
            ("spNO.1", "a", 20, 30, 50, "6+12", "I", "amused", "Macro-expression")]  # fmt: skip
    casme3(tmp_path, rows, "CAS(ME)3_part_A_v2.xlsx", (*CASME3_HEADER, "Expression type"))
    frames(tmp_path / "part_A" / "spNO.1" / "a" / "color", range(1, 100), "{}.jpg")
    found = read_corpus("casme3", tmp_path)
    assert [clip.row for clip in found.clips] == [2] and not found.skipped
    micro, macro = found.videos[0].intervals
    assert (micro.kind, micro.onset, micro.apex, micro.offset) == ("micro", 4, 7, 11)
    assert (macro.kind, macro.onset, macro.offset, macro.emotion, macro.row) == ("macro", 19, 49, None, 3)


def old_workbook(path, *sheets):
    """A workbook of Excel 97 with (name, rows) as its sheets."""
    book = xlwt.Workbook()
    for name, rows in sheets:
        sheet = book.add_sheet(name)
        for place, cells in enumerate(rows):
            for column, cell in enumerate(cells):
                if cell is not None:
                    sheet.write(place, column, cell)
    book.save(str(path))


def test_a_sheet_may_be_a_csv_file_and_is_preferred_to_an_old_one(tmp_path):
    name = "cas(me)3_part_A_ME_label_JpgIndex_v2"
    rows = [CASME3_HEADER, ("spNO.1", "a", 5, 8, 12, "R4", "III", "disgust")]
    lines = [";".join(map(str, row)) for row in rows]
    (tmp_path / f"{name}.csv").write_text("\r\n".join(lines))
    (tmp_path / f"{name}.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    (row,) = read_annotations("casme3", tmp_path)
    assert (row.name, row.onset, row.apex, row.offset, row.action_units) == ("spNO.1/a", 5, 8, 12, "R4")


def test_casme3s_sheet_of_all_expressions_is_an_old_one(tmp_path):
    """It has the macro-expressions, too, and is read although the sheet of micro-expressions is an .xlsx."""
    casme3(tmp_path, [("spNO.1", "a", 5, 8, 12, "R4", "III", "disgust")])
    header = ("Expression type", *CASME3_HEADER)
    rows = [
        ("Macro-expression", "spNO.1", "a", 100, 130, 160, 12, "I", "happy"),
        ("Micro-expression", "spNO.1", "a", 5, 8, 12, "R4", "III", "disgust"),
        ("Micro-expression", "spNO.2", "b", 7, None, 0, "", "VII", "others"),
    ]
    blinks = ("eye blink", [("Subject", "Filename"), ("spNO.1", "a")])
    old_workbook(tmp_path / "CAS(ME)3_part_A_v2.xls", blinks, ("label", [header, *rows]))
    found = read_annotations("casme3", tmp_path)
    assert [(one.kind, one.onset, one.offset) for one in found if one.subject == "spNO.1"] == [
        ("macro", 100, 160),
        ("micro", 5, 12),
    ]
    assert [(one.row, one.emotion) for one in found] == [(2, "happiness"), (3, "disgust"), (4, "others")]


def test_a_damaged_old_sheet_is_named(tmp_path):
    (tmp_path / "CASME2-coding-dos.xls").write_bytes(b"\xd0\xcf\x11\xe0")
    with pytest.raises(ValueError, match=r"dos.xls: not a readable spreadsheet .*copy it again"):
        read_corpus("casme2", tmp_path)


def test_the_size_that_a_sheet_states_is_not_believed(tmp_path):
    casme3(tmp_path / "a", [("spNO.1", "a", 5, 8, 12, "R4", "III", "disgust")])
    (path,) = (tmp_path / "a").iterdir()
    (tmp_path / "b").mkdir()
    with ZipFile(path) as whole, ZipFile(tmp_path / "b" / path.name, "w") as other:
        for name in whole.namelist():
            text = whole.read(name)
            other.writestr(name, re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1"', text))
    (row,) = read_annotations("casme3", tmp_path / "b")
    assert (row.name, row.emotion) == ("spNO.1/a", "disgust")


def test_casme_pads_some_of_its_names(tmp_path):
    rows = [(1, "EP01_12", None, "tense", 46, 59, None, 86, None, "4"),
            (2, "EP01_1", None, "Disgust", 2, 5, 7, 9, None, 9)]  # fmt: skip
    workbook(tmp_path / "casme.xlsx", [CASME_HEADER, *rows])
    frames(tmp_path / "CASME_raw_selected" / "sub01" / "EP01_12", range(40, 101), "EP01_12-{}.jpg")
    frames(tmp_path / "CASME_raw_selected" / "sub02" / "EP01_1", range(1, 12), "EP01_1-{:03d}.jpg")
    first, second = read_corpus("casme", tmp_path).clips
    assert (first.onset, first.apex, first.offset, first.emotion, first.fps) == (6, 19, 46, "tense", 60)
    assert (second.onset, second.apex, second.offset, second.action_units) == (1, 4, 8, "9")


@pytest.mark.parametrize("folder", ["others", "repression", "S03/others"])
def test_mmew_lies_by_emotion(tmp_path, folder):
    workbook(tmp_path / "MMEW_Micro_Exp.xlsx", [MMEW_HEADER, (3, "S03-01-002", 1, 4, 8, "4", "others", None)])
    frames(tmp_path / "Micro_Expression" / folder / "S03-01-002", range(1, 13), "{}.jpg")
    found = read_corpus("mmew", tmp_path)
    assert [(c.subject, c.onset, c.apex, c.offset) for c in found.clips] == [("S03", 0, 3, 7)], found.skipped


def test_4dme_has_several_labels_doubtful_units_and_clips_numbered_anew(tmp_path):
    rows = [("sub1", "f1", 1, "x", 311, 315, 320, "AU4(k)+AU7", 0, 0, 0, 1, 0, 0, 0, 1),
            ("sub1", "f2", 1, "x", 400, 404, 409, "AU1", 0, 0, 0, 1, 1, 0, 0, 2)]  # fmt: skip
    workbook(tmp_path / "4DME_Labelling_Micro_release v1.xlsx", [FOURDME_HEADER, *rows])
    for name in ("f1", "f2"):
        frames(tmp_path / "gray_micro" / "sub1" / name, range(1, 11), "{:04d}.jpg")
    first, second = read_corpus("4dme", tmp_path).clips
    assert (first.onset, first.apex, first.offset, first.emotion) == (0, 4, 9, "negative")
    assert active_units(first.action_units) == (7,), "4(k) is doubtful"
    assert "the folder holds the clip alone" in first.notes[0]
    assert (
        second.emotion == "negative"
        and second.notes[0] == "several labels, negative, surprise; the first used"
    )


def test_dfme_counts_frames_from_zero(tmp_path):
    rows = [("sub0003", "sub0003_01", 0, 4, 9, "happiness", 4, 500, "12"),
            ("sub0003", "sub0003_02", 0, 4, 9, "fear", 3, "fast", "1")]  # fmt: skip
    workbook(tmp_path / "training_full_with_AU.xlsx", [DFME_HEADER, *rows])
    frames(tmp_path / "DFME_train" / "sub0003_01", range(10), "{}.png")
    found = read_corpus("dfme", tmp_path)
    assert [(c.onset, c.apex, c.offset, c.fps, c.notes) for c in found.clips] == [(0, 4, 9, 500.0, ())]
    assert [(one.row, one.reason) for one in found.skipped] == [(3, "Fps='fast' is no number")]


def test_casme2_long_translates_names_and_takes_the_apex_for_an_offset_of_zero(tmp_path):
    rows = [(1, "disgust1_1", 30, 40, 60, "4+10", "disgust", "macro-expression", "disgust"),
            (1, "disgust1_2", 70, 75, 80, "4", "disgust", "micro-expression", "disgust"),
            (1, "disgust1_3", 85, 90, 0, "4", "confused", "micro-expression", "disgust"),
            (1, "anger9_1", 85, 90, 0, "4", "anger", "micro-expression", "anger")]  # fmt: skip
    workbook(tmp_path / "code_final.xlsx", rows, "label", people=[(1, "s15", 1), (2, "s16", 2)],
             videos=[("0101", "disgust1"), ("0502", "happy2")])  # fmt: skip
    frames(tmp_path / "rawpic" / "s15" / "15_0101disgustingteeth", range(1, 101), "img{:03d}.jpg")
    found = read_corpus("casme2_long", tmp_path)
    assert [(c.onset, c.apex, c.offset, c.emotion) for c in found.clips] == [
        (69, 74, 79, "disgust"),
        (84, 89, 89, None),
    ]
    assert "unknown emotion 'confused'" in found.clips[1].notes[0]
    assert [(one.row, one.reason) for one in found.skipped] == [
        (4, "video 'anger9' is not in the third sheet, which names the files")
    ]
    video = found.videos[0]
    assert len(video.frames) == 100 and video.fps == 30
    assert [(i.kind, i.onset, i.offset) for i in video.intervals] == [
        ("macro", 29, 59), ("micro", 69, 79), ("micro", 84, 89)
    ]  # fmt: skip


def test_samm_long_has_ten_rows_of_text(tmp_path):
    rows = [*[("text",)] * 10, SAMM_LONG_HEADER,
            ("006", "006_1_1", 1, 10, 15, 40, 31, "Macro", "12", None),
            ("006", "006_1_2", 1, 60, 70, 80, 21, "Micro - 1/2", "4+7", None)]  # fmt: skip
    workbook(tmp_path / "SAMM_LongVideos_V2_Release.xlsx", rows)
    frames(tmp_path / "SAMM_longvideos" / "006_1", range(1, 101), "006_1_{:04d}.jpg")
    found = read_corpus("samm_long", tmp_path)
    assert [(c.clip_id, c.row, c.onset) for c in found.clips] == [("006/006_1_2", 13, 59)]
    (video,) = found.videos
    assert video.video_id == "SAMM_longvideos/006_1"
    assert [i.kind for i in video.intervals] == ["macro", "micro"]


def test_recordings_without_an_expression_are_listed_last(tmp_path):
    rows = [(1, "disgust1_1", 70, 75, 80, "4", "disgust", "micro-expression", "disgust")]
    workbook(
        tmp_path / "code_final.xlsx", rows, "label", people=[(1, "s15", 1)], videos=[("0101", "disgust1")]
    )
    for name in ("s15/15_0101disgustingteeth", "s15/15_0502happy", "s16/16_0101disgustingteeth"):
        frames(tmp_path / "rawpic" / name, range(1, 101), "img{:03d}.jpg")
    (tmp_path / "rawpic" / "s16" / "notes").mkdir()
    found = read_corpus("casme2_long", tmp_path)
    assert [(v.video_id, v.subject, len(v.frames), len(v.intervals)) for v in found.videos] == [
        ("rawpic/s15/15_0101disgustingteeth", "s15", 100, 1),
        ("rawpic/s15/15_0502happy", "s15", 100, 0),
        ("rawpic/s16/16_0101disgustingteeth", "s16", 100, 0),
    ]


def test_own_long_videos_may_hold_macro_expressions_or_none(tmp_path):
    frames(tmp_path / "a", range(1, 41))
    frames(tmp_path / "b", range(1, 41))
    rows = ["a,anna,happy,1,3,5,micro", "a,anna,sad,6,8,30,macro", "b,bert,,,,,"]
    (tmp_path / "metadata.csv").write_text("\n".join([HEADER + ",kind", *rows]))
    found = read_corpus("folder", tmp_path)
    assert [(c.clip_id, c.onset) for c in found.clips] == [("a", 1), ("b", 0)]
    assert [[(i.kind, i.onset, i.offset) for i in video.intervals] for video in found.videos] == [
        [("micro", 1, 5), ("macro", 6, 30)],
        [],
    ]
    (tmp_path / "sheet").mkdir()
    rows = ["../a,anna,happy,1,3,5", f"{tmp_path / 'b'},bert,,,,"]
    (tmp_path / "sheet" / "metadata.csv").write_text("\n".join([HEADER, *rows]))
    assert [video.video_id for video in read_corpus("folder", tmp_path / "sheet").videos] == ["../a", "../b"]
    (tmp_path / "metadata.csv").write_text("\n".join([HEADER + ",kind", "a,anna,happy,1,3,5,tiny"]))
    assert "'tiny' is neither macro nor micro" in read_corpus("folder", tmp_path).skipped[0].reason


def test_own_clips_with_metadata(tmp_path):
    write_video(tmp_path / "a.mp4", moving_face(), 25)
    frames(tmp_path / "b", [3, 20, 100], "f{}.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,subject,emotion,onset,apex,offset,fps,action_units\n"
        "a.mp4,anna,happy,1,5,9,,1+2\nb,bert,Surprise,,,,50,\nc.mp4,carl,fear,1,2,3,,\na.mp4,anna,glee,1,5,9,,\n"
    )
    found = read_corpus("folder", tmp_path)
    video, pictures = found.clips
    assert (video.path, video.frames, video.fps) == (str(tmp_path / "a.mp4"), (), 25.0)
    assert (video.onset, video.apex, video.offset, video.emotion) == (1, 5, 9, "happiness")
    assert (pictures.onset, pictures.apex, pictures.offset, pictures.fps) == (0, 1, 2, 50.0)
    assert [one.row for one in found.skipped] == [4, 5]
    assert "no such file" in found.skipped[0].reason and "unknown emotion 'glee'" in found.skipped[1].reason


def test_metadata_may_be_objects_a_line(tmp_path):
    frames(tmp_path / "b", range(1, 13))
    rows = [{"file_name": "b", "subject": 7, "label": "happy", "onset": 1, "apex": 3, "offset": 5.0},
            {"file_name": "b", "label": "sad", "onset": 6, "apex": 8, "offset": None, "action_units": "1+4"},
            {"file_name": "b", "label": "glee"}]  # fmt: skip
    path = tmp_path / "metadata.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    found = read_corpus("folder", tmp_path)
    assert [(c.subject, c.emotion, c.onset, c.apex, c.offset, c.row) for c in found.clips] == [
        ("7", "happiness", 1, 3, 5, 1),
        ("b", "sadness", 6, 8, 8, 2),
    ]
    assert found.clips[1].action_units == "1+4" and found.skipped[0].row == 3
    for line, message in (("[1]", "line 2: '\\[1\\]' is no object"), ("{", "line 2: '{' is no JSON")):
        path.write_text(f"{json.dumps(rows[0])}\n{line}\n")
        with pytest.raises(ValueError, match=message):
            read_corpus("folder", tmp_path)


HEADER = "file_name,subject,emotion,onset,apex,offset"


def test_a_file_with_several_expressions_has_a_row_for_each(tmp_path):
    frames(tmp_path / "b", range(1, 13))
    cells = ("1,3,5", "6,8,9", "6,9,11")
    rows = [f"b,anna,{word},{keys}" for word, keys in zip(("happy", "sad", "fear"), cells, strict=True)]
    (tmp_path / "metadata.csv").write_text("\n".join([HEADER, *rows]))
    clips = read_corpus("folder", tmp_path).clips
    assert [clip.clip_id for clip in clips] == ["b@1", "b@6#3", "b@6#4"]


@pytest.mark.parametrize("comma", ";\t")
def test_metadata_may_come_from_any_spreadsheet_program(tmp_path, comma):
    folder = tmp_path / "Änne 1"
    frames(folder, range(1, 13))
    rows = "\r\n".join([HEADER, "Änne 1,Änne,Happiness,1,3,5", ""]).replace(",", comma)
    (tmp_path / "metadata.csv").write_bytes(rows.encode("utf-8-sig"))
    (clip,) = read_corpus("folder", tmp_path).clips
    assert (clip.subject, clip.emotion, clip.apex) == ("Änne", "happiness", 3)
    (tmp_path / "metadata.csv").write_bytes(rows.encode("latin-1"))
    with pytest.raises(ValueError, match=r"metadata.csv: is not in UTF-8 \(byte 45\); save it as CSV UTF-8"):
        read_corpus("folder", tmp_path)


def test_own_clips_in_splits(tmp_path):
    for name in ("train/a", "test/b", "validation/surprise/c", "disgust/e"):
        frames(tmp_path / name, range(1, 13))
    (tmp_path / "validation" / "f.mp4").touch()
    (tmp_path / "train" / "metadata.csv").write_text(f"{HEADER}\na,anna,happy,1,3,5\n")
    (tmp_path / "test" / "metadata.csv").write_text(f"{HEADER}\nb,bert,fear,1,3,5\nd,dora,fear,1,3,5\n")
    found = read_corpus("folder", tmp_path)
    assert [(clip.clip_id, clip.emotion, clip.row, clip.split) for clip in found.clips] == [
        ("disgust/e", "disgust", None, "train"),
        ("train/a", "happiness", 2, "train"),
        ("validation/surprise/c", "surprise", None, "validation"),
        ("test/b", "fear", 2, "test"),
    ]
    assert [(one.clip, one.row) for one in found.skipped] == [("validation/f.mp4", None), ("test/d", 3)]


def test_a_column_may_name_the_split(tmp_path):
    for name in "abc":
        frames(tmp_path / name, range(1, 9))
    text = "file_name,subject,emotion,split\na,anna,happy,Test\nb,bert,fear,\nc,carl,fear,holdout\n"
    (tmp_path / "metadata.csv").write_text(text)
    found = read_corpus("folder", tmp_path)
    assert [(clip.clip_id, clip.split) for clip in found.clips] == [("a", "test"), ("b", "train")]
    assert found.skipped[0].reason == "split='holdout' must be one of train, validation, test"


def test_own_clips_in_folders_named_by_emotion(tmp_path):
    (tmp_path / "surprise").mkdir()
    write_video(tmp_path / "surprise" / "x.mp4", moving_face(), 25)
    frames(tmp_path / "anger" / "x", range(1, 9))
    other, clip = read_corpus("folder", tmp_path).clips
    assert (clip.emotion, clip.subject, clip.offset) == ("surprise", "surprise/x", len(moving_face()) - 1)
    assert other.subject == "anger/x", "a name that repeats in another folder is not the same person"
    assert clip.notes[0] == "no subject given; the clip counts as a subject of its own"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="neither a metadata.csv"):
        read_corpus("folder", tmp_path / "empty")


def test_face_videos_are_grouped_by_the_first_folder(tmp_path):
    for name in ("id10001/v/00002.mp4", "id10001/v/00001.mp4", "id10002/x/00001.mp4", "solo.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "id10001" / "notes.txt").touch()
    clips = read_corpus("faces", tmp_path).clips
    assert [clip.subject for clip in clips] == ["solo", "id10001", "id10001", "id10002"]
    assert clips[1].clip_id == "id10001/v/00001.mp4" and clips[1].emotion is None
    with pytest.raises(ValueError, match="no video below it"):
        read_corpus("faces", tmp_path / "empty")


@pytest.mark.parametrize("corpus", sorted(RELEASES))
def test_every_reader_says_what_it_looks_for(tmp_path, corpus):
    with pytest.raises(ValueError, match=r"is no .* release.*give the folder that holds"):
        read_corpus(corpus, tmp_path)
