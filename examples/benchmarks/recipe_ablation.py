"""What does each part of the pretraining recipe do? The full recipe, and others that differ in one thing.

    python examples/benchmarks/recipe_ablation.py --faces FACES --fields action_fields.npz   # all, hours
    python examples/benchmarks/recipe_ablation.py                     # on procedural faces alone
    python examples/benchmarks/recipe_ablation.py --variant "no swap" --variant "64 x 16" --seeds 0 1 2
    python examples/benchmarks/recipe_ablation.py --steps 4 --batch-size 4 --variant "no swap" --smoke

Each variant pretrains a small tokenizer (64 px) on the same pairs in the same order from the same seed, and
is measured on the micro pairs of the token benchmark (examples/benchmarks/tokens.py, columns 1, 2, 2r and 3:
mean F1 of 15 action units that a linear probe reads from tokens and from vectors before the codebook), by its
codebook, by the share of code 0 where something acts and where nothing does, by how far two faces that do the
same get the same tokens, and by how well a probe tells 20 subjects apart, beside chance. Of a second
codebook: R2 of the head's drift in a linear read-out of its codes, where nothing acts, and the F1 of the
units from these codes alone (column 1). Runs go on where they stopped; each result is a file in --work, which
is read back, and completed from the finished tokenizer where it lacks a column. The probe of columns 2 and 2r
meets another origin; a tokenizer trained with --fields has met both. Differences within the spread of the
seeds say nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dface_hf import DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.analysis import probes, tokens
from dface_hf.analysis.tables import Rows, markdown_table
from dface_hf.analysis.token_benchmark import columns_of, probe_results, view_results
from dface_hf.analysis.token_context import context_of, drift_read_out
from dface_hf.data import MixedPairs, pretraining_mix
from dface_hf.data.benchmark_pairs import NEEDED, BenchmarkPairs
from dface_hf.data.streams import residual_nuisances
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.checkpointing import write_json
from dface_hf.training.recipe import as_told

SIZE, FULL = 64, "full recipe"
VIEWS = {"tokens, one-hot": "tokens", "vectors before the codebook": "vectors"}
MODEL = dict(image_size=SIZE, patch_size=SIZE // 8)
RECIPE = dict(mixed_precision="bf16")
RESIDUAL = residual_nuisances(SIZE)
#: What a camera and a head do beyond what stabilisation leaves: as in the benchmark, before stabilisation.
UNSTABILISED = RESIDUAL.but(drift=0.7, rotation=0.5, scale=0.004)
CAMERA = ("drift", "rotation", "scale", "gain", "offset", "tilt", "jpeg_share", "blink", "blur")
NO_CAMERA = RESIDUAL.but(noise=(0.0, 0.0), **dict.fromkeys(CAMERA, 0.0))
UNAUGMENTED = RESIDUAL.but(geometry=0.0, tone=0.0, mirror=0.0)

Row = dict[str, float]


@dataclass(frozen=True)
class Variant:
    """What differs from the full recipe: fields of `DFaceTokenizerConfig` and `PretrainConfig`, and arguments
    of `pretraining_pairs`."""

    model: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    pairs: dict = field(default_factory=dict)


def without(name: str) -> Variant:
    """A weight of the recipe at 0."""
    return Variant(recipe={name: 0.0})


# Those with pairs of their own come last: pairs are kept in memory for one stream at a time.
VARIANTS = {
    FULL: Variant(),
    "no warm-up": Variant(recipe={"continuous_steps": 10}),
    "codebook starts at random": Variant(recipe={"codebook_from_data": False}),
    "no twins, no agreement": Variant(recipe={"twins": False, "agreement_weight": 0.0, "swap_share": 0.0}),
    "no agreement": without("agreement_weight"),
    "no swap": without("swap_share"),
    "no usage_weight": without("usage_weight"),
    "no still_weight": without("still_weight"),
    "no unit_weight": without("unit_weight"),
    "no flow_weight": without("flow_weight"),
    "no quiet_weight": without("quiet_weight"),
    "no codebook_weight": without("codebook_weight"),
    "no revival": Variant(recipe={"revive_every": 10**9}),
    "no hard codes at the end": without("hard_share"),
    "encoder rests at the end": without("commitment_weight"),
    "no position maps": Variant(model={"position_maps": False}),
    "frames, no motion channels": Variant(model={"motion_channels": False, "appearance": True}),
    "frames beside motion channels": Variant(model={"appearance": True}),
    "no local motion": Variant(model={"motion_levels": 0}),
    "no brightness matching": Variant(model={"match_brightness": False}),
    "error not normalised": Variant(model={"normalize_loss": False}),
    "error not motion-weighted": Variant(model={"motion_weight": 0.0}),
    "lengths not compressed": Variant(model={"length_knee": 0.0}),
    "no null radius": Variant(model={"null_radius": 0.0}),
    "pixel head": Variant(model={"decoder_head": "pixels"}),
    "64 x 16": Variant(model={"codebook_size": 64}),
    # Off in the full recipe. Neither number was tuned.
    "second codebook": Variant(model={"context_codebook_size": 16}),
    "adversary": Variant(recipe={"adversary_weight": 0.3}),
    # Stride 3 and padding 1: 8 -> 3 cells without leaving a patch out.
    "16 x 9": Variant({"codebook_size": 16, "num_action_tokens": 9, "reduction_convs": [[3, 1]]}),
    "with curriculum": Variant(recipe={"first_amplitude": (2.0, 6.0)}),
    "no nuisance-only pairs": Variant(pairs={"still_share": 0.0}),
    "no identity augmentation": Variant(pairs={"nuisances": UNAUGMENTED}),
    "pairs not stabilised": Variant(pairs={"nuisances": UNSTABILISED}),
    "pairs without camera": Variant(pairs={"nuisances": NO_CAMERA}),
}


class Ablation:
    """Pretrains and measures variants, each once."""

    def __init__(self, options: argparse.Namespace):
        self.options, self.work = options, Path(options.work)
        self.pairs = BenchmarkPairs(options.data, options.cache, options.smoke)
        # One at a time: a stream keeps some hundred MB of pairs.
        self.stream = lru_cache(maxsize=1)(self._stream)

    def result(self, name: str, seed: int) -> Row:
        """The numbers of a variant, from its file as far as they are there."""
        path = self.work / f"{folder_name(name)}-{seed}.json"
        model, recipe = self._configs(VARIANTS[name], seed)
        settings = self._settings(VARIANTS[name], model, recipe)
        kept = self._kept(path, settings)
        if kept["row"].keys() >= set().union(*wanted(model, self.pairs).values()):
            return kept["row"]
        start, folder = perf_counter(), path.with_suffix("")
        if kept["row"]:
            tokenizer = DFaceTokenizerModel.from_pretrained(folder / "model").eval()
        else:
            # A curriculum draws pairs of its own: its amplitude is part of what a stream is known by.
            stream = self.stream(seed, recipe.first_amplitude, tuple(VARIANTS[name].pairs.items()))
            tokenizer = pretrain(model, stream, recipe, folder, resume=True).eval()
            kept["seconds"]["pretraining"] = perf_counter() - start
        start = perf_counter()
        row = measured(tokenizer, self.pairs, kept["row"])
        kept["seconds"]["measuring"] = kept["seconds"].get("measuring", 0) + perf_counter() - start
        write_json(path, {"row": row, "seconds": kept["seconds"], "settings": settings})
        return row

    def _kept(self, path: Path, settings: dict) -> dict:
        """What a file holds of a finished variant: nothing yet where there is none."""
        if not path.is_file():
            return {"row": {}, "seconds": {}}
        kept = json.loads(path.read_text())
        told = kept["settings"]
        told["recipe"] = as_told(told["recipe"], asdict(PretrainConfig()))
        told["model"] = as_told(told["model"], DFaceTokenizerConfig().to_dict())
        if changed := [key for key in settings if settings[key] != told[key]]:
            raise ValueError(f"{path} was made with another {', '.join(changed)}; give another --work")
        return kept

    def _configs(self, variant: Variant, seed: int) -> tuple[DFaceTokenizerConfig, PretrainConfig]:
        steps = self.options.steps
        recipe = dict(steps=steps, batch_size=self.options.batch_size, seed=seed)
        recipe |= dict(continuous_steps=steps // 5, lr_warmup_steps=steps // 10)
        model = DFaceTokenizerConfig(**(MODEL | variant.model))
        return model, PretrainConfig(**(RECIPE | recipe | variant.recipe))

    def _settings(self, variant: Variant, model: DFaceTokenizerConfig, recipe: PretrainConfig) -> dict:
        """Everything that a result depends on, as JSON gives it back."""
        asked = self.options
        data = {"batches": asked.batches, "faces": bool(asked.faces), "fields": bool(asked.fields)}
        data |= {key: repr(value) for key, value in variant.pairs.items()}
        sets = {"smoke": asked.smoke, "absent": sorted(self.pairs.absent)}
        settings = {"recipe": asdict(recipe), "model": model.to_dict(), "data": data, "benchmark": sets}
        return json.loads(json.dumps(settings))

    def _stream(self, seed: int, first_amplitude: tuple[float, float] | None, pairs: tuple) -> MixedPairs:
        asked, folder = self.options, self.work / "faces"
        sizes = asked.batches, asked.batch_size
        return pretraining_mix(SIZE, seed, asked.faces, asked.fields, *sizes, folder, **dict(pairs))[0]


def wanted(config: DFaceTokenizerConfig, pairs: BenchmarkPairs) -> dict[Callable, list[str]]:
    """What is measured of a tokenizer: each function with the columns that it fills, in order."""
    units = [f"{view} {column}" for view in VIEWS.values() for column in columns_of(pairs)]
    found = {
        action_units: units,
        codebook: ["perplexity", "dead codes", "null, acting", "null, still", "agreement"],
        subjects: ["subject, tokens", "subject, vectors", "subject, chance"],
    }
    second = {second_codebook: ["drift across, context", "drift up and down, context", "units, context"]}
    return found | (second if config.context_codebook_size else {})


def measured(tokenizer: DFaceTokenizerModel, pairs: BenchmarkPairs, row: Row) -> Row:
    """A row, completed by what it lacks of what the tokens of a tokenizer say of micro pairs."""
    read = cache(partial(tokens.represent, tokenizer))
    for measure, columns in wanted(tokenizer.config, pairs).items():
        if not row.keys() >= set(columns):
            row = row | dict(zip(columns, measure(tokenizer, read, pairs), strict=True))
    return row


def action_units(tokenizer: DFaceTokenizerModel, read: Callable, pairs: BenchmarkPairs) -> list[float]:
    """What a probe reads, by view and column of the token benchmark."""
    found = view_results(pairs, columns_of(pairs), read, ["micro"], VIEWS)
    return [one.macro_f1 for view in VIEWS for one in found[view].values()]


def codebook(tokenizer: DFaceTokenizerModel, read: Callable, pairs: BenchmarkPairs) -> list[float]:
    """How the codebook is used, and whether two faces that do the same get the same tokens."""
    entries = tokenizer.config.codebook_size
    acting, same, still = (
        read(pairs.clips(f"fitted-procedural-test{kind}", "micro")).ids for kind in ("", "-same", "-still")
    )
    use = tokens.codebook_use(acting, entries)
    agreement = tokens.token_agreement(same[::2], same[1::2], entries)["corrected"]
    nulls = [use["null_share"], float((still == 0).mean())]
    return [use["perplexity"], use["dead_codes"], *nulls, agreement]


def subjects(tokenizer: DFaceTokenizerModel, read: Callable, pairs: BenchmarkPairs) -> list[float]:
    """How well the face is told from tokens and from vectors, and by chance."""
    clips = pairs.clips("fitted-procedural-test-subjects", "micro")
    features = read(clips).features
    found = [probes.subject_probe(features[view], clips.identity) for view in VIEWS]
    return [*(accuracy for accuracy, _ in found), found[0][1]]


def second_codebook(tokenizer: DFaceTokenizerModel, read: Callable, pairs: BenchmarkPairs) -> list[float]:
    """What the context codes say of the head's drift and of action units."""
    drift = drift_read_out(tokenizer, pairs.procedural_faces("test"), 128 if pairs.smoke else 2048)
    units = probe_results(pairs, ["1"], partial(context_of, tokenizer), ["micro"])["1 micro"]
    return [*drift, units.macro_f1]


def differences(results: dict[str, list[Row]]) -> Rows:
    """The full recipe's numbers, their spread over seeds, and what each variant adds to them."""
    full = results[FULL]
    rows = {FULL: mean_of(full)}
    if len(full) > 1:
        rows[f"spread over {len(full)} seeds (sd)"] = {
            key: float(np.std([row[key] for row in full], ddof=1)) for key in full[0]
        }
    for name, found in results.items():
        if name != FULL:
            pairs = zip(found, full, strict=True)
            rows[name] = mean_of([{key: own[key] - base[key] for key in base} for own, base in pairs])
    return rows


def additions(results: dict[str, list[Row]]) -> Rows:
    """The columns that the full recipe does not have, as they are."""
    rows = {
        name: {key: value for key, value in mean_of(found).items() if key not in results[FULL][0]}
        for name, found in results.items()
    }
    return {name: row for name, row in rows.items() if row}


def mean_of(rows: list[Row]) -> Row:
    """Mean of each column."""
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def folder_name(variant: str) -> str:
    """A variant's name as one of a file."""
    return variant.replace(",", "").replace(" ", "-")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--variant", action="append", choices=VARIANTS, help="may be given several times; all by default"
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--batches", type=int, default=320, help="batches of a stream before it repeats")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--faces", help="folder of portraits and videos with an index.csv")
    parser.add_argument("--fields", help="file of measured motion fields; needs --faces")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder of the benchmark's data"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/benchmark_tokens"))
    parser.add_argument("--work", default="runs/recipe-ablation")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="few clips to measure on: does it run?")
    options = parser.parse_args()
    if options.fields and not options.faces:
        parser.error("--fields moves portraits: give --faces too")
    return options


def main() -> None:
    options = parse_arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(options.threads)
    threadpool_limits(options.threads)
    if not options.faces:
        print("no --faces: tokenizers are trained on procedural faces alone")
    for path in map(options.data.joinpath, NEEDED.values()):
        if not path.exists():
            print(f"{path} is absent: what needs it is left out")
    ablation = Ablation(options)
    names = list(dict.fromkeys([FULL, *(options.variant or VARIANTS)]))
    results: dict[str, list[Row]] = {name: [] for name in names}
    runs = tqdm([(seed, name) for seed in options.seeds for name in names], unit="variant")
    for seed, name in runs:
        runs.set_description(f"{name}, seed {seed}")
        results[name].append(ablation.result(name, seed))
    title = f"{options.steps} steps of {options.batch_size} pairs, {SIZE} px, seeds {options.seeds}"
    print(f"\n**The full recipe, and the difference of each variant from it: {title}**\n")
    print(markdown_table(differences(results)))
    if added := additions(results):
        print(f"\n**What the full recipe does not have, as it is**\n\n{markdown_table(added)}")


if __name__ == "__main__":
    main()
