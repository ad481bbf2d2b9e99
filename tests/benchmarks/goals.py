"""What the benchmark is to show, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .peers import BY_HAND, SYMDEQ, TUNED
from .records import Result, Row

_Rows = Callable[[str], Row]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One claim about one problem.

    Arguments:
        problem: its name
        text: the claim
        bound: the number to reach
        at_least: whether more is better
        value: the number, from the rows of the peers by name; raises `LookupError` where something is missing
        least: the same from the least times in place of the medians; None where it is no matter of times
    """

    problem: str
    text: str
    bound: float
    at_least: bool
    value: Callable[[_Rows], float]
    least: Callable[[_Rows], float] | None = None

    @property
    def asked(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal, the number measured, the same from least times, and whether it is met; None: not measured."""

    goal: Goal
    measured: float | None
    least: float | None
    met: bool | None


def _faster(problem: str, text: str, bound: float, than: str) -> Goal:
    return Goal(
        problem=problem,
        text=f"{problem}: times faster than {text}",
        bound=bound,
        at_least=True,
        value=lambda rows: _there(rows(than).solve).over(_there(rows(SYMDEQ).solve)),
        least=lambda rows: _there(rows(than).solve).best / _there(rows(SYMDEQ).solve).best,
    )


def _error(than: str) -> Callable[[_Rows], float]:
    return lambda rows: _there(rows(SYMDEQ).error) / _there(rows(than).error)


def _compile(than: str) -> Callable[[_Rows], float]:
    return lambda rows: _there(rows(SYMDEQ).first) / _there(rows(than).first)


def _gradient(rows: _Rows) -> float:
    return _there(rows(SYMDEQ).gradient).median / _there(rows(SYMDEQ).solve).median


def _least_gradient(rows: _Rows) -> float:
    return _there(rows(SYMDEQ).gradient).best / _there(rows(SYMDEQ).solve).best


def _there(value):
    if value is None:
        raise LookupError
    return value


def _at_most(problem: str, text: str, bound: float, value: Callable[[_Rows], float], least: Any = None) -> Goal:
    return Goal(problem=problem, text=f"{problem}: {text}", bound=bound, at_least=False, value=value, least=least)


GOALS = (
    _faster("rober", "Kvaerno5 by hand", 80, BY_HAND),
    _faster("rober", "Kvaerno5 with Newton's method", 10, TUNED),
    _at_most("rober", "error over that of Kvaerno5 by hand", 1, _error(BY_HAND)),
    _at_most("rober", "error over that of Kvaerno5 with Newton's method", 1, _error(TUNED)),
    _at_most("rober", "first solution over that of Kvaerno5 by hand", 1, _compile(BY_HAND)),
    _at_most("rober", "gradient over solve", 6, _gradient, _least_gradient),
    _faster("hires", "Kvaerno5 by hand", 40, BY_HAND),
    _faster("pollu", "Kvaerno5 by hand", 40, BY_HAND),
    _faster("lotka_volterra", "Tsit5 by hand", 2, BY_HAND),
)


def judged(results: Mapping[str, Result]) -> list[Verdict]:
    """Every goal beside what was measured."""
    return [_judged(goal, results.get(goal.problem)) for goal in GOALS]


def _judged(goal: Goal, result: Result | None) -> Verdict:
    def rows(peer: str) -> Row:
        return _there(result and result.row(peer))

    try:
        measured = goal.value(rows)
        least = goal.least(rows) if goal.least else None
    except LookupError:
        return Verdict(goal=goal, measured=None, least=None, met=None)
    met = measured >= goal.bound if goal.at_least else measured <= goal.bound
    return Verdict(goal=goal, measured=measured, least=least, met=bool(met))
