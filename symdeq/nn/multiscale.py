"""Deep equilibria and neural differential equations on several scales, and skip connections: thin forms of `DEQ`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from symdeq._errors import ModelError, SolveError
from symdeq._values import concrete
from symdeq.nn.deq import DEQ
from symdeq.solvers import FirstStep


def SkipDEQ(cell: Any, init: Any = None, solver: Any = None, **options: Any) -> DEQ:
    """A `DEQ` whose search starts from a learned guess (A. Pal, A. Edelman, C. Rackauckas, Continuous deep equilibrium
    models, 2022).

    Arguments:

    - `cell`, `solver`, `options`: as in `DEQ`.
    - `init`: a module that is called with x; default `None`: the cell itself, from zeros.

    Returns a `DEQ`. Its loss should draw `info.u0` to `info.z_star`.
    """
    return DEQ(cell, solver, "skip-reg" if init is None else init, **options)


class MultiScaleCell(eqx.Module):
    """The cell of a multi-scale DEQ: `out_i` is the sum over j of `mapping[j][i](main[j](z_j))`, and `fuse[i]` of that.

    The first of `main` is called with z_1 and x, the others with their z alone; `None` in `mapping` is the identity.
    """

    main: tuple[Any, ...]
    mapping: tuple[tuple[Any, ...], ...]
    fuse: tuple[Any, ...] | None

    def __init__(self, main: Sequence[Any], mapping: Sequence[Sequence[Any]], fuse: Sequence[Any] | None = None):
        self.main, self.mapping = tuple(main), tuple(map(tuple, mapping))
        self.fuse = None if fuse is None else tuple(fuse)
        count = len(self.main)
        if len(self.mapping) != count or any(len(row) != count for row in self.mapping):
            raise ModelError(
                f"{count} main layers need mappings from each scale to each, {count} rows of {count}.",
                remedy="mapping[j][i] leads from scale j to scale i; None is the identity",
            )
        if self.fuse is not None and len(self.fuse) != count:
            raise ModelError(f"{count} scales need {count} layers to fuse, not {len(self.fuse)}.")

    def __call__(self, z: tuple[Array, ...], x: PyTree) -> tuple[Array, ...]:
        first, *others = self.main
        values = [first(z[0], x), *(layer(part) for layer, part in zip(others, z[1:], strict=True))]
        sums = []
        for i in range(len(values)):
            terms = [v if row[i] is None else row[i](v) for row, v in zip(self.mapping, values, strict=True)]
            sums.append(sum(terms[1:], terms[0]))
        return tuple(sums) if self.fuse is None else tuple(f(s) for f, s in zip(self.fuse, sums, strict=True))


class _Starts(eqx.Module):
    """A start for each scale."""

    layers: tuple[Any, ...]

    def __call__(self, x: PyTree) -> tuple[Array, ...]:
        return tuple(layer(x) for layer in self.layers)


def MultiScaleDEQ(
    main: Sequence[Any],
    mapping: Sequence[Sequence[Any]],
    fuse: Sequence[Any] | None = None,
    solver: Any = None,
    scales: Sequence[Sequence[int]] = (),
    init: Any = None,
    **options: Any,
) -> DEQ:
    """A deep equilibrium on several scales (S. Bai, V. Koltun, J. Z. Kolter, Multiscale deep equilibrium models, 2020).

    Arguments:

    - `main`: a layer for each scale; the first is called with z_1 and x, the others with their z.
    - `mapping`: `mapping[j][i]` leads from scale j to scale i; `None` is the identity.
    - `fuse`: a layer for each scale that is applied to the sum of what arrives there, or `None` (default).
    - `scales`: the shape of each scale's z.
    - `init`: `None` (default) for zeros, `"skip-reg"`, or a layer for each scale, called with x.
    - `solver`, `options`: as in `DEQ`.

    Returns a `DEQ`, whose z is a tuple of arrays.
    """
    if len(scales) != len(main):
        raise ModelError(f"{len(main)} main layers need {len(main)} scales, not {len(scales)}.")
    if init is not None and init != "skip-reg":
        if not isinstance(init, Sequence) or len(init) != len(main):
            raise ModelError(f"init of {len(main)} scales is a layer for each of them.")
        init = _Starts(tuple(init))
    return DEQ(MultiScaleCell(main, mapping, fuse), solver, init, shape=tuple(map(tuple, scales)), **options)


def MultiScaleSkipDEQ(
    main: Sequence[Any],
    mapping: Sequence[Sequence[Any]],
    fuse: Sequence[Any] | None = None,
    init: Any = None,
    solver: Any = None,
    scales: Sequence[Sequence[int]] = (),
    **options: Any,
) -> DEQ:
    """A `MultiScaleDEQ` whose search starts from a learned guess: `init` is a layer for each scale, called with x, or
    `None` (default) for the cell itself, from zeros."""
    return MultiScaleDEQ(main, mapping, fuse, solver, scales, "skip-reg" if init is None else init, **options)


class MultiScaleNeuralODE(eqx.Module):
    """The state of z' = cell(z, x) - z at t = 1, from zeros at t = 0, on several scales.

    Arguments:

    - `main`, `mapping`, `fuse`, `scales`: as in `MultiScaleDEQ`.
    - `solver`: of diffrax; default `diffrax.Tsit5()`.
    - `rtol`, `atol`: default 1e-3.
    - `max_steps`: default 4096.
    - `adjoint`: of diffrax; default `diffrax.RecursiveCheckpointAdjoint()`.
    """

    cell: MultiScaleCell
    scales: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    solver: Any = eqx.field(static=True)
    rtol: float = eqx.field(static=True)
    atol: float = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)
    adjoint: Any

    def __init__(
        self,
        main: Sequence[Any],
        mapping: Sequence[Sequence[Any]],
        fuse: Sequence[Any] | None = None,
        solver: Any = None,
        scales: Sequence[Sequence[int]] = (),
        *,
        rtol: float = 1e-3,
        atol: float = 1e-3,
        max_steps: int = 4096,
        adjoint: Any = None,
    ):
        if len(scales) != len(main):
            raise ModelError(f"{len(main)} main layers need {len(main)} scales, not {len(scales)}.")
        self.cell = MultiScaleCell(main, mapping, fuse)
        self.scales = tuple(tuple(int(n) for n in one) for one in scales)
        self.solver = dfx.Tsit5() if solver is None else solver
        self.rtol, self.atol, self.max_steps = float(rtol), float(atol), int(max_steps)
        self.adjoint = dfx.RecursiveCheckpointAdjoint() if adjoint is None else adjoint

    def __call__(self, x: PyTree) -> tuple[Array, ...]:
        """The states, a tuple of arrays of the shapes `scales`; NaN where the solve failed. Batches are `jax.vmap`."""
        dtype = jnp.result_type(*jax.tree.leaves(x), jnp.float32)
        found = dfx.diffeqsolve(
            dfx.ODETerm(lambda t, z, args: jax.tree.map(jnp.subtract, args[0](z, args[1]), z)),
            self.solver,
            0.0,
            1.0,
            None,
            tuple(jnp.zeros(one, dtype) for one in self.scales),
            (self.cell, x),
            saveat=dfx.SaveAt(t1=True),
            stepsize_controller=FirstStep(dfx.PIDController(self.rtol, self.atol)),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        good = found.result == dfx.RESULTS.successful
        if concrete(good) and not bool(good):
            raise SolveError(f"The neural ODE stopped before t = 1: {dfx.RESULTS[found.result]}")
        return jax.tree.map(lambda leaf: jnp.where(good, leaf[0], jnp.nan), found.ys)
