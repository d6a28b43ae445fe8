"""What a push consists of: links to the files of a checkpoint, a dataset, a metric or the Space."""

import json
import shutil
import tempfile
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pyarrow.parquet
from transformers import AutoConfig

from dface_hf.data.prepared_clips import parquet_files
from dface_hf.models import DFaceConfig, DFaceImageProcessor, DFaceTokenizerConfig, DFaceTokenizerModel
from dface_hf.training.cross_validate_heads import describe_tokenizer

from .cards import checkpoint_card, put_section, read_report, render_card
from .published import LINKS_HEADING, Power, published_card, published_dataset_card
from .push import Pushed, PushError, Target, check_target, push_folder
from .remote_code import add_code
from .results import Results, figures, read_results
from .trained import run_report

# Of a checkpoint's folder only these are published: pickles and whatever else lies there stay.
PUBLISHED = tuple(".json .jsonl .safetensors .md .txt .csv .yaml .png .svg .jpg .html".split())
WEIGHTS = "model*.safetensors*"
# Pictures of faces under other terms are lent to those who sign for them.
OPEN_LICENSES = ("cc0", "cc-by", "pddl", "odc-by", "apache-2.0", "mit", "public domain")


def push_checkpoint(
    folder: str | Path,
    target: Target,
    with_code: bool = False,
    results: str | Path | None = None,
    power: Power | None = None,
) -> Pushed:
    """Publish a checkpoint: weights, configuration, image processor, card, and what its run left.

    Args:
        folder: Of a checkpoint, or of a run whose `model` is one; then the run's logs go to `training/`.
        target: Where to.
        with_code: Add the files of the model, so that it loads with `trust_remote_code=True` where dface_hf
            is not installed.
        results: Folder of `dface cross-validate`, or with a file of `dface evaluate --json`: scores and
            pictures go to `results/` and into the card.
        power: To estimate the energy of the training with.

    Raises:
        PushError: The folder is no whole checkpoint, the results are not of it, or the push failed.
    """
    model_type = check_checkpoint(folder)
    target = check_target(target, model_type)
    with tempfile.TemporaryDirectory() as stage:
        stage_checkpoint(folder, stage, target.repo_id, with_code, results, power)
        message = f"{model_type} by dface push"
        return push_folder(stage, target, message, (WEIGHTS,), again=folder)


def preview_card(folder: str | Path, repo_id: str, *options: Any) -> str:
    """The card that `push_checkpoint` would publish.

    Args:
        folder: Of the checkpoint or of its run.
        repo_id: Name on the Hub.
        options: `with_code`, `results` and `power` of `push_checkpoint`.
    """
    check_checkpoint(folder)
    with tempfile.TemporaryDirectory() as stage:
        stage_checkpoint(folder, stage, repo_id, *options)
        return (Path(stage) / "README.md").read_text(encoding="utf-8")


def check_checkpoint(folder: str | Path) -> str:
    """Check that a folder holds a whole checkpoint, and return its model type.

    Raises:
        PushError: If configuration, weights or one of their shards is missing.
    """
    model = _model_folder(Path(folder))
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PushError(f"{model}/config.json cannot be read ({error}); give a checkpoint") from error
    needed = {"model.safetensors"}
    index = model / "model.safetensors.index.json"
    if index.is_file() and (model / "model.safetensors").exists():
        raise PushError(f"{model}: holds both model.safetensors and shards; remove the ones out of date")
    if index.is_file():
        needed = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    for name in sorted(needed):
        if not (model / name).is_file():
            raise PushError(f"{model}: {name} is missing; a checkpoint is published whole, as safetensors")
    return config["model_type"]


def stage_checkpoint(
    folder: str | Path,
    stage: str | Path,
    repo_id: str,
    with_code: bool = False,
    results: str | Path | None = None,
    power: Power | None = None,
) -> None:
    """Fill an empty folder with what is published of a checkpoint; see `push_checkpoint`."""
    folder, stage = Path(folder), Path(stage)
    model = _model_folder(folder)
    _link(model, stage, PUBLISHED)
    if model != folder:
        _link(folder, stage / "training", PUBLISHED, skipped=(model.name, "checkpoints"))
    config = AutoConfig.from_pretrained(model)
    if not (stage / "preprocessor_config.json").exists() and isinstance(
        config, DFaceConfig | DFaceTokenizerConfig
    ):
        size = getattr(config, "tokenizer_config", config).image_size
        DFaceImageProcessor(size={"height": size, "width": size}).save_pretrained(stage)
    readme = stage / "README.md"
    if readme.exists():
        text = readme.read_text(encoding="utf-8")
    else:
        text = checkpoint_card(stage, read_report(stage) or run_report(stage / "training"))
    found = _stage_results(results, stage / "results", model) if results is not None else []
    loaders = add_code(stage, config) if with_code else {}
    try:
        text = published_card(text, config, stage, repo_id, loaders, found, results, power)
    except ValueError as error:
        raise PushError(str(error).replace(str(stage), str(model))) from error
    _write(readme, text)


def _stage_results(results: str | Path, stage: Path, model: Path) -> list[Results]:
    """Put scores and pictures into a folder, the scores without names of folders."""
    try:
        found = read_results(results)
    except ValueError as error:
        raise PushError(str(error)) from error
    stage.mkdir()
    for one in found:
        _check_same_tokenizer(one, results, model)
        (stage / one.name).write_text(json.dumps(one.document, indent=2) + "\n", encoding="utf-8")
    for path in figures(results):
        shutil.copyfile(path, stage / path.name)
    return found


def _check_same_tokenizer(results: Results, folder: str | Path, model: Path) -> None:
    """Scores of heads on another tokenizer say nothing about this checkpoint."""
    tested = results.tokenizer()
    if tested is None:
        return
    here = describe_tokenizer(DFaceTokenizerModel.from_pretrained(model))
    if here != tested:
        raise PushError(
            f"{folder}/{results.name}: is about another tokenizer ({tested}) than {model} ({here}); run "
            f"`dface cross-validate --model {model}`"
        )


def push_dataset(folder: str | Path, target: Target) -> Pushed:
    """Publish prepared clips: the Parquet files, the card, and the report of what was left out.

    Args:
        folder: As `dface prepare` leaves it.
        target: Where to.

    Raises:
        PushError: No Parquet file; clips that may not be shared, to a public repository; or a failed push.
    """
    found = parquet_files(folder) if Path(folder).is_dir() else []
    if not found:
        raise PushError(f"{folder}: no .parquet file in it; `dface prepare` makes such a folder")
    if not (Path(folder) / "README.md").is_file():
        raise PushError(f"{folder}: no README.md; say there what the clips are, and their terms")
    terms = {term for path in found for term in _licenses(path)}
    closed = sorted(term for term in terms if not _is_open(term))
    known = check_target(target)
    if closed and not target.private:
        raise PushError(
            f"{folder}: holds clips that may not be given to everybody (terms: {closed[0]}); "
            "push with --private, if their owner agrees"
        )
    with tempfile.TemporaryDirectory() as stage:
        _link(Path(folder), Path(stage))
        text = (Path(folder) / "README.md").read_text(encoding="utf-8")
        _write(Path(stage) / "README.md", published_dataset_card(text, folder, found, known.repo_id))
        return push_folder(stage, known, "clips by dface push-dataset", ("*.parquet",), again=folder)


def push_metric(name: str, target: Target) -> Pushed:
    """Publish a metric of `dface_hf.metrics` as a Space that `evaluate.load` and people can use.

    Args:
        name: Such as me_recognition.
        target: Where to; the repository must have the name of the metric, by which `evaluate` finds the file.

    Raises:
        PushError: No such metric, another name, or a failed push.
    """
    with as_file(files("dface_hf.metrics")) as metrics:
        names = sorted(path.parent.name for path in metrics.glob("*/app.py"))
        if name not in names:
            raise PushError(f"no metric {name!r}; there are {', '.join(names)}")
        if target.repo_id.rpartition("/")[2] != name:
            raise PushError(f"{target.repo_id}: evaluate.load finds {name}.py by the name; end it in /{name}")
        return _push_space(metrics / name, target, f"{name} by dface push-metric", "_metric")


def push_space(target: Target, folder: str | Path | None = None) -> Pushed:
    """Publish the demo Space.

    Args:
        target: Where to.
        folder: The Space's; default the one in this package.

    Raises:
        PushError: The folder holds no Space, or the push failed.
    """
    if folder is not None:
        return _push_space(Path(folder), target, "Space by dface push-space")
    with as_file(files("dface_hf.spaces_demo")) as packaged:
        return _push_space(packaged, target, "Space by dface push-space")


def _push_space(folder: Path, target: Target, message: str, section: str | None = None) -> Pushed:
    for name in ("app.py", "README.md"):
        if not (folder / name).is_file():
            raise PushError(f"{folder}: no {name}; a Space needs one")
    target = check_target(Target(**vars(target) | {"repo_type": "space"}))
    with tempfile.TemporaryDirectory() as stage:
        _link(folder, Path(stage), skipped=("__init__.py",))
        if section:
            readme, told = Path(stage) / "README.md", dict(heading=LINKS_HEADING, repo_id=target.repo_id)
            _write(readme, put_section(readme.read_text(encoding="utf-8"), render_card(section, **told)))
        return push_folder(stage, target, message, again=folder)


def _model_folder(folder: Path) -> Path:
    """The checkpoint itself: the folder, or `model` in it."""
    if not folder.is_dir():
        raise PushError(f"{folder}: no such folder; give that of a checkpoint or of a run")
    whole = (folder / "config.json").exists() or not (folder / "model").is_dir()
    return folder if whole else folder / "model"


def _link(source: Path, stage: Path, suffixes: tuple[str, ...] = (), skipped: tuple[str, ...] = ()) -> None:
    """Link the visible files of a folder, and `.eval_results`, into another one."""
    for path in sorted(source.rglob("*")):
        inside = path.relative_to(source)
        hidden = [part for part in inside.parts if part.startswith(".") and part != ".eval_results"]
        if hidden or "__pycache__" in inside.parts or inside.parts[0] in skipped or not path.is_file():
            continue
        if suffixes and path.suffix not in suffixes:
            continue
        (stage / inside).parent.mkdir(parents=True, exist_ok=True)
        try:
            (stage / inside).symlink_to(path.resolve())
        except OSError:  # systems that allow no links
            shutil.copyfile(path, stage / inside)


def _write(path: Path, text: str) -> None:
    """Write a file of the stage in the place of its link, not through it."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def _licenses(path: str) -> list[str]:
    try:
        return pyarrow.parquet.read_table(path, columns=["license"])["license"].unique().to_pylist()
    except (KeyError, ValueError, OSError) as error:
        raise PushError(f"{path}: no column license ({error}); is it of `dface prepare`?") from error


def _is_open(term: str | None) -> bool:
    term = (term or "").lower()
    return term.startswith(OPEN_LICENSES) and "-nd" not in term
