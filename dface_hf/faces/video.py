"""Video files in and out, and `open_frames`, the one way to open any source of frames.

Frames are upright RGB at square pixels: the display matrix of phone videos and the sample aspect ratio are
applied here, so that every pixel coordinate further up is a coordinate of what a viewer would see.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideData

from dface_hf.whole_files import whole_file

from .errors import ClipError
from .frames import Frame, FrameSource
from .images import IMAGE_SUFFIXES, ArrayFrames, ImageFrames, WebcamFrames

__all__ = ["VIDEOS", "Frame", "FrameSource", "VideoFrames", "open_frames", "write_video"]

#: Endings of the files that `write_video` writes.
VIDEOS = (".mp4", ".mov", ".mkv", ".avi")
ASSUMED_FPS = 25.0
LARGE_FRAME = 3840 * 2160  # above this, few decoder threads: each of them holds several frames
SEEK_AFTER = 48  # up to this index, decoding from the start costs less than a scan of the packets


def open_frames(source: Any, fps: float | None = None, max_side: int | None = None) -> FrameSource:
    """Open any source of frames.

    Args:
        source: A video file; a folder of numbered images (sorted by the last number in each name); an array
            (T, H, W, 3) or (T, H, W), uint8 or float in [0, 1]; a list of arrays, PIL images or image paths;
            or a webcam, as its number or ``"webcam:0"``.
        fps: Frames a second. For images and arrays the recording rate (not given: 25, with a warning); for a
            video file it replaces the file's time stamps, e.g. 200 for a high-speed recording stored for slow
            playback.
        max_side: Frames with a longer side than this many pixels are shrunk to it while decoding.

    Returns:
        The stream of frames; reading has been tried on the first one.

    Raises:
        ClipError: The source is missing, empty, not a picture or video, damaged from the start, or
            inconsistent.
    """
    if fps is not None and not 0 < fps <= 100_000:
        raise ClipError(_label(source), f"fps is {fps}", "give the frames a second as a positive number")
    if max_side is not None and max_side < 16:
        raise ClipError(_label(source), f"max_side is {max_side}", "give 16 pixels or more")
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, (int, np.integer)) or (isinstance(source, str) and source.startswith("webcam:")):
        return WebcamFrames(source, fps, max_side)
    if isinstance(source, (str, os.PathLike)):
        return _open_path(os.fspath(source), fps, max_side)
    if isinstance(source, (list, tuple)):
        return ImageFrames(list(source), None, fps, max_side)
    return ArrayFrames(source, fps, max_side)


def _label(source: Any) -> str:
    return str(source) if isinstance(source, (str, os.PathLike, int)) else "array"


def _open_path(path: str, fps: float | None, max_side: int | None) -> FrameSource:
    if os.path.isdir(path):
        return ImageFrames.from_folder(path, fps, max_side)
    if not os.path.exists(path):
        raise ClipError(path, "no such file or folder", "check the path")
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        raise ClipError(path, "the file is empty (0 bytes)", "copy or download it again")
    if Path(path).suffix.lower() in IMAGE_SUFFIXES:
        return ImageFrames([path], path, fps, max_side)
    return VideoFrames(path, fps, max_side)


class VideoFrames(FrameSource):
    """A video file through PyAV (FFmpeg's demuxers and decoders)."""

    def __init__(self, path: str, fps: float | None = None, max_side: int | None = None) -> None:
        super().__init__(path, fps or ASSUMED_FPS, max_side)
        self._given_fps = fps
        with self._open() as container:
            stream = self._video_stream(container)
            self.frame_count = self._claimed = stream.frames or None
            told, clock = (float(rate or 0) for rate in (stream.average_rate, stream.time_base))
            aspect = float(stream.sample_aspect_ratio or 1)
            self._aspect = aspect if 0.25 <= aspect <= 4 else 1.0
        self._start = self._first_pts()
        self._table: list[int] | None = None
        self._scanned = False
        self.fps = fps or (told if 0 < told <= 1000 else self._measured_rate(clock))

    def _open(self) -> Any:
        try:
            return av.open(self.path, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ClipError(self.name, f"not a readable video ({reason})", "check or re-export it") from error

    def _video_stream(self, container: Any) -> Any:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & cover]
        if not streams:
            kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise ClipError(
                self.name, f"no video stream (the file holds {kinds})", "give a file with pictures"
            )
        stream = streams[0]
        if stream.codec_context is None:
            raise ClipError(self.name, "no decoder for this codec", "convert it, e.g. to H.264")
        stream.thread_type = "AUTO"
        if stream.width * stream.height > LARGE_FRAME:
            stream.codec_context.thread_count = 2
        return stream

    def _measured_rate(self, clock: float) -> float:
        """Frames a second by the time stamps, which tick every `clock` seconds: recordings of browsers hold
        no rate, and FFmpeg takes their clock of 1000 Hz for one."""
        stamps = self._time_stamps() or [0]
        seconds = (stamps[-1] - stamps[0]) * clock
        if seconds > 0:
            return (len(stamps) - 1) / seconds
        self.warn(f"no frame rate in the file; {ASSUMED_FPS:g} fps assumed")
        return ASSUMED_FPS

    def _decoded(self, container: Any, stream: Any) -> Iterator[Any]:
        """Decoder's frames; damaged packets are skipped and reported."""
        damaged, packets = 0, container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except (av.FFmpegError, OSError):
                damaged += 1  # the container itself breaks off here
                break
            try:
                yield from packet.decode()
            except av.FFmpegError:
                damaged += 1
        if damaged:
            self.warn(f"{damaged} damaged packets skipped; the file is truncated or corrupt")

    def _first_pts(self) -> int | None:
        """Time stamp of the first frame, which is decoded to make sure that there is one."""
        with self._open() as container:
            for raw in self._decoded(container, self._video_stream(container)):
                self._convert(raw)
                return raw.pts
        raise ClipError(self.name, "no frame can be decoded", "the file is truncated, encrypted or corrupt")

    def __iter__(self) -> Iterator[Frame]:
        index, previous = 0, -1.0
        with self._open() as container:
            for raw in self._decoded(container, self._video_stream(container)):
                seconds = self._seconds(raw, index)
                if seconds <= previous:
                    self.warn("time stamps do not increase; the average rate is used there")
                    seconds = previous + 1.0 / self.fps
                yield Frame(index, seconds, self._convert(raw))
                index, previous = index + 1, seconds
        if self._claimed and index < self._claimed:
            self.warn(f"{index} of {self._claimed} frames could be decoded; the rest is missing")
        self.frame_count = index

    def _seconds(self, raw: Any, index: int) -> float:
        if self._given_fps or raw.pts is None or self._start is None or not raw.time_base:
            return index / self.fps
        return float((raw.pts - self._start) * raw.time_base)

    def _convert(self, raw: Any) -> np.ndarray:
        """Square pixels, RGB, at most ``max_side``, upright: one pass of swscale, then turn and flip."""
        width, height = self._target(round(raw.width * self._aspect), raw.height)
        image = raw.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
        matrix = raw.side_data.get(SideData.DISPLAYMATRIX)
        if matrix is not None:
            image = _upright(image, bytes(matrix))
            self.size = (image.shape[1], image.shape[0])
        return image

    def read(self, indices: Iterable[int]) -> dict[int, Frame]:
        """Read a few frames by index; seeks when the file's time stamps make that exact."""
        wanted = self._checked(indices)
        if wanted and max(wanted) > SEEK_AFTER:
            table = self._time_stamps()
            if table and max(wanted) < len(table):
                found = self._read_by_seeking(sorted(wanted), table)
                if len(found) == len(wanted):
                    return found
        return super().read(wanted)

    def _time_stamps(self) -> list[int] | None:
        """Time stamp of every frame in display order, from the packets; None where they cannot be trusted."""
        if not self._scanned:
            self._scanned = True
            with self._open() as container:
                packets = container.demux(self._video_stream(container))
                try:
                    stamps = [p.pts for p in packets if p.size and not p.is_discard]
                except (av.FFmpegError, OSError):
                    stamps = [None]
            if None not in stamps and len(set(stamps)) == len(stamps) and min(stamps) == self._start:
                self._table = sorted(stamps)
        return self._table

    def _read_by_seeking(self, wanted: list[int], table: list[int]) -> dict[int, Frame]:
        """Frames of ``wanted`` (sorted) whose time stamp is met exactly after a seek."""
        found: dict[int, Frame] = {}
        with self._open() as container:
            stream = self._video_stream(container)
            decoded, position = iter(()), -SEEK_AFTER - 2
            for index in wanted:
                if index - position > SEEK_AFTER:  # otherwise decode on: seeking goes back to a key frame
                    container.seek(table[index], stream=stream, backward=True)
                    decoded = self._decoded(container, stream)
                for raw in decoded:
                    if raw.pts == table[index]:
                        found[index] = Frame(index, self._seconds(raw, index), self._convert(raw))
                    if raw.pts is None or raw.pts >= table[index]:
                        break
                position = index
        return found


def _upright(image: np.ndarray, matrix: bytes) -> np.ndarray:
    """Apply a display matrix of quarter turns and mirrorings: x' = a x + c y, y' = b x + d y, 16.16."""
    a, b, _, c, d = np.rint(np.frombuffer(matrix, np.int32)[:5] / 65536).astype(int)
    if a == 0 and b and c:
        image, flip_x, flip_y = image.swapaxes(0, 1), c < 0, b < 0
    else:
        flip_x, flip_y = a < 0, d < 0
    return np.ascontiguousarray(image[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def write_video(path: str | os.PathLike, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write frames as a video: H.264 where the encoder is built in, else MPEG-4.

    The file appears under its name when it is complete. Odd sizes are padded by one repeated row or column
    (4:2:0).

    Args:
        path: Target, ending in .mp4, .mov, .mkv or .avi.
        frames: (H, W, 3) uint8 RGB images of one size.
        fps: Frames a second.

    Raises:
        ClipError: Unknown suffix, no frames, or frames of differing size.
    """
    target = Path(path)
    if target.suffix.lower() not in VIDEOS:
        raise ClipError(
            target, f"cannot write a {target.suffix or 'suffix-less'} video", "use .mp4, .mov, .mkv or .avi"
        )
    with whole_media(target) as partial:
        with av.open(str(partial), "w") as container:
            count = _encode(container, target, frames, fps)
        if count == 0:
            raise ClipError(target, "no frames to write", "give at least one")


@contextmanager
def whole_media(path: str | os.PathLike) -> Iterator[Path]:
    """As `whole_file`, with a `ClipError` where it cannot be written."""
    try:
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        raise ClipError(path, str(error).removeprefix(f"{path}: ")) from error


def _encode(container: Any, target: Path, frames: Iterable[np.ndarray], fps: float) -> int:
    stream, size, count = None, None, 0
    for count, image in enumerate(frames, 1):
        if stream is None:
            size, stream = image.shape, _add_stream(container, image, fps)
        if image.shape != size:
            raise ClipError(
                target, f"frame {count - 1} is {image.shape}, the first is {size}", "give one size"
            )
        padded = np.pad(image, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
    if stream is not None:
        container.mux(stream.encode())
    return count


def _add_stream(container: Any, image: np.ndarray, fps: float) -> Any:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
    height, width = image.shape[:2]
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    if codec == "libx264":
        stream.options = {"crf": "18", "preset": "veryfast"}
    return stream
