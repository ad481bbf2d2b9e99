"""Scalars or arrays, straight-line code or a loop over the stages? `python -m tests.benchmarks.layout_choice`

One process for each setting, in turns; for each problem the time of a solve and of a gradient, least and median, and of
the first ones. The decision that it supports: docs/decisions/003-layout.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.zoo import PROBLEMS

from .choices import compare, preparing, times
from .client import Client
from .table import aligned, number
from .worker import serve

_ALL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Up to how many states and parameters are scalars, and for how many states the stages are written out."""

    states: int
    parameters: int
    unrolled: int


SETTINGS = {
    "arrays": Setting(states=0, parameters=0, unrolled=0),
    "arrays, scalar parameters": Setting(states=0, parameters=_ALL, unrolled=0),
    "scalars, loop": Setting(states=_ALL, parameters=_ALL, unrolled=0),
    "scalars, straight": Setting(states=_ALL, parameters=_ALL, unrolled=_ALL),
    "scalars, straight, array of parameters": Setting(states=_ALL, parameters=0, unrolled=_ALL),
}
DEFAULT = ("lotka_volterra", "rober", "hires", "pollu")


def _ready(setting: Setting) -> Callable[[dict[str, Any]], dict[str, Any]]:
    from symdeq.solve import problem
    from symdeq.solvers import layout

    from .peers import PEERS, SYMDEQ
    from .warm_up import DECAY

    problem._SCALAR_STATES, problem._SCALAR_PARAMETERS = setting.states, setting.parameters
    layout._UNROLLED_UP_TO = setting.unrolled
    peer = PEERS[SYMDEQ]
    peer.gradient(DECAY)

    def prepare(request: dict[str, Any]) -> tuple[float, Callable[[], Any]]:
        work = (peer.gradient if request["gradient"] else peer.solve)(PROBLEMS[request["problem"]])
        assert work is not None
        return work.first, work.run

    return preparing(prepare)


def main() -> None:
    """Measure every setting on every problem."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.layout_choice", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PROBLEMS, metavar="PROBLEM", default=DEFAULT)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, metavar="SETTING", default=list(SETTINGS))
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    clients = {name: Client(("tests.benchmarks.layout_choice", "worker", name)) for name in options.settings}
    try:
        for client in clients.values():
            client.greet()
        for problem in options.only:
            taken = [compare(clients, options.rounds, problem=problem, gradient=gradient) for gradient in (False, True)]
            rows = [(problem, "solve µs", "first s", "gradient µs", "first s")]
            for name in clients:
                cells = []
                for of in taken:
                    cells += [times(of[name][1]), number(of[name][0])] if name in of else ["failed", ""]
                rows.append((name, *cells))
            print("\n".join(aligned(rows)), flush=True)
    finally:
        for client in clients.values():
            client.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        serve(lambda: _ready(SETTINGS[sys.argv[2]]))
    else:
        main()
