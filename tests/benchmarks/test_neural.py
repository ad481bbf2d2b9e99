"""The benchmark of neural ODEs compares programs that compute the same, and says how much faster one is."""

import numpy as np
import pytest

from . import neural
from .records import Timing


def test_the_peers_compute_the_same_gradient():
    request = {
        "weights": None,
        "data": np.outer(np.ones(30), neural.START).tolist(),
        "max_steps": 64,
        "rtol": neural.RTOL,
        "atol": neural.ATOL,
    }
    answers = {}
    for peer in (neural.SYMDEQ, neural.DEFAULT):
        answers[peer], runs = neural._prepared(peer, request)
        assert set(runs) == {"loss", "gradient"}
        assert np.shape(answers[peer]["gradient"]) == (252,)
        assert 0 < answers[peer]["steps"] < 64
    theirs = answers[neural.DEFAULT]["gradient"]
    assert neural._error(answers[neural.SYMDEQ]["gradient"], theirs) < 1e-6
    assert neural._error(theirs, theirs) == 0


def test_ratios_are_those_of_the_gradients():
    def row(peer: str, loss: float, gradient: float) -> neural.Row:
        times = (Timing(rounds=tuple(enumerate([us, us, us, us]))) for us in (loss, gradient))
        return neural.Row(
            peer=peer, weights="drawn", max_steps=256, steps=4, first=1.0, loss=next(times), gradient=next(times),
            error=1e-7,
        )  # fmt: skip

    text = neural.report([row(neural.SYMDEQ, 20.0, 100.0), row(neural.DEFAULT, 75.0, 320.0)])
    assert "weights drawn, max_steps=256" in text
    assert text.splitlines()[2].split()[-6:] == ["20.0", "100", "0%", "5.00", "1.0e-7", "1.00"]
    assert text.splitlines()[3].endswith("3.20×")


def test_a_worker_that_fails_says_why():
    with pytest.raises(RuntimeError, match="out of luck"):
        neural._answered({"error": "out of luck"})
