"""The coarse track of a face through a clip."""

import cv2
import numpy as np
import pytest

from dface_hf.faces import FaceTracker, Frame, align, open_frames, track_faces
from dface_hf.faces.tracking import overlap


def clip(astronaut, count=60, speed=1.0, absent=range(0)):
    """The portrait sliding to the right in a 512 x 320 view, replaced by grey in the frames of ``absent``."""
    for index in range(count):
        image = np.full((320, 512, 3), 128, np.uint8)
        if index not in absent:
            shift = np.float32([[1, 0, speed * index - 60], [0, 1, 0]])
            image = cv2.warpAffine(astronaut, shift, (512, 320), borderMode=cv2.BORDER_REFLECT)
        yield Frame(index, index / 25, image)


def test_track_follows_linearly(astronaut):
    tracker = track_faces(clip(astronaut), 25)
    track = tracker.track
    assert track.segments == [(0, 59)] and track.gaps == [] and tracker.warnings == []
    start = track.similarity_at(0)
    for index in (7, 25, 50):
        moved = track.similarity_at(index)((0, 0)) - start((0, 0))
        np.testing.assert_allclose(moved, [index, 0], atol=2.0)
        assert moved is not None and track.similarity_at(index).scale == pytest.approx(start.scale, rel=0.04)
    box = track.face_at(25).box
    assert overlap(box, track.face_at(26).box) > 0.9 and box[2] == pytest.approx(99, rel=0.15)
    assert track.similarity_at(60) is None and track.similarity_at(-1) is None


def test_push_tells_the_current_face(astronaut):
    tracker = FaceTracker(25)
    faces = [tracker.push(frame) for frame in clip(astronaut, count=15)]
    assert all(face is not None for face in faces) and faces[0] is faces[9] and faces[10] is not faces[9]


def test_a_lost_face_leaves_a_gap(astronaut):
    tracker = track_faces(clip(astronaut, count=120, speed=0.5, absent=range(31, 85)), 25)
    track = tracker.track
    assert track.segments == [(0, 30), (90, 119)] and track.gaps == [(31, 89)]
    assert track.similarity_at(60) is None and track.similarity_at(100) is not None
    assert tracker.warnings == ["face out of view in frames 31 to 89"]


def test_no_face_is_said():
    frames = [Frame(i, i / 25, np.full((120, 160, 3), 128, np.uint8)) for i in range(25)]
    tracker = track_faces(frames, 25)
    assert tracker.track is None and tracker.warnings == ["no face found"]
    assert FaceTracker(25).push(frames[0]) is None


def two_faces(astronaut, count):
    view = np.full((320, 700, 3), 128, np.uint8)
    view[:, :400] = astronaut[:320, 60:460]
    small = cv2.resize(astronaut[:320, 60:460], None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    view[40:280, 400:700] = small
    return [Frame(i, i / 25, view) for i in range(count)]


def test_several_faces_are_told(astronaut):
    frames = two_faces(astronaut, 30)
    largest = track_faces(frames, 25)
    assert len(largest.tracks) == 1 and largest.warnings == ["2 faces in view; following the largest"]
    assert largest.track.face_at(5).box[0] < 350
    everybody = track_faces(frames, 25, faces="all")
    assert sorted(t.face_at(29).box[0] < 350 for t in everybody.tracks) == [False, True]
    assert everybody.warnings == []
    with pytest.raises(ValueError, match="choose largest or all"):
        FaceTracker(25, faces="some")


def test_interpolated_alignment_holds_the_face_still(astronaut):
    frames = list(clip(astronaut, count=33))
    track = track_faces(frames, 25).track
    crops = np.array([align(f.image, track.similarity_at(f.index), 64) for f in frames], float)
    middle = crops[:, 16:56, 12:52]
    assert np.abs(middle - middle[0]).mean() < 6  # 37 when the square stays where the face was first


def test_high_speed_clips_are_looked_at_often_enough():
    assert FaceTracker(25).every == 10 and FaceTracker(200).every == 32 and FaceTracker(1).every == 1


def test_validation_videos_have_their_faces(validation_videos):
    for path in validation_videos:
        source = open_frames(path, max_side=640)
        tracker = track_faces(source, source.fps)
        assert tracker.track is not None, path.name
        seen = sum(last - first + 1 for first, last in tracker.track.segments) / source.frame_count
        assert seen > (0.3 if "noface" in path.name or "carphone" in path.name else 0.9), path.name
