import os

import pytest

from dface_hf.metrics import Prediction, aligned, read_log, write_log

MEGC = """casme2 sub01
EP02_01f 1 1
EP19_05f 0 2
smic s01
s01_ne_01 0 0
"""


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "log.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_the_format_of_the_challenge(written, tmp_path):
    found = read_log(written(MEGC))
    assert found == [
        Prediction("casme2", "sub01", "EP02_01f", 1, 1),
        Prediction("casme2", "sub01", "EP19_05f", 0, 2),
        Prediction("smic", "s01", "s01_ne_01", 0, 0),
    ]
    write_log(tmp_path / "again.txt", found)
    assert (tmp_path / "again.txt").read_text() == MEGC


@pytest.mark.parametrize(
    "text",
    [
        MEGC.replace("\n", "\r\n"),
        "\ufeff" + MEGC,
        MEGC.replace("\n", "\n\n") + "  \n",
        MEGC.replace(" ", "\t"),
        MEGC.rstrip("\n"),
        MEGC.replace("EP02", "  EP02"),
        MEGC.replace(
            "EP19_05f", "\nsmic s02\ncasme2 sub01\nEP19_05f"
        ),  # a subject may come again, or be empty
    ],
)
def test_as_other_programs_write_it(text, written):
    assert read_log(written(text)) == read_log(written(MEGC))


ODD = (
    "a b",
    " a ",
    "a\tb\nc\r\n",
    "50%",
    "%20",
    "%",
    "1",
    "0 1 1",
    "日本 語",
    "a\u2028b\u00a0c\u3000",
    "\ufeffa",
    "\x1ca\x85",
    "a\x0bb\x0c",
    "#x",
    "-1",
    "e\u0301",
    os.fsdecode(b"caf\xe9 %"),
)


@pytest.mark.parametrize("name", ODD)
def test_every_name_comes_back(name, tmp_path):
    predictions = [Prediction(name, name, name, 0, 12), Prediction(name, name + "x", name, 2, 0)]
    write_log(tmp_path / "log.txt", predictions)
    assert read_log(tmp_path / "log.txt") == predictions
    assert len((tmp_path / "log.txt").read_bytes().split(b"\n")) == 5


def test_clips_of_a_subject_come_together(tmp_path):
    mixed = [Prediction("c", who, f"{n}", 0, 0) for n, who in enumerate("abab")]
    write_log(tmp_path / "log.txt", mixed)
    assert [one.clip for one in read_log(tmp_path / "log.txt")] == ["0", "2", "1", "3"]
    same_name = [
        Prediction("c", "1", "x", 0, 0),
        Prediction("d", "1", "x", 0, 0),
        Prediction("c", "2", "x", 0, 0),
    ]
    write_log(tmp_path / "log.txt", same_name)
    assert read_log(tmp_path / "log.txt") == [same_name[0], *same_name[1:]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("EP02_01f 1 1\n", "line 1: clip 'EP02_01f' before any subject"),
        ("c s\na 1\n\nb c d e\n", "line 4: 'b c d e'; expected 'corpus subject' or 'clip truth prediction'"),
        ("c s\na 1 x\n", "line 2: class 'x'; expected a whole number from 0"),
        ("c s\na -1 1\n", "line 2: class '-1'"),
        ("c s\na 1 1.0\n", "line 2: class '1.0'"),
        ("c s\na 1 ²\n", "line 2: class '²'"),
        ("c s\na 1 1\nc t\na 1 1\nc s\na 1 0\n", "line 6: clip c/s/a was in line 2 already"),
        ("", "holds no clip"),
        ("c s\nc t\n", "holds no clip"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00 x y z w", "log.txt, line 1"),
    ],
)
def test_a_bad_line_is_named(text, message, written):
    path = written(text)
    with pytest.raises(ValueError, match=message) as error:
        read_log(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value).splitlines()) == 1


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.txt: cannot be read"):
        read_log(tmp_path / "none.txt")
    with pytest.raises(OSError, match="cannot be read"):
        read_log(tmp_path)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ([], "there is no prediction to write"),
        ([Prediction("", "s", "a", 0, 0)], "clip '/s/a': corpus, subject and clip must be non-empty text"),
        ([Prediction("c", "s", None, 0, 0)], "must be non-empty text"),
        ([Prediction("c", "s", "a", 0, -1)], "clip c/s/a: class -1"),
        ([Prediction("c", "s", "a", 0.5, 1)], "clip c/s/a: class 0.5"),
        ([Prediction("c", "s", "a", 0, 1)] * 2, "clip c/s/a comes twice"),
    ],
)
def test_what_could_not_be_read_again_is_not_written(predictions, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_log(tmp_path / "log.txt", predictions)
    assert list(tmp_path.iterdir()) == []


def test_writing_is_all_or_nothing(tmp_path):
    good = [Prediction("c", "s", "a", 0, 1)]
    with pytest.raises(OSError, match="missing.*cannot be written"):
        write_log(tmp_path / "missing" / "log.txt", good)
    write_log(tmp_path / "log.txt", good)
    with pytest.raises(ValueError):
        write_log(tmp_path / "log.txt", good * 2)
    assert read_log(tmp_path / "log.txt") == good and len(list(tmp_path.iterdir())) == 1


def test_aligning_two_lists():
    first = [Prediction("c", "s", name, truth, 0) for name, truth in (("a", 0), ("b", 1), ("d", 1))]
    second = [Prediction("c", "s", one.clip, one.truth, 1) for one in reversed(first)]
    assert [one.clip for one in aligned(first, second)] == ["a", "b", "d"]
    with pytest.raises(ValueError, match=r"y.txt: lacks clip c/s/b \(and 1 more\); both must hold the same"):
        aligned(first, second[2:], ("x.txt", "y.txt"))
    with pytest.raises(ValueError, match="x.txt: lacks clip c/s/d"):
        aligned(first[:2], second, ("x.txt", "y.txt"))
    other = [*second[:2], Prediction("c", "s", "a", 2, 0)]
    with pytest.raises(ValueError, match="y.txt: clip c/s/a has truth 2, in x.txt 0"):
        aligned(first, other, ("x.txt", "y.txt"))
