"""How a solve is differentiated: column by column with few values, backwards through checkpoints with many."""

from __future__ import annotations

from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array

from symdeq._errors import ModelError

# Numbers kept for a gradient with a checkpoint at every step; without recomputation it takes a third less time.
_MOST_CHECKPOINTED = 200_000
# Up to so many values, all columns of the Jacobian take less time than one reverse pass (decision 011).
MOST_COLUMNS = 6
# The same where the past is part of the state, which a reverse pass has to copy (docs/decisions/015-delays.md).
_MOST_COLUMNS_DELAYED = 20


class ByColumns(eqx.Module):
    """Forward mode, one column a differentiated value, wherever a derivative is asked for; also under `jax.grad`.

    - `primal`: the adjoint of a solve that is not differentiated.
    """

    primal: dfx.AbstractAdjoint


def adjoint_of(
    name: Any, max_steps: int, states: int, *, values: int, heavy_state: bool, delays: bool = False
) -> ByColumns | dfx.AbstractAdjoint:
    """The way to differentiate that an argument `adjoint` names.

    Arguments:

    - `name`: one of the names below, or a diffrax adjoint.
    - `max_steps`, `states`: their product is what a checkpoint at every step keeps.
    - `values`: how many numbers a gradient may be asked for by: parameters, initial values, weights.
    - `heavy_state`: whether the solver itself keeps far more than the state, such as factors.
    - `delays`: whether it keeps the past.

    Raises `ModelError` for anything else.
    """
    if isinstance(name, dfx.AbstractAdjoint):
        return name
    few, every = dfx.RecursiveCheckpointAdjoint(), dfx.RecursiveCheckpointAdjoint(checkpoints=max_steps)
    small = max_steps * states <= _MOST_CHECKPOINTED and not (heavy_state or delays)
    most = _MOST_COLUMNS_DELAYED if delays else MOST_COLUMNS
    reverse = every if small else few
    ways: dict[str, ByColumns | dfx.AbstractAdjoint] = {
        # Which values are differentiated is known only where JAX differentiates. A rule that went back through
        # checkpoints from there could not be batched.
        "auto": ByColumns(reverse) if values <= most else reverse,
        "forward": ByColumns(few),
        "reverse": every,
        "checkpointed": few,
        "direct": dfx.DirectAdjoint(),
        "backsolve": dfx.BacksolveAdjoint(),
    }
    if isinstance(name, str) and name in ways:
        return ways[name]
    raise ModelError(
        f"adjoint={name!r} is not a way to differentiate.",
        remedy=f"use {', '.join(repr(way) for way in ways)}, or a diffrax adjoint such as diffrax.ForwardMode()",
    )


class Integration(eqx.Module):
    """The arguments of one call of `diffrax.diffeqsolve`; its array leaves are what it may be differentiated by.

    - `term`: a diffrax term, or a function of the initial values that gives one.
    """

    term: Any
    solver: dfx.AbstractSolver
    t0: Array
    t1: Array
    dt0: Array | None
    y0: Any
    args: Any
    saveat: dfx.SaveAt
    controller: dfx.AbstractStepSizeController
    meter: dfx.AbstractProgressMeter
    max_steps: int = eqx.field(static=True)

    def __call__(self, adjoint: dfx.AbstractAdjoint) -> dfx.Solution:
        return dfx.diffeqsolve(
            self.term(self.y0) if callable(self.term) else self.term,
            self.solver,
            self.t0,
            self.t1,
            self.dt0,
            self.y0,
            self.args,
            saveat=self.saveat,
            stepsize_controller=self.controller,
            adjoint=adjoint,
            max_steps=self.max_steps,
            throw=False,
            progress_meter=self.meter,
        )


def integrate(integration: Integration, adjoint: ByColumns | dfx.AbstractAdjoint) -> dfx.Solution:
    """Run an integration so that it is differentiated as `adjoint` says."""
    if isinstance(adjoint, dfx.AbstractAdjoint):
        return integration(adjoint)
    if integration.saveat.dense:  # an interpolation is more than arrays
        return integration(dfx.DirectAdjoint())
    return _by_columns(integration, adjoint)


@eqx.filter_custom_jvp
def _by_columns(integration: Integration, adjoint: ByColumns) -> dfx.Solution:
    return integration(adjoint.primal)


@_by_columns.def_jvp
def _(primals: Any, tangents: Any) -> tuple[dfx.Solution, dfx.Solution]:
    """The derivative as a product of the tangent with a Jacobian, which has a transpose, as a loop has not."""
    integration, _ = primals
    tangent, _ = tangents
    direction, unravel = ravel_pytree(tangent)

    def column(unit: Array) -> tuple[dfx.Solution, dfx.Solution]:
        return eqx.filter_jvp(lambda i: i(dfx.ForwardMode()), (integration,), (unravel(unit),))

    solution, columns = eqx.filter_vmap(column, out_axes=(None, 0))(jnp.eye(direction.size, dtype=direction.dtype))
    return solution, jax.tree.map(lambda c: jnp.tensordot(direction, c, axes=1), columns)
