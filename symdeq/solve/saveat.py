"""What to save, as it was asked for: times, a spacing, or a `diffrax.SaveAt`."""

from __future__ import annotations

import math
from typing import Any

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq._values import as_array, concrete

_MOST_TIMES = 10_000_000
_SAVE_STATE = dfx.SubSaveAt(t1=True).fn  # what diffrax saves when nothing else was asked for


def check_saveat(saveat: Any, t0: Array, t1: Array, dtype: Any) -> tuple[dfx.SaveAt, bool, bool]:
    """diffrax's record; whether it is the solver's own steps; whether it is plain states at one set of times."""
    if saveat is None:
        return dfx.SaveAt(t0=True, steps=True), True, True
    if isinstance(saveat, dfx.SaveAt):
        sub = saveat.subs
        if sub is None:
            saveat = dfx.SaveAt(t1=True, dense=saveat.dense, solver_state=True)
            sub = saveat.subs
        plain = isinstance(sub, dfx.SubSaveAt) and sub.fn is _SAVE_STATE
        for one in jax.tree.leaves(sub, is_leaf=lambda s: isinstance(s, dfx.SubSaveAt)):
            if one.ts is not None:
                _check_times(one.ts, t0, t1)
        return saveat, bool(plain and sub.steps), plain
    if np.ndim(saveat) == 0 and concrete(saveat):
        saveat = _spaced(saveat, t0, t1)
    try:
        ts = as_array(saveat, dtype)
    except (TypeError, ValueError):
        raise ModelError(
            f"saveat={saveat!r} is neither times, nor a spacing, nor a diffrax.SaveAt.",
            remedy="give an array of times, such as np.linspace(0, 10, 101)",
        ) from None
    if ts.ndim != 1 or ts.shape[0] == 0:
        raise ModelError(
            f"saveat must be times in one dimension, at least one; it has the shape {ts.shape}.",
            remedy="give an array of times, or leave saveat out to get the solver's own steps",
        )
    _check_times(ts, t0, t1)
    return dfx.SaveAt(ts=jnp.asarray(ts)), False, True


def _spaced(spacing: Any, t0: Array, t1: Array) -> np.ndarray:
    if not isinstance(spacing, int | float | np.number | jax.Array | np.ndarray) or isinstance(spacing, bool):
        raise ModelError(
            f"saveat={spacing!r} is neither times, nor a spacing, nor a diffrax.SaveAt.",
            remedy="give an array of times, such as np.linspace(0, 10, 101)",
        )
    if not concrete(t0, t1):
        raise ModelError(
            "A spacing as saveat needs t0 and t1 that are known before tracing.", remedy="give the times as an array"
        )
    step, start, end = float(spacing), float(t0), float(t1)
    if not (math.isfinite(step) and step > 0):
        raise ModelError(f"The spacing saveat={step:g} must be positive.", remedy="give a positive number")
    count = abs(end - start) / step
    if count > _MOST_TIMES:
        raise ModelError(f"saveat={step:g} asks for {count:.1e} times.", remedy=f"give at most {_MOST_TIMES:.0e}")
    whole = math.floor(count * (1 + 4e-16) + 1e-9)
    times = start + math.copysign(step, end - start) * np.arange(whole + 1)
    if abs(times[-1] - end) <= 1e-9 * step:
        times[-1] = end
    return times


def _check_times(ts: Any, t0: Array, t1: Array) -> None:
    if not concrete(ts, t0, t1):
        return  # checked in the program, reported by `solution.ok`
    values, start, end = np.asarray(ts, dtype=float), float(t0), float(t1)
    if not np.isfinite(values).all():
        raise ModelError("saveat contains a time that is not finite.", remedy="leave it out")
    sign = 1.0 if end >= start else -1.0
    steps = np.diff(sign * values)
    if (steps < 0).any():
        i = int(np.argmax(steps < 0))
        raise ModelError(
            f"The times in saveat must run from t0 to t1; {values[i + 1]:g} follows {values[i]:g}.", remedy="sort them"
        )
    low, high = min(start, end), max(start, end)
    outside = values[(values < low) | (values > high)]
    if len(outside):
        raise ModelError(
            f"saveat contains {outside[0]:.10g}, outside the interval from t0 = {start:g} to t1 = {end:g}.",
            remedy="widen the interval, or drop that time",
        )
