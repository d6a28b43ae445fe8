"""Video files: what decodes, what is refused, and with which words."""

import pickle
from pathlib import Path

import av
import numpy as np
import pytest

from dface_hf.faces import ClipError, open_frames, write_video

from .conftest import encode, level


def plain(image: np.ndarray) -> float:
    """Mean level away from the white quarter."""
    return float(image[-8:, -8:].mean())


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.avi", "mpeg4"),
        ("a.mpg", "mpeg1video"),
        ("a.webm", "libvpx-vp9"),
        ("a.mkv", "ffv1"),
        ("a.mov", "mjpeg"),
    ],
)
def test_common_codecs_decode_every_frame_in_order(tmp_path, name, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"no {codec} encoder")
    fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = open_frames(encode(tmp_path / name, codec=codec, fmt=fmt))
    frames = list(source)
    assert [f.index for f in frames] == list(range(12)) and source.frame_count == 12
    assert (
        source.size == (64, 48) and frames[0].image.shape == (48, 64, 3) and frames[0].image.dtype == np.uint8
    )
    assert source.fps == pytest.approx(25)
    np.testing.assert_allclose([plain(f.image) for f in frames], [level(i) for i in range(12)], atol=6)
    np.testing.assert_allclose([f.seconds for f in frames], np.arange(12) / 25, atol=2e-3)
    assert [f.index for f in source] == list(range(12))  # a second pass


def test_variable_frame_rate_keeps_time_stamps(tmp_path):
    times = [0, 40, 80, 300, 340, 900, 1000]
    source = open_frames(encode(tmp_path / "v.mkv", count=7, times=times))
    np.testing.assert_allclose([f.seconds for f in source], np.array(times) / 1000, atol=2e-3)
    fast = open_frames(tmp_path / "v.mkv", fps=200)
    assert [f.seconds for f in fast] == [i / 200 for i in range(7)] and fast.fps == 200


def forget_rate(path):
    """Void the default duration of a Matroska file's frames: browsers do not write it."""
    data = path.read_bytes()
    at = data.index(b"\x23\xe3\x83\x84")
    path.write_bytes(data[:at] + b"\xec\x86" + bytes(6) + data[at + 8 :])


def test_rate_of_a_browsers_recording_is_measured(tmp_path):
    times = np.cumsum([0, 30, 50, 40, 35, 45, 25, 55, 40, 30, 50]).tolist()
    path = encode(tmp_path / "r.webm", codec="libvpx-vp9", count=11, times=times, live="1")
    forget_rate(path)
    with av.open(path) as container:
        assert container.streams.video[0].average_rate is None
    source = open_frames(path)
    assert source.fps == pytest.approx(25) and not source.warnings
    np.testing.assert_allclose([f.seconds for f in source], np.array(times) / 1000, atol=2e-3)


def test_an_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(ClipError("a.mp4", "no face", "give one")))
    assert (str(error), error.path) == ("a.mp4: no face; give one", "a.mp4")


@pytest.mark.parametrize("index", [60, 77, 99])
def test_random_access_gives_the_frames_of_the_stream(tmp_path, index):
    source = open_frames(encode(tmp_path / "long.mp4", count=100))
    streamed = {f.index: f for f in source if f.index in (3, index)}
    read = source.read([index, 3])
    assert set(read) == {3, index} and source._table is not None
    for i, frame in read.items():
        assert frame.seconds == streamed[i].seconds
        np.testing.assert_array_equal(frame.image, streamed[i].image)


def test_reading_outside_the_clip_names_the_frame(tmp_path):
    source = open_frames(encode(tmp_path / "short.mp4"))
    with pytest.raises(ClipError, match="frame 400 does not exist; the clip has 12 frames"):
        source.read([400])
    with pytest.raises(ClipError, match="frame -1"):
        source.read([-1])


def set_display_matrix(path, a, b, c, d):
    """Write the matrix of the track header of an MP4 file, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    for offset, value in ((0, a), (4, b), (12, c), (16, d)):
        data[at + offset : at + offset + 4] = int(value * 65536).to_bytes(4, "big", signed=True)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),  # where the white top left quarter ends up: (row, column)
    [
        ((0, 1, -1, 0), (48, 64), (0, -1)),  # 90 degrees clockwise
        ((0, -1, 1, 0), (48, 64), (-1, 0)),
        ((-1, 0, 0, -1), (64, 48), (-1, -1)),
        ((-1, 0, 0, 1), (64, 48), (0, -1)),  # a mirrored front camera
    ],
)
def test_rotated_phone_video_is_turned_upright(tmp_path, matrix, size, corner):
    path = encode(tmp_path / "phone.mp4", count=3)
    set_display_matrix(path, *matrix)
    source = open_frames(path)
    frame = next(iter(source))
    assert source.size == size and frame.image.shape[:2] == size[::-1]
    corners = {(r, c): frame.image[r, c].mean() for r in (0, -1) for c in (0, -1)}
    assert max(corners, key=corners.get) == corner and corners[corner] > 230


@pytest.mark.parametrize("fmt", ["gray", "gray16le", "yuv444p10le"])
def test_grey_and_deep_pixel_formats(tmp_path, fmt):
    image = next(iter(open_frames(encode(tmp_path / "g.mkv", codec="ffv1", fmt=fmt, count=2)))).image
    assert image.shape == (48, 64, 3) and plain(image) == pytest.approx(level(0), abs=3)


def test_max_side_shrinks_while_decoding(tmp_path):
    source = open_frames(encode(tmp_path / "big.mp4", size=(320, 240), count=2), max_side=80)
    assert source.size == (80, 60) and source.scale == 0.25
    assert [f.image.shape for f in source] == [(60, 80, 3)] * 2


def test_8k_frame(tmp_path):
    source = open_frames(
        encode(tmp_path / "8k.mkv", codec="mjpeg", fmt="yuvj420p", size=(7680, 4320), count=1), max_side=960
    )
    assert [f.image.shape for f in source] == [(540, 960, 3)]


def test_one_frame(tmp_path):
    source = open_frames(encode(tmp_path / "one.mp4", count=1))
    assert len(list(source)) == 1 and source.frame_count == 1


def bad(tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "text":
        path.write_text("this is no video\n" * 50)
    if kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(20_000))
    if kind == "headless":
        whole = encode(tmp_path / "whole.mp4", count=50).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    if kind == "audio":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("aac", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("empty", "0 bytes"),
        ("text", "not a readable video"),
        ("noise", "not a readable video|no frame can be decoded|no video stream"),
        ("headless", "not a readable video|no frame can be decoded"),
        ("audio", "no video stream .*audio"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, kind, words):
    path = bad(tmp_path, kind)
    with pytest.raises(ClipError, match=words) as caught:
        open_frames(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def cut_off(whole: Path, packets: int) -> Path:
    """The first packets of a video whose header stands first, and tells of all frames."""
    moved = whole.with_name("cut-off.mp4")
    with av.open(str(whole)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    with av.open(str(moved)) as new:
        end = sorted(packet.pos for packet in new.demux(video=0) if packet.size)[packets]
    moved.write_bytes(moved.read_bytes()[:end])
    return moved


def test_truncated_file_gives_what_can_be_decoded_and_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    whole = tmp_path / "noise.mp4"
    write_video(whole, (rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)), 25)
    source = open_frames(cut_off(whole, 24))
    frames = list(source)
    assert 5 < len(frames) < 40 and source.frame_count == len(frames)
    assert any("of 40 frames could be decoded" in w for w in source.warnings)


def test_write_video_pads_odd_sizes_and_leaves_no_partial_file(tmp_path):
    frames = [np.full((33, 47, 3), 10 * i, np.uint8) for i in range(5)]
    write_video(tmp_path / "o.mp4", frames, 29.97)
    source = open_frames(tmp_path / "o.mp4")
    assert source.size == (48, 34) and len(list(source)) == 5
    assert source.fps == pytest.approx(29.97, abs=1e-3)

    def failing():
        yield frames[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "p.mp4", failing(), 25)
    with pytest.raises(ClipError, match="no frames"):
        write_video(tmp_path / "q.mp4", [], 25)
    with pytest.raises(ClipError, match="frame 1 is"):
        write_video(tmp_path / "r.mp4", [frames[0], frames[0][:-1]], 25)
    with pytest.raises(ClipError, match="cannot write a .txt"):
        write_video(tmp_path / "s.txt", frames, 25)
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


def test_validation_videos_decode(validation_videos):
    for path in validation_videos:
        source = open_frames(path, max_side=160)
        seconds = [f.seconds for f in source]
        assert len(seconds) == source.frame_count > 50 and not source.warnings
        assert min(np.diff(seconds)) > 0 and seconds[-1] == pytest.approx(len(seconds) / source.fps, rel=0.05)
