"""Whether a model can be solved backwards: measured, before gradients are made to depend on it."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from symdeq._errors import SymdeqWarning
from symdeq._values import concrete
from symdeq.compiled import Model
from symdeq.solve.request import Request

# Relative to the state at the start. The adjoint equations run along this trajectory, so the gradient is no better.
_ACCEPTED = 1e-3


def warn_of_backsolve(request: Request, run: Any) -> None:
    """Solve to the end and back again, and warn if that does not lead back to the start.

    While a program is traced, the declared values of the model stand for those that are not known yet; where networks
    or times are not known, nothing can be measured.

    Arguments:

    - `request`: a solve with the adjoint equations backwards in time.
    - `run`: what solves a request: `run(request) -> Solution`.
    """
    known = request if not request.traced else _declared(request)
    if known is None:
        return
    with jax.ensure_compile_time_eval():
        there = run(_plain(known))
        if not bool(there.ok):
            return  # what failed forwards says so itself
        back = run(_plain(dataclasses.replace(known, t0=known.t1, t1=known.t0, y0=there.ys[-1])))
        start, found = np.asarray(known.y0), np.asarray(back.ys[-1])
    what = f"`{request.model.system.name}` cannot be solved backwards from t = {float(known.t1):g}"
    if not bool(back.ok):
        _warn(f"{what}: that stops at t = {float(back.t_end):.6g}")
        return
    scale = np.abs(start) + float(np.max(known.atol) / np.max(known.rtol))
    i = int(np.argmax(np.abs(found - start) / scale))
    if not abs(found[i] - start[i]) / scale[i] <= _ACCEPTED:
        name = request.model.labels[i]
        _warn(f"{what}: it comes back to {name} = {found[i]:.4g}, from where it started {start[i]:.4g}")


def _warn(what: str) -> None:
    warnings.warn(
        f'{what}. Gradients by adjoint="backsolve" follow that wrong trajectory.\n'
        '  remedy: adjoint="auto", or "checkpointed" for little memory',
        SymdeqWarning,
        stacklevel=4,
    )


def _plain(request: Request) -> Request:
    """The same solve, for its end alone and without a gradient."""
    return dataclasses.replace(
        request, saveat=dfx.SaveAt(t1=True), adjoint=dfx.RecursiveCheckpointAdjoint(), at_steps=False
    )


def _declared(request: Request) -> Request | None:
    """The request with declared values in place of traced ones; `None` where something else is traced."""
    model = request.model
    times = (request.t0, request.t1, request.rtol, request.atol)
    if not concrete(*times) or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(model.networks)):
        return None
    with jax.ensure_compile_time_eval():
        _, _, y0 = model.declared_start(float(request.t0))
        values = [v.value for v in model.parameters]
        dtype = request.y0.dtype
        declared: Model = dataclasses.replace(model, values=jnp.asarray(values, dtype).reshape(-1))
        fields = {"y0": jnp.asarray(y0, dtype), "model": declared, "start_implicit": jnp.asarray(False)}
    known = eqx.tree_at(lambda m: m.start, declared, fields["y0"])
    return dataclasses.replace(request, **{**fields, "model": known, "saveat": dfx.SaveAt(t1=True)})
