"""The arithmetic of the benchmarks: times, errors, goals and tables. What they measure is no test."""

from __future__ import annotations

import numpy as np
import pytest

from tests.zoo import PROBLEMS

from . import goals, records, reference, table
from .peers import BY_HAND, SYMDEQ
from .records import Result, Row, Timing


def _timing(*us: float) -> Timing:
    return Timing(rounds=tuple(enumerate(us)))


ROWS = (
    Row(peer=SYMDEQ, steps=100, first=1.0, solve=_timing(50.0, 40.0, 60.0, 45.0), error=2.0, gradient=_timing(200.0)),
    Row(peer=BY_HAND, steps=500, first=3.0, solve=_timing(5000.0, 4400.0, 6600.0), error=4.0),
)
RESULT = Result(problem="rober", rows=ROWS)


def test_ratios_are_taken_within_rounds():
    ours, theirs = ROWS[0].solve, ROWS[1].solve
    assert ours is not None
    assert theirs is not None
    assert theirs.over(ours) == pytest.approx(110.0)  # 100, 110, 110; the fourth round has no partner
    assert ours.median == 47.5
    assert ours.best == 40.0
    assert _timing(90.0, 100.0, 110.0).spread == pytest.approx(0.1)


def test_goals_are_judged_by_what_was_measured():
    verdicts = {v.goal.text: v for v in goals.judged({"rober": RESULT})}
    faster = verdicts["rober: times faster than Kvaerno5 by hand"]
    assert (faster.measured, faster.least, faster.met) == (pytest.approx(110.0), pytest.approx(110.0), True)
    assert verdicts["rober: error over that of Kvaerno5 by hand"].measured == 0.5
    assert verdicts["rober: first solution over that of Kvaerno5 by hand"].met is True
    assert verdicts["rober: gradient over solve"].measured == pytest.approx(200 / 47.5)
    assert verdicts["rober: times faster than Kvaerno5 with Newton's method"].met is None
    assert verdicts["lotka_volterra: times faster than Tsit5 by hand"].met is None


def test_results_are_read_as_they_were_written(tmp_path):
    records.save(RESULT, tmp_path)
    assert records.load(tmp_path / "rober.json") == RESULT


def test_tables_show_losses_and_failures():
    slow = Row(peer=BY_HAND, solve=_timing(20.0, 20.0, 20.0, 20.0), error=float("inf"), note="gradient: no answer")
    text = table.table(PROBLEMS["rober"], Result(problem="rober", rows=(ROWS[0], slow)))
    assert "0.422×" in text
    assert "failed" in text
    assert f"{BY_HAND}: gradient: no answer" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (0.0, "0"), (12345.6, "12,346"), (1.234, "1.23"), (2.4e-5, "2.4e-5"), (2e9, "2.0e9")],
)
def test_numbers(value, text):
    assert table.number(value) == text


@pytest.mark.parametrize("name", ["lotka_volterra", "rober", "hires"])
def test_references_are_those_of_the_zoo(name, tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_CACHE", tmp_path)
    problem = PROBLEMS[name]
    states = reference.states(problem)
    known = np.array([problem.reference[problem.t1]])
    assert np.max(np.abs(states[-1:] - known) / (problem.atol + problem.rtol * np.abs(known))) < 1e-4
    assert np.array_equal(reference.states(problem), states)


def test_errors_are_in_units_of_the_tolerance():
    problem = PROBLEMS["rober"]
    truth = np.array([[1.0, 0.0, 0.5]])
    found = np.add(truth, [[0.0, 3e-9, 0.0]])
    assert reference.error(problem, found, truth) == pytest.approx(3.0)
    assert reference.error(problem, truth * np.nan, truth) == float("inf")


def test_errors_of_gradients_count_parameters_of_every_size_alike():
    problem = PROBLEMS["lotka_volterra"]
    gradient = np.array([1.0, -2.0, 3.0, 4.0])
    assert reference.gradient_error(problem, gradient, gradient) == 0
    off = np.add(gradient, [0.0, 0.0, 0.09, 0.0])
    assert reference.gradient_error(problem, off, gradient) == pytest.approx(0.03)
