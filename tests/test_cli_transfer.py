"""`dface transfer` and `dface magnify` as they are called."""

import os

import numpy as np
import pytest
from PIL import Image, ImageSequence

from dface_hf.faces import open_frames

KEYFRAMES = ("--onset", "45", "--apex", "50", "--offset", "57")


@pytest.fixture(scope="module")
def face(portrait, tmp_path_factory) -> str:
    """The portrait, mirrored, in grey, with more room: (300, 256)."""
    grey = np.asarray(Image.fromarray(portrait[0][0][:, ::-1]).convert("L"))
    path = tmp_path_factory.mktemp("faces") / "face.png"
    Image.fromarray(np.pad(grey, ((0, 44), (0, 0)), mode="edge")).save(path)
    return str(path)


def test_the_apex_as_a_picture_of_the_targets_size_and_colour(dface, clip, face, tmp_path):
    code, out, err = dface("transfer", clip, face, "--out", tmp_path / "apex.png", *KEYFRAMES)
    assert (code, err) == (0, "") and out.startswith(f"{tmp_path / 'apex.png'}  1 faces  frames 45/50/57 of ")
    apex, still = Image.open(tmp_path / "apex.png"), Image.open(face)
    assert (apex.mode, apex.size) == ("L", still.size)
    change = np.abs(np.asarray(apex).astype(int) - np.asarray(still))
    assert change.max() > 20 and not change[200:].any()


def test_strength_zero_writes_the_target(dface, clip, face, tmp_path):
    code, _, _ = dface("transfer", clip, face, "--out", tmp_path / "a.png", "--strength", 0, *KEYFRAMES)
    assert code == 0 and np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), Image.open(face))


def test_a_found_event_as_a_video(dface, clip, face, tmp_path):
    code, out, err = dface("transfer", clip, face, "--out", tmp_path / "a.mp4", "--tokens", "all")
    assert (code, err) == (0, "") and "tokens" in out
    frames = [frame.image.astype(int) for frame in open_frames(str(tmp_path / "a.mp4"))]
    change = [np.abs(frame - frames[0]).mean() for frame in frames]
    top = int(np.argmax(change))
    assert frames[0].shape == (300, 256, 3) and 9 < top < len(frames) - 9
    assert change[top] > 3 * max(change[3], change[-1])
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_several_faces_give_a_grid_with_the_source_first(dface, clip, face, tmp_path):
    code, out, err = dface("transfer", clip, face, face, "--out", tmp_path / "a.gif", *KEYFRAMES)
    assert (code, err) == (0, "") and "2 faces" in out
    with Image.open(tmp_path / "a.gif") as grid:
        shown = [frame.info["duration"] for frame in ImageSequence.Iterator(grid)]
    assert grid.size == (480, 480) and len(shown) > 9
    assert sum(shown) == 30 * (13 + 2 * 9)  # ms; frames that are alike are shown as one
    assert dface("transfer", clip, face, face, "--out", tmp_path / "a.png", *KEYFRAMES)[0] == 0
    onset, apex = np.split(np.asarray(Image.open(tmp_path / "a.png")).astype(int), 2)
    assert onset.shape == (240, 720, 3)
    assert np.ptp(onset[:, :240], axis=-1).mean() > 5  # the source is in colour, the faces are grey
    assert not np.ptp(apex[:, 240:], axis=-1).any() and np.array_equal(apex[:, 240:480], apex[:, 480:])
    assert (np.abs(apex - onset).reshape(240, 3, -1).max((0, 2)) > 20).all()


def test_magnified_video(dface, clip, portrait, tmp_path):
    target = tmp_path / "large.mp4"
    code, out, err = dface("magnify", clip, "--factor", 4, "--out", target)
    assert code == 0 and "shown 4 times" in out and "as they were" not in err
    frames = list(open_frames(str(target)))
    assert frames[0].image.shape == portrait[0][0].shape and 15 < len(frames) < 60


def test_frames_that_would_fold_are_told(dface, clip, tmp_path):
    code, _, err = dface("magnify", clip, "--factor", 100, "--out", tmp_path / "large.gif")
    assert code == 0 and "frames move less than 100 times: the face would fold" in err


def test_what_cannot_be_done_is_one_line(dface, clip, face, tmp_path):
    still = tmp_path / "still"
    still.mkdir()
    for number in range(3):
        Image.open(face).save(still / f"{number}.png")
    Image.new("RGB", (200, 200)).save(tmp_path / "black.png")
    bad = {
        ("transfer", still, face, "--fps", 25): "no event found in 3 frames; name its frames (onset and apex",
        ("transfer", clip, tmp_path / "black.png", *KEYFRAMES): "black.png: no face found in the picture",
        ("transfer", clip, face, "--out", "a.txt"): "a.txt: unknown kind of file '.txt'; use .mp4",
        ("transfer", clip, face, "--out", tmp_path / "no" / "a.png"): "does not exist; create it first",
        ("magnify", still, "--fps", 25): "no event found in 3 frames; give --onset",
        ("magnify", clip, "--out", "a.png"): "a.png: unknown kind of file '.png'; use .mp4",
    }
    for arguments, told in bad.items():
        if "--out" not in arguments:
            arguments = (*arguments, "--out", tmp_path / "a.gif")
        code, out, err = dface(*arguments)
        assert code == 2 and out == "" and told in err and err.count("\n") == 1
    for arguments in (("--apex", 5), ("--tokens", "some"), ("--strength", 4), ("--refine", 9)):
        assert dface("transfer", clip, face, *arguments)[0] == 2
    assert not list(tmp_path.glob("*.gif")) and not list(tmp_path.glob(".*partial*"))
