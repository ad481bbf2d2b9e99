"""Equilibrium layers against torchdeq and the packages for JAX: `python -m tests.benchmarks.equilibria`

One layer on handwritten digits, tests/benchmarks/digits.py: equal weights, batches and tolerances, float32. Each peer
has a process of its own, the processes take turns, and errors are those against an exact gradient in float64.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from . import digits
from .client import Client
from .peers.equilibria_jax import SEARCHES
from .peers.equilibria_torch import SETTINGS
from .records import Timing
from .table import aligned, number
from .turns import turns

PEERS = (*SEARCHES, *SETTINGS)
TOLERANCES = (1e-1, 1e-3)
RUNS = ("forward", "gradient", "epoch")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A peer at one tolerance.

    Arguments:
        peer: its name
        tolerance: of the 2-norm of an image's residual
        note: why there is nothing else
        first: seconds from the declaration to the first gradient
        evaluations: of the cell on a batch, until the last image is done
        residual: the largest entry of cell(z) - z
        error: of the gradient by all weights: the 2-norm of the difference over that of the gradient
        memory: bytes for the gradient: XLA's temporary ones, or what PyTorch saves for its backward pass
        threads: which PyTorch is fastest with; 0 where XLA decides
        loss: the mean of the last five losses of the epoch
        forward, gradient, epoch: times of one run
    """

    peer: str
    tolerance: float
    note: str = ""
    first: float | None = None
    evaluations: int | None = None
    residual: float | None = None
    error: float | None = None
    memory: int | None = None
    threads: int = 0
    loss: float | None = None
    forward: Timing | None = None
    gradient: Timing | None = None
    epoch: Timing | None = None


def answered(peer: str, tolerance: float) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
    """What a worker answers, which are the numbers of a row without its times, and what it then runs."""
    from .peers import equilibria_jax, equilibria_torch

    found, runs = (equilibria_jax if peer in SEARCHES else equilibria_torch).prepared(peer, tolerance)
    images, labels = (part[0] for part in digits.data())
    weights = digits.weights()
    reference = digits.exact(weights, images, labels)[1]
    z, gradient = found.pop("z"), found.pop("gradient")
    return {
        **found,
        "residual": digits.residual(weights, images, z),
        "error": digits.error(gradient, reference),
        "loss": runs["epoch"](),
    }, runs


def _serve(peer: str) -> None:
    from .worker import keeping, serve

    if peer.startswith("symdeq"):
        import symdeq  # noqa: F401  # sets XLA's option, which has to come before the first computation
    elif "symdeq" in sys.modules:
        raise RuntimeError("symdeq was imported in the process of another peer")

    def prepare(request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Callable[[], Any]]]:
        # What is imported and set up once in a process is part of no peer's time.
        answered(peer, 1.0)
        return answered(peer, request["tolerance"])

    serve(lambda: keeping(prepare))


def compare(
    rounds: int = 9, seconds: float = 0.1, tolerances: Iterable[float] = TOLERANCES, peers: Iterable[str] = PEERS
) -> list[Row]:
    """All peers at each tolerance; one that fails, or is not installed, has a note.

    Arguments:
        rounds: turns of each peer
        seconds: the length of a turn, which has one run at least
        tolerances: of the search
        peers: their names
    """
    clients = {
        peer: Client(("tests.benchmarks.equilibria", "worker", peer), JAX_ENABLE_X64="0", OMP_NUM_THREADS="2")
        for peer in peers
    }
    rows: list[Row] = []
    try:
        for client in clients.values():
            client.greet()
        for tolerance in tolerances:
            answers = {peer: client.ask(do="prepare", tolerance=tolerance) for peer, client in clients.items()}
            able = {peer: clients[peer] for peer, reply in answers.items() if "first" in reply}
            times = {what: turns(able, what, rounds, seconds) for what in RUNS}
            for peer, reply in answers.items():
                if peer in able:
                    measured: dict[str, Any] = {what: times[what][peer] for what in RUNS}
                    rows.append(Row(peer=peer, tolerance=tolerance, **reply, **measured))
                else:
                    rows.append(Row(peer=peer, tolerance=tolerance, note=reply["error"]))
    finally:
        for client in clients.values():
            client.close()
    return rows


_HEAD = (
    "", "search µs", "with gradient µs", "epoch s", "±", "cells", "residual", "gradient's error", "memory kB",
    "threads", "loss", "first s", "epochs of the best symdeq",
)  # fmt: skip


def report(rows: list[Row]) -> str:
    """A table for each tolerance; times are the least of all rounds, and the last column is their ratio."""
    text = []
    for tolerance in dict.fromkeys(row.tolerance for row in rows):
        those = [row for row in rows if row.tolerance == tolerance]
        ours = [row.epoch.best for row in those if row.epoch is not None and row.peer.startswith("symdeq")]
        best = min(ours, default=None)
        lines = aligned([_HEAD, *(_cells(row, best) for row in those)])
        notes = [f"  {row.peer}: {row.note}" for row in those if row.note]
        text += [f"tolerance {tolerance:g}, batches of {digits.BATCH}, {digits.BATCHES} an epoch", *lines, *notes, ""]
    return "\n".join(text)


def _cells(row: Row, best: float | None) -> tuple[str, ...]:
    if row.forward is None or row.gradient is None or row.epoch is None:
        return (row.peer, *("" for _ in _HEAD[1:]))
    return (
        row.peer,
        number(row.forward.best),
        number(row.gradient.best),
        number(row.epoch.best / 1e6),
        f"{row.epoch.spread:.0%}",
        str(row.evaluations),
        number(row.residual),
        number(row.error),
        number((row.memory or 0) / 1e3),
        str(row.threads or ""),
        number(row.loss),
        number(row.first),
        "" if best is None else f"{number(row.epoch.best / best)}×",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.equilibria", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tolerances", type=float, nargs="+", default=list(TOLERANCES))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--json", type=Path, help="a file for the numbers of all rounds")
    options = parser.parse_args()
    rows = compare(rounds=options.rounds, tolerances=options.tolerances, peers=options.peers)
    print(report(rows))
    if options.json is not None:
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        _serve(sys.argv[2])
    else:
        main()
