import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from dface_hf.data import part_of_identities, read_index, real_portraits

SHARED = Path(__file__).resolve().parents[3] / "shared/data/faces"


def row(file="a.png", kind="still", identity="ada", tier="A", split="train") -> dict[str, str]:
    return {"file": file, "kind": kind, "identity": identity, "tier": tier, "split": split}


def write_index(folder: Path, rows: list[dict[str, str]]) -> Path:
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def folder(tmp_path):
    """A filmed and a held-out person, each with the public-domain astronaut's face, and a picture of
    nothing."""
    face = skimage.data.astronaut()[:256, 100:356, ::-1]
    for name, image in (("ada", face), ("eve", face[:, ::-1]), ("wall", np.full_like(face, 90))):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    rows = [row("film.mp4", "video"), row("ada.png"), row("wall.png"), row("secret.png", tier="B")]
    rows += [row("eve.png", identity="eve", split="validation")]
    shutil.copy(tmp_path / "ada.png", tmp_path / "secret.png")
    return write_index(tmp_path, rows)


def test_a_person_is_in_one_part_only():
    rows = [row(identity=f"p{i}") for i in range(200)]
    rows += [row(kind="video", identity="filmed"), row(identity="filmed")]
    rows += [row(identity="held out", split="validation"), row(identity="held out")]
    parts = part_of_identities(rows)
    assert parts == part_of_identities(rows[::-1])
    assert parts["filmed"] == "train" and parts["held out"] == "test"
    assert 70 < sum(part == "train" for part in parts.values()) < 130


def test_portraits_are_aligned_and_what_has_no_face_is_listed(folder):
    train = real_portraits(folder, "train", size=64)
    assert train.files == ("ada.png",) and train.identities == ("ada",), "tier B is not trained on"
    assert train.skipped == ("wall.png",)
    assert train.faces.shape == (1, 3, 64, 64) and 0 <= train.faces.min() < train.faces.max() <= 1
    test = real_portraits(folder, "test", size=64)
    assert test.identities == ("eve",) and test.skipped == ()
    mirrored, plain = ((x - train.faces).abs().mean() for x in (test.faces.flip(-1), test.faces))
    assert mirrored < 0.5 * plain, "the mirrored face is aligned as the mirror image of the face"


def test_aligned_crops_are_kept(folder, tmp_path):
    first = real_portraits(folder, "train", 64, cache=tmp_path / "kept")
    (folder / "ada.png").unlink()
    again = real_portraits(folder, "train", 64, cache=tmp_path / "kept")
    assert (first.faces == again.faces).all() and again.skipped == ("wall.png",)


def test_bad_folders_are_named(folder, tmp_path):
    with pytest.raises(ValueError, match="part='dev' is unknown"):
        real_portraits(folder, "dev")
    with pytest.raises(ValueError, match="index.csv: no such file"):
        read_index(tmp_path / "none")
    write_index(tmp_path, [{"file": "a.png", "kind": "still"}])
    with pytest.raises(ValueError, match="lacks column 'identity'"):
        read_index(tmp_path)
    write_index(tmp_path, [row("wall.png")])
    with pytest.raises(ValueError, match="no portrait for part 'test'"):
        real_portraits(tmp_path, "test")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the folder of real faces")
def test_both_parts_of_the_real_faces_hold_many_people():
    rows = read_index(SHARED)
    parts = part_of_identities(rows)
    people = [parts[name] for name in {r["identity"] for r in rows if r["kind"] == "still"}]
    assert min(people.count("train"), people.count("test")) > 50
