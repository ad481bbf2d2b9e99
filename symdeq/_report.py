"""What `print(model)` says: what the compiler made of the equations."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from symdeq import _host, _xla

if TYPE_CHECKING:
    from symdeq.compiled import Model
    from symdeq.model import State


@functools.singledispatch
def linear_algebra(functions: Any) -> str:
    """How the matrices of a model's steps are solved with, in a few words; the room that does it registers its own."""
    return "dense LU with pivoting"


_LAGS = {"constant": "parameters", "time": "time", "state": "states"}
_CALCULI = {"ito": "Itô", "stratonovich": "Stratonovich"}


def report(model: Model) -> str:
    """A page about a compiled model: what was eliminated, structure, size of the code, stiffness, precision."""
    system = model.system
    structure, n = system.structure, len(system.states)
    assert structure is not None
    kind = (
        "ordinary differential equations" if structure.kind == "ode" else "differential-algebraic equations of index 1"
    )
    kind = "delay differential equations" if system.delays else kind
    lines = [f"Model `{system.name}`: {kind}", f"  states      {_listed([_shaped(s) for s in system.states])}"]
    if system.params:
        lines.append(f"  parameters  {_listed([s.name for s in system.params])}")
    if system.networks:
        lines.append(f"  networks    {_listed([network.name for network in system.networks])}")
    if system.noise:
        motions = _listed([noise.brownian.name for noise in system.noise])
        lines.append(f"  noise       {motions}: {structure.noise}, in the calculus of {_CALCULI[system.calculus]}")
    if system.delays:
        slots = zip(system.delays, structure.lags, strict=True)
        delays = [f"{symbol}, a lag of {_LAGS[kind]}" for lag, kind in slots for symbol in lag.lagged]
        lines += [f"  delays      {line}" for line in delays[:6]]
    if system.observed:
        lines.append(f"  computed    {_listed([str(e) for e in system.observed], 6)}")
    if structure.kind == "dae":
        algebraic = [s.name for s, m in zip(system.states, structure.mass, strict=True) if not m]
        lines.append(f"  algebraic   {_listed(algebraic)}")
    lines += [f"  constant    {invariant.expression}" for invariant in structure.invariants[:6]]
    linear = linear_algebra(model.functions)
    if model.functions.has_jacobian:
        lines.append(f"  Jacobian    {len(structure.sparsity)} of {n * n} entries are non-zero; {linear}")
    else:
        lines.append(f"  Jacobian    by JAX, since there are vectors; {linear}")
    counts = ", ".join(f"{p.name} {p.operations}" for p in model.compiled.programs.functions if p.operations)
    lines.append(f"  operations  {counts}")
    lines.append(f"  time        {'autonomous' if structure.autonomous else 'the equations depend on t'}")
    lines.append(f"  stiffness   {_stiffness(model)}")
    lines.append(f"  precision   {model.values.dtype}")
    lines.append(f"  XLA         {_xla.TUNING.value}")
    return "\n".join(lines)


def _shaped(state: State) -> str:
    return f"{state.name} ({state.size} numbers)" if state.shape else state.name


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _stiffness(model: Model) -> str:
    jacobian, _, _ = model.declared_start(0.0)
    import numpy as np

    if not _host.is_finite(jacobian):
        return "unknown: the Jacobian is not finite at the declared values"
    if not isinstance(jacobian, np.ndarray):
        norm = _host.spectral_radius(jacobian)
        return (
            f"time scales at the start of {1 / norm:.2g} or more" if norm else "no time scales at the declared values"
        )
    sizes = np.abs(np.linalg.eigvals(jacobian)) if len(jacobian) else np.zeros(0)
    sizes = sizes[sizes > 1e-12 * max(float(np.max(sizes, initial=0.0)), 1e-300)]
    if not len(sizes):
        return "no time scales at the declared values"
    fast, slow = 1 / float(sizes.max()), 1 / float(sizes.min())
    ratio = "" if math.isclose(fast, slow, rel_tol=1e-3) else f" to {slow:.2g}"
    return f"time scales at the start from {fast:.2g}{ratio}" if ratio else f"one time scale at the start, {fast:.2g}"
