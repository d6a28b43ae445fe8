"""Detection, landmarks and the aligned crop."""

import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dface_hf.faces import (
    EYES,
    MOUTH,
    ClipError,
    Face,
    Similarity,
    align,
    fit_similarity,
    locate,
    make_detector,
)
from dface_hf.faces.detection import _face_of_detection
from dface_hf.faces.fit_landmarks import read_template

ASTRONAUT = np.array([(203.5, 101.0), (247.0, 103.0), (223.0, 144.5)])  # lid and lip centres, placed by hand


def distance(eyes, mouth, truth):
    """Errors of the three points over the distance between the eyes."""
    return np.linalg.norm(np.array([*eyes, mouth]) - truth, axis=1) / np.linalg.norm(truth[1] - truth[0])


def test_similarity_algebra():
    a, b = Similarity.of(3.0, 0.4, (10, 20)), Similarity.of(0.5, -0.1, (-3, 8))
    points = np.random.default_rng(0).normal(size=(5, 2))
    np.testing.assert_allclose((a @ b)(points), a(b(points)))
    np.testing.assert_allclose(a.inverse(a(points)), points, atol=1e-12)
    assert a.scale == pytest.approx(3.0) and a.rotation == pytest.approx(0.4)
    assert a((0, 0)).tolist() == [10, 20]


def test_fit_recovers_a_similarity_from_two_and_three_points():
    truth = Similarity.of(70.0, -0.3, (200, 150))
    eyes, mouth = truth(EYES), truth(MOUTH)
    for fitted in (fit_similarity(eyes), fit_similarity(eyes, mouth)):
        np.testing.assert_allclose(fitted.matrix, truth.matrix, atol=1e-9)
    with pytest.raises(ValueError, match="do not span a face"):
        fit_similarity([(5, 5), (5, 5)])


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("scale", [40.0, 150.0])
def test_align_puts_marks_where_they_belong(size, scale):
    truth = Similarity.of(scale, 0.2, (210.3, 190.7))
    image = np.zeros((400, 420, 3), np.float32)
    y, x = np.mgrid[:400, :420]
    for channel, mark in enumerate((*EYES, MOUTH)):
        cx, cy = truth(mark)
        image[..., channel] = 255 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (0.06 * scale) ** 2))
    crop = align(np.rint(image).astype(np.uint8), truth, size).astype(float)
    assert crop.shape == (size, size, 3)
    centres = 2 * (np.arange(size) + 0.5) / size - 1
    for channel, mark in enumerate((*EYES, MOUTH)):
        weight = crop[..., channel] / crop[..., channel].sum()
        found = (weight.sum(0) @ centres, weight.sum(1) @ centres)
        np.testing.assert_allclose(found, mark, atol=0.01)


def test_align_does_not_alias():
    stripes = np.zeros((600, 600, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = align(stripes, Similarity.of(280.0, 0.0, (300, 300)), 64)
    assert (
        abs(crop.mean() - 127.5) < 2 and crop.std() < 12
    )  # point sampling would give a standard deviation of 127


def test_align_beyond_the_border_and_grey():
    grey = np.full((50, 50), 90, np.uint8)
    crop = align(grey, Similarity.of(60.0, 0.0, (10, 45)), 32)
    assert crop.shape == (32, 32, 3) and (crop == 90).all()


def test_haar_finds_the_astronaut_upright_small_and_grey(astronaut):
    grey = cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY)
    for image, factor in (
        (astronaut, 1.0),
        (grey, 1.0),
        (cv2.resize(astronaut, (256, 256), interpolation=3), 0.5),
    ):
        face = make_detector().detect(image)[0]
        x, y, w, h = face.box
        centre = ASTRONAUT.mean(0) * factor
        assert x < centre[0] < x + w and y < centre[1] < y + h
        assert distance(*locate(image, face), ASTRONAUT * factor + (factor - 1) / 2).max() < 0.12
        assert distance(face.eyes, face.mouth, ASTRONAUT * factor + (factor - 1) / 2).max() < 0.12


@pytest.mark.parametrize("degrees", [-12, 12])
def test_landmarks_follow_rotation(astronaut, degrees):
    turn = cv2.getRotationMatrix2D((225, 115), degrees, 1.0)
    turned = cv2.warpAffine(astronaut, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
    eyes, mouth = locate(turned, Face((174.0, 64.0, 99.0, 99.0), 1.0))
    assert distance(eyes, mouth, ASTRONAUT @ turn[:, :2].T + turn[:, 2]).max() < 0.15
    change = fit_similarity(eyes, mouth).rotation - fit_similarity(ASTRONAUT[:2], ASTRONAUT[2]).rotation
    assert np.degrees(change) == pytest.approx(-degrees, abs=4)


def test_no_face_where_there_is_none():
    rng = np.random.default_rng(0)
    detector = make_detector()
    assert detector.detect(np.full((240, 320, 3), 127, np.uint8)) == []
    for _ in range(3):
        noise = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 4)
        assert detector.detect(cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)) == []


def test_a_sliver_of_a_picture_shows_no_face():
    assert make_detector().detect(np.zeros((4000, 3, 3), np.uint8)) == []
    assert make_detector().detect(np.zeros((8, 4000), np.uint8)) == []


def test_threads_do_not_mix_their_pictures(astronaut):
    """The Space answers several requests at a time."""
    detector = make_detector()
    images = [astronaut, np.ascontiguousarray(astronaut[:, ::-1]), cv2.resize(astronaut, (700, 400))]
    alone = [[face.box for face in detector.detect(image)] for image in images]
    with ThreadPoolExecutor(len(images)) as pool:
        rounds = [list(pool.map(detector.detect, images)) for _ in range(4)]
    assert [[[face.box for face in found] for found in one] for one in rounds] == [alone] * 4


def test_the_largest_face_comes_first(astronaut):
    image = np.full((512, 800, 3), 128, np.uint8)
    image[:, :512] = astronaut
    image[100:356, 520:776] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    faces = make_detector(max_side=640, min_size=0.05).detect(image)
    assert len(faces) == 2 and faces[0].area > 2 * faces[1].area and faces[1].box[0] > 512


def test_unknown_and_unavailable_detectors(tmp_path):
    with pytest.raises(ValueError, match="'dlib' is unknown; choose from haar, yunet"):
        make_detector("dlib")
    with pytest.raises(ClipError, match="no YuNet weights there"):
        make_detector("yunet", weights=tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(ClipError, match="cannot read these YuNet weights"):
        make_detector("yunet", weights=tmp_path / "bad.onnx")
    with pytest.raises(ClipError, match="bad.onnx: OpenCV cannot read"):
        make_detector(f"yunet:{tmp_path / 'bad.onnx'}")
    with pytest.raises(ValueError, match="'haar:x.xml' is unknown"):
        make_detector("haar:x.xml")


def test_mediapipe_is_installed_apart(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match="pip install --no-deps mediapipe"):
        make_detector("mediapipe")


def test_weights_of_mediapipe_that_cannot_be_used(tmp_path):
    pytest.importorskip("mediapipe")
    with pytest.raises(ClipError, match="no MediaPipe weights given; pass weights=PATH, or repo_id"):
        make_detector("mediapipe")
    with pytest.raises(ClipError, match="no MediaPipe weights there"):
        make_detector(f"mediapipe:{tmp_path / 'none.tflite'}")
    (tmp_path / "bad.tflite").write_bytes(b"no network" * 100)
    with pytest.raises(ClipError, match="bad.tflite: MediaPipe cannot read these weights"):
        make_detector("mediapipe", weights=tmp_path / "bad.tflite")


def test_a_detection_of_mediapipe_in_pixels():
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.python.components.containers import bounding_box, category, detections, keypoint

    marks = [(0.4, 0.3), (0.6, 0.3), (0.5, 0.4), (0.5, 0.6), (0.3, 0.4), (0.7, 0.4)]
    found = detections.Detection(
        bounding_box.BoundingBox(30, 20, 60, 50),
        [category.Category(index=0, score=0.9)],
        [keypoint.NormalizedKeypoint(*mark) for mark in marks],
    )
    expected = Face((30.0, 20.0, 60.0, 50.0), 0.9, ((80.0, 30.0), (120.0, 30.0)), (100.0, 60.0))
    assert _face_of_detection(found, 200, 100) == expected


def test_real_stills_are_found_and_aligned(real_faces):
    detector, errors, missed = make_detector(), [], 0
    templates = sorted((real_faces / "landmarks").glob("*.tem"))[::3]
    for template in templates:
        image = cv2.imread(str(real_faces / "stills" / f"{template.stem}.jpg"))[..., ::-1].copy()
        faces = detector.detect(image)
        missed += not faces
        if faces:
            errors.append(distance(*locate(image, faces[0]), read_template(template)))
    assert missed <= 0.03 * len(templates)
    assert (
        np.median(errors) < 0.02 and np.quantile(errors, 0.9) < 0.04
    )  # the cascade was fitted on these people
