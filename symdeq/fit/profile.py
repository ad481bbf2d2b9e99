"""Profile likelihood: the cost along one unknown with all others estimated anew.

Venzon and Moolgavkar, Applied Statistics 37 (1988) 87-94; for differential equations Raue et al., Bioinformatics 25
(2009) 1923-1929.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError
from symdeq.fit.estimate import search
from symdeq.solve.plot import import_pyplot

if TYPE_CHECKING:
    from symdeq.fit.result import Fit

# A walk aims at this many values from the estimate to the end of the interval.
_VALUES = 6
# The end is refined until the root of the rise is this close to that of the limit, relatively, or so often.
_ENOUGH = 1e-6
_REFINEMENTS = 8
_ITERATIONS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Profile:
    """The cost along one unknown.

    - `name`: of the unknown.
    - `values`: increasing, shape (points,); the estimate is among them.
    - `costs`: minus the log-likelihood, the other unknowns estimated anew, shape (points,).
    - `others`: those estimates, shape (points, p), in the order of `Fit.unknowns`; the column of the unknown itself
        holds `values`.
    - `level`, `threshold`: of the interval, and the cost at its ends.
    - `interval`: (low, high); where the measurements set no limit within what was tried, minus infinity (0 for a
        log-scaled unknown) or infinity, or the bound.
    """

    name: str
    values: np.ndarray
    costs: np.ndarray
    others: np.ndarray
    level: float
    threshold: float
    interval: tuple[float, float]
    log: bool

    def plot(self, ax: Any = None) -> Any:
        """Draw cost against value, with the threshold and the interval; returns the matplotlib axes."""
        ax = import_pyplot().subplots(layout="constrained")[1] if ax is None else ax
        ax.plot(self.values, self.costs, "o-", markersize=3)
        ax.axhline(
            self.threshold, color="gray", linestyle="--", linewidth=0.8, label=f"{100 * self.level:g} % threshold"
        )
        inside = [end for end in self.interval if self.values[0] <= end <= self.values[-1]]
        for end in inside:
            ax.axvline(end, color="gray", linestyle=":", linewidth=0.8)
        if self.log:
            ax.set_xscale("log")
        ax.set_xlabel(self.name)
        ax.set_ylabel("minus log-likelihood")
        ax.legend(fontsize="small")
        return ax


def profile(fit: Fit, unknown: Any, level: float, points: int) -> Profile:
    """See `Fit.profile`."""
    if isinstance(points, bool) or not isinstance(points, int) or points < 1:
        raise ModelError(f"points must be a whole number from 1 on, not {points!r}.")
    name = unknown if isinstance(unknown, str) else getattr(unknown, "name", unknown)
    fit.estimates[name]  # an error that names what there is
    i = fit.unknowns.index(name)
    limit = fit.uncertainty.threshold(level, int(fit.data.counts[np.array(fit.objective.estimated)].sum()))
    middle = _Stop(fit.scaled, float(fit.objective.cost(fit.point.differences)))
    walked: list[_Stop] = [middle]
    ends: list[float] = []
    for sign in (-1, 1):
        out = [middle, *_walk(fit, i, sign, middle, limit, points)]
        end, between = _crossing(fit, i, out, middle.cost, limit)
        ends.append(float(fit.objective.coordinates.limits()[(sign + 1) // 2][i]) if end is None else end)
        walked += [*out[1:], *between]
    walked.sort(key=lambda stop: stop.scaled[i])
    others = np.asarray(fit.objective.coordinates.values(np.stack([stop.scaled for stop in walked])))
    # Constants of the likelihood that do not depend on the unknowns.
    shift = fit.cost - middle.cost
    log = fit.objective.coordinates.log[i]
    return Profile(
        name=name,
        values=others[:, i],
        costs=np.array([stop.cost for stop in walked]) + shift,
        others=others,
        level=level,
        threshold=fit.cost + limit,
        interval=(math.exp(ends[0]), math.exp(ends[1])) if log else (ends[0], ends[1]),
        log=log,
    )


class _Stop(NamedTuple):
    """A point of a profile: all unknowns on their scales, and the cost there."""

    scaled: np.ndarray
    cost: float


def _held(fit: Fit, i: int, value: float, near: np.ndarray) -> _Stop:
    """The best point with unknown i held, searched from nearby values of the others."""
    dtype = fit.objective.times.dtype
    target = np.array(near)
    target[i] = value
    objective = eqx.tree_at(
        lambda o: (o.free, o.held), fit.objective, (fit.objective.free.at[i].set(False), jnp.asarray(target, dtype))
    )
    found = search(objective, jnp.asarray(objective.coordinates.search(near)[None], dtype), jnp.asarray(_ITERATIONS))
    return _Stop(np.asarray(found.point.scaled[0], dtype=float), float(found.cost[0]))


def _walk(fit: Fit, i: int, sign: int, middle: _Stop, limit: float, points: int) -> list[_Stop]:
    """Points away from the estimate in one direction, until the cost is beyond the limit, in steps that adapt."""
    coordinates = fit.objective.coordinates
    bound = coordinates.limits()[(sign + 1) // 2][i]
    spread = math.sqrt(fit.uncertainty.covariance[i, i])
    size = 1.0 if coordinates.log[i] else abs(fit.scaled[i]) or 1.0
    step = min((spread if math.isfinite(spread) else 0.1 * size) * fit.uncertainty.quantile(0.95) / _VALUES, size)
    walked: list[_Stop] = []
    now = middle
    for _ in range(points):
        value = now.scaled[i] + sign * step
        last = sign * (value - bound) >= 0
        new = _held(fit, i, bound if last else value, now.scaled)
        if not math.isfinite(new.cost):
            step /= 4
            if step < 1e-6 * size:
                break
            continue
        rise, now = new.cost - now.cost, new
        walked.append(now)
        if last or now.cost > middle.cost + limit:
            break
        step *= min(3.0, max(0.3, 2 * limit / _VALUES / max(rise, 1e-300)))
    return walked


def _crossing(fit: Fit, i: int, walked: list[_Stop], best: float, limit: float) -> tuple[float | None, list[_Stop]]:
    """Where the cost crosses the limit, on the scale of the unknown, or `None`; and the points tried to find it.

    By regula falsi on the root of the rise, which is straight where the cost is a parabola.
    """

    def root(stop: _Stop) -> float:
        return math.copysign(math.sqrt(abs(stop.cost - best)), stop.cost - best) / math.sqrt(limit) - 1

    outside = next((k for k, stop in enumerate(walked) if root(stop) >= 0), None)
    if not outside:
        return None, []
    low, high, tried = walked[outside - 1], walked[outside], []
    for _ in range(_REFINEMENTS):
        part = root(low) / (root(low) - root(high))
        value = float(low.scaled[i] + part * (high.scaled[i] - low.scaled[i]))
        new = _held(fit, i, value, low.scaled)
        if not math.isfinite(new.cost):
            break
        tried.append(new)
        if abs(root(new)) < _ENOUGH:
            return value, tried
        low, high = (new, high) if root(new) < 0 else (low, new)
    part = root(low) / (root(low) - root(high))
    return float(low.scaled[i] + part * (high.scaled[i] - low.scaled[i])), tried
