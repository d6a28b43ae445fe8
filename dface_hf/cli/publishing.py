"""`dface card`, `push`, `push-dataset`, `push-metric` and `push-space`: to the Hub, one commit each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from .app import app, console

if TYPE_CHECKING:
    from dface_hf.hub import Pushed

RepoId = Annotated[str, typer.Argument(help="owner/name, or the name alone for one of your own.")]
Private = Annotated[bool, typer.Option("--private", help="Make the repository private.")]
Revision = Annotated[str | None, typer.Option(help="Branch; made where it does not exist.")]
Results = Annotated[
    Path | None,
    typer.Option(help="Scores for the card: folder of `cross-validate`, or of files of `evaluate --json`."),
]
Watts = Annotated[
    float | None, typer.Option(min=0.0, help="Mean power of the machine, to estimate the energy with.")
]
GramsPerKwh = Annotated[
    float | None, typer.Option(min=0.0, help="CO2e of its grid, to estimate emissions with; needs --watts.")
]
Checkpoint = Annotated[Path, typer.Argument(help="Folder of a checkpoint, or of the run that made it.")]
WithCode = Annotated[
    bool, typer.Option("--with-code", help="Add the model's code, for machines without dface_hf.")
]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")]


@app.command(
    epilog="Examples: `dface push runs/dface me/dface-casme2 --private` · "
    "`dface push runs/dface/model me/dface-casme2 --revision v2` · `dface push dface-mini me/dface-mini "
    "--with-code` · `dface push runs/dface me/dface --results runs/cv --watts 65` · the token: "
    "`hf auth login`, or HF_TOKEN; another Hub: HF_ENDPOINT"
)
def push(
    folder: Checkpoint,
    repo_id: RepoId,
    private: Private = False,
    revision: Revision = None,
    create_pr: CreatePr = False,
    with_code: WithCode = False,
    results: Results = None,
    watts: Watts = None,
    grams_per_kwh: GramsPerKwh = None,
) -> None:
    """Publish a checkpoint: weights, configuration, image processor, card, scores and the logs of its run."""
    from dface_hf.hub import Target, push_checkpoint

    target = Target(repo_id, "model", private, revision, create_pr)
    tell_pushed(push_checkpoint(folder, target, with_code, results, _power(watts, grams_per_kwh)))


@app.command(
    epilog="Examples: `dface card runs/dface me/dface` · `dface card runs/dface me/dface --results runs/cv`"
)
def card(
    folder: Checkpoint,
    repo_id: RepoId,
    with_code: WithCode = False,
    results: Results = None,
    watts: Watts = None,
    grams_per_kwh: GramsPerKwh = None,
) -> None:
    """Print the card that `dface push` would publish; nothing is sent."""
    from dface_hf.hub import preview_card

    print(preview_card(folder, repo_id, with_code, results, _power(watts, grams_per_kwh)), end="")


@app.command(epilog="Example: `dface push-dataset data/casme2 me/casme2-crops --private`")
def push_dataset(
    folder: Annotated[Path, typer.Argument(help="Prepared clips: the folder of `dface prepare`.")],
    repo_id: RepoId,
    private: Private = False,
    revision: Revision = None,
    create_pr: CreatePr = False,
) -> None:
    """Publish prepared clips; only privately where their terms do not let everybody have them."""
    from dface_hf.hub import Target
    from dface_hf.hub import push_dataset as run

    tell_pushed(run(folder, Target(repo_id, "dataset", private, revision, create_pr)))


@app.command(epilog="Example: `dface push-metric me_recognition me/me_recognition`")
def push_metric(
    metric: Annotated[str, typer.Argument(help="au_detection, me_recognition or me_spotting.")],
    repo_id: RepoId,
    private: Private = False,
    revision: Revision = None,
    create_pr: CreatePr = False,
) -> None:
    """Publish a metric as a Space; `evaluate.load` then takes its name."""
    from dface_hf.hub import Target
    from dface_hf.hub import push_metric as run

    tell_pushed(run(metric, Target(repo_id, "space", private, revision, create_pr)))


@app.command(epilog="Example: `dface push-space me/dface`")
def push_space(
    repo_id: RepoId,
    folder: Annotated[
        Path | None, typer.Option(help="Folder of the Space.", show_default="the one in this package")
    ] = None,
    private: Private = False,
    revision: Revision = None,
    create_pr: CreatePr = False,
) -> None:
    """Publish the demo Space."""
    from dface_hf.hub import Target
    from dface_hf.hub import push_space as run

    tell_pushed(run(Target(repo_id, "space", private, revision, create_pr), folder))


def _power(watts: float | None, grams_per_kwh: float | None):
    from dface_hf.hub import Power

    if watts is None and grams_per_kwh is not None:
        raise ValueError("--grams-per-kwh needs --watts")
    return None if watts is None else Power(watts, grams_per_kwh)


def tell_pushed(pushed: "Pushed") -> None:
    """The address on standard output, what was done on standard error."""
    done = "pushed" if pushed.changed else "nothing has changed, no commit was made"
    console.print(f"{done}: [bold]{escape(pushed.repo_id)}[/] is at {pushed.commit[:10]}")
    print(pushed.url)
