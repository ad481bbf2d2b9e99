"""A checked call of `solve`: what was asked for, and what follows from it alone."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from symdeq._errors import SymdeqWarning
from symdeq.compiled import Model
from symdeq.solve import dde, sde
from symdeq.solve.gradient import ByColumns
from symdeq.solve.method import Method
from symdeq.solvers import AutoSwitch, FirstStep


class Request(eqx.Module):
    """A checked call of `solve`.

    - `capacity`, `sweeps`: how many steps are kept, and how often one is repeated, in a model with delays; else 0.
    - `room`: for how many jumps of each Poisson process there is room; 0 without any.
    - `at_steps`: whether the solver's own steps are saved.
    - `plain`: whether what is saved are states at single times.
    """

    model: Model
    t0: Array
    t1: Array
    y0: Array
    rtol: Array
    atol: Array
    start_implicit: Array
    saveat: dfx.SaveAt
    adjoint: ByColumns | dfx.AbstractAdjoint
    key: Any
    method: Method = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    sweeps: int | None = eqx.field(static=True)
    room: int = eqx.field(static=True)
    at_steps: bool = eqx.field(static=True)
    plain: bool = eqx.field(static=True)

    @property
    def traced(self) -> bool:
        return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self))

    @property
    def noisy(self) -> bool:
        """Whether there are Brownian motions."""
        return sde.is_noisy(self.model)

    @property
    def asked(self) -> Any:
        """The times to save at where they are all that is saved, else `None`."""
        sub = self.saveat.subs
        return None if sub.t0 or sub.t1 or sub.steps else sub.ts

    @property
    def backsolves(self) -> bool:
        return isinstance(self.adjoint, dfx.BacksolveAdjoint)

    @property
    def started_solver(self) -> dfx.AbstractSolver:
        solver = self.method.solver
        if isinstance(solver, AutoSwitch):
            solver = eqx.tree_at(lambda s: s.start_implicit, solver, self.start_implicit)
        return dde.delayed(solver, self.capacity, self.sweeps) if self.capacity else solver

    @property
    def dt0(self) -> Array | None:
        if self.noisy and self.method.adaptive:
            return sde.first_step(self.t0, self.t1)
        return None if self.method.adaptive else (self.t1 - self.t0) / self.max_steps

    @property
    def controller(self) -> dfx.AbstractStepSizeController:
        """Integral control for a method that estimates its error, and `max_steps` equal steps for one that does not."""
        if not self.method.adaptive:
            return dfx.ConstantStepSize()
        if self.noisy:
            asked = self.asked if self.plain else None
            return sde.controller(self.model, self.method.solver, self.rtol, self.atol, self.t0, self.t1, asked)
        control = FirstStep(dfx.PIDController(rtol=self.rtol, atol=self.atol))
        if not self.capacity:
            return control
        order = self.started_solver.order(None)
        return dde.controller(control, self.model.functions, 5 if order is None else order)

    def with_more_capacity(self) -> Request | None:
        """The same with more room for the past; `None` where there is nothing to gain by it."""
        more = dde.more_capacity(self.capacity, self.max_steps) if self.capacity else None
        return dataclasses.replace(self, capacity=more) if more else None

    def warn_of_precision(self, solution: Any) -> None:
        """A stiff model in single precision loses digits that its small time scales need."""
        stats = solution.switch
        if self.y0.dtype == jnp.float32 and stats is not None and int(stats.implicit_steps) > 0:
            warnings.warn(
                f"`{self.model.system.name}` is stiff and was solved in float32, in which small differences drown.\n"
                '  remedy: jax.config.update("jax_enable_x64", True) before compiling the model',
                SymdeqWarning,
                stacklevel=3,
            )
