"""A look at a compiled model on the host: Jacobian and slopes at single points, without compiling anything by XLA."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array, issparse

from symdeq import codegen
from symdeq._lookup import Compiled

# A dense Jacobian of a thousand states takes 8 MB, its eigenvalues a second.
_DENSE_UP_TO = 1000


def jacobian(functions: codegen.Functions, t: float, y: np.ndarray, p: Any) -> Any:
    """The Jacobian at a point, shape (n, n): an array, or a sparse one of SciPy beyond a thousand states."""
    on_host = codegen.host_functions(functions.generated)
    if on_host is None:
        dense = np.asarray(_compiled_jacobian(functions, t, jnp.asarray(y), p))
        return csr_array(dense) if len(y) > _DENSE_UP_TO else dense
    with np.errstate(all="ignore"):
        values = np.array([float(v) for v in on_host["jac"](t, np.asarray(y), np.asarray(p), *_past(functions, y))])
    pattern = functions.pattern
    matrix = csr_array((values, (pattern.rows, pattern.columns)), shape=pattern.shape)
    return matrix if len(y) > _DENSE_UP_TO else matrix.toarray()


@eqx.filter_jit
def _compiled_jacobian(functions: codegen.Functions, t: Any, y: Any, args: Any) -> jax.Array:
    return functions.jacobian_dense(t, y, args, functions.still(y))


@eqx.filter_jit
def _compiled_slopes(functions: codegen.Functions, ts: Any, ys: Any, args: Any) -> jax.Array:
    return jax.vmap(lambda t, y: functions.rhs(t, y, args, functions.still(y)))(ts, ys)


def _past(functions: codegen.Functions, y: Any) -> tuple[Any, ...]:
    """Delayed values for a look at a single point, of which no past is known: it is taken for having stood still."""
    past = functions.still(np.asarray(y))
    return () if past is None else (np.moveaxis(past, -1, 0),)


def is_finite(jacobian: Any) -> bool:
    """Whether every entry of a Jacobian is finite."""
    return bool(np.isfinite(jacobian.data if issparse(jacobian) else jacobian).all())


def spectral_radius(jacobian: Any) -> float:
    """The largest modulus of an eigenvalue; of a sparse Jacobian the infinity norm, which bounds it."""
    if issparse(jacobian):
        return float(np.max(abs(jacobian).sum(axis=1), initial=0.0))
    return float(np.max(np.abs(np.linalg.eigvals(jacobian)), initial=0.0))


def slopes(functions: codegen.Functions, ts: Any, ys: Any, p: Any) -> np.ndarray:
    """The right-hand sides along a trajectory, shape (times, n)."""
    on_host = codegen.host_functions(functions.generated)
    ts, ys = np.asarray(ts), np.asarray(ys)
    if on_host is None:
        return np.asarray(_compiled_slopes(functions, jnp.asarray(ts), jnp.asarray(ys), p))
    with np.errstate(all="ignore"):
        if functions.generated.vectorised:
            rows = zip(ts, ys, strict=True)
            return np.stack([on_host["rhs"](t, y, np.asarray(p), *_past(functions, y)) for t, y in rows])
        values = on_host["rhs"](ts, tuple(np.moveaxis(ys, -1, 0)), tuple(np.asarray(p)), *_past(functions, ys))
    return np.stack([np.broadcast_to(v, ts.shape) for v in values], axis=-1)


@lru_cache(maxsize=256)
def declared_start(compiled: Compiled, t0: float) -> tuple[Any, np.ndarray, np.ndarray]:
    """Jacobian, slope and state at the start by the declared values; networks count as zero."""
    generated = compiled.functions.generated
    p = np.array([s.value for s in compiled.system.params], dtype=float)
    on_host = codegen.host_functions(generated)
    if on_host is None:
        with jax.ensure_compile_time_eval():  # the declared values are known, also while a program is traced
            silent = tuple(_Silent(network.outputs) for network in compiled.system.networks)
            args = (jnp.asarray(p), silent) if silent else jnp.asarray(p)
            y = np.asarray(compiled.functions.initial(p), dtype=float)
            slope = np.asarray(_compiled_slopes(compiled.functions, jnp.full(1, t0), jnp.asarray(y)[None], args))[0]
            return jacobian(compiled.functions, t0, y, args), slope.astype(float), y
    with np.errstate(all="ignore"):
        y = np.array([float(v) for v in on_host["initial"](p)])
        slope = np.array([float(v) for v in on_host["rhs"](t0, y, p, *_past(compiled.functions, y))])
    return jacobian(compiled.functions, t0, y, p), slope, y


@dataclasses.dataclass(frozen=True)
class _Silent:
    """A network that gives zeros."""

    outputs: int

    def __call__(self, x: Any) -> Any:
        return jnp.zeros(self.outputs, x.dtype)
