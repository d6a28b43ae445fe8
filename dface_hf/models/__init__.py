"""Every system, one folder each; importing this package registers all of them with the Auto classes."""

from . import ac4au, dface, flow_baselines, text
from .ac4au import *  # noqa: F403
from .dface import *  # noqa: F403
from .flow_baselines import *  # noqa: F403
from .text import *  # noqa: F403

__all__ = [*ac4au.__all__, *dface.__all__, *flow_baselines.__all__, *text.__all__]
