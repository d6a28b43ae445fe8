"""`dface pretrain --model ac4au-backbone`: AC4AU's backbone learns to tell people apart."""

from pathlib import Path

from rich.markup import escape

from .app import console, recipe_precision

TOKENIZER = "tokenizer"
BACKBONES = ("ac4au-backbone", "ac4au-backbone-mini")
EXAMPLE = (
    "`dface pretrain --model ac4au-backbone --faces faces --output runs/backbone`, for `dface cross-validate "
    "--task action-units --model runs/backbone/model`"
)


def check_model(model: str, only_tokenizer: dict[str, object]) -> str:
    """What is pretrained, if its options fit.

    Raises:
        ValueError: Unknown model, or an option of the tokenizer for a backbone.
    """
    if model not in (TOKENIZER, *BACKBONES):
        raise ValueError(f"unknown model {model!r}; choose {TOKENIZER}, {' or '.join(BACKBONES)}")
    if model != TOKENIZER and (given := [name for name, value in only_tokenizer.items() if value]):
        raise ValueError(f"{given[0]} is about the tokenizer; leave it out with --model {model}")
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
    resume: bool,
) -> None:
    """Train on procedural people, or those of a folder, and write `model`."""
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

    if checkpoints(output / "checkpoints") and not resume:
        raise ValueError(f"{output} holds checkpoints of a run; give --resume, or another folder")
    config = AC4AUConfig() if model == BACKBONES[0] else AC4AU_MINI
    known = None if faces is None else aligned_faces(faces, config.image_size)
    people = PEOPLE if known is None else len(known)
    recipe = replace(
        FACES_RECIPE, epochs=-(-steps // BLOCK), batch_size=batch_size, learning_rate=learning_rate,
        precision=recipe_precision(mixed_precision),
    )  # fmt: skip
    stream = people_stream(config, people, seed, known)
    found, accuracy = pretrain_backbone(config, stream, people, recipe, seed, output)
    write_folder(output / "model", found.save_pretrained)
    steps = recipe.epochs * BLOCK
    told = f"{people} people, told apart in {100 * accuracy:.1f} % of 512 unseen frames after {steps} steps"
    console.print(told)
    console.print(f"AC4AU with this backbone in [bold]{escape(str(output / 'model'))}[/]")
