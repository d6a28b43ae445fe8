"""Fit the figures of `landmarks.LandmarkCascade`: ``python -m dface_hf.faces.fit_landmarks FACES OUT.npz``.

FACES is a folder with ``stills/NAME.jpg`` and ``landmarks/NAME.tem`` (FRL template of 189 points: DeBruine
and Jones, Young Adult White Faces and Face Research Lab London Set, CC BY 4.0). Prints the error on faces
left out, then fits on all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from .landmarks import STANDARD, LandmarkCascade, describe_points, describe_square, move, move_to_standard
from .similarity import Similarity, fit_similarity

LEFT_EYE = [*range(18, 23), *range(28, 31)]  # lid contour of the image-left eye in the 189-point template
RIGHT_EYE = [*range(23, 28), *range(31, 34)]
LIPS = [*range(87, 109)]
SQUARE_STAGES, POINT_STAGES = 2, 3
RIDGE, COPIES, FOLDS = 0.1, 16, 5
Face = tuple[np.ndarray, np.ndarray]  # grey image, three points
Describe = Callable[[np.ndarray, np.ndarray], np.ndarray]


def read_template(path: Path) -> np.ndarray:
    """Eye and mouth centres of a ``.tem`` file: (3, 2) pixels, image-left eye first."""
    lines = path.read_text(encoding="utf-8").split("\n")
    points = np.array([line.split()[:2] for line in lines[1 : int(lines[0]) + 1]], float)
    return np.array([points[part].mean(0) for part in (LEFT_EYE, RIGHT_EYE, LIPS)])


def read_faces(folder: Path) -> list[Face]:
    """(grey, points) of every still with landmarks, at half size; one photograph a person."""
    faces = []
    for template in sorted((folder / "landmarks").glob("*.tem")):
        image = cv2.imread(str(folder / "stills" / f"{template.stem}.jpg"), cv2.IMREAD_GRAYSCALE)
        if image is None:
            raise ValueError(
                f"{template}: no readable stills/{template.stem}.jpg beside it; restore the photograph"
            )
        half = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        faces.append((half, read_template(template) / 2 - 0.25))
    return faces


def mirrored(face: Face) -> Face:
    """The mirror image with its points."""
    grey, points = face
    flipped = points[[1, 0, 2]] * [-1, 1] + [grey.shape[1] - 1, 0]
    return np.ascontiguousarray(grey[:, ::-1]), flipped


def degraded(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera nuisances: resolution, gamma, gain, a light from the side, noise."""
    size, small = grey.shape[::-1], rng.uniform(0.12, 1.0)
    image = cv2.resize(cv2.resize(grey, None, fx=small, fy=small, interpolation=cv2.INTER_AREA), size)
    image = (image.astype(np.float32) / 255) ** rng.uniform(0.5, 1.8)
    side = np.linspace(-1, 1, size[0], dtype=np.float32) * rng.uniform(-0.5, 0.5)
    image = image * rng.uniform(0.5, 1.1) * (1 + side) + rng.normal(0, rng.uniform(0, 0.02), image.shape)
    return (image.clip(0, 1) * 255).astype(np.uint8)


def perturbed(points: np.ndarray, rng: np.random.Generator) -> Similarity:
    """A start as a detection box would give it, or worse."""
    shift, scale = rng.normal(0, 0.12, 2), np.exp(rng.normal(0, 0.12))
    return fit_similarity(points[:2], points[2]) @ Similarity.of(scale, rng.normal(0, np.radians(10)), shift)


def fit(faces: list[Face], box: np.ndarray, seed: int = 0) -> LandmarkCascade:
    """Ridge regressions stage by stage, each on the errors that the stages before it leave."""
    rng = np.random.default_rng(seed)
    samples = [
        (degraded(grey, rng), points) for face in faces for grey, points in [face, mirrored(face)] * COPIES
    ]
    states = [perturbed(points, rng)(STANDARD) for _, points in samples]
    square, local = [], []
    for _ in range(SQUARE_STAGES):
        weights, shifts = _stage(samples, states, describe_square, local=False)
        states = [move_to_standard(state, shift) for state, shift in zip(states, shifts, strict=True)]
        square.append(weights)
    for _ in range(POINT_STAGES):
        weights, shifts = _stage(samples, states, describe_points, local=True)
        states = [move(state, shift) for state, shift in zip(states, shifts, strict=True)]
        local.append(weights)
    cascade = LandmarkCascade(np.array(square), np.array(local), np.zeros(0), box)
    return replace(cascade, face=_face_score(cascade, samples, states, rng))


def _face_score(
    cascade: LandmarkCascade, samples: list[Face], states: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """(577,) figures that tell ends of the cascade on a face from ends elsewhere in the photographs."""
    rows = [describe_square(grey, state) for (grey, _), state in zip(samples, states, strict=True)]
    wanted = [1.0] * len(rows)
    for grey, points in samples:
        start, angle = fit_similarity(points[:2], points[2]), rng.uniform(0, 2 * np.pi)
        away = rng.uniform(0.7, 2.5) * np.array([np.cos(angle), np.sin(angle)])
        try:
            end = cascade.descend(grey, start @ Similarity.of(np.exp(rng.normal(-0.2, 0.4)), 0.0, away))
            rows.append(describe_square(grey, end))
        except ValueError:  # fell together
            continue
        off = np.linalg.norm(end - points, axis=1).mean() / np.linalg.norm(points[1] - points[0])
        wanted.append(-1.0 if off > 0.3 else 1.0)
    return _ridge(np.array(rows), np.array(wanted)[:, None])[:, 0]


def _stage(samples: list[Face], states: list[np.ndarray], describe: Describe, local: bool) -> tuple:
    """Weights of one regression, and the shifts (N, 3, 2) it predicts."""
    features = np.stack([describe(grey, state) for (grey, _), state in zip(samples, states, strict=True)])
    wanted = []
    for (_, points), state in zip(samples, states, strict=True):
        inverse = fit_similarity(state[:2], state[2]).inverse
        wanted.append(inverse(points) - (inverse(state) if local else STANDARD))
    weights = _ridge(features, np.reshape(wanted, (-1, 6)))
    return weights, (features @ weights[:-1] + weights[-1]).reshape(-1, 3, 2)


def _ridge(features: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(D + 1, 6) float32; the constant is not shrunk."""
    mean, target = features.mean(0, dtype=float), wanted.mean(0)
    x = features - mean
    gram = x.T @ x
    gram[np.diag_indices_from(gram)] += RIDGE * len(x) * features.var(0).mean()
    weights = np.linalg.solve(gram, x.T @ (wanted - target))
    return np.vstack([weights, target - mean @ weights]).astype(np.float32)


def mean_box(faces: list[Face]) -> np.ndarray:
    """Centre and scale of the aligned square in OpenCV's frontal-face box of side 1."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    rows = []
    for grey, points in faces:
        boxes = cascade.detectMultiScale(grey, 1.1, 5, minSize=(100, 100))
        if len(boxes):
            x, y, w, _ = max(boxes, key=lambda b: b[2])
            truth = fit_similarity(points[:2], points[2])
            rows.append([*((truth([0, 0]) - [x, y]) / w), truth.scale / w])
    return np.median(rows, axis=0)


def errors(cascade: LandmarkCascade, faces: list[Face], seed: int = 1) -> np.ndarray:
    """(N, 3) distance from the truth over the distance between the eyes, from perturbed starts."""
    rng, rows = np.random.default_rng(seed), []
    for grey, points in faces:
        found, _ = cascade.locate(grey, perturbed(points, rng))
        rows.append(np.linalg.norm(found - points, axis=1) / np.linalg.norm(points[1] - points[0]))
    return np.array(rows)


def main() -> None:
    """Cross-validate over people, fit on everybody, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("faces", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    faces = read_faces(arguments.faces)
    box = mean_box(faces)
    print(f"{len(faces)} faces; aligned square in a detection box of side 1: {box.round(4)}")
    left_out = []
    for fold in range(FOLDS):
        train = [face for i, face in enumerate(faces) if i % FOLDS != fold]
        left_out.append(errors(fit(train, box), [face for i, face in enumerate(faces) if i % FOLDS == fold]))
    table = np.concatenate(left_out)
    for name, column in zip(("left eye", "right eye", "mouth"), table.T, strict=True):
        print(
            f"{name}: median {np.median(column):.4f}, 90 % {np.quantile(column, 0.9):.4f} of the eye distance"
        )
    cascade = fit(faces, box)
    figures = {name: getattr(cascade, name).astype(np.float16) for name in ("square", "points", "face")}
    np.savez_compressed(arguments.out, box=box, **figures)


if __name__ == "__main__":
    main()
