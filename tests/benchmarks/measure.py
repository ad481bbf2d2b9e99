"""Measure all peers on one problem: prepare each, then let them take turns: noise hits all alike."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.zoo import Problem

from . import reference
from .client import Client, Lost
from .peers import PEERS
from .records import Result, Row, Timing

# A peer whose runs have taken so long in all, in seconds, sits out the remaining rounds; it has had a few by then.
_ENOUGH = 4.0
_FEW = 3


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure.

    Arguments:
        rounds: turns of each peer
        seconds: the length of a turn
        compiles: how often to start from nothing; the least time counts
        gradients: whether to measure them
    """

    rounds: int = 21
    seconds: float = 0.01
    compiles: int = 2
    gradients: bool = True


def measure(problem: Problem, clients: Mapping[str, Client], effort: Effort) -> Result:
    """All peers in `clients` that fit the problem; a client that is lost is closed, and its row says so."""
    present = {name: client for name, client in clients.items() if PEERS[name].fits(problem)}
    rows = {name: Row(peer=name) for name in present}
    for what in ("solve", "gradient") if effort.gradients else ("solve",):
        answers = _prepared(problem, present, rows, what, effort)
        timings = _timed(present, rows, tuple(answers), what, effort)
        for name, answer in answers.items():
            if name in timings:
                rows[name] = _filled(problem, rows[name], what, answer, timings[name])
    return Result(problem=problem.name, rows=tuple(rows.values()))


def _prepared(
    problem: Problem, clients: dict[str, Client], rows: dict[str, Row], what: str, effort: Effort
) -> dict[str, dict[str, Any]]:
    """The answers of the peers that can do it, with the least of the times to the first result."""
    answers: dict[str, dict[str, Any]] = {}
    for name in list(clients):
        firsts = []
        for _ in range(effort.compiles):
            answer = _asked(clients, rows, name, do=what, problem=problem.name)
            if answer is None or not answer["offered"]:
                break
            firsts.append(answer["first"])
            answers[name] = {**answer, "first": min(firsts)}
            if answer["first"] > 20:
                break
    return answers


def _timed(
    clients: dict[str, Client], rows: dict[str, Row], names: tuple[str, ...], what: str, effort: Effort
) -> dict[str, Timing]:
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    spent = dict.fromkeys(names, 0.0)
    shuffle = random.Random(0)
    for turn in range(effort.rounds):
        order = [n for n in names if n in clients and (spent[n] < _ENOUGH or len(taken[n]) < _FEW)]
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


def _filled(problem: Problem, row: Row, what: str, answer: dict[str, Any], timing: Timing) -> Row:
    value = np.array(answer["result"])
    if what == "solve":
        error = reference.error(problem, value, reference.states(problem))
        return replace(row, steps=answer["steps"], first=answer["first"], solve=timing, error=error)
    error = reference.gradient_error(problem, value, reference.gradient(problem))
    return replace(row, gradient_first=answer["first"], gradient=timing, gradient_error=error)
