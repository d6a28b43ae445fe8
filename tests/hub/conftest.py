"""A local Hub, and processes that push to it and load from it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the local Hub needs starlette (extra [space])")
pytest.importorskip("uvicorn", reason="the local Hub needs uvicorn (extra [space])")

from ..hub_server import HubServer  # noqa: E402

CLIENT = Path(__file__).parents[1] / "hub_server" / "client.py"


@dataclass
class Answer:
    code: int
    out: str
    err: str


class Client:
    """A process that uses the Hub, with a cache of its own."""

    def __init__(self, url: str, home: Path, *python: str, **environ: str) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTEST"))}
        env |= {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
        env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"} | environ
        command = [sys.executable, *python, str(CLIENT)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=env, cwd=home, **pipes)

    def dface(self, *argv: object, token: str | None = "hf_ada", **environ: str | None) -> Answer:
        """Run the command line."""
        return self._ask({"argv": [str(word) for word in argv]}, token, environ)

    def run(self, code: str, token: str | None = None, **environ: str | None) -> Answer:
        """Run Python."""
        return self._ask({"code": code}, token, environ)

    def _ask(self, asked: dict, token: str | None, environ: dict) -> Answer:
        asked["environ"] = {"HF_TOKEN": token, "HF_HUB_DOWNLOAD_TIMEOUT": None} | environ
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Answer(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture(scope="session")
def hub_server():
    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def hub(hub_server):
    """The Hub, with nothing in it."""
    hub_server.state.repos.clear()
    hub_server.state.storage.clear()
    hub_server.faults.clear()
    hub_server.asked.clear()
    return hub_server


def _client(hub_server, tmp_path_factory, name: str):
    client = Client(hub_server.url, tmp_path_factory.mktemp(name))
    yield client
    client.close()


@pytest.fixture(scope="session")
def pusher(hub_server, tmp_path_factory):
    """The process that publishes."""
    yield from _client(hub_server, tmp_path_factory, "pusher")


@pytest.fixture(scope="session")
def loader(hub_server, tmp_path_factory):
    """Another one, with another cache, that loads."""
    yield from _client(hub_server, tmp_path_factory, "loader")
