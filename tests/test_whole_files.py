import pytest

from dface_hf.whole_files import whole_file, write_text


def test_a_file_appears_when_it_is_complete(tmp_path):
    with whole_file(tmp_path / "plot.png") as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path and partial.suffix == ".png"
        assert not (tmp_path / "plot.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["plot.png"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_fails_leaves_the_older_file_and_nothing_else(tmp_path, error):
    write_text(tmp_path / "log.txt", "older\n")
    with pytest.raises((ValueError, KeyboardInterrupt, OSError)) as told:
        with whole_file(tmp_path / "log.txt") as partial:
            partial.write_text("half")
            raise error
    assert [path.read_text() for path in tmp_path.iterdir()] == ["older\n"]
    if isinstance(error, OSError):
        assert "log.txt: cannot be written (No space left on device); check folder" in str(told.value)


def test_names_that_are_no_valid_unicode_keep_their_bytes(tmp_path):
    write_text(tmp_path / "names.txt", "clip-\udcff\n")
    assert (tmp_path / "names.txt").read_bytes() == b"clip-\xff\n"
