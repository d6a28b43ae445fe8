"""What do the tokens of a pair say, on faces and motion that the tokenizer has never seen?

    python examples/benchmarks/tokens.py                          # the checkpoint in the package
    python examples/benchmarks/tokens.py --quick --tokenizer runs/a/model --tokenizer runs/b/model

Pairs of 128 px with known action units and everything that a camera adds, each apex stabilised on its onset
as at inference. Columns of the first table, mean F1 of 15 units that a linear probe reads from each
representation of the same pairs (the probe's penalty is chosen on held-out identities of the fitting pairs):

1. same origin: fitted and tested on the package's motion fields and procedural faces, other identities;
2. other origin: fitted as in 1, tested on measured motion fields (``action_fields.npz``) over real portraits;
   2r the reverse: fitted on measured fields over real portraits, tested on the package's own;
3. cross-face: fitted on procedural faces, tested on real portraits, the package's motion fields.

Then, without --quick: 4. the codebook, 5. real videos, 6. recognition. Measured fields, portraits, videos and
flow pictures cannot travel with the package: what needs them is left out where --data does not hold them.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerModel
from dface_hf.analysis import probes, recognition, tokens
from dface_hf.analysis.probes import ProbeResult
from dface_hf.analysis.tables import Rows, markdown_table, transposed
from dface_hf.analysis.token_benchmark import (
    ORIGINS,
    columns_of,
    flow_errors,
    probe_results,
    view_results,
)
from dface_hf.data import read_flow_images, real_pairs
from dface_hf.data.benchmark_pairs import AMPLITUDES, NEEDED, SIZE, UNITS, BenchmarkPairs

FLOW = "Farneback flow of {} px at 16x16"
ANIMATED_FACES, ANIMATED_PX = 6, (1.0, 2.0)  # of flow pictures: unseen faces, and motion in px of 128

Results = dict[str, dict[str, ProbeResult]]


def baseline_results(pairs: BenchmarkPairs) -> Results:
    """Items 1 to 3 for what needs no tokenizer; kept until clips or probes change."""
    columns, ones = columns_of(pairs), {}
    state = hashlib.blake2b(Path(probes.__file__).read_bytes(), digest_size=8)
    for size in AMPLITUDES:
        for column in columns:
            train, test = (pairs.clips(name, size) for name in ORIGINS[column])
            state.update(train.apex[::10].tobytes() + test.apex[::10].tobytes())
            truth = test.units
            ones[f"{column} {size}"] = probes.unit_scores(np.ones_like(truth), truth, UNITS)
    path = pairs.folder / f"baselines-{state.hexdigest()}.json"
    if path.is_file():
        kept = json.loads(path.read_text())
        return {name: {key: ProbeResult(**one) for key, one in row.items()} for name, row in kept.items()}
    rows = {"all ones": ones}
    rows["frame difference of 64 px, pooled 2x2"] = probe_results(pairs, columns, probes.difference_of)
    for side in (64, SIZE):
        rows[FLOW.format(side)] = probe_results(pairs, columns, partial(probes.flow_of, side=side))
    write_json(path, rows)
    return rows


def codebook_rows(pairs: BenchmarkPairs, tokenizer: DFaceTokenizerModel) -> dict[str, float]:
    """Item 4."""
    kinds = [kind for kind in ("procedural", "real") if pairs.has(kind)]
    entries, found = tokenizer.config.codebook_size, {}

    def read(name: str, size: str = "micro") -> tokens.Representation:
        return tokens.represent(tokenizer, pairs.clips(f"fitted-{name}", size), name)

    for size in AMPLITUDES:
        use = tokens.codebook_use(read("procedural-test", size).ids, entries)
        found |= {f"{what}, {size}": value for what, value in use.items()}
        for kind in kinds:
            ids = read(f"{kind}-test-same", size).ids
            agreement = tokens.token_agreement(ids[::2], ids[1::2], entries)
            found |= {f"agreement, {kind}, {size}: {what}": value for what, value in agreement.items()}
        features = read("procedural-test-subjects", size).features["tokens, one-hot"]
        who = pairs.clips("fitted-procedural-test-subjects", size).identity
        accuracy, chance = probes.subject_probe(features, who)
        found |= {f"subject probe, {size}": accuracy, f"subject probe, {size}: chance": chance}
    for kind in kinds:
        null = read(f"{kind}-test-still").ids == 0
        found[f"null share of static pairs, {kind}"] = float(null.mean())
    return found


def recognition_rows(pairs: BenchmarkPairs, tokenizer: DFaceTokenizerModel | None) -> Rows:
    """Item 6 of a tokenizer, or of flow: three classes, an RBF-SVM, each subject held out in turn."""
    score, (clips, labels) = recognition.leave_subjects_out, pairs.emotions()
    seen = {FLOW.format(SIZE): probes.flow_of(clips)} if tokenizer is None else {}
    if tokenizer is not None:
        seen = tokens.represent(tokenizer, clips, "SyntheticME").features
    rows = {f"SyntheticME, {name}": score(x, labels, clips.identity) for name, x in seen.items()}
    if (pairs.data / "megc2019").is_dir():
        real = read_flow_images(pairs.data / "megc2019")
        seen = {"the flow pictures themselves": real.images}
        if tokenizer is not None:
            faces = pairs.procedural_faces("test")[:ANIMATED_FACES]
            seen = recognition.animated_features(tokenizer, real.motion(SIZE), faces, ANIMATED_PX)
        rows |= {f"real motion, {name}": score(x, real.labels, real.subjects) for name, x in seen.items()}
    return rows


def measure(
    pairs: BenchmarkPairs, folders: list[str], reverse: list[str], quick: bool
) -> Iterator[tuple[str, Rows]]:
    """The parts of the report, one after the other: title and rows."""
    models = {name_of(folder): load(folder) for folder in folders}
    everywhere = columns_of(pairs)
    columns = [column for column in everywhere if not (reverse and column == "2r")]
    asked = [(name, model, columns) for name, model in models.items()]
    asked += [(name_of(folder), load(folder), ["2r"]) for folder in reverse if "2r" in everywhere]
    found = baseline_results(pairs)
    for name, model, mine in asked:
        read = partial(tokens.represent, model)
        found |= {f"{name}: {view}": row for view, row in view_results(pairs, mine, read).items()}
    macro = {name: {key: one.macro_f1 for key, one in row.items()} for name, row in found.items()}
    told = (
        "" if reverse or "2r" not in everywhere else "; no --reverse-tokenizer, so 2r tests on known origins"
    )
    yield f"1-3. Action units, mean F1 of a linear probe{told}", macro
    for key in [f"{column} {size}" for size in AMPLITUDES for column in everywhere]:
        by_unit = {name: row[key].f1.items() for name, row in found.items() if key in row}
        yield (
            f"F1 by action unit, {key}",
            {name: {f"AU{u}": f1 for u, f1 in row} for name, row in by_unit.items()},
        )
    if quick:
        return
    yield "4. Codebook", transposed({name: codebook_rows(pairs, model) for name, model in models.items()})
    if "real" not in pairs.absent:
        real = real_pairs(pairs.data / "faces", cache=pairs.folder)
        count = f"{len(real.clips)} pairs of {len(real.identities)} persons, {real.skipped} left out"
        rows = flow_errors(real.clips)
        rows |= {name: tokens.reconstruction(model, real.clips) for name, model in models.items()}
        yield f"5. Real videos ({count}), error relative to copying the onset", rows
    rows = recognition_rows(pairs, None)
    for name, model in models.items():
        rows |= {f"{name}: {view}": row for view, row in recognition_rows(pairs, model).items()}
    yield "6. Recognition, RBF-SVM, leave-subjects-out", rows


def name_of(folder: str) -> str:
    """What the tables call a checkpoint."""
    return Path(folder).name if str(folder) == str(DEFAULT_CHECKPOINT) else str(folder)


def load(folder: str) -> DFaceTokenizerModel:
    """A tokenizer in evaluation mode, on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return DFaceTokenizerModel.from_pretrained(folder).eval().to(device)


def write_json(path: Path, what: dict) -> None:
    """Write a file under a temporary name and rename it."""
    path.with_suffix(".partial").write_text(json.dumps(what, default=asdict, indent=1))
    path.with_suffix(".partial").replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", action="append", help="checkpoint folder; may be given several times")
    parser.add_argument(
        "--reverse-tokenizer", action="append", default=[],
        help="checkpoint for 2r alone, one that knows measured fields and real faces only",
    )  # fmt: skip
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark_tokens"))
    parser.add_argument("--quick", action="store_true", help="1-3 only")
    parser.add_argument("--by-unit", action="store_true", help="print the F1 of each action unit too")
    parser.add_argument("--smoke", action="store_true", help="few clips: does it run?")
    parser.add_argument("--json", type=Path, help="write all numbers to this file too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)  # everything here is small: several threads would only wait for each other
    threadpool_limits(1)
    pairs = BenchmarkPairs(options.data, options.cache, options.smoke)
    for path in map(options.data.joinpath, (*NEEDED.values(), "megc2019")):
        if not path.exists():
            print(f"{path} is absent: what needs it is left out")
    report: dict = {"date": str(datetime.date.today()), "smoke": options.smoke}
    folders = options.tokenizer or [DEFAULT_CHECKPOINT]
    for title, rows in measure(pairs, folders, options.reverse_tokenizer, options.quick):
        if not title.startswith("F1 by action unit") or options.by_unit:
            print(f"\n**{title}**\n\n{markdown_table(rows)}", flush=True)
        report[title] = rows
        if options.json:
            write_json(options.json, report)


if __name__ == "__main__":
    main()
