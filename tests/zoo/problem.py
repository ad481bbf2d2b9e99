"""What every published problem of the zoo says about itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import symdeq as sd

SAVE_POINTS = 40


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One published initial-value problem M y' = f(t, y, p), in three spellings, with reference values.

    Arguments:
        name: the module's name, or a variant of it
        source: who published the problem, and where the reference values come from
        states, parameters: names, in the order of `y0` and `params`; the model uses the same
        build: the model in symdeq's language
        field: `field(t, y, args) -> array`, the same by hand for JAX; `args` is the tuple of parameters
        numpy_rhs, numpy_jac: `f(t, y, p) -> array`, the same by hand for NumPy; with SciPy, `args=(problem.params,)`
        y0: initial values, consistent also where states are algebraic
        params: parameter values
        t0, t1: the interval
        ts: times to save at, later than t0, the last one t1; geometric where the problem lives on a logarithmic scale
        reference: time -> state, at least at t1, correct to `digits` digits
        stiff: whether an explicit method is the wrong choice
        digits: significant digits of every number in `reference`
        rtol, atol: the benchmark's tolerances
        mass: diagonal of M; None stands for the identity
        exact: the solution in closed form, `exact(t) -> tuple`, where there is one
        bands: lower and upper bandwidth of the Jacobian, where that is narrow
        numpy_jac_banded: the Jacobian by bands, shape (lower + upper + 1, n): entry (i, k) at [upper + i - k, k]
        numpy_jac_sparse: the Jacobian as a SciPy sparse matrix
    """

    name: str
    source: str
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    build: Callable[[], sd.System]
    field: Callable[[Any, Any, Any], Any]
    numpy_rhs: Callable[[float, np.ndarray, tuple[float, ...]], np.ndarray]
    numpy_jac: Callable[[float, np.ndarray, tuple[float, ...]], np.ndarray]
    y0: tuple[float, ...]
    params: tuple[float, ...]
    t0: float
    t1: float
    ts: tuple[float, ...]
    reference: Mapping[float, tuple[float, ...]]
    stiff: bool
    digits: int = 13
    rtol: float = 1e-6
    atol: float = 1e-9
    mass: tuple[float, ...] | None = None
    exact: Callable[[float], tuple[float, ...]] | None = None
    bands: tuple[int, int] | None = None
    numpy_jac_banded: Callable[[float, np.ndarray, tuple[float, ...]], np.ndarray] | None = None
    numpy_jac_sparse: Callable[[float, np.ndarray, tuple[float, ...]], Any] | None = None


def evenly(t0: float, t1: float) -> tuple[float, ...]:
    """`SAVE_POINTS` evenly spaced times in (t0, t1], the last one t1 itself."""
    return tuple(map(float, np.linspace(t0, t1, SAVE_POINTS + 1)[1:]))


def geometrically(first: float, t1: float) -> tuple[float, ...]:
    """`SAVE_POINTS` times from `first` to t1, both included, each the same multiple of the one before."""
    return tuple(map(float, np.geomspace(first, t1, SAVE_POINTS)))
