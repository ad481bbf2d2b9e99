"""Anderson acceleration of a fixed-point iteration, of type II, with filtered differences and safeguarded restarts.

Anderson, Iterative procedures for nonlinear integral equations, J. ACM 12 (1965) 547-560; Walker and Ni, Anderson
acceleration for fixed-point iterations, SIAM J. Numer. Anal. 49 (2011) 1715-1735, whose unconstrained form this is:
with r = f(z) - z and the last differences Δz and Δr of z and r,

    γ = argmin |r - Δr γ|,   z ← z + β r - (Δz + β Δr) γ.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optimistix as optx
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError
from symdeq.solvers.equilibrium import Progress, check_above, check_count, check_tolerances, started, vector

# So many restarts in a row, each with half the step of the one before, that led to no better iterate are the last.
_FRUITLESS = 8


class AndersonState(eqx.Module):
    """What the iteration carries.

    Arguments:

    - `z`, `r`: the iterate that the last step began from and its residual, shape (n,).
    - `dz`, `dr`: the last differences of both, newest first, shape (memory, n); zeros where there are none yet.
    - `best_r`: the residual of the best iterate, shape (n,).
    - `mixed`: whether the last step made use of differences.
    - `fruitless`: the restarts since an iterate was the best.
    """

    progress: Progress
    z: Array
    r: Array
    dz: Array
    dr: Array
    best_r: Array
    mixed: Array
    fruitless: Array


class Anderson(optx.AbstractFixedPointSolver):
    """Anderson acceleration: one evaluation of f a step, no derivative; the first choice for equilibrium layers.

    An optimistix solver, `optimistix.fixed_point(f, Anderson(), z0)`, for any PyTree of real arrays. On a linear f,
    with a memory for all steps, it is as good as GMRES. A step after which the residual is `restart` times the least so
    far, or not finite, is taken back: the differences are dropped, and a plain step leads on from the best iterate,
    half as long each time that happens without gain.

    Arguments:

    - `rtol`, `atol`: the residual is small enough where norm((f(z) - z) / (atol + rtol |z|)) <= 1; default 0 and 1e-3,
        so that the residual itself decides. With `rtol` above 0, an iterate that runs away may pass.
    - `norm`: of a PyTree; default the largest absolute entry.
    - `memory`: how many differences are kept; default 5. 2 `memory` + 4 vectors are held.
    - `damping`: β, the part of the residual that a step adds, above 0; default 1.
    - `least_angle`: a difference whose angle to those newer than it has a sine below this is left out, from 0 to 1;
        default 1e-3. Larger for an f with noise.
    - `restart`: above 1, default 10; `math.inf` for steps that are only taken back where f is not finite.

    In the solution, `stats["nfe"]` is the number of evaluations of f, equal to `num_steps`. The value is the iterate
    with the least residual. The result is `nonlinear_divergence` where eight restarts in a row were in vain,
    `nonfinite` where f is not finite at the first guess. Raises `ModelError` for settings out of range.
    Source: Walker and Ni, SIAM J. Numer. Anal. 49 (2011) 1715-1735; the filter: Pollock and Rebholz, Filtering for
    Anderson acceleration, SIAM J. Sci. Comput. 45 (2023) A1571-A1590.
    """

    rtol: float = 0.0
    atol: float = 1e-3
    norm: Callable[[PyTree], Array] = optx.max_norm
    memory: int = eqx.field(default=5, static=True)
    damping: float = 1.0
    least_angle: float = 1e-3
    restart: float = 10.0

    def __check_init__(self):
        check_tolerances(self)
        check_count(self, "memory")
        check_above(self, "damping", 0)
        check_above(self, "restart", 1)
        if not isinstance(self.least_angle, Tracer) and not 0 <= self.least_angle < 1:
            raise ModelError(f"least_angle of Anderson is {self.least_angle!r}; it is a sine, from 0 to below 1.")

    def init(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, f_struct: PyTree, aux_struct: PyTree, tags: Any
    ) -> AndersonState:
        z = vector(y)
        none, history = jnp.zeros_like(z), jnp.zeros((min(self.memory, z.size), z.size), z.dtype)
        return AndersonState(
            progress=started(y, f_struct, aux_struct),
            z=z,
            r=none,
            dz=history,
            dr=history,
            best_r=none,
            mixed=jnp.asarray(False),
            fruitless=jnp.zeros((), jnp.int32),
        )

    def step(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: AndersonState, tags: Any) -> Any:
        g, aux = fn(y, args)
        residual = jax.tree.map(jnp.subtract, g, y)
        progress = state.progress.after(self, y, residual, aux)
        (z, shape), r = ravel_pytree(y), vector(residual)
        best_r = jnp.where(progress.improved, r, state.best_r)

        # Growth after a plain step says nothing against the differences: f need not contract.
        grown = state.mixed & (progress.last > self.restart * progress.least)
        back = progress.lost | grown
        fruitless = jnp.where(progress.improved, 0, state.fruitless + back)
        first = state.progress.nfe == 0
        dz, dr = (
            jnp.where(back, 0, jnp.where(first, old, _pushed(old, new - before)))
            for old, new, before in ((state.dz, z, state.z), (state.dr, r, state.r))
        )
        z, r = jnp.where(back, vector(progress.y), z), jnp.where(back, best_r, r)

        beta = self.damping * jnp.where(back, 0.5 ** fruitless.astype(z.dtype), 1)
        gamma = least_squares(dr, r, self.least_angle)
        new = z + beta * r - jnp.sum(gamma[:, None] * (dz + beta * dr), axis=0)
        after = AndersonState(
            progress=progress,
            z=z,
            r=r,
            dz=dz,
            dr=dr,
            best_r=best_r,
            mixed=~back & ~first,
            fruitless=fruitless,
        )
        return shape(new), after, aux

    def terminate(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: AndersonState, tags: Any) -> Any:
        return state.progress.verdict(state.fruitless >= _FRUITLESS)

    def postprocess(
        self, fn: Any, y: PyTree, aux: PyTree, args: PyTree, options: Any, state: AndersonState, tags: Any, result: Any
    ) -> Any:
        return state.progress.y, state.progress.aux, {"nfe": state.progress.nfe}


def least_squares(columns: Array, r: Array, least_angle: Any) -> Array:
    """γ with the least |r - Σ γ_i column_i|, of shape (m,).

    Modified Gram-Schmidt, which squares no condition number: normal equations in single precision lose what the
    differences of nearly parallel steps say. The rows that turn into the orthogonal ones carry along how they are made
    of the columns, which spares the triangular solve. A column that depends on those before it gets 0.

    Arguments:

    - `columns`: shape (m, n), newest first; zeros are left out.
    - `r`: shape (n,).
    - `least_angle`: the sine below which a column counts as dependent.
    """
    squares = jnp.sum(columns * columns, axis=1)
    inverse = jnp.where(squares > 0, 1 / jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)
    rows, made_of = columns * inverse[:, None], jnp.diag(inverse)
    gamma = jnp.zeros(columns.shape[0], columns.dtype)
    least = jnp.maximum(least_angle, 10 * jnp.finfo(columns.dtype).eps) ** 2
    for j in range(columns.shape[0]):
        square = jnp.sum(rows[j] * rows[j])
        kept = square > least
        scale = jnp.where(kept, 1 / jnp.sqrt(jnp.where(kept, square, 1)), 0)
        q, p = scale * rows[j], scale * made_of[j]
        part = jnp.sum(q * r)
        r, gamma = r - part * q, gamma + part * p
        along = jnp.sum(rows * q, axis=1)[:, None]
        rows, made_of = rows - along * q, made_of - along * p
    return gamma


def _pushed(history: Array, new: Array) -> Array:
    """With a new row in front, and without the last."""
    return jnp.concatenate([new[None], history[:-1]])
