"""`fit`: from a model and measurements to a `Fit`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import FitError, ModelError, SymdeqWarning
from symdeq.compiled import Model
from symdeq.fit import data as tables
from symdeq.fit.data import Measurements
from symdeq.fit.estimate import Found, quantiles, search
from symdeq.fit.noise import AbstractNoise, Normal, noise_of_columns
from symdeq.fit.objective import Objective, Settings
from symdeq.fit.result import Fit
from symdeq.fit.starts import Outcome, Starts, outcome
from symdeq.fit.uncertainty import Uncertainty, nothing_known, uncertainty
from symdeq.fit.unknowns import Coordinates, resolve
from symdeq.solve import solve

# A start counts as converged once the next Gauss-Newton step is shorter than this many standard errors.
_CONVERGED = {"float64": 1e-3, "float32": 1e-2}
# Tighter than the defaults of `solve`: a search compares costs whose differences are small.
_TOLERANCES = {"float64": (1e-8, 1e-11), "float32": (1e-5, 1e-8)}


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

    Levenberg-Marquardt (optimistix) on the weighted differences, with derivatives by forward sensitivities, from several starts at once. A sigma that is not
    given is estimated by maximum likelihood too: it is put into the likelihood as the function of the other unknowns that it is at the
    maximum (the concentrated likelihood), so nothing is iterated and the columns get the weights that belong to their noise.

    Arguments:

    - `model`: from `compile`; its values are the first start.
    - `data`: a dictionary of columns (lists or arrays) or a pandas.DataFrame. NaN or `None` is a missing value: that measurement is left out. Rows may
        be in any order, and times may repeat.
    - `time`: the name of the column of times or of the DataFrame's index, default `"time"`; `None` for the index, whatever its name.
    - `observe`: from column to what it measures: a state, any expression of states, or a name. Default: every column that has the name of one.
    - `noise`: `Normal(sigma=None)` (default) or `LogNormal(sigma=None)`, or a dictionary of them by column.
    - `unknowns`: default all parameters; or a list of parameters and states (meaning initial values), symbols or names; or a dictionary from those to
        `Unknown(bounds=, scale=)` (`None` for as declared).
    - `starts`: how many; default 1, the model's values. The others are drawn within the bounds, uniformly on the unknown's scale; where there
        are none, up to a factor of ten around the model's value (from 0 to twice the value for an unbounded linear unknown).
    - `key`: a `jax.random.key`, needed for more than one start.
    - `t0`: the time of the initial values; default the first time in the data.
    - `rtol`, `atol`: of each solve; defaults 1e-8 and 1e-11, in float32 1e-5 and 1e-8.
    - `solver`, `max_steps`: as in `solve`; default `"auto"` and 4096.
    - `iterations`: the most Levenberg-Marquardt steps from each start; default 200.
    - `progress`: show a progress bar over the starts; default `False`.
    - `throw`: raise an error if no start converges (default), or return the best that was found, with `ok` `False`.

    Returns a `Fit`. Raises `ModelError` for arguments that cannot be right, and `FitError` if no start converged, saying why. Warns (`SymdeqWarning`) of
    unknowns at a bound and of those that the measurements do not determine.
    """
    _check_model(model)
    _check_numbers(starts=starts, iterations=iterations, max_steps=max_steps)
    _check_key(starts, key)
    measured, quantities = tables.read(data, time, observe, model)
    noises = noise_of_columns(noise, measured.columns)
    tables.check_possible(measured, noises)
    coordinates, now = resolve(model, unknowns)
    _check_counts(measured, noises, coordinates)
    _check_rest(model, coordinates)
    default_rtol, default_atol = _TOLERANCES[str(model.values.dtype)]
    settings = Settings(
        rtol=default_rtol if rtol is None else float(rtol),
        atol=default_atol if atol is None else atol if np.ndim(atol) == 0 else jnp.asarray(atol, model.values.dtype),
        solver=solver,
        max_steps=int(max_steps),
    )
    objective = _objective(model, measured, quantities, noises, coordinates, _start_time(measured, t0), settings)
    begin = now[None] if starts == 1 else np.concatenate([now[None], coordinates.draw(now, quantiles(key, starts - 1, len(now)))])
    found = _searched(objective, begin, iterations, progress)
    record, judged = _judged(objective, begin, found, iterations)
    if throw and not record.converged.any():
        raise FitError(_why_none(objective, record, begin, found))
    best = record.best
    point = jax.tree.map(lambda leaf: leaf[best], found.point)
    stretch = sum(noise.stretch(measured.of_column(i)) for i, noise in enumerate(noises))
    result = Fit(
        model=objective.model_at(objective.coordinates.values(point.scaled)),
        data=measured,
        noise=noises,
        starts=dataclasses.replace(record, costs=record.costs - stretch),
        cost=float(record.costs[best] - stretch),
        t0=float(objective.t0),
        uncertainty=judged[best],
        objective=objective,
        point=point,
    )
    _warn(result)
    return result


def _objective(
    model: Model,
    measured: Measurements,
    quantities: tuple[Any, ...],
    noises: tuple[AbstractNoise, ...],
    coordinates: Coordinates,
    t0: float,
    settings: Settings,
) -> Objective:
    dtype = model.values.dtype
    rows = measured.rows
    values, present = measured.values[rows], measured.present[rows]
    columns = [measured.of_column(i) for i in range(len(noises))]
    floors = jnp.asarray([n.floor(c) for n, c in zip(noises, columns, strict=True)], dtype)
    # Where nothing was measured stands a number that any noise can have produced.
    filled = jnp.asarray(np.where(present, values, 1.0), dtype)
    scaled = jnp.stack([n.scaled(filled[:, i], floors[i]) for i, n in enumerate(noises)], axis=-1)
    _check_quantities(model, quantities)
    return Objective(
        model=model,
        coordinates=coordinates,
        free=jnp.ones(len(coordinates.names), bool),
        held=jnp.zeros(len(coordinates.names), dtype),
        t0=jnp.asarray(t0, dtype),
        times=jnp.asarray(measured.times[rows], dtype),
        measured=scaled,
        present=jnp.asarray(present),
        floor=floors,
        size=jnp.asarray([n.size(c) for n, c in zip(noises, columns, strict=True)], dtype),
        sigma=jnp.asarray([1.0 if n.sigma is None else n.sigma for n in noises], dtype),
        resolution=jnp.asarray(10 * settings.rtol, dtype),
        settings=settings,
        quantities=quantities,
        kinds=tuple(type(n) for n in noises),
        estimated=tuple(n.sigma is None for n in noises),
    )


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


def _why_none(objective: Objective, record: Starts, begin: np.ndarray, found: Found) -> str:
    """No start converged: what happened to most, and for a model that could not be solved, the solve's own account of the first."""
    del found
    name = objective.model.system.name
    counted = {o: record.outcomes.count(o) for o in record.outcomes}
    lines = [f"No start of the fit of `{name}` converged."]
    lines += [f"  {count} of {len(record)}: {o.value}" for o, count in sorted(counted.items(), key=lambda item: -item[1])]
    if record.failed.all():
        values = objective.coordinates.values(begin)[0]
        tried = objective.model_at(jnp.asarray(values, objective.times.dtype))
        s = objective.settings
        account = solve(
            tried, objective.times[-1], objective.t0, saveat=objective.times, rtol=s.rtol, atol=s.atol, solver=s.solver,
            max_steps=s.max_steps, throw=False,
        ).failure  # fmt: skip
        lines += ["  from the model's own values:", *(f"    {line}" for line in account.splitlines())]
        remedy = "start from values at which the model can be solved (model.replace, bounds), or more starts=, or raise max_steps="
    elif Outcome.slow in counted:
        remedy = "raise iterations=, start nearer (model.replace), or more starts="
    else:
        remedy = "start nearer (model.replace), give bounds, or use more starts="
    return "\n".join([*lines, f"  remedy: {remedy}"])


def _warn(fit: Fit) -> None:
    if fit.at_bound:
        warnings.warn(
            f"The fit of `{fit.model.system.name}` holds {_listed(fit.at_bound)} at a bound; standard errors and intervals there are not to be trusted."
            "\n  remedy: widen the bounds, or fix the unknown by model.replace and leave it out of unknowns",
            SymdeqWarning,
            stacklevel=3,
        )
    if fit.undetermined:
        warnings.warn(
            f"The measurements do not determine all unknowns of `{fit.model.system.name}`: they do not change along "
            f"{'; '.join(fit.undetermined)}. The standard errors of those unknowns are infinite."
            "\n  remedy: fix one of them by model.replace and leave it out of unknowns, or measure something that tells them apart",
            SymdeqWarning,
            stacklevel=3,
        )


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _start_time(measured: Measurements, t0: Any) -> float:
    finite = measured.times[np.isfinite(measured.times)]
    start = float(finite.min()) if t0 is None else float(t0)
    used = measured.times[measured.rows]
    if used[0] < start:
        row = int(np.nanargmin(np.where(measured.present.any(axis=1), measured.times, np.nan)))
        raise ModelError(f"Row {row} was measured at time {used[0]:g}, before t0 = {start:g}.", remedy="set t0 no later than the first measurement")
    if used[-1] <= start:
        raise ModelError(
            f"Everything was measured at t0 = {start:g}, so the equations have no time to act.", remedy="give the time of the initial values: t0="
        )
    return start


def _check_model(model: Any) -> None:
    if not isinstance(model, Model):
        raise ModelError(f"fit needs a compiled model, not {type(model).__name__}.", remedy="model = sd.compile(system); sd.fit(model, data, ...)")


def _check_numbers(**numbers: Any) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ModelError(f"{name} must be a whole number from 1 on, not {value!r}.")


def _check_key(starts: int, key: Any) -> None:
    if starts > 1 and key is None:
        raise ModelError(f"{starts} starts are drawn at random, which needs a key.", remedy="key=jax.random.key(0)")


def _check_counts(measured: Measurements, noises: tuple[AbstractNoise, ...], coordinates: Coordinates) -> None:
    count, unknowns, sigmas = int(measured.counts.sum()), len(coordinates.names), sum(n.sigma is None for n in noises)
    if count < unknowns + sigmas:
        beside = f" and {sigmas} sigmas" if sigmas > 1 else " and one sigma" if sigmas else ""
        raise ModelError(
            f"{count} measurements cannot determine {unknowns} unknowns{beside}.",
            remedy="estimate fewer (unknowns=...), or give sigma" if sigmas else "estimate fewer: unknowns=...",
        )


def _check_rest(model: Model, coordinates: Coordinates) -> None:
    """What is not estimated must have a value."""
    missing = [s.name for s, v in zip(model.parameters, np.asarray(model.values), strict=True) if not np.isfinite(v)]
    missing += [s.name for s in model.missing_initial]
    missing = [name for name in missing if name not in coordinates.names]
    if missing:
        raise ModelError(
            f"{_listed(tuple(missing))} of `{model.system.name}` has no value and is not among the unknowns.",
            remedy=f"model.replace({{{missing[0]!r}: value}}), or name it in unknowns",
        )


def _check_quantities(model: Model, quantities: tuple[Any, ...]) -> None:
    """A symbol that the model does not have is an error here, and not in the middle of a program."""
    dtype = model.values.dtype
    jax.eval_shape(lambda ts, ys: model.evaluate(quantities, ts, ys), jnp.zeros(1, dtype), jnp.zeros((1, len(model.states)), dtype))


