"""A coarse face track, online and in one pass: faces are looked at every few frames and interpolated between.

A full search is rare. At most looks the landmark cascade starts from the last known points and judges by its
face score whether they are still on a face; the detector searches the whole image now and then, and when the
face is lost.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .detection import Box, Face, FaceDetector, grey_of, make_detector
from .frames import Frame
from .landmarks import MIN_SCORE, STARTS, landmark_cascade
from .similarity import Similarity, fit_similarity

INTERVAL = 0.4  # seconds between looks
MOST_FRAMES = 32  # between looks: what a reader has to hold back who wants positions interpolated
CONFIRM = 5  # looks between searches of the whole image
BRIDGE = 2.5  # looks: a longer stretch without the face is a gap
MIN_OVERLAP = 0.25  # intersection over union of one face's boxes in two looks


@dataclass(frozen=True)
class Knot:
    """A look at which the face was found: frame index and face (box, eyes and mouth in pixels)."""

    index: int
    face: Face

    @property
    def points(self) -> np.ndarray:
        """(3, 2) image-left eye, image-right eye, mouth."""
        return np.array([*self.face.eyes, self.face.mouth])


class FaceTrack:
    """Where one face is over a clip.

    Attributes:
        knots: The looks at which it was found, in order.
        last: Index of the last frame it is known to be in.
    """

    def __init__(self, reach: int) -> None:
        self.knots: list[Knot] = []
        self.last = -1
        self.lost = False
        self.misses = 0
        self._reach = reach  # frames that may lie between two knots of one segment
        self._indices: list[int] = []

    def add(self, knot: Knot) -> None:
        """Append a look."""
        self.knots.append(knot)
        self._indices.append(knot.index)
        self.last, self.lost, self.misses = knot.index, False, 0

    @property
    def segments(self) -> list[tuple[int, int]]:
        """(first, last) frame of each stretch with the face, both included."""
        found: list[tuple[int, int]] = []
        for index in self._indices:
            if found and index - found[-1][1] <= self._reach:
                found[-1] = (found[-1][0], index)
            else:
                found.append((index, index))
        if found:
            found[-1] = (found[-1][0], max(self.last, found[-1][1]))
        return found

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """(first, last) frame of each stretch between segments."""
        segments = self.segments
        return [(a[1] + 1, b[0] - 1) for a, b in zip(segments, segments[1:], strict=False)]

    def points_at(self, index: int) -> np.ndarray | None:
        """(3, 2) eyes and mouth at a frame, linear between looks; None in a gap or outside the track."""
        after = bisect.bisect_left(self._indices, index)
        if after < len(self._indices) and self._indices[after] == index:
            return self.knots[after].points
        if after == 0:
            return None
        before = self.knots[after - 1]
        if after == len(self.knots):
            return before.points if index <= self.last else None
        step = self._indices[after] - before.index
        if step > self._reach:
            return None
        share = (index - before.index) / step
        return (1 - share) * before.points + share * self.knots[after].points

    def similarity_at(self, index: int) -> Similarity | None:
        """Aligned coordinates -> image pixels at a frame; None where the face is not in view."""
        points = self.points_at(index)
        return None if points is None else fit_similarity(points[:2], points[2])

    def face_at(self, index: int) -> Face | None:
        """Box, eyes and mouth at a frame, e.g. for `locate`; None where the face is not in view."""
        points = self.points_at(index)
        return None if points is None else _face(points)


def _face(points: np.ndarray, score: float = 1.0) -> Face:
    box = landmark_cascade().box_of(fit_similarity(points[:2], points[2]))
    left, right, mouth = (tuple(map(float, point)) for point in points)
    return Face(box, score, (left, right), mouth)


class FaceTracker:
    """Follows faces while frames stream by: call `push` with every frame, read `tracks` at any time.

    Args:
        fps: Frames a second of the stream.
        detector: A detector or the name of one.
        interval: Seconds between looks; at most 32 frames.
        faces: ``"largest"`` follows the face that is largest when the first is found; ``"all"`` follows every
            face.

    Attributes:
        tracks: Faces followed, in the order in which they appeared; at most one for ``"largest"``.
        warnings: What a reader should know.
        most_faces: The largest number of faces seen at once.
    """

    def __init__(
        self,
        fps: float,
        detector: FaceDetector | str = "haar",
        interval: float = INTERVAL,
        faces: Literal["largest", "all"] = "largest",
    ) -> None:
        if faces not in ("largest", "all"):
            raise ValueError(f"faces is {faces!r}; choose largest or all")
        self.every = max(1, min(MOST_FRAMES, round(interval * fps)))
        self.tracks: list[FaceTrack] = []
        self.most_faces = 0
        self._all = faces == "all"
        self._detector = make_detector(detector) if isinstance(detector, str) else detector
        self._looks = 0

    @property
    def track(self) -> FaceTrack | None:
        """The first face's track; None when no face has been found."""
        return self.tracks[0] if self.tracks else None

    @property
    def warnings(self) -> list[str]:
        """Several faces, no face, or a face lost."""
        if not self.tracks:
            return ["no face found"]
        told = []
        if self.most_faces > 1 and not self._all:
            told.append(f"{self.most_faces} faces in view; following the largest")
        for track in self.tracks:
            told += [f"face out of view in frames {first} to {last}" for first, last in track.gaps]
        return told

    def push(self, frame: Frame) -> Face | None:
        """Take the next frame.

        Args:
            frame: Any frame after the ones pushed before.

        Returns:
            The first track's face as last seen; None while it is not in view. `FaceTrack.face_at` gives the
            interpolated position once the next look is done.
        """
        if frame.index % self.every == 0 or self._looks == 0:
            self._look(frame)
        for track in self.tracks:
            if not track.lost and not track.misses:
                track.last = frame.index
        track = self.track
        return None if track is None or track.lost else track.knots[-1].face

    def _look(self, frame: Frame) -> None:
        grey = grey_of(frame.image)
        unsure = [
            track for track in self.tracks if not track.lost and not self._follow(track, frame.index, grey)
        ]
        nobody = all(track.lost for track in self.tracks)
        if unsure or nobody or self._looks % CONFIRM == 0:
            self._search(frame, grey, unsure)
        self._looks += 1

    def _follow(self, track: FaceTrack, index: int, grey: np.ndarray) -> bool:
        """Landmarks from where they were; False when they do not agree or the face has jumped."""
        before = track.knots[-1].points
        points, score = landmark_cascade().locate(grey, fit_similarity(before[:2], before[2]), STARTS[:1])
        jumped = overlap(_face(points).box, _face(before).box) < MIN_OVERLAP
        if score < MIN_SCORE or jumped or not _inside(points, grey):
            return False
        track.add(Knot(index, _face(points)))
        return True

    def _search(self, frame: Frame, grey: np.ndarray, unsure: list[FaceTrack]) -> None:
        """Search the whole image; give each track its face, open new ones, close those without."""
        found = [_refined(face, grey) for face in self._detector.detect(frame.image)]
        self.most_faces = max(self.most_faces, len(found))
        for track in self.tracks:
            match = max(found, key=lambda face: overlap(face.box, track.knots[-1].face.box), default=None)
            near = match is not None and overlap(match.box, track.knots[-1].face.box) >= MIN_OVERLAP
            if near:
                found.remove(match)
            if near and (track in unsure or track.lost):
                track.add(Knot(frame.index, match))
            elif track in unsure:
                track.misses += 1
                track.last = track.knots[-1].index  # it may have left right after that look
                track.lost = track.misses >= BRIDGE
        self._adopt(found, frame.index)

    def _adopt(self, found: list[Face], index: int) -> None:
        """Faces that belong to no track: new tracks, or the way back for the only one."""
        if self._all or not self.tracks:
            for face in found if self._all else found[:1]:
                self.tracks.append(FaceTrack(int(BRIDGE * self.every)))
                self.tracks[-1].add(Knot(index, face))
        elif found and self.tracks[0].lost:
            self.tracks[0].add(Knot(index, found[0]))


def _refined(face: Face, grey: np.ndarray) -> Face:
    """The detection with points from the landmark cascade, whatever the detector gave."""
    cascade = landmark_cascade()
    start = cascade.start(face.box) if face.eyes is None else fit_similarity(face.eyes, face.mouth)
    return _face(cascade.locate(grey, start)[0], face.score)


def _inside(points: np.ndarray, grey: np.ndarray) -> bool:
    return bool((points >= 0).all() and (points < [grey.shape[1], grey.shape[0]]).all())


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(0.0, wide) * max(0.0, high)
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-9)


def track_faces(frames: Iterable[Frame], fps: float, **options) -> FaceTracker:
    """Push every frame of a stream through a `FaceTracker` and return it."""
    tracker = FaceTracker(fps, **options)
    for frame in frames:
        tracker.push(frame)
    return tracker
