"""Render the cards in `hub_cards/`, which travel with the package."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def render_card(template: str, **values: Any) -> str:
    """Render a card.

    Args:
        template: Name of the template, such as `"dface"`.
        values: What the template names; a missing one is an error, not a gap in the card.

    Returns:
        The card as Markdown with its YAML header.

    Raises:
        FileNotFoundError: If there is no such template.
        jinja2.UndefinedError: If a value is missing.
    """
    source = files("dface_hf.hub_cards").joinpath(f"{template}.md").read_text(encoding="utf-8")
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(source).render(**values)
