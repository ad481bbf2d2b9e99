"""The arithmetic of the benchmarks: times, errors, goals and tables. What they measure is no test."""

from __future__ import annotations

import numpy as np
import pytest

from tests.zoo import PROBLEMS, brusselator_1d

from . import goals, growth, records, reference, table, work_precision
from .figures import work_precision as diagram
from .peers import BATCHES, BY_HAND, C_LOOP, C_THREADS, CVODE, FIXED, PEERS, SYMDEQ, MissingTool
from .problems import SPREADS, ensemble, named, spread
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
    assert len(verdicts) == len(goals.GOALS)
    faster = verdicts["rober: times faster than Kvaerno5 by hand"]
    assert (faster.measured, faster.least, faster.met) == (pytest.approx(110.0), pytest.approx(110.0), True)
    assert verdicts["rober: error over that of Kvaerno5 by hand"].measured == 0.5
    assert verdicts["rober: first solution over that by hand"].met is True
    assert verdicts["rober: gradient in solves"].measured == pytest.approx(200 / 47.5)
    assert verdicts["rober: gradient in solves"].met is False
    assert verdicts["rober: times faster than Kvaerno5 with Newton's method"].met is None
    assert verdicts["lotka_volterra: times faster than Tsit5 by hand"].met is None
    assert "1 not met" in table.goals(verdicts.values())


def test_the_automatic_choice_is_compared_with_the_best_that_finished():
    fixed = tuple(FIXED)
    rows = (
        ROWS[0],
        Row(peer=fixed[0], solve=_timing(25.0, 20.0, 30.0, 22.5), error=1.0),
        Row(peer=fixed[1], solve=_timing(5.0, 4.0, 6.0, 4.5), error=float("inf")),
    )
    verdicts = {v.goal.text: v for v in goals.judged({"rober": Result(problem="rober", rows=rows)})}
    assert verdicts["rober: automatic choice over the best fixed method"].measured == pytest.approx(2.0)


def test_growth_is_measured_between_sizes():
    results = {}
    for size, us, first in ((64, 100.0, 2.0), (512, 900.0, 2.5)):
        row = Row(peer=SYMDEQ, steps=10, first=first, solve=_timing(us), error=1.0)
        results[f"growth/brusselator_1d_{size}"] = Result(problem="", rows=(row,))
    verdicts = {v.goal.text: v for v in goals.judged(results)}
    grown = "brusselator_1d, N = 512 over N = 64"
    assert verdicts[f"{grown}: a step (linear: 8)"].measured == pytest.approx(9.0)
    assert verdicts[f"{grown}: first solution"].measured == pytest.approx(1.25)
    assert verdicts["brusselator_1d, N = 512: first solution in s"].met is True


def test_results_are_read_as_they_were_written(tmp_path):
    records.save(RESULT, tmp_path)
    records.save(RESULT, tmp_path / "growth", "large")
    assert records.load_all(tmp_path) == {"rober": RESULT, "growth/large": RESULT}


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


def test_problems_are_found_by_name_and_tolerance():
    assert named("brusselator_1d_40").name == "brusselator_1d_40"
    assert len(named("mass_action_30").states) == 30
    loose = named("rober", 1e-3)
    assert (loose.rtol, loose.atol) == (1e-3, pytest.approx(1e-6))
    with pytest.raises(KeyError, match="no problem is called"):
        named("rubber")


@pytest.mark.parametrize("kind", SPREADS)
def test_ensembles_start_alike_whatever_their_size(kind):
    problem = ensemble(kind)
    few, many = spread(problem, kind, 3), spread(problem, kind, 50)
    np.testing.assert_array_equal(few, many[:3])
    decades = np.ptp(np.log10(many), axis=0)
    assert (decades > 3.5).all() if kind == "wide" else (decades < 0.5).all()


def test_work_and_precision_are_compared_at_equal_error(tmp_path):
    results = {}
    for rtol, us in ((1e-3, 10.0), (1e-4, 100.0)):
        rows = (Row(peer=SYMDEQ, solve=_timing(us), error=1.0), Row(peer=BY_HAND, error=float("inf")))
        results[f"{work_precision.FOLDER}/rober_{rtol:.0e}"] = Result(problem="rober", rows=rows)
    curves = work_precision.points("rober", results)
    assert curves == {SYMDEQ: [(1e-3, 1e-3, 10.0), (1e-4, 1e-4, 100.0)]}
    assert work_precision.at_error(curves[SYMDEQ], 10**-3.5) == pytest.approx(10**1.5)
    assert work_precision.at_error(curves[SYMDEQ], 1e-8) is None
    assert "100 [1e-4]" in work_precision.show("rober", results)
    work_precision.draw("rober", results, tmp_path)
    once = (tmp_path / "work_precision_rober.svg").read_bytes()
    diagram(PROBLEMS["rober"], {SYMDEQ: [(1e-3, 10.0), (1e-4, 100.0)]}, tmp_path / "work_precision_rober.svg")
    assert (tmp_path / "work_precision_rober.svg").read_bytes() == once
    assert len(once) < 60_000


def _solved(peer, problem):
    try:
        return PEERS[peer].solve(problem)
    except MissingTool as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", ["lotka_volterra", "rober", "prothero_robinson"])
def test_the_c_loop_takes_the_steps_of_its_methods(name):
    problem = PROBLEMS[name]
    loose, tight = (_solved(C_LOOP, named(name, rtol)) for rtol in (None, 1e-10))
    end = np.array(problem.reference[problem.t1])
    error = [np.max(np.abs(w.result[-1] - end) / (problem.atol + problem.rtol * np.abs(end))) for w in (loose, tight)]
    assert error[0] < 20
    assert error[1] < 0.02
    assert None not in (tight.steps, loose.steps)
    assert (tight.steps or 0) > 2 * (loose.steps or 0)


@pytest.mark.parametrize("name", ["lotka_volterra", "rober"])
def test_cvode_agrees(name):
    problem = PROBLEMS[name]
    work = _solved(CVODE, named(name, 1e-9))
    end = np.array(problem.reference[problem.t1])
    assert np.max(np.abs(work.result[-1] - end) / (problem.atol + problem.rtol * np.abs(end))) < 1


def test_elimination_by_bands_solves_what_is_too_large_for_straight_line_code(tmp_path, monkeypatch):
    monkeypatch.setattr(reference, "_CACHE", tmp_path)
    problem = brusselator_1d(34)
    truth = growth.truth(problem)
    for peer in (C_LOOP, CVODE):
        work = _solved(peer, problem)
        assert work.steps is not None
        assert reference.error(problem, work.result, truth) < 100


def test_threads_keep_the_members_in_order():
    problem = PROBLEMS["lotka_volterra"]
    params = spread(problem, "near", 250)
    params[0] = problem.params
    try:
        ys = BATCHES[C_THREADS].solve_all(problem, params).result
    except MissingTool as missing:
        pytest.skip(str(missing))
    np.testing.assert_array_equal(ys[0], _solved(C_LOOP, problem).result)
    assert ys.shape == (250, 40, 2)
    assert np.isfinite(ys).all()
    assert len({tuple(y) for y in ys[:, -1]}) == 250
