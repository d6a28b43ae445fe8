"""Cards rendered from templates, and checkpoint folders as they are published."""

from .cards import render_card
from .checkpoint import write_checkpoint

__all__ = ["render_card", "write_checkpoint"]
