"""Damped fixed-point iteration, z ← z + β (f(z) - z)."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, PyTree

from symdeq.solvers.equilibrium import Progress, check_above, check_tolerances, started


class FixedPointState(eqx.Module):
    """What the iteration carries."""

    progress: Progress


class FixedPoint(optx.AbstractFixedPointSolver):
    """Fixed-point iteration with damping; for contractions, at the rate of the contraction.

    An optimistix solver, `optimistix.fixed_point(f, FixedPoint(), z0)`, for any PyTree of real arrays. Unlike
    `optimistix.FixedPointIteration` it looks at the residual f(z) - z and not at the damped step, returns the iterate
    with the least one, and stops where the iteration runs away.

    Arguments:

    - `rtol`, `atol`: the residual is small enough where norm((f(z) - z) / (atol + rtol |z|)) <= 1; default 0 and 1e-3,
        so that the residual itself decides. With `rtol` above 0, an iterate that runs away may pass.
    - `norm`: of a PyTree; default the largest absolute entry.
    - `damping`: β, the part of the residual that is added, above 0; default 1.

    In the solution, `stats["nfe"]` is the number of evaluations of f, equal to `num_steps`. The result is
    `nonlinear_divergence` where the residual grows to 10,000 times the least one or ceases to be finite, `nonfinite`
    where f is not finite at the first guess. Raises `ModelError` for settings out of range.
    """

    rtol: float = 0.0
    atol: float = 1e-3
    norm: Callable[[PyTree], Array] = optx.max_norm
    damping: float = 1.0

    def __check_init__(self):
        check_tolerances(self)
        check_above(self, "damping", 0)

    def init(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, f_struct: PyTree, aux_struct: PyTree, tags: Any
    ) -> FixedPointState:
        return FixedPointState(started(y, f_struct, aux_struct))

    def step(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: FixedPointState, tags: Any) -> Any:
        g, aux = fn(y, args)
        residual = jax.tree.map(jnp.subtract, g, y)
        new = jax.tree.map(lambda v, r: v + self.damping * r, y, residual)
        return new, FixedPointState(state.progress.after(self, y, residual, aux)), aux

    def terminate(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: FixedPointState, tags: Any) -> Any:
        return state.progress.verdict((state.progress.nfe > 0) & (state.progress.lost | state.progress.diverged))

    def postprocess(
        self,
        fn: Any,
        y: PyTree,
        aux: PyTree,
        args: PyTree,
        options: Any,
        state: FixedPointState,
        tags: Any,
        result: Any,
    ) -> Any:
        return state.progress.y, state.progress.aux, {"nfe": state.progress.nfe}
