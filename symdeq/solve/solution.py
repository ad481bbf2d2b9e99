"""`Solution`: values at times, any quantity of the model from them, and the story of how they were found."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool

from symdeq._errors import MissingExtraError, ModelError
from symdeq.compiled import Model
from symdeq.solve.method import Method
from symdeq.solvers import SwitchStats

if TYPE_CHECKING:
    import pandas as pd


class Lookups(eqx.Module):
    """How the past was looked up in a solve with delays.

    - `lost`: whether it ended because a value was asked for that was no longer kept.
    - `ahead`: whether it ended because a lag was negative.
    """

    lost: Array
    ahead: Array


class Solution(eqx.Module):
    """What `solve` returns; a PyTree, so that it may leave a jitted or vmapped function.

    - `ts`: the times, shape (times,). At the solver's own steps if no `saveat` was given; inside `jax.jit` they are
        then padded with infinity.
    - `ys`: the states, shape (times, states), in the order of `model.states`; NaN where the solve did not get to.
    - `model`: the model with the values that were solved with.
    - `stats`: `num_steps`, `num_accepted_steps`, `num_rejected_steps`.
    - `t0`, `t1`, `t_end`, `y0`, `y_end`: the interval, the time reached, and the states at either end.
    - `result`: diffrax's code.
    - `raw`: the `diffrax.Solution`, for dense output and whatever a `diffrax.SaveAt` asked for besides; `None` for a
        member of an ensemble.
    """

    ts: Any
    ys: Any
    model: Model
    stats: dict[str, Array]
    t0: Array
    t1: Array
    t_end: Array
    y0: Array
    y_end: Array
    rtol: Array
    atol: Array
    result: dfx.RESULTS
    times_ok: Bool[Array, ""]
    start_ok: Bool[Array, ""]
    switch: SwitchStats | None
    lookups: Lookups | None
    drawn: Bool[Array, ""] | None
    raw: dfx.Solution | None
    method: Method = eqx.field(static=True)
    at_steps: bool = eqx.field(static=True)
    plain: bool = eqx.field(static=True)

    @property
    def ok(self) -> Any:
        """Whether the end was reached with finite values: a `bool`; an array in `jax.jit`, and from `jax.vmap`."""
        done = (self.result == dfx.RESULTS.successful) | (self.result == dfx.RESULTS.event_occurred)
        done = done if self.drawn is None else done & self.drawn
        good = done & self.times_ok & self.start_ok & jnp.all(jnp.isfinite(self.y_end), axis=-1)
        return good if isinstance(good, Tracer) or good.ndim else bool(good)

    @property
    def failure(self) -> str:
        """Why the solve failed: time, states and remedy in full sentences; `""` if it did not. Not inside `jax.jit`."""
        from symdeq.solve.failure import sentence

        return sentence(self)

    def __getitem__(self, quantity: Any) -> Array:
        """The values of a quantity at `ts`, shape (times,), or (times, n) for a vector.

        Arguments:

        - `quantity`: a state, a parameter, an observed quantity, a derivative `D(x)`, any expression of them and of
            `t`, or the name of a symbol. What the compiler eliminated works like everything else.

        Raises `ModelError` for a symbol that the model does not have.
        """
        self._check_plain()
        return self.model.evaluate([quantity], self.ts, self.ys, self.past)[0]

    def evaluate(self, t: Any) -> Array:
        """The states at any time between `t0` and `t1`, shape (states,): needs `saveat=diffrax.SaveAt(dense=True)`."""
        if self.raw is None or not self.is_dense:
            raise ModelError(
                "The solution was saved at single times only.", remedy="solve with saveat=diffrax.SaveAt(dense=True)"
            )
        return self.raw.evaluate(t)

    @property
    def is_dense(self) -> bool:
        """Whether the states are known between the saved times."""
        return self.raw is not None and self.raw.interpolation is not None

    def past(self, ts: Any = None, ys: Any = None) -> Array:
        """The delayed values of a model with delays, shape (times, delayed), in the order of `model.delayed`.

        Arguments:

        - `ts`, `ys`: times and the states there; default those of the solution.

        Raises `ModelError` for a solution that was saved at single times only.
        """
        from symdeq.solve.dde import past_along

        return past_along(self, self.ts if ts is None else ts, self.ys if ys is None else ys)

    def explain(self) -> str:
        """Which method ran when, and why; steps and tolerances. Not inside `jax.jit`."""
        from symdeq.solve.explain import story

        return story(self)

    def plot(
        self,
        quantities: Sequence[Any] | None = None,
        *,
        against: Any = None,
        xscale: Literal["auto", "linear", "log"] = "auto",
        ax: Any = None,
    ) -> Any:
        """Draw quantities against time, or in the phase plane.

        Arguments:

        - `quantities`: states or expressions, as in `solution[...]`; default all states. Those of very different size
            get axes of their own.
        - `against`: the quantity on the x axis, for a phase plane; default time.
        - `xscale`: `"linear"`, `"log"`, or `"auto"` (default): logarithmic where the saved times are.
        - `ax`: the matplotlib axes to draw into; default new ones.

        Returns the matplotlib axes, an array of them if there are several. Raises `MissingExtraError` without
        matplotlib.
        """
        from symdeq.solve.plot import plot

        self._check_plain()
        return plot(self, quantities, against=against, xscale=xscale, ax=ax)

    def to_pandas(self, quantities: Sequence[Any] | None = None) -> pd.DataFrame:
        """A table with a row a time (index `t`) and a column a quantity; default all states and observed quantities.

        Of delayed values, only dense solutions know them all.
        """
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "fit", "to_pandas") from None
        self._check_plain()
        observed = self.model.observed if self.is_dense else self.model.known_everywhere
        chosen = [*self.model.states, *observed] if quantities is None else list(quantities)
        data = dict(self.model.columns(chosen, self.ts, self.ys, self.past))
        return pd.DataFrame(data, index=pd.Index(np.asarray(self.ts), name="t"))

    def __repr__(self) -> str:
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self.ts)):
            return f"Solution of `{self.model.system.name}` (traced)"
        if self.t_end.ndim:
            return f"Solutions of `{self.model.system.name}`: a batch of shape {self.t_end.shape}"
        return self.explain()

    __str__ = __repr__

    def _check_plain(self) -> None:
        if not self.plain:
            raise ModelError(
                "This solution holds what a diffrax.SaveAt with `fn` or several `subs` asked for, not plain states.",
                remedy="use sol.ts and sol.ys, or solve with an array of times",
            )

    def replace(self, **changes: Any) -> Solution:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)
