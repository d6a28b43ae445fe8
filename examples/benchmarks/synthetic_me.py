"""The paper's ablations on SyntheticME, look-alikes of CASME II, SAMM and SMIC without a person in them.

    python examples/benchmarks/synthetic_me.py
    python examples/benchmarks/synthetic_me.py --model svm --model ststnet --seeds 1   # baselines alone
    python examples/benchmarks/synthetic_me.py --clips 30 --epochs 2 --seeds 1 --work /tmp/tiny

Writes the three corpora as prepared clips, then runs `dface cross-validate` on them, as anyone would on
their own: the tokenizer of `dface-mini` stays as it is, every head is trained anew in each fold of subjects,
for the default number of epochs. All scores are SYNTHETIC: faces and motion come from the generator (other
seeds) that the tokenizer was pretrained with. Interrupted, it goes on where it was.
"""

import argparse
from pathlib import Path

import torch

from dface_hf.cli import app
from dface_hf.data import CORPORA, synthetic_me

SEED = 2024  # of the corpora: no training has seen it
MODELS = ("dface", "svm")


def write_corpora(folder: Path, clips: int | None) -> list[str]:
    """The corpora's keyframes as folders of Parquet files; those that are there stay as they are."""
    folders = []
    for name in CORPORA:
        path = folder / name / "clips.parquet"
        folders.append(str(path.parent))
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = synthetic_me(name, clips, SEED, frames="keyframes", cache_dir=str(folder / ".cache"))
            partial = path.with_name(".clips.partial")
            made.to_parquet(partial)
            partial.rename(path)
    return folders


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    models = options.model or MODELS
    output = Path(options.work) / "-".join(Path(model).name for model in models)
    command = ["cross-validate", "--scheme", "composite3", "--protocol", "kfold", "--k", str(options.k)]
    command += ["--seeds", str(options.seeds), "--output", str(output)]
    for folder in write_corpora(Path(options.work) / "corpora", options.clips):
        command += ["--data", folder]
    for model in models:
        command += ["--model", model]
    command += ["--ablation", "all"] if any(map(_is_dface, models)) else []
    command += ["--epochs", str(options.epochs)] if options.epochs else []
    command += ["--resume"] if output.exists() else []
    app(command, standalone_mode=False)


def _is_dface(model: str) -> bool:
    return model == "dface" or Path(model).is_dir()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", default="runs/synthetic-me", help="folder of corpora and runs")
    parser.add_argument(
        "--model", action="append", help=f"as of dface cross-validate; {' and '.join(MODELS)}"
    )
    parser.add_argument("--k", type=int, default=5, help="folds of subjects")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="instead of each model's own")
    parser.add_argument("--clips", type=int, help="of each corpus, instead of the published number")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
