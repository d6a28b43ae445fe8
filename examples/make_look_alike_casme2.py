"""Write a look-alike of the CASME II release: its sheet, its folders and file names, made of drawn faces.

    python examples/make_look_alike_casme2.py look_alike --clips 30 --subjects 5

CASME II itself is lent to researchers who sign its agreement. The look-alike has the form of the original and
nothing of its content, so that everything that reads the original can be tried and tested by anyone:

    dface prepare casme2 --root look_alike --out data/look_alike

All faces and motions are synthetic; scores on them say nothing about real micro-expressions.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import openpyxl
from tqdm import tqdm

from dface_hf.data import ClipPlan, plan_corpus
from dface_hf.faces import make_detector
from dface_hf.synthesis import NuisanceConfig, procedural_faces, render_clip

SHEET = "CASME2-coding-20140508.xlsx"
FRAMES = "CASME2_RAW_selected"
HEADER = (
    "Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units",
    "Estimated Emotion",
)  # fmt: skip
FPS = 200
REST = 10  # still frames before the onset and after the offset
NOTICE = (
    "SYNTHETIC. Drawn faces in the form of the CASME II release (sheet, folders, file names), written by\n"
    "make_look_alike_casme2.py. No person is shown; scores on these clips are scores on synthetic data.\n"
)


def write_release(
    output: Path, clips: int = 30, subjects: int = 5, seed: int = 0, size: int = 128, amplitude=(1.0, 2.5)
) -> list[tuple]:
    """Write sheet and frames.

    Args:
        output: Folder to make.
        clips, subjects: How many.
        seed: Equal seeds give equal releases.
        size: Side of the drawn face in pixels; the pictures are twice as wide.
        amplitude: Largest motion, px of a 128 px face.

    Returns:
        The rows of the sheet.
    """
    output.mkdir(parents=True, exist_ok=True)
    (output / "SYNTHETIC.txt").write_text(NOTICE, encoding="utf-8")
    faces = detectable_faces(subjects, size, seed)
    rows = []
    plans = tqdm(plan_corpus("casme2", clips, seed, amplitude), desc="drawing", unit="clip")
    for number, plan in enumerate(plans):
        subject = number % subjects
        name = f"EP{1 + number // subjects:02d}_{1 + number % 19:02d}{'f' if number % 3 == 0 else ''}"
        first = 1 + (37 * number + 29) % 90  # clips were cut out of longer recordings: frames start anywhere
        folder = output / FRAMES / f"sub{subject + 1:02d}" / name
        keyframes = write_clip(folder, faces[subject], plan, first, seed * 1000 + number)
        apex = "/" if number == 7 else keyframes[1]  # one apex of the original is not annotated either
        rows.append((f"{subject + 1:02d}", name, None, keyframes[0], apex, keyframes[2], None,
                     plan.notation, plan.emotion))  # fmt: skip
    write_sheet(output / SHEET, sorted(rows, key=lambda row: row[:2]))
    return rows


def write_sheet(path: Path, rows: list[tuple]) -> None:
    """The annotation as in the release: an .xlsx file whose third and seventh column are blank."""
    book = openpyxl.Workbook()
    book.active.title = "Sheet1"
    for row in [HEADER, *rows]:
        book.active.append(row)
    book.save(path)


def write_clip(folder: Path, face, plan: ClipPlan, first: int, seed: int) -> tuple[int, int, int]:
    """Draw a clip and write its frames as img1.jpg …; returns onset, apex and offset as frame numbers."""
    sides = {"L": "_left", "R": "_right"}
    units = {
        f"AU{unit}{sides[side]}" if side else unit: plan.peak
        for unit, side in zip(plan.units, plan.sides, strict=True)
    }
    noise = NuisanceConfig.none().but(noise=(0.5, 1.5), drift=0.2)
    frames, truth = render_clip(face, units, plan.course, FPS, noise, seed, before=REST, after=REST)
    folder.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        picture = in_a_room(frame)[..., ::-1]
        (folder / f"img{first + index}.jpg").write_bytes(cv2.imencode(".jpg", picture, [1, 95])[1].tobytes())
    return first + truth.onset, first + truth.apex, first + truth.offset


def in_a_room(face: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 in front of a plain wall: (1.5 S, 2 S, 3)."""
    side = len(face)
    wall = np.full((side * 3 // 2, side * 2, 3), (126, 132, 140), np.uint8)
    wall[side // 4 : side // 4 + side, side // 2 : side // 2 + side] = face
    return wall


def detectable_faces(count: int, size: int, seed: int) -> list:
    """Drawn faces, (3, size, size) in [0, 1] each, in which the face detector finds a face."""
    detector, found = make_detector(), []
    for group in range(50):
        for face in procedural_faces(8, size, seed * 100 + group):
            picture = (face.permute(1, 2, 0).numpy() * 255).astype(np.uint8)
            if len(found) < count and detector.detect(in_a_room(picture)):
                found.append(face)
        if len(found) == count:
            return found
    raise ValueError(f"only {len(found)} of {count} drawn faces can be detected at {size} px; enlarge them")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=Path, help="folder to make")
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--subjects", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128, help="side of the face in pixels")
    arguments = parser.parse_args()
    rows = write_release(
        arguments.output, arguments.clips, arguments.subjects, arguments.seed, arguments.size
    )
    print(f"{len(rows)} synthetic clips of {arguments.subjects} drawn subjects in {arguments.output}")


if __name__ == "__main__":
    main()
