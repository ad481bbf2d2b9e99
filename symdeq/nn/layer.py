"""`ODELayer`: a compiled model as a function from a vector to values of its solution."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl
from jaxtyping import Array

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.model import ModelSymbol
from symdeq.nn import door
from symdeq.solve import Solution, solve
from symdeq.solve.problem import DEFAULT_MAX_STEPS


class ODELayer(eqx.Module):
    """A differential equation as a layer: a vector goes in as initial values and parameters, values come out.

    Works under `jax.jit`, `jax.vmap`, `jax.grad` and their `eqx.filter_` forms, in `eqx.nn.Sequential`, and in the
    precision of the model. Its array leaves are those of the model (parameters, initial values, networks), which
    `eqx.filter_grad` differentiates; all else is compared by value, so that equal layers share one compiled program.

    Arguments:

    - `model`: from `compile`.
    - `inputs`: states (their initial values) and parameters that the vector feeds, in this order, symbols or names; a
        vector state takes as many entries as it has numbers. The rest keeps the model's values. May be empty.
    - `outputs`: what is returned: symbols, names, or any expressions, as in `solution[...]`; a vector state gives as
        many entries as it has numbers.
    - `t1`, `t0`: end and start (default 0): numbers, or expressions in parameters. `t1` may be left out if `saveat` is
        an array: its last time.
    - `saveat`: times at which outputs are returned, shape (times,), any spacing; or a number, the spacing. Default:
        at `t1` only.
    - `rtol`, `atol`, `solver`, `adjoint`, `max_steps`: as in `solve`.

    Raises `ModelError` for a name that the model does not have, an input that stands twice or follows from the
    equations, and times outside the interval.
    """

    model: Model
    inputs: tuple[ModelSymbol, ...] = eqx.field(static=True)
    outputs: tuple[Any, ...] = eqx.field(static=True)
    t0: Any = eqx.field(static=True)
    t1: Any = eqx.field(static=True)
    saveat: tuple[float, ...] | None = eqx.field(static=True)
    rtol: float | None = eqx.field(static=True)
    atol: Any = eqx.field(static=True)
    solver: Any = eqx.field(static=True)
    adjoint: Any = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        model: Model,
        inputs: Any,
        outputs: Any,
        t1: Any = None,
        saveat: Any = None,
        *,
        t0: Any = 0.0,
        rtol: Any = None,
        atol: Any = None,
        solver: Any = "auto",
        adjoint: Any = "auto",
        max_steps: int = DEFAULT_MAX_STEPS,
    ):
        self.model = door.checked_model(model)
        self.inputs = door.checked_inputs(model, inputs)
        self.outputs = door.checked_outputs(model, outputs)
        self.t0 = door.checked_time(model, t0, "t0")
        self.t1 = None if t1 is None else door.checked_time(model, t1, "t1")
        if t1 is None and saveat is None:
            raise ModelError("A layer needs t1, the end of the interval.", remedy="sd.ODELayer(model, ..., t1=1.0)")
        self.saveat = None if saveat is None else door.checked_times(model, saveat, self.t0, self.t1)
        self.rtol = door.checked_tolerance(rtol, "rtol")
        self.atol = door.checked_tolerance(atol, "atol")
        self.solver = door.checked_choice(solver, "solver")
        self.adjoint = door.checked_choice(adjoint, "adjoint")
        self.max_steps = door.checked_max_steps(max_steps)

    @property
    def in_size(self) -> int:
        """How many entries the vector has."""
        return door.in_size(self.inputs)

    def __call__(
        self, vector: Any = None, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None
    ) -> Array:
        """Outputs for one vector; batches are `jax.vmap(layer)(vectors)`.

        Arguments:

        - `vector`: shape (inputs,); may be left out if there are none.
        - `t0`, `t1`, `saveat`: for this call instead of the layer's own; may be traced, and then new values never
            recompile.
        - `key`: a `jax.random.key` for a model with Brownian motions, which needs it; not used otherwise.

        Returns shape (outputs,), the values at `t1`; with times to save at shape (times, outputs). Where a solve fails
        all its outputs are NaN; their derivative is zero, so that a loss that masks them is differentiated rightly.

        Raises `ModelError` for a wrong shape, and outside `jax.jit` and the like `SolveError` for a solve that failed.
        """
        values = self.read(self.solve(vector, t0=t0, t1=t1, saveat=saveat, key=key))
        return values[0] if saveat is None and self.saveat is None else values

    def solve(
        self, vector: Any = None, *, t0: Any = None, t1: Any = None, saveat: Any = None, key: Any = None
    ) -> Solution:
        """The whole solution for one vector, as `sd.solve` returns it: steps, failures, any other quantity.

        Arguments as in a call of the layer.
        """
        if saveat is None:
            saveat = dfx.SaveAt(t1=True) if self.saveat is None else np.asarray(self.saveat)
        return solve(
            self.fed(vector),
            self.t1 if t1 is None else t1,
            self.t0 if t0 is None else t0,
            saveat=saveat,
            rtol=self.rtol,
            atol=None if self.atol is None else np.asarray(self.atol),
            solver=self.solver,
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            key=key if self.model.system.noise else None,
        )

    def fed(self, vector: Any = None) -> Model:
        """The model with the entries of a vector, shape (inputs,), in place."""
        return door.fed(self.model, self.inputs, vector)

    def read(self, solution: Solution) -> Array:
        """The outputs along a solution, shape (times, outputs); NaN for one that failed."""
        columns = solution.model.evaluate(self.outputs, solution.ts, solution.ys)
        values = jnp.concatenate([column.reshape(column.shape[0], -1) for column in columns], axis=-1)
        return jnp.where(jnp.asarray(solution.ok), values, jnp.nan)

    def __pdoc__(self, **_: Any) -> wl.AbstractDoc:
        """How it prints inside another module."""
        return wl.TextDoc(repr(self))

    @property
    def interval(self) -> str:
        """Start, end and number of saved times, as text."""
        last = self.t1 if self.saveat is None or self.t1 is not None else self.saveat[-1]
        ends = f"{door.text_of_number(self.t0)} to {door.text_of_number(last)}"
        times = "" if self.saveat is None else f", {len(self.saveat)} times"
        return f"t = {ends}{times}"

    def __repr__(self) -> str:
        sides = [", ".join(str(q) for q in side) for side in (self.inputs, self.outputs)]
        return f"ODELayer of `{self.model.system.name}`: ({sides[0]}) -> ({sides[1]}), {self.interval}"
