"""`fit`: from a model and measurements to a `Fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import FitError
from symdeq.compiled import Model
from symdeq.fit.door import check
from symdeq.fit.estimate import Found, quantiles, search
from symdeq.fit.noise import AbstractNoise, Normal
from symdeq.fit.objective import Objective
from symdeq.fit.report import warn, why_none
from symdeq.fit.result import Fit
from symdeq.fit.starts import Outcome, Starts, outcome
from symdeq.fit.uncertainty import Uncertainty, nothing_known, uncertainty

# A start counts as converged once the next Gauss-Newton step is shorter than this many standard errors.
_CONVERGED = {"float64": 1e-3, "float32": 1e-2}


def fit(
    model: Model,
    data: Any,
    time: str | None = "time",
    observe: Mapping[str, Any] | None = None,
    noise: AbstractNoise | Mapping[str, AbstractNoise] = Normal(),  # noqa: B008
    unknowns: Any = None,
    *,
    starts: int = 1,
    key: Any = None,
    t0: float | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    solver: Any = "auto",
    max_steps: int = 4096,
    iterations: int = 200,
    progress: bool = False,
    throw: bool = True,
) -> Fit:
    """Estimate parameters and initial values of a model from measurements, by maximum likelihood.

    Levenberg-Marquardt (optimistix) on the weighted differences, with derivatives by forward sensitivities, from
    several starts at once. A sigma that is not given is estimated by maximum likelihood too: it is put into the
    likelihood as the function of the other unknowns that it is at the maximum (the concentrated likelihood), so
    nothing is iterated and the columns get the weights that belong to their noise.

    Arguments:

    - `model`: from `compile`; its values are the first start.
    - `data`: a dictionary of columns (lists or arrays) or a pandas.DataFrame. NaN or `None` is a missing value: that
        measurement is left out. Rows may be in any order, and times may repeat.
    - `time`: the name of the column of times or of the DataFrame's index, default `"time"`; `None` for the index,
        whatever its name.
    - `observe`: from column to what it measures: a state, any expression of states, or a name. Default: every column
        that has the name of one.
    - `noise`: `Normal(sigma=None)` (default) or `LogNormal(sigma=None)`, or a dictionary of them by column.
    - `unknowns`: default all parameters; or a list of parameters and states (meaning initial values), symbols or
        names; or a dictionary from those to `Unknown(bounds=, scale=)` (`None` for as declared).
    - `starts`: how many; default 1, the model's values. The others are drawn within the bounds, uniformly on the
        unknown's scale; where there are none, up to a factor of ten around the model's value (from 0 to twice the
        value for an unbounded linear unknown).
    - `key`: a `jax.random.key`, needed for more than one start.
    - `t0`: the time of the initial values; default the first time in the data.
    - `rtol`, `atol`: of each solve; defaults 1e-8 and 1e-11, in float32 1e-5 and 1e-8.
    - `solver`, `max_steps`: as in `solve`; default `"auto"` and 4096.
    - `iterations`: the most Levenberg-Marquardt steps from each start; default 200.
    - `progress`: show a progress bar over the starts; default `False`.
    - `throw`: raise an error if no start converges (default), or return the best that was found, with `ok` `False`.

    Returns a `Fit`. Raises `ModelError` for arguments that cannot be right, and `FitError` if no start converged,
    saying why. Warns (`SymdeqWarning`) of unknowns at a bound and of those that the measurements do not determine.
    """
    request = check(
        model, data, time, observe, noise, unknowns, starts, key, t0, rtol, atol, solver, max_steps, iterations
    )
    objective, now = request.objective, request.now
    coordinates = objective.coordinates
    begin = (
        now[None]
        if starts == 1
        else np.concatenate([now[None], coordinates.draw(now, quantiles(key, starts - 1, len(now)))])
    )
    found = _searched(objective, begin, iterations, progress)
    record, judged = _judged(objective, begin, found, iterations)
    if throw and not record.converged.any():
        raise FitError(why_none(objective, record))
    best = record.best
    point = jax.tree.map(lambda leaf: leaf[best], found.point)
    stretch = sum(noise.stretch(request.data.of_column(i)) for i, noise in enumerate(request.noises))
    result = Fit(
        model=objective.model_at(objective.coordinates.values(point.scaled)),
        data=request.data,
        noise=request.noises,
        starts=dataclasses.replace(record, costs=record.costs - stretch),
        cost=float(record.costs[best] - stretch),
        t0=float(objective.t0),
        uncertainty=judged[best],
        objective=objective,
        point=point,
    )
    warn(result)
    return result


def _searched(objective: Objective, begin: np.ndarray, iterations: int, progress: bool) -> Found:
    """All starts in one program, or, to show progress, one after the other in a program for one."""
    u = jnp.asarray(objective.coordinates.search(begin), objective.times.dtype)
    bound = jnp.asarray(iterations)
    if not progress:
        return search(objective, u, bound)
    found = []
    for i in _bar(len(u)):
        found.append(jax.block_until_ready(search(objective, u[i : i + 1], bound)))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *found)


def _bar(count: int) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return range(count)
    return tqdm(range(count), desc="fit", unit="start")


def _judged(objective: Objective, begin: np.ndarray, found: Found, iterations: int) -> tuple[Starts, list[Uncertainty]]:
    found = jax.tree.map(np.asarray, found)
    outcomes: list[Outcome] = []
    judged: list[Uncertainty] = []
    near = _CONVERGED[str(objective.times.dtype)]
    for i in range(len(begin)):
        point = jax.tree.map(lambda leaf, i=i: leaf[i], found.point)
        good = bool(np.isfinite(found.cost[i]))
        judged.append(uncertainty(objective, point) if good else nothing_known(objective))
        done = good and (bool(found.settled[i]) or judged[i].offset < near)
        outcomes.append(outcome(int(point.failure), done, bool(point.reaches), int(found.iterations[i]) >= iterations))
    values = objective.coordinates.values
    record = Starts(
        names=objective.coordinates.names,
        begin=values(begin),
        end=values(np.asarray(found.point.scaled, dtype=float)),
        costs=np.asarray(found.cost, dtype=float),
        iterations=np.asarray(found.iterations),
        outcomes=tuple(outcomes),
    )
    return record, judged
