"""The command line: what it prints and writes, with which exit code, and how it answers bad input."""

import csv
import json
import os
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest

from dface_hf.cli.app import checkpoint_name, row_name
from dface_hf.faces import open_frames, write_video

KEYFRAMES = ("--onset", "45", "--apex", "50")


@pytest.fixture
def dface(dface, checkpoint):
    """The same with --model, but for `model` False."""

    def run(*arguments, model=True):
        return dface(*arguments, *(["--model", checkpoint] if model else []))

    return run


def one_line(err: str) -> str:
    """The error, which must be one line."""
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), err
    return lines[0]


# What goes right


def test_a_checkpoint_is_named_after_its_run(tmp_path):
    for name in ("a/model", "b/model", "other/b"):
        (tmp_path / name).mkdir(parents=True)
    a, b, other = (str(tmp_path / name) for name in ("a/model", "b/model", "other/b"))
    assert row_name(a, [a, b, other, "sssnet"]) == "a" == checkpoint_name(a)
    assert row_name(b, [b]) == "b" and row_name("me/dface", ["me/dface"]) == "me-dface"
    two = {row_name(b, [b, other]), row_name(other, [b, other])}
    assert len(two) == 2 and all("/" not in name and name not in ("b", "model") for name in two)


def test_json_on_stdout_is_nothing_but_json(dface, clip, checkpoint):
    code, out, err = dface("analyze", clip, *KEYFRAMES, "--json", "-")
    document = json.loads(out)
    assert code == 0 and err == ""
    assert list(document) == ["model", "clips"] and document["model"] == str(checkpoint)
    (result,) = document["clips"]
    assert list(result) == ["path", "fps", "frames", "events", "warnings"]
    assert (result["path"], result["fps"], result["frames"]) == (str(clip), 30.0, 104)
    (event,) = result["events"]
    assert (event["onset"], event["apex"], event["offset"]) == (45, 50, 50)
    assert event["label"] in event["scores"] and sum(event["attention"]) == pytest.approx(1, abs=1e-3)
    assert len(event["action_ids"]) == len(event["attention"]) == 16


def test_every_output_of_one_clip(dface, clip, tmp_path):
    names = {"--json": "a.json", "--csv": "a.csv", "--plot": "a.png", "--overlay": "a.mp4"}
    code, out, err = dface(
        "analyze", clip, *[part for option, name in names.items() for part in (option, tmp_path / name)]
    )
    assert code == 0 and err == "" and sorted(os.listdir(tmp_path)) == sorted(names.values())
    (result,) = json.loads((tmp_path / "a.json").read_text())["clips"]
    (event,) = result["events"]
    with open(tmp_path / "a.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert int(row["apex"]) == event["apex"] and row["label"] == event["label"]
    assert f"frames {event['onset']}/{event['apex']}/{event['offset']}" in out and str(clip) in out
    assert cv2.imread(str(tmp_path / "a.png")).std() > 10
    drawn, plain = list(open_frames(tmp_path / "a.mp4")), list(open_frames(clip))
    assert len(drawn) == len(plain) == 104
    changed = [np.abs(a.image.astype(int) - b.image).mean() for a, b in zip(drawn, plain, strict=True)]
    assert changed[event["apex"]] > 1.5 * changed[5]  # the panel is there while the event is


def test_crops_are_kept_for_the_picture_only(dface, clip, tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr("dface_hf.cli.analyzing._print_results", kept.extend)
    for output in ((), ("--overlay", tmp_path / "a.mp4"), ("--plot", tmp_path / "a.png")):
        assert dface("analyze", clip, *KEYFRAMES, *output)[0] == 0
    assert ["onset_image" in result["events"][0] for result in kept] == [False, False, True]


def test_events_are_explained_in_one_line(dface, clip, tmp_path):
    code, out, _ = dface("analyze", clip, *KEYFRAMES)
    _, event, why = out.splitlines()
    assert code == 0 and "frames 45/50/50" in event and "brow raiser" in why
    code, out, _ = dface("analyze", clip, *KEYFRAMES, "--no-explain", "--csv", tmp_path / "a.csv")
    assert code == 0 and len(out.splitlines()) == 2
    with open(tmp_path / "a.csv", newline="") as file:
        assert next(csv.DictReader(file))["sentence"] == ""
    told = json.loads(dface("analyze", clip, *KEYFRAMES, "--json", "-")[1])["clips"][0]["events"][0]
    assert told["explanation"]["sentence"] in why and told["explanation"]["action_units"]
    plain = dface("analyze", clip, *KEYFRAMES, "--no-explain", "--json", "-")[1]
    assert "explanation" not in json.loads(plain)["clips"][0]["events"][0]


def test_csv_on_stdout(dface, clip):
    code, out, err = dface("analyze", clip, *KEYFRAMES, "--csv", "-")
    (row,) = csv.DictReader(out.splitlines())
    assert code == 0 and err == "" and (row["path"], row["onset"], row["apex"]) == (str(clip), "45", "50")


def test_a_folder_of_images_in_the_order_of_their_numbers(dface, portrait, tmp_path):
    for number, frame in enumerate(portrait[0][40:64], 86):  # img86.png to img109.png
        cv2.imwrite(str(tmp_path / f"img{number}.png"), frame[..., ::-1])
    code, out, err = dface("analyze", tmp_path, "--fps", 30, "--json", "-")
    (result,) = json.loads(out)["clips"]
    assert code == 0 and result["frames"] == 24 and result["fps"] == 30 and result["warnings"] == []
    (event,) = result["events"]
    assert abs(event["apex"] - 10) <= 1  # frame 50 of the portrait
    unknown = json.loads(dface("analyze", tmp_path, "--json", "-")[1])["clips"][0]
    assert unknown["fps"] == 25 and "25 fps assumed" in unknown["warnings"][0]


def test_one_failing_clip_does_not_stop_the_others(dface, clip, tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    code, out, err = dface("analyze", empty, clip, "--json", "-", "--csv", tmp_path / "all.csv")
    failed, good = json.loads(out)["clips"]
    assert code == 3 and "empty.mp4: the file is empty" in one_line(err)
    assert len(good["events"]) == 1 and good["warnings"] == []
    assert failed["events"] == [] and failed["frames"] == 0 and "the file is empty" in failed["warnings"][0]
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 2


def test_when_all_clips_fail_the_results_say_why(dface, tmp_path):
    code, out, err = dface("analyze", tmp_path / "a.mp4", tmp_path / "b.mp4", "--json", "-")
    assert code == 2 and len(err.splitlines()) == 2
    assert [len(result["warnings"]) for result in json.loads(out)["clips"]] == [1, 1]


def test_a_still_clip_says_that_nothing_was_found(dface, portrait, tmp_path):
    write_video(tmp_path / "still.mp4", portrait[0][:5], 30)
    code, out, err = dface("analyze", tmp_path / "still.mp4", "--plot", tmp_path / "still.png")
    assert code == 0 and "no micro-expression found" in err and "5 frames at 30 fps" in out
    assert (tmp_path / "still.png").exists()


def test_all_faces(dface, two_faces, tmp_path):
    write_video(tmp_path / "two.mp4", two_faces, 30)
    code, out, err = dface("analyze", tmp_path / "two.mp4", "--faces", "all", "--json", "-")
    assert code == 0 and len(json.loads(out)["clips"][0]["events"]) == 2
    (largest,) = json.loads(dface("analyze", tmp_path / "two.mp4", *KEYFRAMES, "--json", "-")[1])["clips"]
    assert len(largest["events"]) == 1 and "2 faces in view; following the largest" in largest["warnings"]


def test_tokenize(dface, portrait, tmp_path):
    onset, apex = tmp_path / "onset.png", tmp_path / "apex.png"
    for path, index in ((onset, portrait[1][0]), (apex, portrait[1][1])):
        cv2.imwrite(str(path), portrait[0][index][..., ::-1])
    for options in ((), ("--aligned",), ("--no-stabilise",)):
        code, out, err = dface("tokenize", onset, apex, *options)
        tokens = json.loads(out)
        assert code == 0 and err == "" and list(tokens) == ["action_ids", "null_action_ids"]
        assert len(tokens["action_ids"]) == 16 and tokens["null_action_ids"] == [0] * 16
    same = json.loads(dface("tokenize", onset, onset)[1])
    assert same["action_ids"] == same["null_action_ids"]


def test_info(dface, checkpoint):
    code, out, err = dface("info", checkpoint, model=False)
    assert code == 0 and err == ""
    assert "negative, positive, surprise, others" in out and "16 of 32 codes" in out and "brows up" in out


def test_demo(dface, tmp_path):
    code, out, err = dface("demo", "--output", tmp_path / "demo", "--expression", "1+2")
    assert code == 0 and "tokens" in out and "report.html" in err
    assert {"clip.mp4", "report.html", "report.png"} <= set(os.listdir(tmp_path / "demo"))
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "action units 1+2" in page and "Eileen Collins" in page


def test_names_that_are_markup_or_no_text(dface, clip, tmp_path):
    for name in (b"we[ird] [red].mp4", b"\xff\xfe.mp4"):
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(clip.read_bytes())
        code, out, err = dface("analyze", os.fsdecode(path), *KEYFRAMES)
        assert code == 0 and err == "" and "frames 45/50/50" in out
        code, out, err = dface("analyze", os.fsdecode(path), "--sensitivity", 0.01)
        assert code == 0 and "no micro-expression found" in err


# What goes wrong


@pytest.fixture(scope="module")
def bad(tmp_path_factory, portrait, clip):
    """Clips that cannot be used, by name."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").touch()
    (folder / "truncated.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    (folder / "text.mp4").write_text("this is no video\n" * 50)
    write_video(folder / "one.mp4", portrait[0][:1], 30)
    write_video(folder / "noface.mp4", [np.full((96, 128, 3), 90, np.uint8)] * 10, 30)
    (folder / "folder").mkdir()
    (folder / "picture.png").write_bytes(b"xx")
    with av.open(str(folder / "audio.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "the file is empty"),
        ("truncated.mp4", "not a readable video"),
        ("text.mp4", "not a readable video"),
        ("audio.mp4", "no video stream (the file holds audio)"),
        ("one.mp4", "the clip has 1 frame"),
        ("noface.mp4", "no face found in 10 frames"),
        ("folder", "no images"),
        ("picture.png", "not a readable image"),
    ],
)
def test_clips_that_cannot_be_used(dface, bad, name, told):
    code, out, err = dface("analyze", bad / name)
    assert code == 2 and out == "" and one_line(err).startswith(f"error: {bad / name}: ") and told in err


def test_a_truncated_recording_is_used_as_far_as_it_goes(dface, portrait, tmp_path):
    path = tmp_path / "cut.mkv"
    write_video(path, portrait[0], 30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    code, out, _ = dface("analyze", path, "--json", "-")
    (result,) = json.loads(out)["clips"]
    assert code == 0 and 2 <= result["frames"] < 104


def test_a_face_that_leaves_is_warned_of(dface, portrait, tmp_path):
    frames = portrait[0].copy()
    frames[60:] = 90
    write_video(tmp_path / "leaves.mp4", frames, 30)
    code, out, _ = dface("analyze", tmp_path / "leaves.mp4", "--json", "-")
    assert code == 0 and "face out of view from frame" in " ".join(json.loads(out)["clips"][0]["warnings"])


def test_a_phone_video_is_turned_upright(dface, portrait, tmp_path):
    path = tmp_path / "phone.mp4"
    write_video(path, [np.ascontiguousarray(np.rot90(frame)) for frame in portrait[0][40:64]], 30)
    assert dface("analyze", path, "--onset", 5, "--apex", 10)[0] == 2  # lying on its side: no face
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    for offset, value in ((0, 0), (4, 1), (12, -1), (16, 0)):
        data[at + offset : at + offset + 4] = int(value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    code, out, _ = dface("analyze", path, "--onset", 5, "--apex", 10, "--json", "-")
    box = json.loads(out)["clips"][0]["events"][0]["box"]
    assert code == 0 and box == pytest.approx([76, 66, 96, 96], abs=12)


def test_an_8k_video(dface, portrait, tmp_path):
    wide = cv2.copyMakeBorder(portrait[0][50], 0, 0, 100, 99, cv2.BORDER_CONSTANT)
    still = cv2.copyMakeBorder(portrait[0][45], 0, 0, 100, 99, cv2.BORDER_CONSTANT)
    write_video(tmp_path / "8k.mp4", [cv2.resize(image, (7680, 4320)) for image in (still, wide)], 30)
    code, out, _ = dface("analyze", tmp_path / "8k.mp4", "--onset", 0, "--apex", 1, "--json", "-")
    (event,) = json.loads(out)["clips"][0]["events"]
    assert code == 0 and event["box"] == pytest.approx([176 * 16.9, 66 * 16.9, 96 * 16.9, 96 * 16.9], abs=200)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--onset", 50, "--apex", 45), "not in order"),
        (("--onset", 50, "--apex", 50), "onset < apex <= offset"),
        (("--onset", 45, "--apex", 50, "--offset", 48), "not in order"),
        (("--onset", 45, "--apex", 400), "frame 400 does not exist; the clip has 104 frames"),
        (("--onset", -3, "--apex", 4), "onset -3"),
        (("--fps", 0), "fps is 0"),
        (("--device", "nonsense"), "device 'nonsense' cannot be used"),
        (("--detector", "eyes"), "'eyes' is unknown; choose from haar, yunet"),
        (("--json", "/nowhere/x.json"), "the folder /nowhere does not exist"),
        (("--csv", "no/x.csv"), "does not exist; create it first"),
        (("--plot", "no/x.png"), "does not exist; create it first"),
        (("--overlay", "no/x.mp4"), "does not exist; create it first"),
        (("--plot", "x.gif"), "use .png, .pdf, .svg, .jpg"),
        (("--overlay", "x.gif"), "use .mp4, .mov, .mkv, .avi"),
        (("--json", "."), "is a folder"),
    ],
)
def test_one_line_for_each_mistake(dface, clip, options, told):
    code, out, err = dface("analyze", clip, *options)
    assert code == 2 and out == "" and told in one_line(err)


def test_a_clip_is_never_overwritten(dface, clip):
    before = clip.read_bytes()
    for option in ("--overlay", "--json", "--csv"):
        code, _, err = dface("analyze", clip, option, clip)
        assert code == 2 and "would be overwritten" in one_line(err) and clip.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("CLIP", "--onset", 5), "--onset and --apex go together"),
        (("CLIP", "--apex", 5), "--onset and --apex go together"),
        (("CLIP", "--offset", 5), "--offset goes with"),
        (("CLIP", "CLIP", *KEYFRAMES), "are for one clip"),
        (("CLIP", "CLIP", "--plot", "x.png"), "are for one clip"),
        (("CLIP", "--faces", "most"), "choose largest or all"),
        (("CLIP", "--json", "-", "--csv", "-"), "only one of"),
        (("CLIP", "--batch-size", 0), "--batch-size"),
        (("CLIP", "--sensitivity", "nan"), "--sensitivity"),
        ((), "clips"),
    ],
)
def test_usage_errors(dface, clip, arguments, told):
    code, out, err = dface("analyze", *[clip if part == "CLIP" else part for part in arguments])
    assert code == 2 and out == "" and told in err and "Usage: " in err


def test_a_picture_that_cannot_be_drawn_does_not_cost_the_results(dface, clip, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of ink")

    monkeypatch.setattr("dface_hf.analysis.plot_clip", fail)
    outputs = ("--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    code, out, err = dface("analyze", clip, *KEYFRAMES, *outputs)
    assert code == 3 and "out of ink (RuntimeError" in one_line(err)
    assert len(json.loads((tmp_path / "a.json").read_text())["clips"][0]["events"]) == 1


@pytest.mark.parametrize("command", ["analyze", "info", "tokenize", "demo"])
def test_a_missing_checkpoint(dface, clip, tmp_path, command):
    arguments = {"analyze": [clip], "info": [], "tokenize": [clip, clip], "demo": []}[command]
    model = [tmp_path / "gone"] if command == "info" else ["--model", tmp_path / "gone"]
    code, out, err = dface(command, *arguments, *model, model=False)
    assert code == 2 and out == "" and f"{tmp_path / 'gone'}: no such folder" in one_line(err)


def test_tokenize_refuses_bad_photos(dface, bad, portrait, tmp_path):
    cv2.imwrite(str(tmp_path / "face.png"), portrait[0][0][..., ::-1])
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((256, 256, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "small.png"), portrait[0][0][:99, :99, ::-1])
    for first, second, told in (
        (tmp_path / "gone.png", tmp_path / "face.png", "no such file"),
        (bad / "picture.png", tmp_path / "face.png", "not a readable image"),
        (tmp_path / "grey.png", tmp_path / "grey.png", "no face found"),
        (tmp_path / "small.png", tmp_path / "face.png", "the two images are 99x99 and 256x256"),
    ):
        code, out, err = dface("tokenize", first, second)
        assert code == 2 and out == "" and told in one_line(err)


def test_demo_refuses_what_it_cannot_show(dface, clip, tmp_path):
    for options, told in ((("--expression", "x"), "'x'"), (("--expression", "99"), "99")):
        code, _, err = dface("demo", "--output", tmp_path / "demo", *options)
        assert code == 2 and told in one_line(err) and not (tmp_path / "demo").exists()
    code, _, err = dface("demo", "--output", clip)
    assert code == 2 and "is a file; give a folder" in one_line(err)


def test_no_camera_is_one_line(dface):
    if os.path.exists("/dev/video0"):
        pytest.skip("there is a camera")
    code, out, err = dface("webcam")
    assert code == 2 and out == "" and "webcam:0: the camera cannot be opened" in one_line(err)


def test_as_a_program(clip, checkpoint, bad):
    """In a process of its own: not a word of any library on stdout or stderr."""
    command = [
        sys.executable,
        "-m",
        "dface_hf.cli",
        "analyze",
        str(clip),
        str(bad / "text.mp4"),
        "--json",
        "-",
    ]
    done = subprocess.run([*command, "--model", str(checkpoint)], capture_output=True, text=True, timeout=300)
    good, failed = json.loads(done.stdout)["clips"]
    assert done.returncode == 3 and len(good["events"]) == 1 and failed["events"] == []
    assert "not a readable video" in one_line(done.stderr)
