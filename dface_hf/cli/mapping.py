"""`dface atlas`: what the tokens of a tokenizer move and mean."""

from pathlib import Path
from typing import Annotated

import typer

from dface_hf import DEFAULT_CHECKPOINT

from .app import Device, app, checkpoint_name, console


@app.command(
    epilog="Examples: `dface atlas --out atlas` · `dface atlas runs/tok/model --out atlas --identities 20` · "
    "`dface atlas --out atlas --faces portraits/`"
)
def atlas(
    model: Annotated[
        str, typer.Argument(help="Checkpoint: folder or Hub id.", show_default="dface-mini")
    ] = DEFAULT_CHECKPOINT,
    out: Annotated[
        Path, typer.Option(help="Folder for index.html, poster.png, atlas.json and atlas.npz.")
    ] = ...,
    faces: Annotated[
        Path | None,
        typer.Option(help="Folder of portraits to decode on.", show_default="procedural faces"),
    ] = None,
    identities: Annotated[int, typer.Option(min=2, help="Faces each token is decoded on.")] = 50,
    pairs: Annotated[
        int, typer.Option(min=1, help="Synthetic pairs: how often tokens are used, with which units.")
    ] = 4000,
    seed: Annotated[int, typer.Option(min=0, help="Of faces and pairs.")] = 0,
    device: Device = None,
) -> None:
    """Make an atlas of tokens: for each position and code what it moves, on which faces, with which units.

    Takes some four minutes of one core with the default checkpoint. An older atlas in the folder is
    replaced.
    """
    from dface_hf import DFaceTokenizerModel
    from dface_hf.analysis.atlas import build_atlas, check_folder, write_atlas
    from dface_hf.pipelines.loading import load_model

    tokenizer = load_model(model, DFaceTokenizerModel)
    _put_on(tokenizer, device or "cpu")
    chosen, about = _faces(faces, identities, tokenizer.config.image_size, seed)
    check_folder(out)
    about |= {"model": checkpoint_name(model)}
    found = build_atlas(tokenizer, chosen, about, pairs, seed=seed)
    page = write_atlas(out, found)
    for question in found.document["questions"].values():
        print("\n".join(question["verdict"]))
    print(page)


def _put_on(model, device: str) -> None:
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        fix = "choose cpu, cuda or cuda:N"
        raise ValueError(f"device {device!r} cannot be used ({reason}); {fix}") from error


def _faces(folder: Path | None, count: int, size: int, seed: int):
    """Faces that tokens are decoded on, and what to say of them."""
    from dface_hf.data.picture_folder import aligned_pictures
    from dface_hf.synthesis import procedural_faces
    from dface_hf.synthesis.seeds import seed_of

    if folder is None:
        faces = procedural_faces(count, size, seed_of("atlas faces", seed), oversample=1)
        return faces, {"face_source": "procedural faces"}
    faces, skipped = aligned_pictures(folder, count, size, seed)
    if skipped:
        text = f"{folder}: no face found in {len(skipped)} pictures, or unreadable, such as {skipped[0]}"
        console.print(text, markup=False, style="yellow")
    if len(faces) < count:
        text = f"{folder}: {len(faces)} faces; {count} were asked for"
        console.print(text, markup=False, style="yellow")
    return faces, {"face_source": f"portraits of {folder.name}", "without_face": len(skipped)}
