"""One member of an ensemble as a function of its row of values: what the programs of `ensemble` map over."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from symdeq.solve import poisson
from symdeq.solve.members import Columns
from symdeq.solve.paths import path_key
from symdeq.solve.problem import run
from symdeq.solve.request import Request
from symdeq.solve.solution import Lookups
from symdeq.solvers import SwitchStats


class MemberResult(eqx.Module):
    """What an ensemble keeps of each solve; fields as in `Solution`, and `ts` only where it differs between members."""

    ok: Any
    ts: Any
    ys: Any
    t0: Any
    t1: Any
    t_end: Any
    y0: Any
    y_end: Any
    result: dfx.RESULTS
    times_ok: Any
    start_ok: Any
    stats: dict[str, Any]
    switch: SwitchStats | None
    lookups: Lookups | None
    drawn: Array | None


class Family(eqx.Module):
    """A checked call of `ensemble`: the request of a member whose values are still open.

    - `request`: as of a single solve; its key, if it has one, is that of the whole ensemble.
    - `columns`: which of the model's values a row holds; with noise, the member's number stands behind them.
    - `t0`, `t1`: expressions in parameters where the interval depends on the member, else `None`.
    """

    request: Request
    columns: Columns = eqx.field(static=True)
    t0: Any = eqx.field(static=True)
    t1: Any = eqx.field(static=True)

    @property
    def result_bytes(self) -> int:
        """The size of a `MemberResult`, about."""
        sub = self.request.saveat.subs
        times = (0 if sub.ts is None else len(sub.ts)) + bool(sub.t0) + bool(sub.t1)
        return (times + 3) * (self.request.model.size + 1) * self.request.y0.dtype.itemsize

    def request_of(self, row: Array) -> tuple[Request, Bool[Array, ""]]:
        """The request of one member, and whether its values and what follows from them can be solved with."""
        request = self.request
        model = self.columns.model(request.model, row)
        y0 = model.initial_state()
        t0 = request.t0 if self.t0 is None else jnp.asarray(model.constant(self.t0, "t0"), request.t0.dtype)
        t1 = request.t1 if self.t1 is None else jnp.asarray(model.constant(self.t1, "t1"), request.t1.dtype)
        finite = jnp.all(jnp.isfinite(row)) & jnp.all(jnp.isfinite(y0)) & jnp.isfinite(t0) & jnp.isfinite(t1)
        key = None
        if request.key is not None:
            key, finite = path_key(request.key, row), finite & (t1 > t0)  # noise runs forward in time
        return dataclasses.replace(request, model=model, y0=y0, t0=t0, t1=t1, key=key), finite


def solve_member(family: Family, row: Array) -> MemberResult:
    """Solve one member, given its row."""
    request, finite = family.request_of(row)
    # With a value that is no number every step would be rejected, as many as there may be.
    solution = run(dataclasses.replace(request, t1=jnp.where(finite, request.t1, request.t0)), dfx.NoProgressMeter())
    return MemberResult(
        ok=solution.ok & finite,
        ts=solution.ts if request.asked is None else None,
        ys=jnp.where(finite, solution.ys, jnp.nan),
        t0=request.t0,
        t1=request.t1,
        t_end=solution.t_end,
        y0=solution.y0,
        y_end=solution.y_end,
        result=solution.result,
        times_ok=solution.times_ok | ~finite,
        start_ok=solution.start_ok & finite,
        stats=solution.stats,
        switch=solution.switch,
        lookups=solution.lookups,
        drawn=solution.drawn,
    )


@eqx.filter_jit
def most_jumps(family: Family, rows: Array) -> Array:
    """How many jumps of one process are to be expected of the member that jumps most."""

    def expected(row: Array) -> Array:
        request, finite = family.request_of(row)
        counts = poisson.expected(request.model, request.t0, request.t1, request.y0)
        return jnp.where(finite & jnp.all(jnp.isfinite(counts)), jnp.max(counts), 0)

    return jnp.max(lax.map(expected, rows))


def mapped(family: Family, rows: Any) -> MemberResult:
    """All members inside a program that is being traced: one after the other on a CPU, in lockstep elsewhere."""
    if jax.default_backend() == "cpu":
        return lax.map(lambda row: solve_member(family, row), rows)
    return jax.vmap(lambda row: solve_member(family, row))(rows)
