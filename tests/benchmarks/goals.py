"""What the benchmark is to show, and whether it does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, final

from .peers import BY_HAND, C_LOOP, C_THREADS, CVODE, ENSEMBLE, FIXED, ONE_BY_ONE, SYMDEQ, TUNED, VMAP_BY_HAND
from .records import Result, Row

STIFF = ("rober", "rober_long", "hires", "pollu", "orego", "van_der_pol", "linear_stiff")
NOT_STIFF = ("lotka_volterra", "brusselator", "van_der_pol_mild", "lorenz", "rigid_body", "arenstorf")
# One of each kind, for a quick look.
QUICK = ("rober", "pollu", "lotka_volterra")

_T = TypeVar("_T")


@final
class Found:
    """Rows by result and peer; `LookupError` where something is missing. `least`: take least times, not medians."""

    def __init__(self, results: Mapping[str, Result], *, least: bool = False) -> None:
        self._results, self._least = results, least

    def row(self, result: str, peer: str) -> Row:
        return there(self._results[result].row(peer))

    def time(self, result: str, peer: str, what: str = "solve") -> float:
        timing = there(getattr(self.row(result, peer), what))
        return timing.best if self._least else timing.median

    def ratio(self, result: str, slow: str, fast: str, what: str = "solve") -> float:
        """How many times longer `slow` takes than `fast`."""
        one, other = (there(getattr(self.row(result, peer), what)) for peer in (slow, fast))
        return one.best / other.best if self._least else one.over(other)


def there(value: _T | None) -> _T:
    """The value, or `LookupError`."""
    if value is None:
        raise LookupError
    return value


_Value = Callable[[Found], float]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One claim.

    Arguments:
        text: the claim
        bound: the number to reach
        at_least: whether more is better
        value: the number, from what was measured
        timed: whether it is a matter of times, so that least times say something too
    """

    text: str
    bound: float
    at_least: bool
    value: _Value
    timed: bool = True

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


def _at_least(text: str, bound: float, value: _Value) -> Goal:
    return Goal(text=text, bound=bound, at_least=True, value=value)


def _at_most(text: str, bound: float, value: _Value, *, timed: bool = True) -> Goal:
    return Goal(text=text, bound=bound, at_least=False, value=value, timed=timed)


def _faster(result: str, text: str, bound: float, than: str, what: str = "solve", ours: str = SYMDEQ) -> Goal:
    return _at_least(f"{result}: {text}", bound, lambda f: f.ratio(result, than, ours, what))


def _first(found: Found, result: str, peer: str = SYMDEQ) -> float:
    return there(found.row(result, peer).first)


def _stiff(name: str) -> Iterable[Goal]:
    yield _faster(name, "times faster than Kvaerno5 by hand", 100, BY_HAND)
    yield _faster(name, "times faster than Kvaerno5 with Newton's method", 15, TUNED)
    yield _faster(name, "times faster than CVODE in C", 8, CVODE)
    yield _at_most(f"{name}: time over that of the C loop", 2, lambda f: f.ratio(name, SYMDEQ, C_LOOP))
    for peer, whom in ((BY_HAND, "Kvaerno5 by hand"), (TUNED, "Kvaerno5 with Newton's method"), (CVODE, "CVODE")):
        yield _at_most(f"{name}: error over that of {whom}", 1, functools.partial(_error, name, peer), timed=False)


def _error(name: str, than: str, found: Found) -> float:
    return there(found.row(name, SYMDEQ).error) / there(found.row(name, than).error)


def _not_stiff(name: str) -> Iterable[Goal]:
    yield _faster(name, "times faster than Tsit5 by hand", 2.5, BY_HAND)
    yield _at_most(f"{name}: time over that of the C loop", 2, lambda f: f.ratio(name, SYMDEQ, C_LOOP))


def _gradient(name: str, solves: float) -> Goal:
    return _at_most(
        f"{name}: gradient in solves", solves, lambda f: f.time(name, SYMDEQ, "gradient") / f.time(name, SYMDEQ)
    )


def _stiff_gradient(name: str) -> Iterable[Goal]:
    yield _faster(name, "gradient, times faster than Kvaerno5 by hand", 200, BY_HAND, "gradient")
    yield _faster(name, "gradient, times faster than Kvaerno5 with Newton's method", 15, TUNED, "gradient")
    yield _gradient(name, 3.5)


def _compile(name: str) -> Goal:
    return _at_most(
        f"{name}: first solution over that by hand",
        1,
        lambda f: _first(f, name) / _first(f, name, BY_HAND),
        timed=False,
    )


def _automatic(name: str) -> Goal:
    def value(found: Found) -> float:
        ratios = [found.ratio(name, SYMDEQ, peer) for peer in FIXED if _finished(found, name, peer)]
        return max(ratios) if ratios else there(None)

    return _at_most(f"{name}: automatic choice over the best fixed method", 1.3, value)


def _finished(found: Found, name: str, peer: str) -> bool:
    try:
        row = found.row(name, peer)
    except LookupError:
        return False
    return row.solve is not None and row.error is not None and row.error < float("inf")


def _growth(family: str, small: int, large: int, limit: float) -> Iterable[Goal]:
    low, high = f"growth/{family}_{small}", f"growth/{family}_{large}"

    def step(found: Found, result: str) -> float:
        return found.time(result, SYMDEQ) / there(found.row(result, SYMDEQ).steps)

    grown = f"{family}, N = {large} over N = {small}"
    yield _at_most(
        f"{grown}: a step (linear: {large / small:g})", 1.25 * large / small, lambda f: step(f, high) / step(f, low)
    )
    yield _at_most(f"{grown}: first solution", 1.5, lambda f: _first(f, high) / _first(f, low), timed=False)
    yield _at_most(f"{family}, N = {large}: first solution in s", limit, lambda f: _first(f, high), timed=False)


def _large() -> Iterable[Goal]:
    for size in (32, 64, 128):
        yield _faster(f"growth/brusselator_1d_{size}", "times faster than Kvaerno5 by hand", 100, BY_HAND)
    yield from _growth("brusselator_1d", 64, 512, 15)
    yield _faster("growth/brusselator_1d_256", "times faster than CVODE in C, banded", 1, CVODE)
    yield _faster("growth/mass_action_50", "times faster than Kvaerno5 by hand", 100, BY_HAND)
    yield from _growth("mass_action", 100, 1000, 15)


def _ensembles() -> Iterable[Goal]:
    near, wide = "ensemble/near", "ensemble/wide"
    yield _faster(near, "times faster than vmap of Kvaerno5 by hand", 80, VMAP_BY_HAND, ours=ENSEMBLE)
    yield _at_most(
        f"{near}: time over that of the C loop in two threads", 3, lambda f: f.ratio(near, ENSEMBLE, C_THREADS)
    )

    def waste(found: Found) -> float:
        spread, alike = (found.ratio(result, ENSEMBLE, ONE_BY_ONE) for result in (wide, near))
        return spread / alike

    yield _at_most("ensemble: what four decades of stiffness waste, beside members one by one", 1.3, waste)


GOALS = (
    *(goal for name in STIFF for goal in _stiff(name)),
    *(goal for name in NOT_STIFF for goal in _not_stiff(name)),
    *(goal for name in STIFF for goal in _stiff_gradient(name)),
    *(_gradient(name, 4) for name in NOT_STIFF),
    *(_compile(name) for name in (*STIFF, *NOT_STIFF)),
    _at_most("pollu: first solution of 20 states in s", 3, lambda f: _first(f, "pollu"), timed=False),
    *(_automatic(name) for name in (*STIFF, *NOT_STIFF, "brusselator_1d_32")),
    *_large(),
    *_ensembles(),
)


def judged(results: Mapping[str, Result]) -> list[Verdict]:
    """Every goal beside what was measured."""
    return [_judged(goal, results) for goal in GOALS]


def _judged(goal: Goal, results: Mapping[str, Result]) -> Verdict:
    try:
        measured = goal.value(Found(results))
        least = goal.value(Found(results, least=True)) if goal.timed else None
    except LookupError:
        return Verdict(goal=goal, measured=None, least=None, met=None)
    met = measured >= goal.bound if goal.at_least else measured <= goal.bound
    return Verdict(goal=goal, measured=measured, least=least, met=bool(met))
