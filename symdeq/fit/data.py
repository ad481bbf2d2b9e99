"""Measurements: named columns over time, from a dictionary or a pandas.DataFrame, checked at the door."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from symdeq._errors import ModelError
from symdeq.compiled import Model
from symdeq.fit.noise import AbstractNoise


@dataclasses.dataclass(frozen=True, eq=False)
class Measurements:
    """What was measured when.

    - `columns`: the names of the observed columns.
    - `times`: shape (rows,), in the order of the table; NaN only in rows that measure nothing.
    - `values`: shape (rows, columns); NaN where a measurement is missing.
    - `time`: the name of the column of times.
    """

    columns: tuple[str, ...]
    times: np.ndarray
    values: np.ndarray
    time: str

    @property
    def present(self) -> np.ndarray:
        """Which measurements there are, shape (rows, columns)."""
        return ~np.isnan(self.values)

    @property
    def counts(self) -> np.ndarray:
        """Measurements of each column, shape (columns,)."""
        return self.present.sum(axis=0)

    @property
    def rows(self) -> np.ndarray:
        """The rows that measure something, by increasing time; replicates stay in the order of the table."""
        used = np.flatnonzero(self.present.any(axis=1))
        return used[np.argsort(self.times[used], kind="stable")]

    def of_column(self, i: int) -> np.ndarray:
        """The measurements of one column, without the missing ones."""
        return self.values[self.present[:, i], i]


def read(
    data: Any, time: str | None, observe: Mapping[str, Any] | None, model: Model
) -> tuple[Measurements, tuple[Any, ...]]:
    """The measurements in a table, and the quantity of the model behind each column.

    Arguments:

    - `data`: a dictionary of columns, or a pandas.DataFrame; NaN or `None` is a missing value.
    - `time`: the name of the column of times, or of a DataFrame's index; `None` is the index, whatever its name.
    - `observe`: from column to quantity; `None` for the columns that have the name of a quantity.
    - `model`: whose quantities are observed.

    Raises `ModelError` for a column that does not exist, columns of different lengths, what is no number, and an
    empty table.
    """
    names, column, index = _opened(data)
    times = _times(names, column, index, time)
    if observe is None:
        observe = {n: n for n in names if n != time and isinstance(n, str) and _is_quantity(model, n)}
        if not observe:
            raise ModelError(
                f"No column has the name of a quantity of `{model.system.name}`.",
                remedy=f"say what each column measures: observe={{column: {model.states[0].name}}}",
            )
    if not isinstance(observe, Mapping) or not observe:
        raise ModelError(
            f"observe must be a dictionary from column to quantity, not {observe!r}.", remedy='observe={"column": x}'
        )
    for name in observe:
        if name not in names:
            raise ModelError(f"The data have no column {name!r}.", remedy=_did_you_mean(name, names))
    values = np.stack([_numbers(column(name), name) for name in observe], axis=-1)
    if len(values) != len(times):
        raise ModelError(f"There are {len(times)} times and {len(values)} measurements in each column.")
    if np.isinf(values).any():
        row, i = np.argwhere(np.isinf(values))[0]
        raise ModelError(
            f"The column {list(observe)[i]!r} is infinite in row {row}.", remedy="leave the value out: NaN or None"
        )
    measurements = Measurements(tuple(observe), times, values, "time" if time is None else str(time))
    _check_times(measurements)
    return measurements, tuple(observe.values())


def check_possible(data: Measurements, noise: tuple[AbstractNoise, ...]) -> None:
    """Refuse a measurement that its noise cannot produce, and a sigma to be estimated from a single value."""
    for i, (name, one) in enumerate(zip(data.columns, noise, strict=True)):
        wrong = np.flatnonzero(data.present[:, i] & ~one.possible(data.values[:, i]))
        if len(wrong):
            row = int(wrong[0])
            raise ModelError(
                f"The column {name!r} is {data.values[row, i]:g} in row {row} (time {data.times[row]:g}), "
                f"which {one.name} errors cannot produce.",
                remedy=f"use sd.Normal() for it, or leave the value out; {len(wrong)} rows are affected",
            )
        if not data.counts[i]:
            raise ModelError(
                f"The column {name!r} has no measurement: all of its values are missing.",
                remedy="leave it out of observe",
            )
        if data.counts[i] < 2 and one.sigma is None:
            raise ModelError(
                f"The column {name!r} has a single measurement, from which no sigma can be estimated.",
                remedy=f"give it: noise={{{name!r}: sd.{type(one).__name__}(sigma=...), ...}}",
            )


def _opened(data: Any) -> tuple[list[Any], Any, Any]:
    """The names of the columns, a function from name to column, and the index or `None`."""
    if isinstance(data, Mapping):
        return list(data), data.__getitem__, None
    if all(hasattr(data, name) for name in ("columns", "index", "to_numpy")):
        return list(data.columns), data.__getitem__, data.index
    raise ModelError(
        f"The data must be a dictionary of columns or a pandas.DataFrame, not {type(data).__name__}.",
        remedy='data = {"time": [...], "x": [...]}',
    )


def _times(names: list[Any], column: Any, index: Any, time: Any) -> np.ndarray:
    if time is not None and time in names:
        return _numbers(column(time), time)
    if index is not None and (time is None or index.name == time):
        return _numbers(index, index.name or "index")
    if time is None:
        raise ModelError(
            "time=None takes a DataFrame's index, which a dictionary does not have.", remedy='time="name of the column"'
        )
    remedy = _did_you_mean(time, names)
    raise ModelError(
        f"The data have no column {time!r} for the times.",
        remedy=f"{remedy}; or time=None for the index" if index is not None else f"{remedy}; name it by time=",
    )


def _numbers(column: Any, name: Any) -> np.ndarray:
    if hasattr(column, "to_numpy"):
        dtype = str(getattr(column, "dtype", ""))
        if "datetime" in dtype or "period" in dtype:
            raise ModelError(
                f"The column {name!r} holds dates.", remedy="turn them into numbers, such as days since the start"
            )
        if dtype in ("Int64", "Float64", "Int32", "Float32"):
            column = column.to_numpy(dtype=float, na_value=np.nan)
        else:
            column = column.to_numpy()
    try:
        if isinstance(column, list | tuple):
            column = [np.nan if v is None else v for v in column]
        values = np.array(column, dtype=float)  # None in an array of objects becomes NaN
    except (TypeError, ValueError):
        raise ModelError(
            f"The column {name!r} holds something that is not a number.", remedy="mark missing values by NaN or None"
        ) from None
    if values.ndim != 1 or not len(values):
        raise ModelError(
            f"The column {name!r} must have one dimension and at least one row; it has the shape {values.shape}."
        )
    return values


def _check_times(data: Measurements) -> None:
    wrong = ~np.isfinite(data.times) & data.present.any(axis=1)
    if wrong.any():
        raise ModelError(
            f"The time in row {int(np.argmax(wrong))} is missing or infinite, but something was measured there."
        )
    if not data.present.any():
        raise ModelError("There is no measurement at all: every value is missing.")


def _is_quantity(model: Model, name: str) -> bool:
    kind, _ = model.compiled.positions.get(name, ("", 0))
    return kind in ("state", "observed")


def _did_you_mean(name: Any, names: list[Any]) -> str:
    known = {str(n).casefold(): str(n) for n in names}
    close = [known[k] for k in difflib.get_close_matches(str(name).casefold(), known, n=2, cutoff=0.5)]
    return (
        f"did you mean {' or '.join(map(repr, close))}?"
        if close
        else f"the columns are {', '.join(map(repr, list(known.values())[:12]))}"
    )
