"""`prepare` on look-alike releases, from sheet and frames to Parquet."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
from typer.testing import CliRunner

from dface_hf.cli import app
from dface_hf.data import CLIP_FEATURES, check_clip, labelled_clips, prepare
from dface_hf.data.corpora import read_annotations
from dface_hf.data.prepare import CLIPS_PER_PART
from dface_hf.faces import write_video

from .releases import casme2, casme2_frames, casme2_row, look_alike, moving_face, samm, samm_row, smic_clip
from .releases import frames as write_frames

CLIPS = CLIPS_PER_PART + 3


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> Path:
    """Eleven clips of two subjects: onset img99, apex img103, offset img107 of img98 to img109."""
    root = tmp_path_factory.mktemp("CASME2")
    rows = [(f"{1 + i % 2:02d}", f"EP01_{i:02d}") for i in range(CLIPS)]
    casme2(root, [casme2_row(*row, 99, 103, 107, "1+2", "surprise") for row in rows])
    for i, (subject, clip) in enumerate(rows):
        casme2_frames(root, f"sub{subject}", clip, range(98, 110), moving_face(i))
    return root


@pytest.fixture
def load(tmp_path):
    """The dataset of a folder, read the usual way."""

    def read(folder):
        return datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))

    return read


def tables(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "data").iterdir())}


def report(folder: Path) -> list[dict]:
    return list(csv.DictReader((folder / "report.csv").open(encoding="utf-8")))


def motion(row, first: str, second: str) -> float:
    a, b = (np.asarray(row["frames"][row[name]], np.float32) for name in (first, second))
    return float(np.abs(a - b).mean())


def test_a_release_becomes_a_dataset_of_the_clip_schema(release, tmp_path, load):
    done = prepare("casme2", release, tmp_path / "out", size=64)
    data = load(tmp_path / "out")
    assert done.clips == len(data) == CLIPS and not done.skipped and data.features == CLIP_FEATURES
    for row in data:
        check_clip(row)
        assert {picture.size for picture in row["frames"]} == {(64, 64)} and len(row["frames"]) == 12
        assert (row["onset"], row["apex"], row["offset"]) == (1, 5, 9), "98 is frame 0, 100 follows 99"
    assert {row["subject"] for row in data} == {"sub01", "sub02"}
    assert data[0]["clip_id"] == "sub01/EP01_00" and data[0]["action_units"] == "1+2"
    assert motion(data[0], "onset", "apex") > 1.5 * motion(data[0], "onset", "offset"), "brows rise and fall"
    assert not list((tmp_path / "out").rglob("*.partial"))


def test_the_face_stands_where_alignment_puts_it(release, tmp_path, load):
    from dface_hf.faces import EYES, locate, make_detector
    from dface_hf.faces.alignment import align, fit_similarity

    prepare("casme2", release, tmp_path / "out", size=96, frames="keyframes")
    row = load(tmp_path / "out")[0]
    assert len(row["frames"]) == 3 and (row["onset"], row["apex"], row["offset"]) == (0, 1, 2)
    onset, apex = moving_face(0)[1], moving_face(0)[5]
    similarity = fit_similarity(*locate(onset, make_detector().detect(onset)[0]))
    for name, picture in (("onset", onset), ("apex", apex)):  # one alignment, that of the onset, for both
        crop = np.asarray(row["frames"][row[name]], np.float32)
        assert np.abs(crop - align(picture, similarity, 96)).mean() < 3, name
    assert np.isclose(np.subtract(*EYES)[0], -0.7)


def test_parts_do_not_depend_on_the_number_of_workers(release, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    prepare("casme2", release, alone, size=32, frames="keyframes")
    prepare("casme2", release, together, size=32, frames="keyframes", workers=2)
    assert tables(alone) == tables(together) and len(tables(alone)) == 2
    assert (alone / "report.json").read_text() == (together / "report.json").read_text()


def test_shards_are_independent_and_complete(release, tmp_path, load):
    for i in (2, 1):
        prepare("casme2", release, tmp_path / "out", size=32, frames="keyframes", shard=(i, 2))
    names = load(tmp_path / "out")["clip_id"]
    assert len(set(names)) == len(names) == CLIPS
    assert {path.name for path in (tmp_path / "out").glob("report*.csv")} == {
        "report-1-of-2.csv",
        "report-2-of-2.csv",
    }
    with pytest.raises(ValueError, match="holds a run with shards 2, not 1; give the same options"):
        prepare("casme2", release, tmp_path / "out", size=32, frames="keyframes")


def test_a_killed_run_goes_on_where_it_stopped(release, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = ["--root", str(release), "--size", "96"]
    CliRunner().invoke(app, ["prepare", "casme2", *options, "--out", str(whole)], catch_exceptions=False)
    command = [sys.executable, "-m", "dface_hf.cli", "prepare", "casme2", *options, "--out", str(killed)]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    first = killed / "data" / next(iter(tables(whole)))
    while run.poll() is None and not first.exists():
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert list(tables(killed)) == [first.name], "killed after the first part"
    stamp = first.stat().st_mtime_ns
    done = prepare("casme2", release, killed, size=96)
    assert done.clips == CLIPS and tables(killed) == tables(whole)
    assert first.stat().st_mtime_ns == stamp, "a finished part is not written again"
    assert (killed / "report.csv").read_text() == (whole / "report.csv").read_text()
    assert not list(killed.rglob("*.partial"))


def test_a_run_is_not_mixed_with_another(release, tmp_path):
    out = tmp_path / "out"
    prepare("casme2", release, out, size=32, frames="keyframes")
    before = tables(out)
    with pytest.raises(ValueError, match="holds a run with size 32, not 48"):
        prepare("casme2", release, out, size=48, frames="keyframes")
    with pytest.raises(ValueError, match="holds a run with frames keyframes, not all"):
        prepare("casme2", release, out, size=32)
    assert tables(out) == before
    (tmp_path / "other" / "data").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds data that no run of prepare left"):
        prepare("casme2", release, tmp_path / "other")


def test_what_cannot_be_used_is_reported_with_its_row(tmp_path, load):
    root, wall = tmp_path / "in", np.full((144, 192, 3), 128, np.uint8)
    names = ["good", "faceless", "torn", "gone", "late", "joyless"]
    rows = [casme2_row("01", n, 3, 5, 9, "1", "joyless" if n == "joyless" else "fear") for n in names]
    rows[4] = casme2_row("01", "late", 3, 10, 9)
    casme2(root, rows)
    for name in names:
        folder = casme2_frames(
            root, "sub01", name, range(1, 13), [wall] if name == "faceless" else moving_face()
        )
    folder = root / "CASME2_RAW_selected" / "sub01"
    (folder / "torn" / "img5.jpg").write_bytes(b"half a picture")
    (folder / "gone" / "img5.jpg").unlink()
    done = prepare("casme2", root, tmp_path / "out", size=32)
    assert load(tmp_path / "out")["clip_id"] == ["sub01/good"]
    told = {(row["row"], row["clip"]): row["reason"] for row in report(tmp_path / "out")}
    assert "no face found" in told["3", "sub01/faceless"] and "img3.jpg" in told["3", "sub01/faceless"]
    assert "img5.jpg: not a readable image" in told["4", "sub01/torn"]
    assert "apex frame 5 is missing" in told["5", "sub01/gone"]
    assert "apex 10 lies outside its clip" in told["6", "sub01/late"]
    assert "unknown emotion 'joyless'" in told["7", "01/joyless"]
    assert len(told) == 5 == len(done.skipped)
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert document["clips"] == 1 and [one["row"] for one in document["skipped"]] == [3, 4, 5, 6, 7]


def test_a_full_disk_leaves_nothing_half_written(release, tmp_path, load):
    out, soft = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, soft[1]))
    try:
        with pytest.raises(OSError, match=r"00000.parquet: cannot be written \(.*too large"):
            prepare("casme2", release, out, size=96)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
    assert tables(out) == {} and not list(out.rglob("*.partial"))
    assert prepare("casme2", release, out, size=96).clips == CLIPS == len(load(out))


def test_a_root_without_anything_to_use_is_an_error(tmp_path):
    casme2(tmp_path, [casme2_row("01", "EP02_01", 5, 7, 9)])
    with pytest.raises(ValueError, match="none of the 1 clips of casme2 can be used: no folder sub01"):
        prepare("casme2", tmp_path, tmp_path / "out")
    for options in ({"size": 4}, {"frames": "some"}, {"workers": 0}, {"shard": (3, 2)}, {"margin": -1.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            prepare("casme2", tmp_path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_run_that_ends_before_its_first_part_can_be_continued(release, tmp_path, monkeypatch):
    def fails(path, text):
        raise OSError(f"{path}: cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["dface_hf.data.prepare"], "write_text", fails)
        with pytest.raises(OSError, match="cannot be written"):
            prepare("casme2", release, tmp_path / "out", size=32, frames="keyframes")
    assert prepare("casme2", release, tmp_path / "out", size=32, frames="keyframes").clips == CLIPS


def test_a_place_that_cannot_be_written_is_named(release, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file/\S+: cannot be made \(Not a directory\); give another folder"):
        prepare("casme2", release, tmp_path / "file", size=32)


def test_of_many_shards_some_are_empty(release, tmp_path):
    options = ["--root", str(release), "--out", str(tmp_path), "--frames", "keyframes", "--size", "32"]
    result = CliRunner().invoke(app, ["prepare", "casme2", *options, "--shard", f"{CLIPS + 1}/{CLIPS + 1}"])
    assert result.exit_code == 0 and "0 clips, 0 skipped" in result.stderr


def test_grey_frames_and_cropped_faces(tmp_path, load):
    root = tmp_path / "in"
    samm(root, [samm_row("006", "006_1_2", 10, 14, 18), samm_row("006", "006_1_3", 10, 14, 18)])
    close = [picture[24:120, 48:144] for picture in moving_face(0)]
    nose = [picture[60:80, 86:106] for picture in moving_face(0)]
    write_frames(root / "SAMM" / "6" / "6_1_2", range(9, 21), "006_{:05d}.jpg", close, grey=True)
    write_frames(root / "SAMM" / "6" / "6_1_3", range(9, 21), "006_{:05d}.jpg", nose, grey=True)
    done = prepare("samm", root, tmp_path / "out", size=64, cropped=True)
    first, second = load(tmp_path / "out")
    picture = np.asarray(first["frames"][first["apex"]])
    assert picture.shape == (64, 64, 3) and np.array_equal(picture[..., 0], picture[..., 2])
    told = [(clip, note) for _, clip, note in done.notes]
    assert told == [("006/006_1_3", "no face found; the whole picture was taken as the crop")]
    assert np.asarray(second["frames"][0]).shape == (64, 64, 3)
    with pytest.raises(ValueError, match="holds a run with cropped True, not False"):
        prepare("samm", root, tmp_path / "out", size=64)


def test_smic_needs_no_sheet(tmp_path, load):
    smic_clip(tmp_path / "in", 3, "positive", 2, range(99998, 100008), moving_face()[1:11])
    done = prepare("smic", tmp_path / "in", tmp_path / "out", size=32)
    row = load(tmp_path / "out")[0]
    assert (row["emotion"], row["onset"], row["apex"], row["offset"]) == ("positive", 0, 4, 9)
    assert done.notes == ((None, "s03/s03_po_02", "no apex annotated; the middle 100002 used"),)


def test_the_public_look_alike_goes_through_the_command_line(tmp_path, load, monkeypatch, capsys):
    small = ["--clips", "8", "--subjects", "2", "--size", "96"]
    monkeypatch.setattr(sys, "argv", ["make_look_alike_casme2.py", str(tmp_path / "in"), *small])
    look_alike().main()
    assert "8 synthetic clips of 2 drawn subjects" in capsys.readouterr().out
    rows = read_annotations("casme2", tmp_path / "in")
    arguments = ["prepare", "casme2", "--root", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*arguments, "--size", "32", "--frames", "keyframes"])
    assert result.exit_code == 0 and result.stdout.strip() == str(tmp_path / "out")
    assert "8 clips, 0 skipped, 1 notes; report in" in result.stderr
    assert "8 micro-expressions are listed, in known releases of casme2 255 or 256" in result.stderr
    data = load(tmp_path / "out")
    expected = {row.name: (row.emotion, row.action_units) for row in rows}
    assert {row["clip_id"]: (row["emotion"], row["action_units"]) for row in data} == expected
    assert (tmp_path / "in" / "SYNTHETIC.txt").read_text().startswith("SYNTHETIC")
    bad = CliRunner().invoke(app, [*arguments, "--shard", "2of3"])
    assert isinstance(bad.exception, ValueError) and "--shard '2of3' must be i/n" in str(bad.exception)


def test_own_clips_and_face_videos_are_prepared_too(tmp_path, load):
    videos = tmp_path / "in" / "surprise"
    videos.mkdir(parents=True)
    write_video(videos / "a.mp4", list(moving_face()) * 3, 25)
    write_video(videos / "short.mp4", moving_face(), 25)
    done = prepare("folder", tmp_path / "in", tmp_path / "own", size=32, frames="keyframes")
    assert done.clips == 2 and load(tmp_path / "own")["emotion"] == ["surprise", "surprise"]
    done = prepare("faces", tmp_path / "in", tmp_path / "faces", size=32)
    (row,) = load(tmp_path / "faces")
    assert (row["subject"], row["fps"], row["emotion"]) == ("surprise", 25, None)
    assert (row["onset"], row["apex"]) == (0, 12)
    assert len(row["frames"]) == 24 + 2 + 1, "the stretch and a tenth of a second"
    assert [one.clip for one in done.skipped] == ["surprise/short.mp4"] and "frame" in done.skipped[0].reason


def test_splits_of_own_clips_stay_splits(tmp_path):
    for name in ("train/a", "train/b", "test/c"):
        write_frames(tmp_path / "in" / name, range(1, 13), pictures=moving_face())
    for split, lines in (("train", "a,anna,happy\nb,bert,fear"), ("test", "c,carl,fear")):
        (tmp_path / "in" / split / "metadata.csv").write_text(f"file_name,subject,emotion\n{lines}\n")
    done = prepare("folder", tmp_path / "in", tmp_path / "own", size=32)
    assert done.clips == 3 and sorted(tables(tmp_path / "own")) == [
        "test-folder-001-of-001-00000.parquet",
        "train-folder-001-of-001-00000.parquet",
    ]
    data = datasets.load_dataset(str(tmp_path / "own"), cache_dir=str(tmp_path / "cache"))
    assert {name: part["subject"] for name, part in data.items()} == {
        "train": ["anna", "bert"],
        "test": ["carl"],
    }
    clips = labelled_clips([tmp_path / "own"], "composite3")
    assert dict(zip(clips.subjects, clips.splits, strict=True)) == {
        "in/anna": "train", "in/bert": "train", "in/carl": "test",
    }  # fmt: skip
    (tmp_path / "in" / "test").rename(tmp_path / "in" / "validation")
    with pytest.raises(ValueError, match="another folder"):  # the same clips, split in another way
        prepare("folder", tmp_path / "in", tmp_path / "own", size=32)
