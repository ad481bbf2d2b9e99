"""`EnsembleSolution`: the solutions of many members as arrays, any quantity of the model from them, and each by
itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import diffrax as dfx
import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from symdeq._errors import MissingExtraError, ModelError
from symdeq.compiled import Model
from symdeq.solve.ensemble_report import Failures, story
from symdeq.solve.family import MemberResult
from symdeq.solve.members import Columns, Members
from symdeq.solve.method import Method
from symdeq.solve.moments import Moments, moments
from symdeq.solve.solution import Solution
from symdeq.solvers import SwitchStats

if TYPE_CHECKING:
    import pandas as pd


class EnsembleSolution(eqx.Module):
    """What `ensemble` returns: arrays with a leading axis of members. A PyTree, so that it may leave a jitted function;
    outside of one its arrays are NumPy's.

    - `model`: the model, with the values that the members share.
    - `members`: what varies: `members["k"]`, shape (members,).
    - `results`: what is kept of each solve.
    - `times`: the times that all members share, shape (times,), or `None` where they differ.
    """

    model: Model
    members: Members
    results: MemberResult
    times: Any
    rtol: Any
    atol: Any
    method: Method = eqx.field(static=True)

    @property
    def ts(self) -> Any:
        """The times, shape (times,); with `saveat=diffrax.SaveAt(t0=True)` or `t1=True` shape (members, times)."""
        return self.results.ts if self.times is None else self.times

    @property
    def ys(self) -> Any:
        """The states, shape (members, times, states), in the order of `model.states`; NaN where a solve did not get
        to."""
        return self.results.ys

    @property
    def ok(self) -> Any:
        """Which members reached the end with finite values, shape (members,)."""
        return self.results.ok

    @property
    def stats(self) -> dict[str, Any]:
        """`num_steps`, `num_accepted_steps` and `num_rejected_steps`, each of shape (members,)."""
        return self.results.stats

    @property
    def switch(self) -> SwitchStats | None:
        """What a switching solver did, its fields of shape (members,); else `None`."""
        return self.results.switch

    @property
    def result(self) -> dfx.RESULTS:
        """diffrax's codes, shape (members,)."""
        return self.results.result

    @property
    def failures(self) -> Failures:
        """Why members failed: a mapping from the number of a failed member to the sentences that a single solve would
        say. Not inside `jax.jit`."""
        return Failures(self)

    def __getitem__(self, quantity: Any) -> Any:
        """The values of a quantity, shape (members, times), or (members, times, n) for a vector.

        Arguments:

        - `quantity`: as in `Solution`: a state, a parameter, an observed quantity, a derivative `D(x)`, any expression
            of them and of `t`, or the name of a symbol.

        Raises `ModelError` for a symbol that the model does not have.
        """
        return self.evaluate([quantity])[0]

    def evaluate(self, quantities: Sequence[Any]) -> list[Any]:
        """The values of several quantities, each of shape (members, times)."""
        expressions = tuple(self.model.compiled.expression(quantity) for quantity in quantities)
        states: dict[Any, Any] = {state: self.model.place(i) for i, state in enumerate(self.model.states)}
        rest = tuple(e for e in expressions if e not in states)
        found = {}
        if rest:
            values = _evaluated(self.model, self.members, rest, self.ts, self.ys)
            traced = any(isinstance(value, Tracer) for value in values)
            found = dict(zip(rest, values if traced else map(np.asarray, values), strict=True))
        return [self.ys[..., states[e]] if e in states else found[e] for e in expressions]

    def moments(self, quantity: Any, quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Moments:
        """Mean, variance and quantiles of a quantity over the members, at each time. Works under `jax.jit` and
        `jax.grad`.

        Arguments:

        - `quantity`: as in `solution[quantity]`.
        - `quantiles`: levels from 0 to 1; default 5, 25, 50, 75 and 95 %.

        Returns a record with `mean`, `variance`, `std`, `stderr` (of the mean), each of shape (times,), `quantiles` of
        shape (levels, times), and `count` and `failed`: members that failed are left out, and counted. Raises
        `ModelError` if none succeeded.
        """
        return moments(self[quantity], self.ok, quantiles)

    def member(self, i: int) -> Solution:
        """The solution of one member, as `solve` would return it with that member's values (without `raw`).

        Arguments:

        - `i`: its number, from 0; negative from the end.

        Raises `ModelError` if there is no such member.
        """
        count = self.members.count
        if isinstance(i, bool) or not isinstance(i, int | np.integer) or not -count <= i < count:
            raise ModelError(
                f"This ensemble has no member {i!r}.", remedy=f"its {count} members are numbered from 0 to {count - 1}"
            )
        results = jax.tree.map(lambda leaf: leaf[i], self.results)
        return Solution(
            ts=results.ts if self.times is None else self.times,
            ys=results.ys,
            model=self.members.columns.model(self.model, self.members.rows[i]),
            stats=results.stats,
            t0=results.t0,
            t1=results.t1,
            t_end=results.t_end,
            y0=results.y0,
            y_end=results.y_end,
            rtol=self.rtol,
            atol=self.atol,
            result=results.result,
            times_ok=results.times_ok,
            start_ok=results.start_ok,
            switch=results.switch,
            lookups=results.lookups,
            drawn=results.drawn,
            raw=None,
            method=self.method,
            at_steps=False,
            plain=True,
        )

    def explain(self) -> str:
        """What varied, which method ran, how many steps the members took, and what failed. Not inside `jax.jit`."""
        return story(self)

    def plot(
        self,
        quantities: Sequence[Any] | None = None,
        *,
        trajectories: int = 5,
        xscale: Literal["auto", "linear", "log"] = "auto",
        ax: Any = None,
    ) -> Any:
        """Draw quantities against time: the median, ribbons with the middle 50 % and 90 % of the members, and a few of
        them. Members that failed are left out.

        Arguments:

        - `quantities`: states or expressions, as in `solution[...]`; default all states. Each gets axes of its own.
        - `trajectories`: how many members are drawn, spread evenly over their numbers; default 5.
        - `xscale`: `"linear"`, `"log"`, or `"auto"` (default): logarithmic where the saved times are.
        - `ax`: the matplotlib axes to draw a single quantity into; default new ones.

        Returns the matplotlib axes, an array of them if there are several. Raises `MissingExtraError` without
        matplotlib.
        """
        from symdeq.solve.ensemble_plot import plot

        return plot(self, quantities, trajectories=trajectories, xscale=xscale, ax=ax)

    def to_pandas(self, quantities: Sequence[Any] | None = None) -> pd.DataFrame:
        """A table with a row a member and time (index `member`, `t`) and a column a quantity; default all states and
        observed quantities."""
        try:
            import pandas as pd
        except ImportError:
            raise MissingExtraError("pandas", "fit", "to_pandas") from None
        chosen = [*self.model.states, *self.model.observed] if quantities is None else list(quantities)
        members, times = self.ys.shape[:2]
        index = pd.MultiIndex.from_arrays(
            [np.repeat(np.arange(members), times), np.broadcast_to(np.asarray(self.ts), (members, times)).ravel()],
            names=["member", "t"],
        )
        columns = zip(chosen, self.evaluate(chosen), strict=True)
        return pd.DataFrame({str(q): np.asarray(column).ravel() for q, column in columns}, index=index)

    def __repr__(self) -> str:
        name = self.model.system.name
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(self.results)):
            return f"Ensemble of `{name}` (traced)"
        if self.ys.ndim != 3:
            return f"Ensembles of `{name}`: a batch of shape {self.ys.shape[:-3]}"
        return self.explain()

    __str__ = __repr__


@eqx.filter_jit
def _evaluated(model: Model, members: Members, expressions: tuple[Any, ...], ts: Any, ys: Any) -> list[Any]:
    columns: Columns = members.columns

    def one(row: Any, ts: Any, ys: Any) -> list[Any]:
        return columns.model(model, row).evaluate(expressions, ts, ys)

    return jax.vmap(one, in_axes=(0, 0 if ts.ndim == 2 else None, 0))(members.rows, ts, ys)
