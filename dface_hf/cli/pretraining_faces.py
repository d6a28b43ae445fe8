"""`dface pretrain --model ac4au-backbone`: AC4AU's backbone learns to tell people apart."""

from pathlib import Path

from rich.markup import escape

from .app import console, recipe_precision

TOKENIZER = "tokenizer"
BACKBONES = ("ac4au-backbone", "ac4au-backbone-mini")
EXAMPLE = (
    "`dface pretrain --model ac4au-backbone --faces faces --output runs/backbone`, for `dface cross-validate "
    "--task action-units --data data/casme2 --model runs/backbone/model --output runs/units`"
)


ONLY_TOKENIZER = (
    "data", "data_share", "accumulation", "ema", "decoder_head", "fields", "batches", "recipe", "report_to",
    "push_to_hub", "private",
)  # fmt: skip
"""Parameters of `dface pretrain` that a backbone has no use for."""


def check_model(model: str, given: set[str]) -> str:
    """What is pretrained, if the options that were given fit.

    Args:
        model: "tokenizer", or one of `BACKBONES`.
        given: Names of the parameters that stood on the command line, whatever their value.

    Raises:
        ValueError: Unknown model, or an option of the tokenizer for a backbone.
    """
    if model not in (TOKENIZER, *BACKBONES):
        raise ValueError(f"unknown model {model!r}; choose {TOKENIZER}, {' or '.join(BACKBONES)}")
    if model != TOKENIZER and (wrong := [name for name in ONLY_TOKENIZER if name in given]):
        option = f"--{wrong[0].replace('_', '-')}"
        raise ValueError(f"{option} is about the tokenizer; leave it out with --model {model}")
    return model


def pretrain_faces(
    model: str,
    output: Path,
    faces: Path | None,
    steps: int,
    batch_size: int,
    learning_rate: float,
    mixed_precision: str,
    seed: int,
    checkpoint_every: int,
    resume: bool,
) -> None:
    """Train on procedural people, or those of a folder, and write `model`.

    Raises:
        ValueError: Steps that are no whole blocks of 50, a folder that holds a run, or what the training
            refuses.
    """
    from dataclasses import replace

    from dface_hf import AC4AUConfig
    from dface_hf.data import aligned_faces
    from dface_hf.training.checkpointing import checkpoints, write_folder
    from dface_hf.training.pretrain_faces import (
        BLOCK,
        FACES_RECIPE,
        PEOPLE,
        people_stream,
        pretrain_backbone,
    )
    from dface_hf.training.train_units import AC4AU_MINI

    for option, value in (("--steps", steps), ("--checkpoint-every", checkpoint_every)):
        if value % BLOCK:
            whole = -(-value // BLOCK) * BLOCK
            raise ValueError(
                f"{option} {value}: a backbone trains in blocks of {BLOCK} steps; give {whole}, say"
            )
    if checkpoints(output / "checkpoints") and not resume:
        raise ValueError(f"{output} holds checkpoints of a run; give --resume, or another folder")
    recipe = replace(
        FACES_RECIPE, epochs=steps // BLOCK, batch_size=batch_size, learning_rate=learning_rate,
        precision=recipe_precision(mixed_precision),
    )  # fmt: skip
    config = AC4AUConfig() if model == BACKBONES[0] else AC4AU_MINI
    known = None if faces is None else aligned_faces(faces, config.image_size)
    people = PEOPLE if known is None else len(known)
    stream = people_stream(config, people, seed, known)
    blocks = checkpoint_every // BLOCK
    found, accuracy = pretrain_backbone(config, stream, people, recipe, seed, output, blocks)
    write_folder(output / "model", found.save_pretrained)
    told = f"{people} people, told apart in {100 * accuracy:.1f} % of 512 unseen frames after {steps} steps"
    console.print(told)
    console.print(f"AC4AU with this backbone in [bold]{escape(str(output / 'model'))}[/]")
