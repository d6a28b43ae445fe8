"""Folders of numbered images, arrays, lists and cameras."""

import numpy as np
import pytest
from PIL import Image

from dface_hf.faces import ClipError, open_frames


def save(folder, name, value=0, size=(40, 30)):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(folder / name)


def test_images_are_sorted_by_number(tmp_path):
    for number in (100, 46, 47):
        save(tmp_path / "s2", f"reg_img{number}.png", number)
    (tmp_path / "s2/notes.txt").write_text("x")
    source = open_frames(tmp_path / "s2", fps=200)
    assert [int(f.image[0, 0, 0]) for f in source] == [46, 47, 100] and source.numbers == [46, 47, 100]
    assert [f.seconds for f in source] == [0, 1 / 200, 2 / 200] and source.frame_count == 3
    assert any("notes.txt" in w for w in source.warnings)
    assert any("52 numbers are missing between 46 and 100" in w for w in source.warnings)
    assert int(source.read([2])[2].image[0, 0, 0]) == 100
    with pytest.raises(ClipError, match="frame 3 does not exist; the clip has 3 frames"):
        source.read([3])


def test_frame_rate_is_assumed_aloud(tmp_path):
    save(tmp_path / "a", "1.png")
    save(tmp_path / "a", "2.png")
    source = open_frames(tmp_path / "a")
    assert source.fps == 25 and any("25 fps assumed" in w for w in source.warnings)


def test_bad_folders_name_the_file(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ClipError, match="no images among its 0 files"):
        open_frames(tmp_path / "empty")
    save(tmp_path / "mixed", "1.png")
    save(tmp_path / "mixed", "2.png", size=(41, 30))
    with pytest.raises(ClipError, match=r"2\.png: size 41x30, 1\.png has 40x30"):
        open_frames(tmp_path / "mixed")
    save(tmp_path / "twice", "img1.png")
    save(tmp_path / "twice", "img01.png")
    with pytest.raises(ClipError, match="have one number"):
        open_frames(tmp_path / "twice")
    save(tmp_path / "broken", "1.png")
    (tmp_path / "broken/2.png").write_bytes(b"no picture")
    with pytest.raises(ClipError, match=r"2\.png: not a readable image"):
        open_frames(tmp_path / "broken")


def test_arrays_of_every_kind():
    array = np.zeros((3, 20, 30, 3), np.uint8)
    array[1] = 128
    for given in (
        array,
        array / 255.0,
        array[..., 0],
        (array / 255.0)[..., :1],
        array.astype(np.uint16) * 257,
    ):
        frames = list(open_frames(given, fps=100))
        assert len(frames) == 3 and frames[1].image.shape == (20, 30, 3)
        assert abs(int(frames[1].image[0, 0, 0]) - 128) <= 1 and frames[2].seconds == 0.02


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((20, 30, 3), np.uint8), "is one picture"),
        (np.zeros((2, 3, 20, 30), np.uint8), "shape"),
        (np.zeros((0, 20, 30, 3), np.uint8), "shape"),
        (np.full((2, 20, 30, 3), 255.0), "values 255 to 255"),
        (np.full((2, 20, 30, 3), np.nan), "nan"),
        (np.zeros((2, 20, 30, 3), np.int64), "number type int64"),
    ],
)
def test_bad_arrays_are_told_apart(array, words):
    with pytest.raises(ClipError, match=words):
        list(open_frames(array, fps=25))


def test_lists_of_arrays_images_and_paths(tmp_path):
    save(tmp_path, "one.png", 7)
    items = [np.full((30, 40), 5, np.uint8), Image.new("L", (40, 30), 6), str(tmp_path / "one.png")]
    source = open_frames(items, fps=50, max_side=20)
    assert (
        [int(f.image[0, 0, 0]) for f in source] == [5, 6, 7]
        and source.size == (20, 15)
        and source.scale == 0.5
    )
    with pytest.raises(ClipError, match="array frame 1: size 10x10, the first frame has 40x30"):
        list(open_frames([items[0], np.zeros((10, 10), np.uint8)], fps=50))
    with pytest.raises(ClipError, match="empty list"):
        open_frames([])


def test_pictures_of_more_than_eight_bits_keep_their_greys():
    light = np.full((20, 30), 30000)
    little, big = Image.fromarray(light.astype(np.uint16)), light.astype(">u2").tobytes()
    for picture in (little, Image.frombytes("I;16B", (30, 20), big), light.astype(">u2")):
        (frame,) = open_frames([picture])
        assert frame.image.shape == (20, 30, 3) and (frame.image == 30000 >> 8).all()
    (frame,) = open_frames([Image.fromarray(np.full((20, 30), 0.5, np.float32))])
    assert (frame.image == 128).all()
    with pytest.raises(ClipError, match="number type int32; give uint8"):
        open_frames([Image.fromarray(light.astype(np.int32))])


def test_a_missing_camera_and_bad_options(tmp_path):
    with pytest.raises(ClipError, match="webcam:97: the camera cannot be opened"):
        open_frames("webcam:97")
    with pytest.raises(ClipError, match="fps is -1"):
        open_frames(np.zeros((2, 8, 8), np.uint8), fps=-1)
    with pytest.raises(ClipError, match="max_side is 2"):
        open_frames(np.zeros((2, 8, 8), np.uint8), max_side=2)
