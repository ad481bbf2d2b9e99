"""The near end of the workers: starts their processes, asks, and waits no longer than it should."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, final

from .peers import AbstractBatch, AbstractPeer, Flags

_CHECKOUT = Path(__file__).resolve().parent.parent.parent
OPTION = "xla_cpu_small_while_loop_byte_threshold"


@final
class Lost(Exception):
    """A worker that did not answer in time, or ended."""


def environment(flags: str = "", **more: str) -> dict[str, str]:
    """float64, no compiled programs kept on disk, one thread of BLAS, exactly these flags of XLA, and whatever more."""
    variables = dict(os.environ)
    for name in ("XLA_FLAGS", "SYMDEQ_XLA_TUNING", "JAX_COMPILATION_CACHE_DIR"):
        variables.pop(name, None)
    variables |= {
        "JAX_ENABLE_X64": "1",
        "JAX_ENABLE_COMPILATION_CACHE": "0",
        "JAX_PLATFORMS": "cpu",
        "OPENBLAS_NUM_THREADS": "1",
        **more,
    }
    return {**variables, "XLA_FLAGS": flags} if flags else variables


@final
class Client:
    """One worker; `greet` waits until it is ready."""

    def __init__(self, arguments: Iterable[str], flags: str = "", patience: float = 120.0, **more: str) -> None:
        self.patience = patience
        self._process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=_CHECKOUT,
            env=environment(flags, **more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._answers = self._process.stdin, self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._answers, selectors.EVENT_READ)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def greet(self) -> dict[str, Any]:
        """What the worker says of itself once it is ready."""
        return self._read(max(self.patience, 120.0))

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to one request. Raises `Lost`, after which the client is closed, if there is none in time."""
        try:
            self._requests.write(json.dumps(request) + "\n")
            self._requests.flush()
        except BrokenPipeError:
            raise self._lost("its process ended") from None
        return self._read(self.patience)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._selector.close()

    def _read(self, patience: float) -> dict[str, Any]:
        # An answer is written at once, so one that has begun is read to its end.
        if not self._selector.select(patience):
            raise self._lost(f"no answer within {patience:g} s")
        line = self._answers.readline()
        if not line:
            raise self._lost("its process ended")
        return json.loads(line)

    def _lost(self, why: str) -> Lost:
        self.close()
        return Lost(why)


def started(peers: Iterable[AbstractPeer | AbstractBatch], patience: float) -> dict[str, Client]:
    """A worker for each peer, by name, ready to be asked.

    Raises `RuntimeError` if XLA's option is not as a peer wants it.
    """
    peers = tuple(peers)
    option = _option() if any(peer.flags is Flags.option for peer in peers) else ""
    clients = {
        peer.name: Client(
            ("tests.benchmarks.worker", peer.name), option if peer.flags is Flags.option else "", patience
        )
        for peer in peers
    }
    for peer in peers:
        flags = clients[peer.name].greet()["flags"]
        if (OPTION in flags) == (peer.flags is Flags.default):
            raise RuntimeError(f"{peer.name} runs with XLA_FLAGS={flags!r}, which is not {peer.flags.value}")
    return clients


def _option() -> str:
    """`XLA_FLAGS` after symdeq was imported."""
    code = "import os, symdeq; print(os.environ['XLA_FLAGS'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=_CHECKOUT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@final
class Session:
    """The workers of some peers, as a context; those that were lost are started again when they are asked for."""

    def __init__(self, peers: Iterable[AbstractPeer | AbstractBatch], patience: float) -> None:
        self._peers, self._patience = tuple(peers), patience
        self._clients: dict[str, Client] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def clients(self, without: Iterable[str] = ()) -> dict[str, Client]:
        """All workers, ready to be asked, but those of the peers named."""
        without = set(without)
        wanted = [peer for peer in self._peers if peer.name not in without]
        lost = [p for p in wanted if p.name not in self._clients or not self._clients[p.name].alive]
        self._clients |= started(lost, self._patience)
        return {peer.name: self._clients[peer.name] for peer in wanted}
