"""Cards rendered from the templates in `hub_cards/`, with numbers that come from a checkpoint's own files.

A template prints a number only out of `config.json`, `report.json` or the results of a run; what is not there
reads "not measured".
"""

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard
from jinja2 import ChainableUndefined, Environment, FunctionLoader, Undefined
from transformers import AutoConfig, PreTrainedConfig

from dface_hf.models import AC4AUConfig, DFaceConfig, DFaceTokenizerConfig

from .results import training_results

REPORT = "report.json"
"""What a run tells of a checkpoint: beside the weights, and the source of every number of the card."""
HERE = "path/to/checkpoint"
"""How a card calls the checkpoint until it has a name on the Hub."""
NOT_MEASURED = "not measured"
TEMPLATES = {DFaceConfig: "dface", DFaceTokenizerConfig: "tokenizer", AC4AUConfig: "ac4au"}


class _Missing(ChainableUndefined):
    """What a file does not tell; so is whatever is in it."""

    def __str__(self) -> str:
        return NOT_MEASURED


def render_card(template: str, **values: Any) -> str:
    """Render a template.

    Args:
        template: Its name, such as `"dface"`.
        values: What it names. One that is missing, or None, reads "not measured".

    Returns:
        Markdown, with a YAML header if the template has one.

    Raises:
        FileNotFoundError: If there is no such template.
    """
    environment = Environment(
        undefined=_Missing,
        finalize=lambda value: NOT_MEASURED if value is None else value,
        loader=FunctionLoader(lambda name: _source(name)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"fixed": _fixed, "hours": _hours}
    text = environment.from_string(_source(f"{template}.md")).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text)


def checkpoint_card(folder: str | Path, report: dict[str, Any] | None = None) -> str:
    """The card of a checkpoint, from its own files.

    Args:
        folder: With `config.json` and, where its run wrote one, `report.json`.
        report: Instead of that file.

    Returns:
        The card, with the scores also as the `model-index` of its header.
    """
    config = AutoConfig.from_pretrained(folder)
    if report is None:
        report = read_report(folder)
    rendered = render_card(
        "converted" if "conversion" in report else TEMPLATES.get(type(config), "model"),
        config=config,
        tokenizer=getattr(config, "tokenizer_config", None) or config,
        classes=[label for _, label in sorted(config.id2label.items())],
        report=report,
        cost=report.get("cost"),
        power=None,
        checkpoint=HERE,
    )
    card = ModelCard(rendered)
    card.data.model_name = _name(config, report)
    card.data.eval_results = training_results(report) or None
    return str(card)


def read_report(folder: str | Path) -> dict[str, Any]:
    """What a run told of its checkpoint; empty where it told nothing."""
    path = Path(folder) / REPORT
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def put_section(text: str, section: str) -> str:
    """Put a section into a card in the place of the one with its heading, or where there is none at the end.

    Args:
        text: The card.
        section: Its first line is a heading of level 2, or of level 3: then it goes to the end of the section
            `## Results`.
    """
    heading = section.split("\n", 1)[0]
    if f"\n{heading}\n" in text:
        start = text.index(f"\n{heading}\n") + 1
        end = _end_of_section(text, start, len(heading.split(" ")[0]))
    elif heading.startswith("### ") and "\n## Results\n" in text:
        start = end = _end_of_section(text, text.index("\n## Results\n") + 1, 2)
    else:
        start = end = len(text)
    return _joined(text[:start], section, text[end:])


def drop_section(text: str, heading: str) -> str:
    """Take a section out of a card, up to the next heading of its level or a higher one.

    Args:
        text: The card.
        heading: Its line, of level 2 or 3; a card without it stays as it is.
    """
    if f"\n{heading}\n" not in text:
        return text
    start = text.index(f"\n{heading}\n") + 1
    end = _end_of_section(text, start, len(heading.split(" ")[0]))
    return _joined(text[:start], text[end:])


def _joined(*parts: str) -> str:
    """Parts of a card with an empty line between them."""
    first, *others = parts
    stripped = (first.rstrip(), *(part.strip() for part in others))
    return "\n\n".join(part for part in stripped if part) + "\n"


def _end_of_section(text: str, start: int, level: int) -> int:
    """Where the next heading of this or a higher level is; a single # may be a comment in an example."""
    body = text.index("\n", start)
    found = re.compile(rf"^#{{2,{level}}} ", re.MULTILINE).search(text, body)
    return found.start() if found else len(text)


def _source(name: str) -> str:
    return files("dface_hf.hub_cards").joinpath(name).read_text(encoding="utf-8")


def _fixed(value: Any, digits: int = 3) -> str:
    """A number with a fixed count of decimals."""
    return NOT_MEASURED if value is None or isinstance(value, Undefined) else f"{value:.{digits}f}"


def _hours(seconds: Any) -> str:
    return NOT_MEASURED if seconds is None or isinstance(seconds, Undefined) else f"{seconds / 3600:.3g}"


def _name(config: PreTrainedConfig, report: dict[str, Any]) -> str:
    return report.get("name") or config.model_type
