"""What varies from member to member of an ensemble: parameters and initial values, a row a member."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from symdeq._errors import ModelError, UnsupportedError
from symdeq._lookup import text_of
from symdeq._values import as_array, concrete
from symdeq.compiled import Model


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which values of a model vary, by position.

    - `names`: as people read them.
    - `parameters`: pairs of a column and a position among the model's parameters.
    - `states`: pairs of a column and a position among the model's states, whose initial value varies.
    """

    names: tuple[str, ...]
    parameters: tuple[tuple[int, int], ...]
    states: tuple[tuple[int, int], ...]

    def model(self, model: Model, row: Any) -> Model:
        """The model with the values of one row, shape (columns,); they may be traced, and need not be finite."""
        values, start, given = model.values, model.start, list(model.given)
        if self.parameters:
            columns, positions = np.array(self.parameters).T
            values = values.at[positions].set(row[columns])
        if self.states:
            columns, positions = np.array(self.states).T
            start = start.at[positions].set(row[columns])
            for i in positions:
                given[i] = True
        return dataclasses.replace(model, values=values, start=start, given=tuple(given))


class Members(eqx.Module):
    """The members of an ensemble: `rows` has shape (members, columns)."""

    rows: Any
    columns: Columns = eqx.field(static=True)

    @property
    def count(self) -> int:
        return self.rows.shape[0]

    def __getitem__(self, name: str) -> Any:
        return self.rows[:, self.columns.names.index(name)]

    def typical(self, model: Model) -> Model:
        """The model with the first finite value of each column, to check against what no member changes."""
        if isinstance(self.rows, Tracer):
            return self.columns.model(model, self.rows[0])
        finite = np.isfinite(self.rows)
        for k in np.flatnonzero(~finite.any(axis=0)):
            raise ModelError(
                f"No value of `{self.columns.names[k]}` is finite.", remedy="give every member a finite number"
            )
        first = np.argmax(finite, axis=0)
        return self.columns.model(model, jnp.asarray(np.take_along_axis(self.rows, first[None], axis=0)[0]))

    def said(self, i: int) -> str:
        """The values of one member, as text in brackets; nothing where none varies."""
        shown = [f"{n} = {float(v):.6g}" for n, v in zip(self.columns.names[:6], self.rows[i], strict=False)]
        more = ", ..." if len(self.columns.names) > 6 else ""
        return f" ({', '.join(shown)}{more})" if shown else ""


def check_members(model: Model, values: Any, y0: Any, paths: int | None = None) -> Members:
    """What `ensemble` was given to vary, as rows, or `ModelError`.

    Arguments:

    - `model`: the model.
    - `values`: arrays of shape (members,) by symbol or name.
    - `y0`: from `initial_values`.
    - `paths`: the number of members, for a model with noise; `None` where the values tell it.
    """
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        raise ModelError(
            f"An ensemble takes values by symbol or name, not {type(values).__name__}.",
            remedy="sd.ensemble(model, {k: [0.1, 0.2, 0.3]}, t1=...)",
        )
    parameters: dict[int, tuple[str, Any]] = {}
    states: dict[int, tuple[str, Any]] = {}
    for name, value in values.items():
        kind, i = model.position(name)
        if kind == "network" or (kind == "state" and model.states[i].shape):
            raise UnsupportedError(
                f"`{text_of(name)}` is a {'vector' if kind == 'state' else kind}, which an ensemble does not vary.",
                remedy="jax.vmap(lambda v: sd.solve(model.replace({...: v}), ...))(values)",
            )
        if kind == "observed":
            raise ModelError(
                f"`{text_of(name)}` follows from the equations and has no value of its own.",
                where=model.system.observed[i].located,
                remedy="vary the states and parameters that it is computed from",
            )
        group = parameters if kind == "parameter" else states
        if i in group:
            raise ModelError(f"`{text_of(name)}` is given twice.", remedy="give its values once")
        group[i] = (text_of(name), _check_column(value, text_of(name), model.values.dtype))
    for i, column in enumerate(_check_y0(model, y0, states)):
        states[i] = (model.states[i].name, column)
    found = [*parameters.values(), *states.values()]
    if not found and paths is None:
        raise ModelError(
            "Nothing varies between the members of this ensemble.",
            remedy="sd.ensemble(model, {k: [0.1, 0.2, 0.3]}, t1=...)"
            + (", or paths=1000 for paths of equal values" if model.system.noise else ""),
        )
    _check_lengths(found)
    if not found:
        none = Columns(names=(), parameters=(), states=())
        return Members(rows=np.zeros((paths or 0, 0), model.values.dtype), columns=none)
    if paths is not None and len(found[0][1]) != paths:
        raise ModelError(
            f"`{found[0][0]}` has values for {len(found[0][1])} members, and there are to be {paths} paths.",
            remedy="leave paths= out, or give every path a value: np.repeat(values, paths)",
        )
    known = concrete(*(column for _, column in found))
    stack = np.stack if known else jnp.stack
    count = len(parameters)
    columns = Columns(
        names=tuple(name for name, _ in found),
        parameters=tuple(enumerate(parameters)),
        states=tuple((count + k, i) for k, i in enumerate(states)),
    )
    return Members(rows=stack([column for _, column in found], axis=1), columns=columns)


def _check_column(value: Any, name: str, dtype: Any) -> Any:
    try:
        column = as_array(value, dtype)
    except (TypeError, ValueError):
        raise ModelError(
            f"The values of `{name}` must be numbers, not {value!r}.", remedy="give an array with a number a member"
        ) from None
    if column.ndim == 0:
        raise ModelError(
            f"`{name}` has one value and not one a member.",
            remedy="give an array; what all members share belongs into the model: model.replace({...})",
        )
    if column.ndim > 1 or column.shape[0] == 0:
        raise ModelError(
            f"The values of `{name}` must have shape (members,), but have shape {column.shape}.",
            remedy="give one number a member; a grid is flattened: np.meshgrid(...)[0].ravel()",
        )
    return column


def _check_lengths(found: list[tuple[str, Any]]) -> None:
    lengths = {name: len(column) for name, column in found}
    first, count = next(iter(lengths.items()), ("", 0))
    for name, other in lengths.items():
        if other != count:
            raise ModelError(
                f"`{first}` has values for {count} members, and `{name}` for {other}.",
                remedy="give every quantity one value a member; all combinations are np.meshgrid(...)[0].ravel()",
            )


def initial_values(model: Model, y0: Any) -> Any:
    """`y0` as it was given to `ensemble`: `None`, a dictionary, or an array."""
    if y0 is None or isinstance(y0, Mapping):
        return y0
    try:
        return as_array(y0, model.values.dtype)
    except (TypeError, ValueError):
        raise ModelError(
            f"y0={y0!r} is neither an array nor a dictionary.",
            remedy="give shape (members, states), or (states,) for all members",
        ) from None


def _check_y0(model: Model, y0: Any, states: Mapping[int, Any]) -> list[Any]:
    """Columns of initial values, one a state; none where all members share y0 or there is none."""
    if y0 is None:
        return []
    if isinstance(y0, Mapping):
        if any(model.position(name) == ("state", i) for name in y0 for i in states):
            raise _given_twice()
        return []
    n = model.size
    if y0.ndim not in (1, 2) or y0.shape[-1] != n:
        raise ModelError(
            f"y0 has the shape {y0.shape}; `{model.system.name}` has {_states(n)}.",
            remedy="give shape (members, states), or (states,) for all members",
        )
    if y0.ndim == 1:
        return []
    if states:
        raise _given_twice()
    if n != len(model.states):
        raise UnsupportedError(
            "The members of an ensemble have initial values of their own, and the model has vectors.",
            remedy="jax.vmap(lambda y0: sd.solve(model, y0=y0, ...))(values)",
        )
    return [y0[:, i] for i in range(n)]


def _given_twice() -> ModelError:
    return ModelError("Initial values are given twice: by state, and by y0.", remedy="put each into one of the two")


def _states(n: int) -> str:
    return f"{n} state{'' if n == 1 else 's'}"


def is_traced(members: Members) -> bool:
    """Whether the values are those of a program that is being traced."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(members))
