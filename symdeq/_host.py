"""A look at a compiled model on the host: Jacobian and slopes at single points, without compiling anything by XLA."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from symdeq import codegen
from symdeq._lookup import Compiled


def jacobian(functions: codegen.Functions, t: float, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The Jacobian at a point, shape (n, n)."""
    on_host = codegen.host_functions(functions.generated)
    if on_host is None:
        return np.asarray(functions.jacobian_dense(t, jnp.asarray(y), jnp.asarray(p)))
    matrix = np.zeros((len(y), len(y)))
    with np.errstate(all="ignore"):
        values = on_host["jac"](t, np.asarray(y), np.asarray(p))
    pattern = functions.pattern
    matrix[pattern.rows, pattern.columns] = [float(v) for v in values]
    return matrix


def slopes(functions: codegen.Functions, ts: Any, ys: Any, p: Any) -> np.ndarray:
    """The right-hand sides along a trajectory, shape (times, n)."""
    on_host = codegen.host_functions(functions.generated)
    ts, ys = np.asarray(ts), np.asarray(ys)
    if on_host is None:
        return np.asarray(
            jax.vmap(functions.rhs, in_axes=(0, 0, None))(jnp.asarray(ts), jnp.asarray(ys), jnp.asarray(p))
        )
    with np.errstate(all="ignore"):
        if functions.generated.vectorised:
            return np.stack([on_host["rhs"](t, y, np.asarray(p)) for t, y in zip(ts, ys, strict=True)])
        values = on_host["rhs"](ts, tuple(np.moveaxis(ys, -1, 0)), tuple(np.asarray(p)))
    return np.stack([np.broadcast_to(v, ts.shape) for v in values], axis=-1)


@lru_cache(maxsize=256)
def declared_start(compiled: Compiled, t0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Jacobian, slope and state at the start by the declared values."""
    generated = compiled.functions.generated
    p = np.array([s.value for s in compiled.system.params], dtype=float)
    on_host = codegen.host_functions(generated)
    if on_host is None:
        y = np.array([float(v) for v in compiled.functions.initial(p)])
        slope = np.asarray(compiled.functions.rhs(t0, jnp.asarray(y), jnp.asarray(p)), dtype=float)
    else:
        with np.errstate(all="ignore"):
            y = np.array([float(v) for v in on_host["initial"](p)])
            slope = np.array([float(v) for v in on_host["rhs"](t0, y, p)])
    return jacobian(compiled.functions, t0, y, p), slope, y
