"""Compare settings of one piece of work: a process for each setting, the processes in turns."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from .client import Client, Lost
from .table import number


def compare(clients: Mapping[str, Client], rounds: int, **request: Any) -> dict[str, tuple[float, list[float]]]:
    """Seconds to prepare, and microseconds of a run in each round, by setting; settings that fail are missing."""
    first: dict[str, float] = {}
    for setting, client in clients.items():
        if client.alive:
            try:
                answer = client.ask(do="prepare", **request)
            except Lost:
                continue
            if "error" not in answer:
                first[setting] = answer["first"]
    taken: dict[str, list[float]] = {setting: [] for setting in first}
    shuffle = random.Random(0)
    for _ in range(rounds):
        order = list(taken)
        shuffle.shuffle(order)
        for setting in order:
            taken[setting].append(clients[setting].ask(do="burst", seconds=0.01)["us"])
    return {setting: (first[setting], taken[setting]) for setting in first}


def times(taken: list[float]) -> str:
    """The least and the median time."""
    return f"{number(min(taken))} ({number(statistics.median(taken))})"


def preparing(prepare: Callable[[dict[str, Any]], tuple[float, Callable[[], Any]]]) -> Callable[[dict], dict]:
    """What a worker answers: `prepare` makes of a request the seconds it took and what to run."""
    from .worker import burst

    kept: dict[str, Callable[[], Any]] = {}

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["do"] == "burst":
            return burst(kept["run"], request["seconds"])
        kept.clear()
        first, kept["run"] = prepare(request)
        return {"first": first}

    return answer
