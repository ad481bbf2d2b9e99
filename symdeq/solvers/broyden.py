"""Broyden's good method with limited memory and a line search that needs no derivative.

Broyden, A class of methods for solving nonlinear simultaneous equations, Math. Comp. 19 (1965) 577-593; Kelley,
Iterative Methods for Linear and Nonlinear Equations (1995), chapter 7. The estimate H of the inverse Jacobian is a
multiple of the identity and m products u vᵀ. With s = Δz, y = Δf, the formula of Sherman and Morrison gives

    H ← H + (s - H y) sᵀH / sᵀH y,

where Powell's damping, which keeps H regular, replaces y by θ y + (1 - θ) H⁻¹ s: Moré and Trangenstein, On the global
convergence of Broyden's method, Math. Comp. 30 (1976) 523-540.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import optimistix as optx
from jax import lax
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError
from symdeq.solvers.equilibrium import Progress, check_count, check_tolerances, norm2, started, vector

# |sᵀH y| is at least this part of sᵀs.
_REGULAR = 0.1
# A residual may be (1 + 9 / (k + 1)²) times the largest of the last ten, less a part of λ²: Li and Fukushima, A
# derivative-free line search and global convergence of Broyden-like method for nonlinear equations, Optim. Methods
# Softw. 13 (2000) 181-201, whose growth too has a finite sum; with the ten and the part of λ² as in La Cruz, Martínez
# and Raydan, Spectral residual method without gradient information, Math. Comp. 75 (2006) 1429-1448. The estimate is
# bad at first, and what a long step tells it is worth more than a small residual.
_GROWTH, _WINDOW = 9, 10
_DECREASE = 1e-3
_SHORTER = 0.5
# What a trial tells whose residual is larger by more than this is not true of where it came from.
_TELLING = 100
_HOPELESS = 2.0**-30


class InverseEstimate(eqx.Module):
    """An estimate of an inverse Jacobian, scale I + Σ u vᵀ.

    Arguments:

    - `scale`: a number.
    - `u`, `v`: shape (m, n); rows of zeros where there are fewer.
    """

    scale: Array
    u: Array
    v: Array

    def apply(self, b: PyTree) -> PyTree:
        """H b, in the structure of b: about the x with J x = b."""
        x, shape = ravel_pytree(b)
        return shape(self.times(x))

    def apply_transposed(self, b: PyTree) -> PyTree:
        """Hᵀ b, in the structure of b: about the x with Jᵀ x = b, as a backward pass needs it."""
        x, shape = ravel_pytree(b)
        return shape(self.transposed_times(x))

    def times(self, x: Array) -> Array:
        """H x for a vector of shape (n,)."""
        return self.scale * x + _combined(self.u, self.v, x)

    def transposed_times(self, x: Array) -> Array:
        """Hᵀ x for a vector of shape (n,)."""
        return self.scale * x + _combined(self.v, self.u, x)


class BroydenState(eqx.Module):
    """What the iteration carries; `solution.state` of a solve.

    Arguments:

    - `inverse`: the estimate of the inverse of the Jacobian of f at the solution; for a fixed point of g, through
        `optimistix.fixed_point`, f is g(z) - z.
    - `updates`: how many updates the estimate holds.
    - `accepted`: how many steps were accepted, and `sizes`: the last residuals after them, in the 2-norm, shape (10,).
    - `z`, `f`, `h`: the iterate that the last step began from, the residual there, and H f, shape (n,).
    - `length`: λ, the part of the step that was taken.
    """

    progress: Progress
    inverse: InverseEstimate
    updates: Array
    accepted: Array
    sizes: Array
    z: Array
    f: Array
    h: Array
    length: Array


class Broyden(optx.AbstractRootFinder):
    """Broyden's method: one evaluation of f a step, no derivative, for thousands of unknowns.

    An optimistix root finder, `optimistix.root_find(f, Broyden(), z0)`, and through `optimistix.fixed_point(g, ...)`
    one of g(z) - z; for any PyTree of real arrays and as many equations as unknowns, in the same structure. A step that
    the line search rejects is tried again from where it began, shorter, and in the direction that an estimate gives
    which has learned from it; every trial is a step of its own, so `max_steps` bounds the evaluations.

    Arguments:

    - `rtol`, `atol`: the residual is small enough where norm(f(z) / (atol + rtol |z|)) <= 1; default 0 and 1e-3, so
        that the residual itself decides. `rtol` above 0 is for an f in the units of z, such as g(z) - z.
    - `norm`: of a PyTree; default the largest absolute entry.
    - `memory`: how many updates are kept; where one more comes, all others are forgotten. Default 32; 2 `memory` + 4
        vectors are held.
    - `scale`: the first estimate of the inverse Jacobian is `scale` times the identity. Default -1, which makes the
        first step a fixed-point iteration where f is g(z) - z.
    - `line_search`: whether steps after which the residual has grown too much are rejected; default `True`. Without,
        only those are where f is not finite.

    In the solution, `stats["nfe"]` is the number of evaluations of f, equal to `num_steps`; `state.inverse` is the
    `InverseEstimate`. The value is the iterate with the least residual. The result is `nonlinear_divergence` where no
    step lessens the residual, `nonfinite` where f is not finite at the first guess. Raises `ModelError` for settings
    out of range.
    Source: Kelley (1995), chapter 7; Li and Fukushima, Optim. Methods Softw. 13 (2000) 181-201.
    """

    rtol: float = 0.0
    atol: float = 1e-3
    norm: Callable[[PyTree], Array] = optx.max_norm
    memory: int = eqx.field(default=32, static=True)
    scale: float = -1.0
    line_search: bool = eqx.field(default=True, static=True)

    def __check_init__(self):
        check_tolerances(self)
        check_count(self, "memory")
        if not isinstance(self.scale, Tracer) and not 0 < abs(self.scale) < float("inf"):
            raise ModelError(f"scale of Broyden is {self.scale!r}; it must be a number other than 0.")

    def init(
        self, fn: Any, y: PyTree, args: PyTree, options: Any, f_struct: PyTree, aux_struct: PyTree, tags: Any
    ) -> BroydenState:
        z = vector(y)
        none, zero = jnp.zeros_like(z), jnp.zeros((), jnp.int32)
        factors = jnp.zeros((self.memory, z.size), z.dtype)
        return BroydenState(
            progress=started(y, f_struct, aux_struct),
            inverse=InverseEstimate(scale=jnp.asarray(self.scale, z.dtype), u=factors, v=factors),
            updates=zero,
            accepted=zero,
            sizes=jnp.zeros(_WINDOW, z.dtype),
            z=z,
            f=none,
            h=none,
            length=jnp.ones((), z.dtype),
        )

    def step(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: BroydenState, tags: Any) -> Any:
        residual, aux = fn(y, args)
        progress = state.progress.after(self, y, residual, aux)
        (z, shape), f = ravel_pytree(y), vector(residual)
        size = norm2(f)
        first = state.progress.nfe == 0
        good = first | (~progress.lost & self._is_enough(size, state))

        telling = good | (~progress.lost & (size <= _TELLING * state.sizes[0]))
        s = jnp.where(~first & telling, z - state.z, 0)
        inverse, updates, h, h_before = _updated(state.inverse, state.updates, s, f, state.f, state.h)

        z, f, h = (jnp.where(good, a, b) for a, b in ((z, state.z), (f, state.f), (h, h_before)))
        length = jnp.where(good, 1, _SHORTER * state.length)
        after = BroydenState(
            progress=progress,
            inverse=inverse,
            updates=updates,
            accepted=state.accepted + (good & ~first),
            sizes=jnp.where(good, jnp.roll(state.sizes, 1).at[0].set(size), state.sizes),
            z=z,
            f=f,
            h=h,
            length=length,
        )
        return shape(z - length * h), after, aux

    def _is_enough(self, size: Array, state: BroydenState) -> Any:
        """Whether the residual at the end of a step is small enough for it."""
        if not self.line_search:
            return True
        growth = _GROWTH / (state.accepted + 1).astype(size.dtype) ** 2
        return size <= (1 + growth - _DECREASE * state.length**2) * jnp.max(state.sizes)

    def terminate(self, fn: Any, y: PyTree, args: PyTree, options: Any, state: BroydenState, tags: Any) -> Any:
        return state.progress.verdict(state.length < _HOPELESS)

    def postprocess(
        self, fn: Any, y: PyTree, aux: PyTree, args: PyTree, options: Any, state: BroydenState, tags: Any, result: Any
    ) -> Any:
        return state.progress.y, state.progress.aux, {"nfe": state.progress.nfe}


def _updated(
    inverse: InverseEstimate, updates: Array, s: Array, f: Array, f_before: Array, h_before: Array
) -> tuple[InverseEstimate, Array, Array, Array]:
    """The estimate with one more update, as the only one where all places were taken, and as it is for s = 0; how many
    it holds; and its products with f and with `f_before`, whose product with the old one is `h_before`."""
    scale, places = inverse.scale, inverse.u.shape[0]
    square = jnp.sum(s * s)
    moved = square > 0
    full = moved & (updates == places)
    place = jnp.where(full, 0, updates)
    h = scale * f + jnp.where(full, 0, _combined(inverse.u, inverse.v, f))
    v = scale * s + jnp.where(full, 0, _combined(inverse.v, inverse.u, s))
    h_before = jnp.where(full, scale * f_before, h_before)

    safe = jnp.where(moved, square, 1)
    along = jnp.sum(v * (f - f_before)) / safe
    weak = jnp.abs(along) < _REGULAR
    bound = jnp.where(along < 0, -_REGULAR, _REGULAR)
    theta = jnp.where(weak, (1 - bound) / jnp.where(weak, 1 - along, 1), 1)
    u = jnp.where(moved, theta * (s - (h - h_before)) / (safe * (1 - theta + theta * along)), 0)

    here = moved & (jnp.arange(places) == place)[:, None]
    factors = (jnp.where(here, new, jnp.where(full, 0, old)) for new, old in ((u, inverse.u), (v, inverse.v)))
    products = (h + u * jnp.sum(v * f), h_before + u * jnp.sum(v * f_before))
    return InverseEstimate(scale, *factors), jnp.where(moved, place + 1, updates), *products


def _combined(out: Array, by: Array, x: Array) -> Array:
    """Σ out_i (by_i · x), in full precision on accelerators too."""
    return jnp.matmul(jnp.matmul(by, x, precision=lax.Precision.HIGHEST), out, precision=lax.Precision.HIGHEST)
