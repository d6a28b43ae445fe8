import numpy as np
import pytest

from dface_hf.data import real_pairs
from dface_hf.faces import write_video

from .test_real_portraits import row, write_index


@pytest.fixture
def folder(portrait, tmp_path):
    frames = portrait[0][:60]
    write_video(tmp_path / "ada.mp4", frames, 30)
    write_video(tmp_path / "eve1.mp4", frames[:, :, ::-1], 30)
    write_video(tmp_path / "eve2.mp4", np.full_like(frames, 90), 30)
    films = [("ada.mp4", "ada"), ("eve1.mp4", "eve"), ("eve2.mp4", "eve")]
    rows = [row(file, "video", name, split="validation") for file, name in films]
    return write_index(tmp_path, [*rows, row("other.mp4", "video", "kim")])


def test_pairs_are_capped_by_person_and_what_is_left_out_is_counted(folder, tmp_path):
    pairs = real_pairs(folder, per_identity=6, size=64, cache=tmp_path / "kept")
    assert pairs.identities == ("ada", "eve") and pairs.clips.onset.shape[1:] == (64, 64, 3)
    counts = np.bincount(pairs.clips.identity)
    assert counts.tolist() == [6, 3] and pairs.skipped == 3, "the second film of eve shows no face"
    change = np.abs(pairs.clips.apex.astype(float) - pairs.clips.onset).mean(axis=(1, 2, 3))
    assert (change > 0).all() and (change < 12).all(), "stabilised frames of one face"
    (folder / "ada.mp4").unlink()
    again = real_pairs(folder, per_identity=6, size=64, cache=tmp_path / "kept")
    assert (again.clips.apex == pairs.clips.apex).all() and again.skipped == 3


def test_no_pair_crosses_a_cut_to_a_picture_without_the_face(portrait, tmp_path):
    frames = portrait[0][:60].copy()
    frames[30:] = 90
    write_video(tmp_path / "ada.mp4", frames, 30)
    folder = write_index(tmp_path, [row("ada.mp4", "video", "ada", split="validation")])
    pairs = real_pairs(folder, per_identity=12, size=64)
    assert 0 < len(pairs.clips) < 8 and pairs.skipped == 12 - len(pairs.clips)
    change = np.abs(pairs.clips.apex.astype(float) - pairs.clips.onset).mean(axis=(1, 2, 3))
    assert (change < 12).all(), "an apex without the face"


def test_a_split_without_videos_is_named(folder):
    with pytest.raises(ValueError, match="no video of split 'dev'"):
        real_pairs(folder, split="dev")
