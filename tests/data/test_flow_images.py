import numpy as np
import PIL.Image
import pytest

from dface_hf.data import read_flow_images


@pytest.fixture
def folder(tmp_path):
    """One picture: the left half of the face moves right and down, twice as far right as down."""
    image = np.full((28, 28, 3), 100, np.uint8)
    image[8:20, 4:12] = (140, 120, 0)
    PIL.Image.fromarray(image).save(tmp_path / "flow.png")
    lines = ["corpus,subject,label,flow", "casme2,sub01,2,flow.png", "smic,sub01,0,flow.png"]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    return tmp_path


def test_motion_has_the_direction_of_the_picture_and_unit_length(folder):
    found = read_flow_images(folder)
    assert found.labels.tolist() == [2, 0]
    assert found.subjects.tolist() == ["casme2/sub01", "smic/sub01"], "two people of one number"
    assert found.corpora.tolist() == ["casme2", "smic"] and found.clips.tolist() == ["flow", "flow"]
    motion = found.motion(64)
    assert motion.shape == (2, 2, 64, 64)
    length = motion.norm(dim=1).flatten(1).quantile(0.98, dim=1)
    assert (length - 2 / 64).abs().max() < 1e-6, "1 px in half-widths"
    moving, still = motion[0, :, 32, 18], motion[0, :, 32, 50]
    assert abs(float(moving[0] / moving[1]) - 2) < 0.05 and float(still.abs().max()) < 1e-4


def test_eyes_and_mouth_lie_on_those_of_the_crop(tmp_path):
    """The crop has its eyes at y = -.21 and its mouth at .48; the picture at rows 7 and 22 of 28."""
    image = np.full((28, 28, 3), 100, np.uint8)
    image[6:9] = image[21:24] = 200
    PIL.Image.fromarray(image).save(tmp_path / "flow.png")
    (tmp_path / "manifest.csv").write_text("corpus,subject,label,flow\nsamm,1,0,flow.png")
    found = read_flow_images(tmp_path)
    lengths = found.motion(128, placed="eyes")[0].norm(dim=0)
    column = lengths[:, 64]
    rows = [column[:64].argmax(), 64 + column[64:].argmax()]
    for row, y in zip(rows, (-0.21, 0.48), strict=True):
        assert abs((2 * float(row) + 1) / 128 - 1 - y) < 0.06
    assert lengths[:, 2].max() < 1e-6 < lengths[:, 20].max(), "nothing is known beside the picture"
    with pytest.raises(ValueError, match="placed is 'nose'; use one of crop, eyes"):
        found.motion(64, placed="nose")


def test_bad_folders_are_named(folder):
    (folder / "flow.png").unlink()
    with pytest.raises(ValueError, match="flow.png"):
        read_flow_images(folder)
    (folder / "manifest.csv").write_text("corpus,subject\ncasme2,sub01\n")
    with pytest.raises(ValueError, match="lacks column 'flow'"):
        read_flow_images(folder)
    with pytest.raises(ValueError, match="manifest.csv: no such file"):
        read_flow_images(folder / "none")
