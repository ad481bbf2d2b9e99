"""What `fit` was asked for, checked: everything that can be known before the search is refused here."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.fit.data import Measurements, check_possible, read
from symdeq.fit.noise import AbstractNoise, noise_of_columns
from symdeq.fit.objective import Objective, Settings
from symdeq.fit.unknowns import Coordinates, resolve
from symdeq.solve.dde import without_start
from symdeq.solve.sde import refuse_noise

# Tighter than the defaults of `solve`: a search compares costs whose differences are small.
_TOLERANCES = {"float64": (1e-8, 1e-11), "float32": (1e-5, 1e-8)}


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """A checked call of `fit`: what is minimised, the unknowns' present values on their scales, data and noise."""

    objective: Objective
    now: np.ndarray
    data: Measurements
    noises: tuple[AbstractNoise, ...]


def check(
    model: Any,
    data: Any,
    time: Any,
    observe: Any,
    noise: Any,
    unknowns: Any,
    starts: Any,
    key: Any,
    t0: Any,
    rtol: Any,
    atol: Any,
    solver: Any,
    max_steps: Any,
    iterations: Any,
) -> Request:
    """Turn the arguments of `fit` into a `Request`, or raise `ModelError`."""
    _check_model(model)
    _check_numbers(starts=starts, iterations=iterations, max_steps=max_steps)
    _check_key(starts, key)
    measured, quantities = read(data, time, observe, model)
    noises = noise_of_columns(noise, measured.columns)
    check_possible(measured, noises)
    _check_quantities(model, quantities)
    coordinates, now = resolve(model, unknowns)
    _check_counts(measured, noises, coordinates)
    _check_rest(model, coordinates)
    settings = _settings(model, rtol, atol, solver, max_steps)
    start = _start_time(measured, t0)
    return Request(
        objective=_objective(model, measured, quantities, noises, coordinates, start, settings),
        now=now,
        data=measured,
        noises=noises,
    )


def _settings(model: Model, rtol: Any, atol: Any, solver: Any, max_steps: int) -> Settings:
    default_rtol, default_atol = _TOLERANCES[str(model.values.dtype)]
    rtol = default_rtol if rtol is None else _tolerance(rtol, "rtol")
    if atol is None:
        atol = default_atol
    elif np.ndim(atol) == 0:
        atol = _tolerance(atol, "atol")
    else:
        atol = jnp.asarray([_tolerance(a, "atol") for a in atol], model.values.dtype)
    return Settings(rtol=rtol, atol=atol, solver=solver, max_steps=int(max_steps))


def _tolerance(value: Any, name: str) -> float:
    number = getattr(value, "item", lambda: value)()
    if (
        isinstance(number, bool)
        or not isinstance(number, numbers.Real)
        or not (math.isfinite(number) and float(number) > 0)
    ):
        raise ModelError(f"{name} must be positive and finite, not {value!r}.")
    return float(number)


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


def _start_time(measured: Measurements, t0: Any) -> float:
    finite = measured.times[np.isfinite(measured.times)]
    start = float(finite.min()) if t0 is None else float(t0)
    used = measured.times[measured.rows]
    if used[0] < start:
        row = int(np.nanargmin(np.where(measured.present.any(axis=1), measured.times, np.nan)))
        raise ModelError(
            f"Row {row} was measured at time {used[0]:g}, before t0 = {start:g}.",
            remedy="set t0 no later than the first measurement",
        )
    if used[-1] <= start:
        raise ModelError(
            f"Everything was measured at t0 = {start:g}, so the equations have no time to act.",
            remedy="give the time of the initial values: t0=",
        )
    return start


def _check_model(model: Any) -> None:
    if not isinstance(model, Model):
        raise ModelError(
            f"fit needs a compiled model, not {type(model).__name__}.",
            remedy="model = sd.compile(system); sd.fit(model, data, ...)",
        )
    refuse_noise(model, "fit")


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
    missing += [s.name for s in without_start(model)]
    missing = [name for name in missing if name not in coordinates.names]
    if missing:
        raise ModelError(
            f"`{missing[0]}` of `{model.system.name}` has no value and is not among the unknowns.",
            remedy=f"model.replace({{{missing[0]!r}: value}}), or name it in unknowns",
        )


def _check_quantities(model: Model, quantities: tuple[Any, ...]) -> None:
    """A symbol that the model does not have is an error here, and not in the middle of a program."""
    dtype = model.values.dtype
    jax.eval_shape(
        lambda ts, ys: model.evaluate(quantities, ts, ys), jnp.zeros(1, dtype), jnp.zeros((1, model.size), dtype)
    )
