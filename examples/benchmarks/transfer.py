"""Is a facial action the same on another face? Tokens of one face, decoded on another, against the truth.

    python examples/benchmarks/transfer.py
    python examples/benchmarks/transfer.py --tokenizer warp=A/model --tokenizer pixels=B/model

Everything here is synthetic. Two unseen procedural faces do the same (peak motion 1, 2 or 4 px of 128); the
pair of the first becomes tokens, which are decoded on the onset of the second. The truth is that onset, moved
by the generator's own motion of that face. For the decibels, gradients and motion only the pixels that truly
move count: by more than a fifth of the pair's largest motion.

Columns: PSNR gained over the unmoved face (dB), SSIM of the whole crop, similarity of gradients (1: as sharp,
and in the same places), sharpness (gradient energy over that of the truth), and the end-point error of the
motion (px of 128, where a row has a motion). Rows of a tokenizer: its picture as it is; its motion at the
size that the tokens tell; its motion at the size measured in the source; and refined, as `dface transfer`
moves a face.
"flow of the source" lays the first face's optical flow on the second, without tokens.

The second table asks the classifier: the share of pairs whose class it reads from the second face's onset and
its *made* apex, beside the same reading of the real pairs. A made apex has the noise of its onset and none
of its own; what a perfect warp could reach is the row of the second face's true motion.
"""

import argparse
import datetime
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from skimage.metrics import structural_similarity
from tqdm import tqdm

from dface_hf import DEFAULT_CHECKPOINT, DFaceForVideoClassification, DFaceTokenizerModel
from dface_hf.analysis.tables import Rows, markdown_table
from dface_hf.data import labelled_pairs, pretraining_pairs
from dface_hf.faces import optical_flow
from dface_hf.pipelines.transfer import REFINE, SourceFit, decoded_flow
from dface_hf.pipelines.transfer_refinement import refined
from dface_hf.synthesis import PairBatch
from dface_hf.synthesis.rendering import look

SEED = 3000  # of faces and actions that no training has met
PEAKS = (1.0, 2.0, 4.0)  # px of 128
MOVES = 0.2  # of a pair's largest motion
DETAIL = 1e-3  # steadies the similarity of gradients where there is none
Flows = torch.Tensor | None


@dataclass(frozen=True)
class Sources:
    """Pairs of faces that do the same, resized to what a tokenizer takes.

    Attributes:
        pairs: (n, 2, 3, S, S) onset and apex of the first face.
        onsets: (n, 3, S, S) of the second face.
        backward: (n, S, S, 2) its true motion, half a crop is 1.
    """

    pairs: torch.Tensor
    onsets: torch.Tensor
    backward: torch.Tensor

    @classmethod
    def of(cls, batch: PairBatch) -> "Sources":
        first, second = (slice(None, len(batch.onset) // 2), slice(len(batch.onset) // 2, None))
        pairs = torch.stack([batch.onset[first], batch.apex[first]], 1)
        backward = batch.backward[second].permute(0, 2, 3, 1) * (2 / batch.onset.shape[-1])
        return cls(pairs, batch.onset[second], backward)

    @property
    def truth(self) -> torch.Tensor:
        return moved(self.onsets, self.backward)


def moved(onsets: torch.Tensor, backward: torch.Tensor) -> torch.Tensor:
    """Pictures (n, 3, S, S), each pixel read where a flow (n, S, S, 2) says that it came from."""
    axis = (torch.arange(onsets.shape[-1]) + 0.5) * 2 / onsets.shape[-1] - 1
    return look(onsets, torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1) + backward)


def plain_rows(sources: Sources) -> Iterator[tuple[str, torch.Tensor, Flows]]:
    """What needs no model."""
    yield "unmoved face", sources.onsets, torch.zeros_like(sources.backward)
    size = sources.onsets.shape[-1]
    pictures = (sources.pairs.permute(0, 1, 3, 4, 2).numpy() * 255).round().astype(np.uint8)
    flow = np.stack([optical_flow(apex, onset, "dis") for onset, apex in pictures]) * (2 / size)
    flow = torch.from_numpy(flow)
    yield "flow of the source", moved(sources.onsets, flow), flow


def model_rows(
    name: str, tokenizer: DFaceTokenizerModel, sources: Sources
) -> Iterator[tuple[str, torch.Tensor, Flows]]:
    """What a tokenizer makes of the second faces: picture, motion, motion of the source's size, refined."""
    aims = tokenizer.action_vectors(sources.pairs)
    ids = tokenizer.quantizer.nearest(aims)
    yield f"{name}: its picture", tokenizer.decode(sources.onsets, ids).reconstruction.clamp(0, 1), None
    null = tokenizer.null_action_ids(sources.onsets[0])
    flows, gains = [], []
    for pair, onset, own in zip(sources.pairs, sources.onsets, ids, strict=True):
        flows.append(decoded_flow(tokenizer, onset[None], own, null)[0])
        gains.append(SourceFit.of(pair, decoded_flow(tokenizer, pair[None, 0], own, null)[0]).gains)
    flow = torch.stack(flows)
    yield f"{name}: its motion", moved(sources.onsets, flow), flow
    flow = flow * torch.stack(gains)[..., None]
    yield f"{name}: its motion, size of the source", moved(sources.onsets, flow), flow
    each = zip(sources.onsets.split(1), flow.split(1), aims, strict=True)
    flow = torch.cat([refined(tokenizer, *one, REFINE) for one in each])
    yield f"{name}: as `dface transfer`", moved(sources.onsets, flow), flow


def scores(sources: Sources, made: torch.Tensor, flow: Flows) -> dict[str, float]:
    """The columns of the first table, with the PSNR itself for what is gained."""
    length = sources.backward.norm(dim=-1)
    moving = length > MOVES * length.amax((1, 2), keepdim=True)
    truth = sources.truth
    error = masked_mean(((made - truth) ** 2).mean(1), moving)
    own, true = gradients(made), gradients(truth)
    alike = (2 * own * true + DETAIL) / (own**2 + true**2 + DETAIL)
    pictures = zip(*(batch.permute(0, 2, 3, 1).numpy() for batch in (made, truth)), strict=True)
    found = {
        "psnr": float((-10 * error.clamp_min(1e-8).log10()).mean()),
        "SSIM": float(
            np.mean([structural_similarity(*two, channel_axis=2, data_range=1) for two in pictures])
        ),
        "gradients": float(masked_mean(alike, moving).mean()),
        "sharpness": float((masked_mean(own**2, moving) / masked_mean(true**2, moving)).mean()),
    }
    if flow is not None:
        distance = (flow - sources.backward).norm(dim=-1) * 64
        found["end-point error"] = float(masked_mean(distance, moving).mean())
    return found


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(n,) means of (n, S, S) over a mask."""
    return (values * mask).sum((1, 2)) / mask.sum((1, 2)).clamp_min(1)


def gradients(pictures: torch.Tensor) -> torch.Tensor:
    """(n, S, S) lengths of the brightness gradient."""
    grey = np.ascontiguousarray(pictures.mean(1).numpy())
    steps = ((cv2.Sobel(g, cv2.CV_32F, 1, 0), cv2.Sobel(g, cv2.CV_32F, 0, 1)) for g in grey)
    return torch.from_numpy(np.stack([np.hypot(x, y) for x, y in steps])) / 8


def motion_table(tokenizers: dict[str, DFaceTokenizerModel], peak: float, count: int) -> Rows:
    """The first table at one amplitude."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for name, tokenizer in tokenizers.items():
        size = tokenizer.config.image_size
        stream = pretraining_pairs(
            size, SEED, amplitude=(peak, peak), still_share=0.0, bank=min(512, 4 * count)
        )
        sources = Sources.of(stream.sample(2 * count, step=0, twins=True))
        suffix = "" if len(tokenizers) == 1 else f" ({size} px)"
        for row, made, flow in [*plain_rows(sources), *model_rows(name, tokenizer, sources)]:
            row = row if row.startswith(name) else row + suffix
            found[row] = found.get(row) or scores(sources, made, flow) | {"size": size}
    unmoved = {row["size"]: row["psnr"] for key, row in found.items() if key.startswith("unmoved")}
    return {
        key: {"dB gained": row["psnr"] - unmoved[row["size"]]}
        | {column: value for column, value in row.items() if column not in ("psnr", "size")}
        for key, row in found.items()
    }


def label_table(model: DFaceForVideoClassification, count: int) -> Rows:
    """The second table: which class the classifier reads."""
    size, names = model.config.tokenizer_config.image_size, model.config.id2label
    stream = labelled_pairs("default4", size, SEED + 1, bank=min(512, 4 * count))
    batch = stream.sample(2 * count, step=0, twins=True)
    sources, labels = Sources.of(batch), batch.label[:count]
    keep = labels >= 0
    read = {
        "real pair of the source": sources.pairs,
        "real pair of the other face": twins_of(batch),
        "other face, its true motion": torch.stack([sources.onsets, sources.truth], 1),
    }
    for row, made, _ in [*plain_rows(sources), *model_rows("dface-mini", model.dface.tokenizer, sources)]:
        read[row] = torch.stack([sources.onsets, made], 1)
    told = {row: torch.cat([model(pixel_values=p).logits.argmax(-1) for p in pairs.split(64)])
            for row, pairs in read.items()}  # fmt: skip
    source = told["real pair of the source"]
    return {
        row: {
            "source's true class": share(ids == labels, keep),
            "class read in the source": share(ids == source, keep),
        }
        | {f"true, {name}": share(ids == labels, labels == k) for k, name in names.items()}
        for row, ids in told.items()
    }


def twins_of(batch: PairBatch) -> torch.Tensor:
    half = len(batch.onset) // 2
    return torch.stack([batch.onset[half:], batch.apex[half:]], 1)


def share(hit: torch.Tensor, of: torch.Tensor) -> float:
    return float(hit[of].float().mean()) if of.any() else float("nan")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", action="append", metavar="NAME=FOLDER", help="instead of dface-mini")
    parser.add_argument("--pairs", type=int, default=256, help="pairs of faces an amplitude")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    folders = dict(one.split("=", 1) for one in options.tokenizer or [f"dface-mini={DEFAULT_CHECKPOINT}"])
    tokenizers = {
        name: DFaceTokenizerModel.from_pretrained(folder).eval() for name, folder in folders.items()
    }
    print(f"{options.pairs} synthetic pairs of faces an amplitude, {datetime.date.today()}")
    for peak in tqdm(PEAKS, desc="amplitudes"):
        print(f"\n**peak motion {peak:g} px of 128**\n")
        print(markdown_table(motion_table(tokenizers, peak, options.pairs)), flush=True)
    if not options.tokenizer:
        model = DFaceForVideoClassification.from_pretrained(DEFAULT_CHECKPOINT).eval()
        print(f"\n**Class read by dface-mini, {options.pairs} labelled pairs**\n")
        print(markdown_table(label_table(model, options.pairs)))


if __name__ == "__main__":
    main()
