"""A small Hub on loopback, for tests that push in one process and load in another.

Two origins, as on the real Hub: repositories, and the storage of large files, which answers 400 if it is
ever shown a token. Only what `huggingface_hub`, `datasets` and `evaluate` need is there; quotas, gating and
xet are not.
"""

from .serving import Fault, HubServer
from .state import LOGINS, Login

__all__ = ["LOGINS", "Fault", "HubServer", "Login"]
