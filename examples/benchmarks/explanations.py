"""Are explanations right? Tokens that matter by deletion, action units and sentences against the truth.

    python examples/benchmarks/explanations.py
    python examples/benchmarks/explanations.py --model DIR --clips 200

Everything is synthetic, on faces that no training has met.

1. Deletion. The label's log-odds without the first 4 tokens of a ranking (made null) against that without 4
   random tokens, of all or of those that are not null ("moving"; clips with more than 4): the share of clips
   and draws where the ranking takes more away, and how much it takes (nats, median). "weight" is the ranking
   of the explanations, the fall of the same odds when a token is removed alone; that it removes more is
   nearly circular: it only tells that tokens removed together act like tokens removed one by one. "gradient"
   ranks by the slope of the odds toward the null token and removes nothing; "saliency" by how much each token
   moves and "attention" by the classifier's pooling weights, which do not look at the label.
2. Action units that `read_units` finds in true motion, in optical flow (which explanations use) and in the
   motion decoded from tokens, and what a linear probe of the tokens finds (fitted on 2000 other pairs;
   --probe): mean F1 of 15 units.
3. Sentences: how often the unit named first is truly active, and all those named; whether the side called
   stronger is; and what is said of still faces.
   "agreement" is the median cosine of decoded motion and optical flow.
4. What explaining costs: time of analysing a clip with and without, in turn; start-up is not counted.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage.data
import torch
from tqdm import tqdm

from dface_hf import DEFAULT_CHECKPOINT, DFaceForVideoClassification
from dface_hf.analysis import active_sides, explanation, markdown_table, read_units
from dface_hf.analysis.explanation import PX
from dface_hf.analysis.probes import tuned_probe, unit_scores
from dface_hf.analysis.tokens import represent
from dface_hf.analysis.unit_reading import FLOOR, FLOW_FLOOR, READ_UNITS, SIDES
from dface_hf.data import labelled_pairs
from dface_hf.data.benchmark_pairs import AMPLITUDES, FACES, NUISANCES, PAIRS, SIZE, UNITS, BenchmarkPairs
from dface_hf.data.pair_clips import EvenPairs, resized, stabilised
from dface_hf.pipelines.demo import FPS, animate
from dface_hf.pipelines.loading import load_recogniser
from dface_hf.synthesis import ActionFields, load_fields

SEED, BATCH, REMOVED, DRAWS, TIMES = 3000, 50, 4, 20, 5


def deletion_rows(
    model: DFaceForVideoClassification, clips: int, seed: int, faces: int
) -> dict[str, dict[str, float]]:
    """Part 1."""
    parts, generator, count = [], np.random.default_rng(seed), min(BATCH, clips)
    stream = labelled_pairs(size=model.config.tokenizer_config.image_size, seed=SEED + seed, bank=faces)
    for step in tqdm(range(-(-clips // count)), desc="deleting", unit="batch", leave=False):
        batch = stream.sample(count, step)
        parts.append(_deleted(model, batch.onset, batch.apex, generator))
    found = {name: np.concatenate([part[name] for part in parts])[:clips] for name in parts[0]}
    rows = {}
    some = found.pop("left")  # clips in which some moving tokens are left over
    for name in ("weight", "gradient", "saliency", "attention"):
        more = {chance: found[name][:, None] > found[chance] for chance in ("random", "moving")}
        rows[name] = {
            "more than random": float(more["random"].mean()),
            "more than random moving": float(more["moving"][some].mean()),
            "median fall": float(np.median(found[name])),
        }
    for chance in ("random", "moving"):
        rows[f"{chance} tokens"] = {"median fall": float(np.median(found[chance]))}
    return rows


def _deleted(model, onset: torch.Tensor, apex: torch.Tensor, generator) -> dict[str, np.ndarray]:
    """How far the label's log-odds fall, by how tokens were chosen: (n,), or (n, DRAWS) for random ones."""
    output = model(pixel_values=torch.stack([onset, apex], dim=1))
    ids, labels = output.action_ids, output.logits.argmax(-1)
    null = explanation.null_ids(model.dface.tokenizer, onset)
    _, motion = explanation.token_motions(model.dface.tokenizer, onset, ids, null)
    rankings = {
        "weight": explanation.token_weights(model, ids, labels, null).numpy(),
        "gradient": _slopes(model, ids, labels, null),
        "saliency": np.linalg.norm(motion, axis=2).sum(axis=(2, 3)),
        "attention": output.pooling_attention.numpy(),
    }
    scores = explanation.label_scores(model, ids, labels).numpy()

    def fall(ranking: np.ndarray) -> np.ndarray:
        first = torch.from_numpy(np.argsort(-ranking, axis=1)[:, :REMOVED].copy())
        without = ids.scatter(1, first, null.gather(1, first))
        return scores - explanation.label_scores(model, without, labels).numpy()

    moving = (ids != null).numpy()
    found = {name: fall(ranking) for name, ranking in rankings.items()} | {"left": moving.sum(1) > REMOVED}
    draws = [generator.random(moving.shape) for _ in range(DRAWS)]
    found["random"] = np.stack([fall(draw) for draw in draws], axis=1)
    found["moving"] = np.stack([fall(draw + moving) for draw in draws], axis=1)
    return found


def _slopes(model, ids: torch.Tensor, labels: torch.Tensor, null: torch.Tensor) -> np.ndarray:
    """(n, P) how far the odds fall toward the null tokens, to first order, in what the head reads of each."""
    kept = []
    handle = model.dface.token_embeddings.register_forward_hook(lambda *args: kept.append(args[2]))
    with torch.enable_grad():
        logits = model(action_ids=ids).logits
        own = torch.nn.functional.one_hot(labels, logits.shape[-1]).bool()
        odds = logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(dim=-1)
        (slope,) = torch.autograd.grad(odds.sum(), kept[0])
    handle.remove()
    rest = model.dface.token_embeddings(model.dface.tokenizer.action_features(null))
    return (slope * (kept[0].detach() - rest)).sum(dim=-1).numpy()


def unit_rows(
    model: DFaceForVideoClassification, pairs: BenchmarkPairs, size: str, clips: int, probe: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Parts 2 and 3 of one size of motion."""
    fields, truths, told = load_fields(SIZE), [], []
    readings = {name: [] for name in ("true motion", "optical flow", "decoded from tokens")}
    options = PAIRS | {"nuisances": NUISANCES, "amplitude": AMPLITUDES[size], "seed": FACES["test"][1]}
    stream = EvenPairs(SIZE, fields, pairs.procedural_faces("test"), **options)
    count = min(BATCH, clips)
    for step in tqdm(range(-(-clips // count)), desc=f"reading {size}", unit="batch", leave=False):
        batch = stream.sample(count, step)
        seen = stabilised(batch)
        explained, flow = _explained(model, seen.onset, seen.apex)
        motions = batch.flow.numpy(), flow * PX, np.stack([one.motion for one in explained]) * PX
        for found, motion in zip(readings.values(), motions, strict=True):
            found.append(read_units(np.moveaxis(motion, 1, -1)))
        told += explained
        truths.append(_true_sides(fields, batch.weights.numpy()))
    truth = np.concatenate(truths)[:clips]
    rows = {}
    for name, found in readings.items():
        active = active_sides(np.concatenate(found)[:clips], FLOW_FLOOR if name == "optical flow" else FLOOR)
        rows[name] = unit_scores(active.any(axis=-1), truth.max(axis=-1) > 0, READ_UNITS).macro_f1
    if probe:
        rows["linear probe of the tokens"] = _probe(model, pairs, size, clips)
    return rows, _sentence_row(told[:clips], truth)


def _explained(
    model: DFaceForVideoClassification, onset: np.ndarray, apex: np.ndarray
) -> tuple[list[explanation.Explanation], np.ndarray]:
    """Explanations of stabilised crops (n, S, S, 3), and their optical flow (n, 2, GRID, GRID)."""
    size = model.config.tokenizer_config.image_size
    frames = resized(torch.from_numpy(np.stack([onset, apex], axis=1)).permute(0, 1, 4, 2, 3), size)
    output = model(pixel_values=frames)
    flows = explanation.measured_motion(zip(onset, apex, strict=True))
    labels = output.logits.argmax(-1)
    return explanation.explain(model, frames[:, 0], output.action_ids, labels, flows), flows


def _true_sides(fields: ActionFields, weights: np.ndarray) -> np.ndarray:
    """(n, units, 2) largest motion of the left and right field of each unit, px of 128."""
    peak = weights * fields.peak.numpy()
    columns = [[[k for k in fields.index(unit) if fields.sides[k] in (side, "both")] for side in SIDES]
               for unit in READ_UNITS]  # fmt: skip
    return np.stack([np.stack([peak[:, k].max(axis=1) for k in both], axis=-1) for both in columns], axis=1)


def _probe(model, pairs: BenchmarkPairs, size: str, clips: int) -> float:
    fitted, unseen = (pairs.clips(f"fitted-procedural-{part}", size) for part in ("train", "test"))
    view = "tokens, one-hot"
    first, second = (represent(model.dface.tokenizer, some).features[view] for some in (fitted, unseen))
    probe = tuned_probe(first, fitted.units, fitted.identity, UNITS)
    return probe.score(second[:clips], unseen.units[:clips]).macro_f1


def _sentence_row(told: list[explanation.Explanation], truth: np.ndarray) -> dict[str, float]:
    """Shares of what was named that are right, where the sides (n, units, 2) truly moved."""
    first, named, stronger, units = [], [], [], [one.action_units for one in told]
    place = {f"AU{unit}": k for k, unit in enumerate(READ_UNITS)}
    for one, sides in zip(units, truth, strict=True):
        right = [bool(sides[place[name]].max() > 0) for name in one]
        first += right[:1]
        named += right
        for name, amplitudes in one.items():
            left, other = sides[place[name]]
            low, high = sorted(amplitudes.values())
            if low < explanation.UNEVEN * high and max(left, other) > 0:
                stronger.append(left != other and (left > other) == (amplitudes["left"] == high))
    return {
        "first unit active": float(np.mean(first)),
        "named units active": float(np.mean(named)),
        "units named": len(named) / len(units),
        "stronger side right": float(np.mean(stronger)),
        "no clear unit": float(np.mean([not one for one in units])),
        "agreement": float(np.median([one.agreement for one in told])),
    }


def still_row(model: DFaceForVideoClassification, pairs: BenchmarkPairs, clips: int) -> dict[str, float]:
    """Part 3 on faces that do nothing."""
    seen = pairs.clips("fitted-procedural-test-still", "micro")
    units = []
    for start in range(0, min(clips, len(seen)), BATCH):
        stop = min(start + BATCH, clips)
        told, _ = _explained(model, seen.onset[start:stop], seen.apex[start:stop])
        units += [one.action_units for one in told]
    named = sum(map(len, units)) / len(units)
    return {"units named": named, "no clear unit": float(np.mean([not one for one in units]))}


def cost_rows(model: str) -> dict[str, dict[str, float]]:
    """Part 4: the demonstration's clip, 155 frames with one event, start-up not counted."""
    frames, _ = animate(skimage.data.astronaut(), (1, 2, 5), 2.0, 0)
    frames, recognise = np.stack(list(frames)), load_recogniser(model)
    seconds = {explain: [] for explain in (False, True)}
    recognise(frames, fps=FPS)  # fields and libraries are read once
    for _ in range(TIMES):
        for explain, taken in seconds.items():
            taken.append(_timed(lambda explain=explain: recognise(frames, fps=FPS, explain=explain)))
    without, explained = (float(np.median(taken)) for taken in seconds.values())
    return {"demo clip": {"without": without, "explained": explained, "ratio": explained / without}}


def _timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_CHECKPOINT)
    parser.add_argument("--clips", type=int, default=500, help="clips of each kind")
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark_tokens"), help="for painted faces")
    parser.add_argument("--parts", default="1234", help="which of the tables, such as 14")
    parser.add_argument("--probe", action="store_true", help="fit a linear probe of the tokens, too")
    parser.add_argument("--smoke", action="store_true", help="few faces and pairs: does it run?")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    model = DFaceForVideoClassification.from_pretrained(options.model).eval()
    pairs = BenchmarkPairs(Path("none"), options.cache, options.smoke)
    print(f"{Path(options.model).name}, {options.clips} clips, {datetime.date.today()}")
    found = {
        size: unit_rows(model, pairs, size, options.clips, options.probe)
        for size in (AMPLITUDES if {"2", "3"} & set(options.parts) else ())
    }
    parts = {
        "1. Deletion of 4 tokens": lambda: deletion_rows(
            model, options.clips, options.seed, 8 if options.smoke else 128
        ),
        "2. Action units, mean F1": lambda: {size: scores for size, (scores, _) in found.items()},
        "3. Sentences": lambda: (
            {size: row for size, (_, row) in found.items()}
            | {"still faces": still_row(model, pairs, options.clips)}
        ),
        "4. Seconds of CPU": lambda: cost_rows(options.model),
    }
    for title, rows in parts.items():
        if title[0] in options.parts:
            print(f"\n**{title}**\n\n{markdown_table(rows())}", flush=True)


if __name__ == "__main__":
    main()
