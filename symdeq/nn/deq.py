"""`DEQ`: the equilibrium z = cell(z, x) as a layer, found by any solver and differentiated as what it is, a root."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import wadler_lindig as wl
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError, SolveError, SymdeqWarning
from symdeq._values import concrete
from symdeq.compiled import Model
from symdeq.nn.equilibrium import Equilibrium, find, implicit, largest, settled, tolerances, trajectory
from symdeq.nn.rest_layer import RestCell
from symdeq.solvers import Anderson

Backward = Literal["implicit", "phantom", "unrolled"]


class DEQInfo(eqx.Module):
    """What a `DEQ` found, and how.

    - `z_star`: the equilibrium, or the best iterate of a search that did not get there.
    - `u0`: where the search started.
    - `residual`: `cell(z_star, x) - z_star`.
    - `jacobian_loss`: an estimate of the squared Frobenius norm of the cell's Jacobian by z, for each entry of z; 0 if
        it was not asked for.
    - `nfe`: how often the cell was evaluated in the search.
    - `ok`: whether the largest entry of the residual is within the tolerance; true of a fixed depth.
    - `original`: the solution of optimistix or diffrax; `None` of a fixed depth.
    """

    z_star: PyTree
    u0: PyTree
    residual: PyTree
    jacobian_loss: Array
    nfe: Array
    ok: Array
    original: Any


class DEQ(eqx.Module):
    """A deep equilibrium layer: `deq(x)` is the z with `z = cell(z, x)`.

    Works under `jax.jit`, `jax.vmap`, `jax.grad` and their `eqx.filter_` forms. The derivative is that of the
    equilibrium by the implicit function theorem, whatever solver found it, so its memory does not grow with the number
    of steps. Where a search ends without an equilibrium, it is the derivative of one application of the cell to where
    it ended.
    Source: S. Bai, J. Z. Kolter, V. Koltun, Deep equilibrium models, NeurIPS 2019.

    Arguments:

    - `cell`: called as `cell(z, x)`; returns what has the structure and shapes of z. Any PyTrees of real arrays. Or a
        model from `compile`: its steady state, as `sd.steady_state` finds it, is a function of the vector x.
    - `solver`: `sd.Anderson()` (default), `sd.Broyden()`, or any fixed-point solver or root finder of optimistix; or
        any diffrax solver, which follows z' = cell(z, x) - z until it rests.
    - `init`: where the search starts: `None` (default) for zeros like x, `"skip-reg"` for `cell(zeros, x)`, or a module
        that is called with x.
    - `shape`: the shape of z, or a tuple of shapes for a tuple of arrays, where zeros are not like x.
    - `atol`: the search ends where the largest entry of `|cell(z, x) - z|` is at most this. Default `None`: the
        tolerances that the solver was made with, 1e-3 for those of symdeq and diffrax.
    - `rtol`: the relative tolerance of a diffrax solver's steps. Default `None`: their error goes by `atol` alone, as
        the rest that they lead to does; with `rtol * |z|` above `atol` the errors of the steps may keep z from it.
    - `max_steps`: the most steps; default 32, for diffrax solvers 4096.
    - `backward`: `"implicit"` (default); `"phantom"`, the derivative of a few damped steps from the equilibrium
        (Z. Geng et al., On training implicit models, NeurIPS 2021); `"unrolled"`, of all steps of a plain iteration.
    - `linear_solver`: of lineax, for the implicit derivative; default a dense LU up to 64 entries, and
        `symdeq.solvers.GMRES()` beyond, with ten steps to 1e-3.
    - `inputs`, `outputs`: over a model, what x feeds and what is returned, as in `ODELayer`. z is then the state of the
        model, `solver`, `rtol` and `atol` default as in `steady_state`, and the other settings have no use.
    - `jacobian_regularization`: whether to estimate `jacobian_loss`, which needs `key=` in each call; default `False`.

    Raises `ModelError` for what is no cell, solver or start.
    """

    cell: Any
    init: Any
    solver: Any = eqx.field(static=True)
    shape: Any = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)
    atol: float | None = eqx.field(static=True)
    max_steps: int | None = eqx.field(static=True)
    backward: Backward = eqx.field(static=True)
    linear_solver: Any = eqx.field(static=True)
    jacobian_regularization: bool = eqx.field(static=True)

    def __init__(
        self,
        cell: Any,
        solver: Any = None,
        init: Any = None,
        *,
        inputs: Any = None,
        outputs: Any = None,
        shape: Any = None,
        rtol: float | None = None,
        atol: float | None = None,
        max_steps: int | None = None,
        backward: Backward = "implicit",
        linear_solver: Any = None,
        jacobian_regularization: bool = False,
    ):
        if not (callable(cell) or isinstance(cell, Model)):
            raise ModelError(f"DEQ needs a cell that can be called as cell(z, x), not {cell!r}.")
        if init is not None and init != "skip-reg" and not callable(init):
            raise ModelError(f'init must be None, "skip-reg" or a module, not {init!r}.')
        if backward not in ("implicit", "phantom", "unrolled"):
            raise ModelError(f'backward must be "implicit", "phantom" or "unrolled", not {backward!r}.')
        for name, value in (("rtol", rtol), ("atol", atol)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
                raise ModelError(f"{name} must be a number above 0, not {value!r}.", remedy="give one such as 1e-3")
        if max_steps is not None and (isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1):
            raise ModelError(f"max_steps must be a whole number from 1 on, not {max_steps!r}.")
        self.init = init
        self.rtol, self.atol = (None if v is None else float(v) for v in (rtol, atol))
        if isinstance(cell, Model):
            cell, solver = self._over_model(cell, solver, inputs, outputs, shape, backward, jacobian_regularization)
        else:
            if inputs is not None or outputs is not None:
                raise ModelError("inputs and outputs belong to a DEQ over a model.", remedy="leave them out")
            solver = Anderson() if solver is None else solver
            kinds = (optx.AbstractFixedPointSolver, optx.AbstractRootFinder, optx.AbstractLeastSquaresSolver)
            if not isinstance(solver, (*kinds, dfx.AbstractSolver)):
                raise ModelError(
                    f"{solver!r} does not find equilibria.",
                    remedy="use sd.Anderson(), sd.Broyden(), a root finder of optimistix, or a diffrax solver",
                )
        self.cell, self.solver, self.max_steps = cell, solver, max_steps
        self.shape = _checked_shape(shape)
        self.backward, self.linear_solver = backward, linear_solver
        self.jacobian_regularization = bool(jacobian_regularization)

    def __call__(
        self, x: PyTree, *, z0: PyTree = None, depth: int | None = None, key: Any = None, return_info: bool = False
    ) -> Any:
        """The equilibrium for one input; batches are `jax.vmap(deq)(xs)`.

        Arguments:

        - `x`: what the cell takes as its second argument.
        - `z0`: where the search starts in this call, such as the last equilibrium; default by `init`.
        - `depth`: instead of a search the cell is applied so many times, and differentiated step by step: pretraining.
        - `key`: a `jax.random.key` for the estimate of `jacobian_loss`.
        - `return_info`: also return a `DEQInfo`.

        Returns z, or `(z, info)`. A search that fails returns its best iterate, says so in `info.ok`, and warns outside
        of `jax.jit`.
        """
        if isinstance(self.cell, RestCell):
            return self._at_rest(self.cell, x, z0, depth, return_info)
        x = jax.tree.map(_inexact, x)
        start = self._start(x, z0)
        if depth is not None:
            z, nfe, original = self._unrolled(start, x, depth), jnp.asarray(depth), None
        elif self.backward == "unrolled":
            depth = self.max_steps or 32
            z, nfe, original = self._unrolled(start, x, depth), jnp.asarray(depth), None
        else:
            z, (nfe, original) = self._searched(start, x)
        residual = jax.tree.map(jnp.subtract, self.cell(z, x), z)
        size = jax.lax.stop_gradient(largest(residual))
        ok = jnp.isfinite(size) if original is None else settled(*jax.lax.stop_gradient((residual, z)), self.tolerances)
        self._warn(ok, size)
        if not return_info:
            return z
        info = DEQInfo(
            z_star=z,
            u0=start,
            residual=residual,
            jacobian_loss=self._jacobian_loss(z, x, key),
            nfe=nfe,
            ok=ok,
            original=original,
        )
        return z, info

    def trajectory(self, x: PyTree, ts: Any, *, z0: PyTree = None) -> PyTree:
        """The way to the equilibrium: z' = cell(z, x) - z from the start at t = 0.

        Arguments:

        - `x`, `z0`: as in a call of the layer.
        - `ts`: times above 0 in order, shape (times,).

        Returns z with an axis of times in front, found by the layer's solver where that is one of diffrax, else by
        `diffrax.Tsit5()`; NaN where it did not get to. Raises `ModelError` for a DEQ over a model, which `sd.solve`
        follows.
        """
        if isinstance(self.cell, RestCell):
            raise ModelError("The way of a model to its rest is its solution.", remedy="sd.solve(model, ...)")
        times = jnp.asarray(ts, jnp.result_type(float))
        if times.ndim != 1 or not times.size:
            raise ModelError(f"ts must be times in one dimension, not of shape {times.shape}.")
        if concrete(times) and (float(times[0]) < 0 or bool(jnp.any(jnp.diff(times) < 0)) or float(times[-1]) <= 0):
            raise ModelError("ts must be times above 0 in order.", remedy="such as jnp.linspace(0, 100, 101)")
        x = jax.tree.map(_inexact, x)
        return trajectory(self._equilibrium(x), self._start(x, z0), times)

    def _equilibrium(self, x: PyTree) -> Equilibrium:
        return Equilibrium(
            solver=self.solver,
            rtol=self.rtol or 0.0,
            atol=self.atol,
            max_steps=self.max_steps,
            cell=self.cell,
            x=x,
        )

    def _over_model(self, model, solver, inputs, outputs, shape, backward, regularised) -> tuple[RestCell, Any]:
        for name, value, usual in (("shape", shape, None), ("backward", backward, "implicit")):
            if value != usual:
                raise ModelError(f"{name}= has no use in a DEQ over a model.", remedy="leave it out")
        if self.init == "skip-reg" or regularised:
            raise ModelError(
                "A model's steady state is searched for with its own Jacobian: there is none to regularise.",
                remedy="leave jacobian_regularization out, and give init= as a module that is called with x",
            )
        return RestCell(model, inputs, outputs), "auto" if solver is None else solver

    def _at_rest(self, cell: RestCell, x: Any, z0: Any, depth: Any, return_info: bool) -> Any:
        if depth is not None:
            raise ModelError("depth= has no use in a DEQ over a model.", remedy="leave it out")
        guess = self.init(x) if z0 is None and callable(self.init) else z0
        settings = {"rtol": self.rtol, "atol": self.atol, "solver": self.solver}
        found = cell.settled(x, guess, **settings, max_steps=self.max_steps, linear_solver=self.linear_solver)
        if not found.is_traced and not np.all(found.ok):
            raise SolveError(found.failure)
        if not return_info:
            return cell.read(found)
        info = DEQInfo(
            z_star=found.y,
            u0=found.rest.start,
            residual=found.rates,
            jacobian_loss=jnp.zeros((), found.y.dtype),
            nfe=found.known.nfe,
            ok=jnp.asarray(found.ok),
            original=found,
        )
        return cell.read(found), info

    def _start(self, x: PyTree, z0: PyTree) -> PyTree:
        """Where the search starts; checked against what the cell returns."""
        if z0 is not None:
            start = jax.tree.map(_inexact, z0)
        elif callable(self.init):
            start = self.init(x)
        else:
            start = self._zeros(x)
            if self.init == "skip-reg":
                start = self._checked(start, x) and self.cell(start, x)
        self._checked(start, x)
        return start

    def _zeros(self, x: PyTree) -> PyTree:
        if self.shape is None:
            return jax.tree.map(jnp.zeros_like, x)
        dtype = jnp.result_type(*jax.tree.leaves(x))
        if self.shape and isinstance(self.shape[0], tuple):
            return tuple(jnp.zeros(one, dtype) for one in self.shape)
        return jnp.zeros(self.shape, dtype)

    def _checked(self, start: PyTree, x: PyTree) -> bool:
        try:
            found = eqx.filter_eval_shape(self.cell, start, x)
        except (TypeError, ValueError) as error:
            shapes = jax.tree.map(jnp.shape, start)
            raise ModelError(
                f"The cell cannot be called with z of shape {shapes}: {str(error).splitlines()[0]}",
                remedy="give the start of another shape than x by init=, a module that is called with x, or by z0=",
            ) from error
        same = jax.tree.structure(found) == jax.tree.structure(start) and all(
            a.shape == b.shape for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(start), strict=True)
        )
        if not same:
            raise ModelError(
                f"The cell returns {jax.tree.map(lambda a: a.shape, found)} "
                f"for z of shape {jax.tree.map(jnp.shape, start)}.",
                remedy="cell(z, x) has to return what looks like z; give its start by init= or z0=",
            )
        return True

    def _searched(self, start: PyTree, x: PyTree) -> tuple[PyTree, Any]:
        equilibrium = self._equilibrium(x)
        if self.backward == "phantom":
            z, rest = jax.lax.stop_gradient(find(equilibrium, start))
            return self._damped(z, x), rest
        return implicit(equilibrium, start, self.linear_solver)

    def _damped(self, z: PyTree, x: PyTree, steps: int = 5, damping: float = 0.5) -> PyTree:
        for _ in range(steps):
            z = jax.tree.map(lambda a, b: (1 - damping) * a + damping * b, z, self.cell(z, x))
        return z

    def _unrolled(self, z: PyTree, x: PyTree, depth: int) -> PyTree:
        if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 1:
            raise ModelError(f"depth must be a whole number from 1 on, not {depth!r}.")
        return jax.lax.scan(lambda z, _: (self.cell(z, x), None), z, None, length=int(depth))[0]

    def _jacobian_loss(self, z: PyTree, x: PyTree, key: Any) -> Array:
        """|v J|^2 / n with v of independent standard normal entries, whose mean is |J|_F^2 / n."""
        flat, restore = ravel_pytree(z)
        if not self.jacobian_regularization:
            return jnp.zeros((), flat.dtype)
        if key is None:
            raise ModelError("The estimate of the Jacobian's norm is random.", remedy="deq(x, key=jax.random.key(0))")
        v = jax.random.normal(key, flat.shape, flat.dtype)
        _, back = jax.vjp(lambda w: ravel_pytree(self.cell(restore(w), x))[0], flat)
        return jnp.sum(back(v)[0] ** 2) / flat.size

    def _warn(self, ok: Any, size: Any) -> None:
        if not isinstance(ok, Tracer) and not bool(np.all(ok)):
            warnings.warn(
                f"The DEQ found no equilibrium: the largest entry of its residual is {float(size):.3g}.\n"
                "  remedy: more max_steps, another solver, jacobian_regularization, or a cell that contracts more",
                SymdeqWarning,
                stacklevel=3,
            )

    def __pdoc__(self, **_: Any) -> wl.AbstractDoc:
        """How it prints inside another module."""
        return wl.TextDoc(repr(self))

    @property
    def tolerances(self) -> tuple[float, float]:
        """Relative and absolute tolerance of the residual: its largest entry is at most atol + rtol * max|z|."""
        return tolerances(self.solver, self.atol)

    def __repr__(self) -> str:
        if isinstance(self.cell, RestCell):
            sides = [", ".join(str(q) for q in side) for side in (self.cell.inputs, self.cell.outputs)]
            return f"DEQ of `{self.cell.model.system.name}` at rest: ({sides[0]}) -> ({sides[1]})"
        return f"DEQ of {type(self.cell).__name__} by {type(self.solver).__name__}, atol {self.tolerances[1]:g}"


def _checked_shape(shape: Any) -> Any:
    if shape is None:
        return None
    try:
        if shape and not all(isinstance(n, int | np.integer) for n in shape):
            return tuple(tuple(int(n) for n in one) for one in shape)
        return tuple(int(n) for n in shape)
    except TypeError:
        raise ModelError(
            f"shape={shape!r} is no shape of z.", remedy="a tuple such as (5,), or a tuple of such tuples"
        ) from None


def _inexact(value: Any) -> Array:
    value = jnp.asarray(value)
    return value if jnp.issubdtype(value.dtype, jnp.inexact) else value.astype(jnp.result_type(float))
