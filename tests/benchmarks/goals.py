"""What the benchmark is to show, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

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
    """

    problem: str
    text: str
    bound: float
    at_least: bool
    value: Callable[[_Rows], float]

    @property
    def asked(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal, the number measured, and whether it is met; None where nothing was measured."""

    goal: Goal
    measured: float | None
    met: bool | None


def _faster(than: str) -> Callable[[_Rows], float]:
    return lambda rows: _there(rows(than).solve).over(_there(rows(SYMDEQ).solve))


def _error(than: str) -> Callable[[_Rows], float]:
    return lambda rows: _there(rows(SYMDEQ).error) / _there(rows(than).error)


def _compile(than: str) -> Callable[[_Rows], float]:
    return lambda rows: _there(rows(SYMDEQ).first) / _there(rows(than).first)


def _gradient(rows: _Rows) -> float:
    return _there(rows(SYMDEQ).gradient).median / _there(rows(SYMDEQ).solve).median


def _there(value):
    if value is None:
        raise LookupError
    return value


def _goal(problem: str, text: str, bound: float, value: Callable[[_Rows], float], *, at_least: bool = False) -> Goal:
    return Goal(problem=problem, text=f"{problem}: {text}", bound=bound, at_least=at_least, value=value)


GOALS = (
    _goal("rober", "times faster than Kvaerno5 by hand", 80, _faster(BY_HAND), at_least=True),
    _goal("rober", "times faster than Kvaerno5 with Newton's method", 10, _faster(TUNED), at_least=True),
    _goal("rober", "error over that of Kvaerno5 by hand", 1, _error(BY_HAND)),
    _goal("rober", "error over that of Kvaerno5 with Newton's method", 1, _error(TUNED)),
    _goal("rober", "first solution over that of Kvaerno5 by hand", 1, _compile(BY_HAND)),
    _goal("rober", "gradient over solve", 6, _gradient),
    _goal("hires", "times faster than Kvaerno5 by hand", 40, _faster(BY_HAND), at_least=True),
    _goal("pollu", "times faster than Kvaerno5 by hand", 40, _faster(BY_HAND), at_least=True),
    _goal("lotka_volterra", "times faster than Tsit5 by hand", 2, _faster(BY_HAND), at_least=True),
)


def judged(results: Mapping[str, Result]) -> list[Verdict]:
    """Every goal beside what was measured."""
    return [_judged(goal, results.get(goal.problem)) for goal in GOALS]


def _judged(goal: Goal, result: Result | None) -> Verdict:
    def rows(peer: str) -> Row:
        return _there(result and result.row(peer))

    try:
        measured = goal.value(rows)
    except LookupError:
        return Verdict(goal=goal, measured=None, met=None)
    met = measured >= goal.bound if goal.at_least else measured <= goal.bound
    return Verdict(goal=goal, measured=measured, met=bool(met))
