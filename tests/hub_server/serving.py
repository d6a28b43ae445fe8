"""Both origins on loopback, in threads of this process; the log of what was asked, and faults on demand."""

import asyncio
import threading
import time
from dataclasses import dataclass

import uvicorn
from starlette.responses import PlainTextResponse

from .app import HubApp, StorageApp
from .state import State


@dataclass
class Fault:
    """What goes wrong with requests of this method whose path holds `part`, and how many times.

    `what` is a status, "cut" (the connection breaks in the middle of the request), or "hang".
    """

    method: str
    part: str
    what: int | str
    times: int = 1000


@dataclass(frozen=True)
class Asked:
    """One request: to "hub" or "storage", whether a token came along, whether it asked for a part (Range)."""

    origin: str
    method: str
    path: str
    token: bool
    part: bool


class HubServer:
    """A running Hub. `faults` may be set at any time; `asked` grows with each request."""

    def __init__(self) -> None:
        self.state, self.faults, self.asked, self._running = State(), [], [], []
        hub, storage = HubApp(self.state), StorageApp(self.state)
        # Two names of one machine: clients must take them for two origins.
        self.storage_url = self._serve("storage", storage.asgi(), "127.0.0.1")
        self.url = hub.url = self._serve("hub", hub.asgi(), "localhost")
        hub.storage_url = self.storage_url

    def close(self) -> None:
        for server, thread in self._running:
            server.force_exit = server.should_exit = True
            thread.join(10)

    def count(self, method: str, part: str) -> int:
        """How many requests of this method held `part` in their path."""
        return sum(asked.method == method and part in asked.path for asked in self.asked)

    def _serve(self, origin: str, app, host: str) -> str:
        options = dict(log_level="critical", lifespan="off")
        config = uvicorn.Config(_Faulty(self, origin, app), "127.0.0.1", 0, **options)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        self._running.append((server, thread))
        return f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"


class _Faulty:
    """Writes down each request, and breaks those that a fault is meant for."""

    def __init__(self, server: HubServer, origin: str, app) -> None:
        self.server, self.origin, self.app = server, origin, app

    async def __call__(self, scope, receive, send) -> None:
        sent = {name for name, _ in scope["headers"]}
        told = (self.origin, scope["method"], scope["path"], b"authorization" in sent, b"range" in sent)
        self.server.asked.append(Asked(*told))
        for fault in self.server.faults:
            if fault.times and fault.method == scope["method"] and fault.part in scope["path"]:
                fault.times -= 1
                return await self._break(fault, scope, receive, send)
        await self.app(scope, receive, send)

    async def _break(self, fault: Fault, scope, receive, send) -> None:
        await receive()  # a part of the request has arrived
        if fault.what == "cut":
            send.__self__.transport.abort()  # uvicorn's side of the connection; ASGI itself cannot do this
        elif fault.what == "hang":
            await asyncio.sleep(30)
        else:
            await PlainTextResponse("<html>out of order</html>", fault.what)(scope, receive, send)
