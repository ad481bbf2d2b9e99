"""The benchmark of delays: that its rows are what they say."""

import pytest

from . import delays


def test_a_row_is_measured_and_written():
    row = delays.measured(delays.PROBLEMS[1], "auto", rounds=1)
    assert row.error < 5e-5
    assert row.steps > row.plain_steps
    assert row.by_hand is not None
    assert row.by_hand > 0
    assert row.ratio == pytest.approx(row.time * row.plain_steps / (row.steps * row.plain))
    assert row.problem in delays.report([row])
