"""How often the tokenizer says "nothing moves here" (code 0), for pairs in which nothing, or something,
moves.

    python examples/benchmarks/stillness.py
    python examples/benchmarks/stillness.py --videos FOLDER     # adds real videos: their static moments and
    all others

Identical pairs must give code 0 everywhere, for every face, batch size and precision. Nuisance-only pairs
(camera noise, light, what stabilisation leaves of head motion) and static moments of real videos should; the
share is what is measured.
"""

import argparse
import datetime
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch

from dface_hf import DEFAULT_CHECKPOINT, DFaceImageProcessor, DFaceTokenizerModel
from dface_hf.data import pretraining_pairs
from dface_hf.faces import align, fit_similarity, locate, make_detector, open_frames, optical_flow, stabilise
from dface_hf.synthesis import procedural_faces

STATIC_PX = 0.25  # px of a 128 crop: 95th percentile of the flow below which a real pair counts as static
GAP_SECONDS = 0.2
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".mpg", ".avi", ".webm")


def null_share(tokenizer: DFaceTokenizerModel, onset: torch.Tensor, apex: torch.Tensor) -> float:
    """Share of code 0 in the tokens of pairs (n, 3, height, width)."""
    ids = tokenizer.encode(onset.to(tokenizer.dtype), apex.to(tokenizer.dtype))
    return float((ids == 0).float().mean())


def portraits(size: int) -> torch.Tensor:
    """The real portrait that scikit-image ships, aligned, as (1, 3, size, size)."""
    image = skimage.data.astronaut()
    crop = align(image, fit_similarity(*locate(image, make_detector("haar").detect(image)[0])), size)
    return torch.from_numpy(crop).permute(2, 0, 1)[None] / 255


def identical_rows(tokenizer: DFaceTokenizerModel, size: int) -> Iterator[tuple[str, int, float]]:
    """Identical pairs: portraits and procedural faces, batches of 1, 7 and 33, float32 and bfloat16."""
    faces = procedural_faces(33, size, seed=7)
    for dtype in (torch.float32, torch.bfloat16):
        model = tokenizer.to(dtype)
        name = str(dtype).removeprefix("torch.")
        face = portraits(size)
        yield f"identical, portrait, {name}", 1, null_share(model, face, face)
        for count in (1, 7, 33):
            batch = faces[:count]
            yield f"identical, procedural, batch {count}, {name}", count, null_share(model, batch, batch)
    tokenizer.float()


def synthetic_rows(tokenizer: DFaceTokenizerModel, size: int, pairs: int) -> Iterator[tuple[str, int, float]]:
    """Nuisance-only and acting pairs of unseen procedural faces."""
    for name, share, amplitude in (
        ("nuisances only, synthetic", 1.0, (0.5, 3.0)),
        ("action of 0.5-1 px of 128, synthetic", 0.0, (0.5, 1.0)),
        ("action of 1-3 px of 128, synthetic", 0.0, (1.0, 3.0)),
    ):
        stream = pretraining_pairs(size, seed=2000, still_share=share, amplitude=amplitude, bank=256)
        batch = stream.sample(pairs)
        yield name, pairs, null_share(tokenizer, batch.onset, batch.apex)


def video_pairs(path: Path, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Stabilised pairs 0.2 s apart, twice a second, in the onset's alignment."""
    frames, detector, onset = open_frames(str(path), max_side=960), make_detector("haar"), None
    for frame in frames:
        phase = frame.seconds % 0.5
        if onset is None and phase < 1.5 / frames.fps:
            faces = detector.detect(frame.image)
            if faces:
                similarity, start = fit_similarity(*locate(frame.image, faces[0])), frame.seconds
                onset = align(frame.image, similarity, size)
        elif onset is not None and frame.seconds - start >= GAP_SECONDS:
            yield onset, stabilise(onset, align(frame.image, similarity, size)).apex
            onset = None


def video_rows(tokenizer: DFaceTokenizerModel, folder: Path, size: int) -> Iterator[tuple[str, int, float]]:
    """Real videos: pairs whose flow is small everywhere, and all others."""
    processor, kept = DFaceImageProcessor(size={"height": size, "width": size}), {True: [], False: []}
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES):
        for onset, apex in video_pairs(path, 128):
            flow = np.linalg.norm(optical_flow(onset, apex), axis=-1)
            kept[bool(np.percentile(flow, 95) < STATIC_PX)].append([onset, apex])
    for static, pairs in kept.items():
        if pairs:
            values = processor(pairs, return_tensors="pt").pixel_values
            name = f"real videos, {'static moments' if static else 'all other moments'}"
            yield name, len(pairs), null_share(tokenizer, *values.unbind(1))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--pairs", type=int, default=512, help="synthetic pairs a row")
    parser.add_argument("--videos", type=Path, help="folder of real face videos")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    tokenizer = DFaceTokenizerModel.from_pretrained(options.model).eval()
    size = tokenizer.config.image_size
    print(
        f"Share of code 0, {Path(options.model).name}, {datetime.date.today()}, {os.cpu_count()} CPU cores\n"
    )
    print("| pairs | n | share of code 0 |\n|---|---|---|")
    rows = [identical_rows(tokenizer, size), synthetic_rows(tokenizer, size, options.pairs)]
    if options.videos:
        rows.append(video_rows(tokenizer, options.videos, size))
    for group in rows:
        for name, count, share in group:
            print(f"| {name} | {count} | {share:.4f} |", flush=True)


if __name__ == "__main__":
    main()
