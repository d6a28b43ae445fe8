"""How an expression unfolds in time: onset, apex, offset.

Durations follow the published statistics of spontaneous micro-expressions: at most half a second in the
definition, 170-500 ms in Yan et al. 2013 with an onset phase of 65-260 ms, 155-630 ms (median 330) in CASME
II. The shapes of rise and fall are engineering choices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

FPS = (25, 30, 60, 100, 200)
FALL = 3.0  # steepness of the exponential fall


@dataclass(frozen=True)
class TimeCourse:
    """One expression: an eased rise, an optional hold, a slower exponential fall.

    Attributes:
        rise: Seconds from onset to apex.
        hold: Seconds at the apex.
        fall: Seconds from the end of the hold to the offset.
    """

    rise: float
    hold: float
    fall: float

    def __post_init__(self):
        if self.rise <= 0 or self.fall <= 0 or self.hold < 0:
            raise ValueError(
                f"rise={self.rise}, fall={self.fall} must be positive seconds, hold={self.hold} not negative"
            )

    @property
    def total(self) -> float:
        """Seconds from onset to offset."""
        return self.rise + self.hold + self.fall

    def intensity(self, seconds: torch.Tensor) -> torch.Tensor:
        """Intensity in [0, 1] at seconds after the onset; 0 before it and after the offset."""
        up = (seconds / self.rise).clamp(0, 1)
        up = up * up * (3 - 2 * up)
        down = ((seconds - self.rise - self.hold) / self.fall).clamp(0, 1)
        down = (torch.exp(-FALL * down) - math.exp(-FALL)) / (1 - math.exp(-FALL))
        return torch.where(seconds <= self.rise + self.hold, up, down)

    def frames(
        self, fps: float, before: int = 0, after: int = 0
    ) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """Intensity per frame and where the three keyframes are.

        Args:
            fps: Frames a second, positive.
            before: Still frames before the onset frame.
            after: Still frames after the offset frame.

        Returns:
            (T,) intensities in [0, 1], exactly 0 at onset and offset and 1 at the apex; (onset, apex,
            offset) indices, onset < apex < offset. The apex is the first frame of full intensity.
        """
        if fps <= 0:
            raise ValueError(f"fps={fps} must be positive")
        apex = max(1, round(self.rise * fps))
        offset = max(apex + 1, round(self.total * fps))
        seconds = torch.arange(-before, offset + after + 1) / fps
        values = self.intensity(seconds)
        values[before], values[before + apex], values[before + offset :] = 0.0, 1.0, 0.0
        return values, (before, before + apex, before + offset)


def draw_time_course(
    generator: torch.Generator,
    median: float = 0.33,
    spread: float = 0.35,
    limits: tuple[float, float] = (0.15, 0.6),
    rise_limits: tuple[float, float] = (0.065, 0.26),
) -> TimeCourse:
    """A micro-expression's time course.

    Args:
        generator: CPU generator.
        median: Median of the log-normal total duration, seconds.
        spread: Its standard deviation in log.
        limits: The total is clipped to these seconds.
        rise_limits: The rise, 30 to 55 % of the total (mean 45), is clipped to these seconds.
    """
    normal = torch.randn(2, generator=generator).tolist()
    even = torch.rand(2, generator=generator).tolist()
    total = min(max(median * math.exp(spread * normal[0]), limits[0]), limits[1])
    rise = total * min(max(0.45 + 0.07 * normal[1], 0.30), 0.55)
    rise = min(max(rise, rise_limits[0]), rise_limits[1])
    hold = min(0.08 * even[0], 0.3 * (total - rise)) if even[1] < 0.5 else 0.0
    return TimeCourse(rise, hold, total - rise - hold)


def draw_macro_course(generator: torch.Generator) -> TimeCourse:
    """An ordinary (macro-) expression: 0.25-0.7 s rise, 0.3-1.5 s hold, 0.4-1.2 s fall."""
    a, b, c = torch.rand(3, generator=generator).tolist()
    return TimeCourse(0.25 + 0.45 * a, 0.3 + 1.2 * b, 0.4 + 0.8 * c)


def blink_course(generator: torch.Generator) -> TimeCourse:
    """A blink: about 80 ms closing, 20-60 ms closed, 120-200 ms opening."""
    a, b, c = torch.rand(3, generator=generator).tolist()
    return TimeCourse(0.06 + 0.04 * a, 0.02 + 0.04 * b, 0.12 + 0.08 * c)


def jitter_labels(
    keyframes: tuple[int, int, int], generator: torch.Generator, share: float = 0.1
) -> tuple[int, int, int]:
    """What an annotator would write: onset and apex off by up to ``share`` of the length, the offset by
    twice that."""
    onset, apex, offset = keyframes
    length = offset - onset
    a, b, c = (2 * torch.rand(3, generator=generator) - 1).tolist()
    onset = max(0, round(onset + share * length * a))
    apex = max(onset + 1, round(apex + share * length * b))
    return onset, apex, max(apex + 1, round(offset + 2 * share * length * c))
