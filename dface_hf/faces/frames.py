"""What a clip is to the rest of the package: a stream of frames with time stamps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .errors import ClipError


@dataclass(frozen=True)
class Frame:
    """One frame: ``index`` from 0, ``seconds`` since the first frame, ``image`` (H, W, 3) uint8 RGB."""

    index: int
    seconds: float
    image: np.ndarray


class FrameSource(ABC):
    """A clip that streams its frames; memory does not grow with its length.

    Attributes:
        path: Where it was read from; None for arrays.
        fps: Frames a second (the average for variable frame rates).
        frame_count: Number of frames; None until known. A container's own claim is replaced by what was
            decoded after a full pass.
        size: (width, height) of the frames handed out, in pixels.
        scale: Handed-out pixels per pixel of the source (1.0 unless ``max_side`` made them smaller).
        numbers: For numbered images, the number in each file's name (annotations refer to it); else None.
        warnings: What a reader should know; may grow while frames are read.
    """

    def __init__(self, path: str | None, fps: float, max_side: int | None = None) -> None:
        self.path = path
        self.fps = float(fps)
        self.frame_count: int | None = None
        self.size: tuple[int, int] = (0, 0)
        self.scale = 1.0
        self.numbers: list[int] | None = None
        self.warnings: list[str] = []
        self._max_side = max_side

    @property
    def name(self) -> str:
        """What messages call this source."""
        return self.path or "array"

    def warn(self, text: str) -> None:
        """Record a warning once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Stream the frames from the first one on."""

    def read(self, indices: Iterable[int]) -> dict[int, Frame]:
        """Read a few frames by index.

        Args:
            indices: Frame indices, from 0, in any order.

        Returns:
            Index -> frame.

        Raises:
            ClipError: An index lies outside the clip.
        """
        wanted = self._checked(indices)
        found: dict[int, Frame] = {}
        if wanted:
            for frame in self:
                if frame.index in wanted:
                    found[frame.index] = frame
                if frame.index >= max(wanted):
                    break
        return self._complete(wanted, found)

    def _checked(self, indices: Iterable[int]) -> set[int]:
        wanted = {int(i) for i in indices}
        if wanted and min(wanted) < 0:
            raise ClipError(self.name, f"frame {min(wanted)} does not exist", "frames are counted from 0")
        return wanted

    def _complete(self, wanted: set[int], found: dict[int, Frame]) -> dict[int, Frame]:
        missing = sorted(wanted - set(found))
        if missing:
            count = f"the clip has {self.frame_count} frames" if self.frame_count else "the clip is shorter"
            raise ClipError(self.name, f"frame {missing[0]} does not exist", f"{count}, counted from 0")
        return found

    def _target(self, width: int, height: int) -> tuple[int, int]:
        """Size after ``max_side``; records ``scale`` and ``size``."""
        side = max(width, height)
        self.scale = min(1.0, self._max_side / side) if self._max_side else 1.0
        self.size = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
        return self.size

    def _shrink(self, image: np.ndarray) -> np.ndarray:
        width, height = self._target(image.shape[1], image.shape[0])
        if self.scale == 1.0:
            return image
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
