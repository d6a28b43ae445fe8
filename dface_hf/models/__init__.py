"""Every system, one folder each; importing this package registers all of them with the Auto classes."""

from .dface import *  # noqa: F403
from .dface import __all__ as __all__
