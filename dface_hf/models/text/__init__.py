"""Text encoders for EDCLIP anchors and open-vocabulary descriptions."""

from .encoding_text import TextEncoder

__all__ = ["TextEncoder"]
