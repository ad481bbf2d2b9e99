"""The table of measurements: missing values, replicates, order, pandas, and what is refused."""

import numpy as np
import pandas as pd
import pytest

import symdeq as sd
from symdeq import t
from tests.fit.problems import chain, chain_solution, decay

TS = np.linspace(0.5, 8, 12)


def table() -> dict[str, np.ndarray]:
    A, B = chain_solution(0.6, 0.25, TS)
    scatter = 1 + 0.05 * np.random.default_rng(5).normal(size=(2, 12))
    return {"time": TS, "A": A * scatter[0], "B": B * scatter[1]}


def fitted(data, **options) -> sd.Fit:
    return sd.fit(chain(), data, **{"t0": 0.0, **options})


@pytest.fixture(scope="module")
def with_gaps() -> sd.Fit:
    data = {name: column.copy() for name, column in table().items()}
    data["A"][[2, 5]] = np.nan
    data["B"][7] = np.nan
    return fitted(data)


def same(one: sd.Fit, other: sd.Fit, tolerance: float = 1e-9) -> None:
    assert list(one.estimates.values()) == pytest.approx(list(other.estimates.values()), rel=tolerance)
    assert one.covariance == pytest.approx(other.covariance, rel=1e4 * tolerance)
    assert one.cost == pytest.approx(other.cost, rel=tolerance)


def test_a_missing_value_is_as_if_it_had_not_been_measured(with_gaps: sd.Fit):
    """The same measurements with a row of their own each, those that are missing dropped."""
    data = table()
    rows = [(ts, a, np.nan) for i, (ts, a) in enumerate(zip(data["time"], data["A"], strict=True)) if i not in (2, 5)]
    rows += [(ts, np.nan, b) for i, (ts, b) in enumerate(zip(data["time"], data["B"], strict=True)) if i != 7]
    long = dict(zip(("time", "A", "B"), np.array(rows).T, strict=True))
    same(fitted(long), with_gaps)
    assert with_gaps.data.counts.tolist() == [10, 11]
    assert np.isnan(with_gaps.residuals["A"][[2, 5]]).all()
    assert np.isfinite(np.delete(with_gaps.residuals["A"], [2, 5])).all()


def test_none_in_a_list_is_missing(with_gaps: sd.Fit):
    data = {name: column.tolist() for name, column in table().items()}
    data["A"][2] = data["A"][5] = data["B"][7] = None
    same(fitted(data), with_gaps)


def test_rows_in_any_order(with_gaps: sd.Fit):
    order = np.random.default_rng(0).permutation(12)
    data = {name: np.asarray(column)[order] for name, column in table().items()}
    data["A"][np.isin(order, [2, 5])] = np.nan
    data["B"][order == 7] = np.nan
    fit = fitted(data)
    same(fit, with_gaps)
    assert fit.residuals["A"] == pytest.approx(with_gaps.residuals["A"][order], abs=1e-9, nan_ok=True)


def test_a_data_frame_by_column_and_by_index(with_gaps: sd.Fit):
    frame = pd.DataFrame(table())
    frame.loc[[2, 5], "A"] = pd.NA
    frame.loc[7, "B"] = None
    same(fitted(frame), with_gaps)
    indexed = frame.set_index("time")
    same(fitted(indexed), with_gaps)
    same(fitted(indexed.rename_axis(None), time=None), with_gaps)
    same(fitted(frame.astype({"A": "Float64"})), with_gaps)


def test_replicates_count_each():
    once = table()
    twice = {name: np.concatenate([column, column]) for name, column in once.items()}
    one, two = (fitted(data, noise=sd.Normal(sigma=0.05)) for data in (once, twice))
    assert list(two.estimates.values()) == pytest.approx(list(one.estimates.values()), rel=1e-7)
    assert 2 * two.covariance == pytest.approx(one.covariance, rel=1e-6)


def test_expressions_of_states_can_be_observed():
    model = chain()
    A, B = model.states
    data = table()
    total = {"time": data["time"], "total": data["A"] + data["B"], "twice": 2 * data["A"] * np.exp(-0.1 * TS)}
    import sympy as sp

    fit = fitted(total, observe={"total": A + B, "twice": 2 * A * sp.exp(-t / 10)})
    k, m = fit.estimates["k"], fit.estimates["m"]
    a, b = chain_solution(k, m, TS)
    assert fit.residuals["total"] == pytest.approx(total["total"] - a - b, abs=1e-6)
    assert fit.residuals["twice"] == pytest.approx(total["twice"] - 2 * a * np.exp(-0.1 * TS), abs=1e-6)


def test_the_start_is_the_first_time_by_default():
    late = {"time": [1900.0, 1901.0, 1902.0, 1903.0], "x": [1.0, 0.6, 0.37, 0.2]}
    early = {"time": [0.0, 1.0, 2.0, 3.0], "x": late["x"]}
    assert sd.fit(decay(), late).estimates["k"] == pytest.approx(sd.fit(decay(), early).estimates["k"], rel=1e-8)
    assert sd.fit(decay(), late).t0 == 1900


GOOD = {"time": [0.0, 1.0, 2.0, 3.0], "x": [1.0, 0.6, 0.37, 0.2]}


def refused(data, **options) -> str:
    with pytest.raises(sd.ModelError) as caught:
        sd.fit(decay(), data, **options)
    assert "remedy" in str(caught.value)
    return str(caught.value)


def test_refusals_name_what_is_wrong_and_what_to_do():
    assert "did you mean 'x'?" in refused(GOOD, observe={"X": "x"})
    assert "no column 'xx'" in refused(GOOD, observe={"xx": "x"})
    assert "no column 'time' for the times" in refused({"times": [0, 1], "x": [1, 2]})
    assert "did you mean 'times'" in refused({"times": [0, 1], "x": [1, 2]})
    assert "name of a quantity" in refused({"time": [0, 1], "z": [1, 2]})
    assert "no symbol `z`" in refused(GOOD, observe={"x": "z"})
    assert "row 1" in refused({**GOOD, "x": [1, -0.5, 0.3, 0.2]}, noise=sd.LogNormal())
    assert "time 1" in refused({**GOOD, "x": [1, 0, 0.3, 0.2]}, noise=sd.LogNormal())
    assert "all of its values are missing" in refused({**GOOD, "x2": [None] * 4}, observe={"x": "x", "x2": "x"})
    assert "before t0 = 1" in refused(GOOD, t0=1.0)
    assert "no time to act" in refused({"time": [0, 0, 0], "x": [1, 2, 3]})
    assert "cannot determine" in refused({"time": [0, 1], "x": [1, 0.5]}, unknowns=["k", "x"])
    assert "and one sigma" in refused({"time": [0, 1], "x": [1, 0.5]}, unknowns=["k", "x"])
    assert "dictionary of columns" in refused([1, 2, 3])
    assert "time=None" in refused(GOOD, time=None)
    assert "not a kind of noise" in refused(GOOD, noise="normal")
    assert "says nothing about" in refused(GOOD, noise={})
    assert "not observed" in refused(GOOD, noise=sd.Normal(sigma={"y": 1.0}))
    assert "needs a key" in refused(GOOD, starts=2)
    assert "infinite" in refused({**GOOD, "x": [1, np.inf, 0.3, 0.2]})
    assert "not a number" in refused({**GOOD, "x": ["a", "b", "c", "d"]})
    assert "twice" not in refused(GOOD, unknowns=[])
    assert "single measurement" in refused({**GOOD, "x2": [1, None, None, None]}, observe={"x": "x", "x2": "x"})
    dates = pd.DataFrame({"time": pd.date_range("2020-01-01", periods=4), "x": GOOD["x"]})
    assert "holds dates" in refused(dates)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"starts": 0}, "starts must be a whole number"),
        ({"iterations": 1.5}, "iterations must be a whole number"),
    ],
)
def test_numbers_are_checked(options: dict, words: str):
    with pytest.raises(sd.ModelError, match=words):
        sd.fit(decay(), GOOD, **options)


def test_misshapen_columns():
    with pytest.raises(sd.ModelError, match="4 times and 3 measurements"):
        sd.fit(decay(), {**GOOD, "x": [1, 2, 3]})
    with pytest.raises(sd.ModelError, match="one dimension"):
        sd.fit(decay(), {**GOOD, "x": [[1, 2], [3, 4], [5, 6], [7, 8]]})
    with pytest.raises(sd.ModelError, match="time in row 2"):
        sd.fit(decay(), {**GOOD, "time": [0, 1, None, 3]})
    with pytest.raises(sd.ModelError, match="no measurement at all"):
        sd.fit(decay(), {**GOOD, "x": [None] * 4})
