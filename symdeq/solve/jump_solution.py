"""`JumpSolution`: counts on many paths, any quantity of the network from them, and how the simulation went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array

from symdeq.compiled import Model
from symdeq.model import JumpProcess
from symdeq.solvers import JumpResults


class JumpSolution(eqx.Module):
    """What `simulate` returns; a PyTree, so that it may leave a jitted or vmapped function.

    - `ts`: the times, shape (times,).
    - `ys`: the counts, shape (paths, times, species), in the order of `model.states`; NaN where a path did not get to.
    - `model`: the compiled rate equations, with the values that were simulated with.
    - `stats`: `num_jumps`, how many reactions happened, shape (paths,).
    - `t0`, `t1`, `t_end`, `y_end`: the interval, and for each path the time reached and the counts there.
    - `result`: how each path ended.
    """

    ts: Array
    ys: Array
    model: Model
    stats: dict[str, Array]
    t0: Array
    t1: Array
    t_end: Array
    y_end: Array
    result: JumpResults
    process: JumpProcess = eqx.field(static=True)
    max_jumps: int = eqx.field(static=True)

    @property
    def ok(self) -> Any:
        """Which paths reached the end, shape (paths,)."""
        good = self.result == JumpResults.successful
        return good if isinstance(good, Tracer) else np.asarray(good)

    @property
    def failure(self) -> str:
        """How many paths failed, and why the first did; `""` if none. Not inside `jax.jit`."""
        failures = self.failures
        if not failures:
            return ""
        first = next(iter(failures))
        return f"{len(failures)} of {len(self.ys)} paths failed; path {first} of {failures[first]}"

    @property
    def failures(self) -> dict[int, str]:
        """Why paths failed: time, counts and remedy, by the number of the path. Not inside `jax.jit`."""
        return {int(i): self._sentence(int(i)) for i in np.flatnonzero(~self.ok)}

    def __getitem__(self, quantity: Any) -> Array:
        """The values of a quantity, shape (paths, times).

        Arguments:

        - `quantity`: a species, a parameter, any expression of them and of `t`, or the name of a symbol. `D(A)` is the
            right-hand side of the rate equation.

        Raises `ModelError` for a symbol that the network does not have.
        """
        ts = jnp.broadcast_to(self.ts, self.ys.shape[:-1])
        return self.model.evaluate([quantity], ts, self.ys)[0]

    def explain(self) -> str:
        """How many paths, what method, how many jumps they took, and what failed. Not inside `jax.jit`."""
        (count, times, species), jumps = self.ys.shape, np.asarray(self.stats["num_jumps"])
        lines = [
            f"`{self.process.name}`: {_many(count, 'path')}, {species} species, {_many(times, 'time')}, "
            f"t = {float(self.t0):g} to {float(self.t1):g}, counts in {self.ys.dtype}",
            "  method  Gillespie's direct method: every reaction, exactly",
            f"  jumps   {np.median(jumps):,.0f} on the median path, from {jumps.min():,} to {jumps.max():,}",
        ]
        failure = self.failure.replace("\n", "\n        ")
        return "\n".join([*lines, f"  FAILED  {failure}" if failure else "  result  all successful"])

    def plot(
        self,
        quantities: Sequence[Any] | None = None,
        *,
        trajectories: int = 5,
        xscale: Literal["auto", "linear", "log"] = "auto",
        ax: Any = None,
    ) -> Any:
        """Draw quantities against time: a few paths as steps, and from 20 paths on the median and ribbons with the
        middle 50 % and 90 %. Paths that failed are left out.

        Arguments:

        - `quantities`: species or expressions, as in `solution[...]`; default all species. Each gets axes of its own.
        - `trajectories`: how many paths are drawn, spread evenly over their numbers; default 5.
        - `xscale`: `"linear"`, `"log"`, or `"auto"` (default): logarithmic where the saved times are.
        - `ax`: the matplotlib axes to draw a single quantity into; default new ones.

        Returns the matplotlib axes, an array of them if there are several. Raises `MissingExtraError` without
        matplotlib.
        """
        from symdeq.solve.jump_plot import plot

        return plot(self, quantities, trajectories=trajectories, xscale=xscale, ax=ax)

    def __repr__(self) -> str:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((self.ts, self.ys))):
            return f"Simulation of `{self.process.name}` (traced)"
        if self.ys.ndim != 3:
            return f"Simulations of `{self.process.name}`: a batch of shape {self.ys.shape[:-3]}"
        return self.explain()

    __str__ = __repr__

    def _sentence(self, i: int) -> str:
        result = jax.tree.map(lambda leaf: leaf[i], self.result)
        y, reached, end = np.asarray(self.y_end[i]), float(self.t_end[i]), float(self.t1)
        state = ", ".join(f"{name} = {value:g}" for name, value in zip(self.model.labels[:8], y[:8], strict=True))
        jumps = int(self.stats["num_jumps"][i])
        return (
            f"`{self.process.name}` stopped at t = {reached:.6g} of {end:g} after {_many(jumps, 'jump')}: "
            f"{JumpResults[result]}.\n  state:   {state}\n  remedy:  {self._remedy(result, self.y_end[i])}"
        )

    def _remedy(self, result: Any, y: Array) -> str:
        if result == JumpResults.max_jumps_reached:
            return f"raise max_jumps above {self.max_jumps:,}, end earlier, or solve network.langevin()"
        if result == JumpResults.count_too_large:
            return "solve network.ode() or network.langevin(): so many molecules hardly fluctuate"
        if result == JumpResults.bad_start:
            return "give numbers of molecules"
        if result == JumpResults.bad_times:
            return "sort them, and keep them inside the interval"
        names = [s.name for s in self.process.species]
        rates = np.array([float(a) for a in self.model.evaluate(self.process.propensities, jnp.zeros(()), y)])
        changes = np.array(self.process.changes)[:, [names.index(s.name) for s in self.model.states]]
        wrong = ~(np.isfinite(rates) & (rates >= 0))
        if result == JumpResults.negative_count:
            wrong = (rates > 0) & (np.asarray(y) + changes < 0).any(axis=1)
        shown = "; ".join(r.located for r, w in zip(self.process.reactions, wrong, strict=True) if w)
        return f"let the rate be 0 where molecules are missing, and never negative: {shown}"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
