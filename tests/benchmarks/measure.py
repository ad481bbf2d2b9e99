"""Measure all peers on one problem: prepare each, then let them take turns: noise hits all alike."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.zoo import Problem

from . import reference
from .client import Client, Lost
from .peers import PEERS
from .records import Result, Row, Timing


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure.

    Arguments:
        rounds: turns of each peer
        seconds: the length of a turn
        compiles: how often to start from nothing; the least time counts
        gradients: whether to measure them
        enough: a peer whose runs have taken so long in all, in seconds, sits out the remaining rounds
        few: rounds that even the slowest peer takes part in
    """

    rounds: int = 21
    seconds: float = 0.01
    compiles: int = 2
    gradients: bool = True
    enough: float = 4.0
    few: int = 3


def measure(
    problem: Problem,
    clients: Mapping[str, Client],
    effort: Effort,
    *,
    rtol: float | None = None,
    truth: Callable[[Problem], np.ndarray] = reference.states,
) -> Result:
    """All peers in `clients` that fit the problem; a client that is lost is closed, and its row says so.

    Arguments:
        rtol: another tolerance than the problem's own, which then has to be that of `problem` too
        truth: the states at the save points to compare with
    """
    present = {name: client for name, client in clients.items() if PEERS[name].fits(problem)}
    rows = {name: Row(peer=name) for name in present}
    request = {"problem": problem.name} if rtol is None else {"problem": problem.name, "rtol": rtol}
    for what in ("solve", "gradient") if effort.gradients else ("solve",):
        answers = prepared(present, rows, effort, do=what, **request)
        timings = timed(present, rows, tuple(answers), what, effort)
        for name, answer in answers.items():
            if name in timings:
                rows[name] = _filled(problem, rows[name], what, answer, timings[name], truth)
    return Result(problem=problem.name, rows=tuple(rows.values()))


def prepared(
    clients: dict[str, Client], rows: dict[str, Row], effort: Effort, **request: Any
) -> dict[str, dict[str, Any]]:
    """The answers of the peers that can do it, with the least of the times to the first result."""
    answers: dict[str, dict[str, Any]] = {}
    for name in list(clients):
        firsts = []
        for _ in range(effort.compiles):
            answer = _asked(clients, rows, name, **request)
            if answer is None or not answer["offered"]:
                break
            firsts.append(answer["first"])
            answers[name] = {**answer, "first": min(firsts)}
            if answer["first"] > 20:
                break
    return answers


def timed(
    clients: dict[str, Client], rows: dict[str, Row], names: tuple[str, ...], what: str, effort: Effort
) -> dict[str, Timing]:
    """The times of what the peers named have prepared, in rounds."""
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    spent = dict.fromkeys(names, 0.0)
    shuffle = random.Random(0)
    for turn in range(effort.rounds):
        order = [n for n in names if n in clients and (spent[n] < effort.enough or len(taken[n]) < effort.few)]
        shuffle.shuffle(order)
        for name in order:
            answer = _asked(clients, rows, name, do="burst", what=what, seconds=effort.seconds)
            if answer is not None:
                taken[name].append((turn, answer["us"]))
                spent[name] += answer["us"] * 1e-6 * (answer["count"] + 1)
    return {name: Timing(rounds=tuple(rounds)) for name, rounds in taken.items() if rounds}


def _asked(clients: dict[str, Client], rows: dict[str, Row], name: str, **request: Any) -> dict[str, Any] | None:
    """The answer of a peer; None, with a note in its row, if it failed. A peer that is lost is asked no more."""
    try:
        answer = clients[name].ask(**request)
    except Lost as lost:
        del clients[name]
        answer = {"error": str(lost)}
    if "error" not in answer:
        return answer
    rows[name] = replace(rows[name], note=f"{request.get('what', request['do'])}: {answer['error']}")
    return None


def _filled(
    problem: Problem,
    row: Row,
    what: str,
    answer: dict[str, Any],
    timing: Timing,
    truth: Callable[[Problem], np.ndarray],
) -> Row:
    value = np.array(answer["result"])
    if what == "solve":
        error = reference.error(problem, value, truth(problem))
        return replace(row, steps=answer["steps"], first=answer["first"], solve=timing, error=error)
    error = reference.gradient_error(problem, value, reference.gradient(problem))
    return replace(row, gradient_first=answer["first"], gradient=timing, gradient_error=error)
