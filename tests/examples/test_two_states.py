"""Schlögl's reactions: simulated counts and Langevin paths against the master equation and the rate equation."""

import contextlib
import io

import numpy as np
import pytest
from scipy import linalg, stats

from examples import two_states as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    output = tmp_path_factory.mktemp("output") / "new"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        found = example.main(output, paths=500)
    assert "the rate equation rests at 85.5, 247.6, 566.9" in printed.getvalue()
    assert (output / "two_states.png").read_bytes().startswith(b"\x89PNG")
    return found


def test_the_rate_equation_goes_to_the_upper_state_only(run):
    assert (np.diff(run.smooth) > 0).all()
    assert run.smooth[0] == example.START


def test_the_master_equation_is_that_of_its_generator(run):
    assert run.exact.sum() == pytest.approx(1.0, abs=1e-9)
    n = np.arange(example.LARGEST, dtype=float)
    births, deaths = 0.015 * n * (n - 1) + 200.0, 1e-4 * n * (n - 1) * (n - 2) / 6 + 3.5 * n
    births[-1] = 0.0
    step = 1e-6
    change = (example.master_equation(4.0 + step) - example.master_equation(4.0 - step)) / (2 * step)
    flow = -(births + deaths) * run.exact
    flow[1:] += births[:-1] * run.exact[:-1]
    flow[:-1] += deaths[1:] * run.exact[1:]
    assert linalg.norm(change - flow) < 1e-5 * linalg.norm(births * run.exact)


def test_counts_follow_the_master_equation(run):
    counts = np.asarray(run.jumps["X"][:, -1])
    edges = np.searchsorted(np.cumsum(run.exact), np.arange(1, 20) / 20)  # twenty groups of nearly equal probability
    expected = np.diff([0.0, *np.cumsum(run.exact)[edges - 1], 1.0]) * len(counts)
    found = np.bincount(np.searchsorted(edges, counts, side="right"), minlength=20)
    assert stats.chisquare(found, expected).pvalue > 0.01
    share = run.exact[int(run.rests[1]) + 1 :].sum()
    assert share == pytest.approx(0.487, abs=1e-3)
    for one in (counts, run.continuous):
        assert abs(run.share_high(one) - share) < 4 * np.sqrt(share * (1 - share) / len(counts))
