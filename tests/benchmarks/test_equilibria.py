"""The benchmark of equilibrium layers: its exact gradient is one, the peers compute the same, the table has ratios."""

import jax
import numpy as np
import pytest

import symdeq  # noqa: F401  # sets XLA's option, which has to come before the first computation

from . import digits, equilibria
from .peers import equilibria_jax, equilibria_torch
from .records import Timing


def batch():
    images, labels = digits.data()
    return images[0][:8], labels[0][:8]


def loss(weights, images, labels):
    """By plain iteration in NumPy."""
    p = {name: np.float64(value) for name, value in weights.items()}
    x = images @ p["enter"].T + p["enter_bias"]
    z = np.zeros_like(x)
    for _ in range(60):
        z = np.tanh(np.tanh((z + x) @ p["w1"].T + p["b1"]) @ p["w2"].T + p["b2"])
    logits = z @ p["leave"].T + p["leave_bias"]
    logits -= logits.max(axis=1, keepdims=True)
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels])


def test_the_exact_gradient_is_that_of_differences():
    weights, (images, labels) = digits.weights(), batch()
    z, gradient = digits.exact(weights, images, labels)
    assert digits.residual(weights, images, z) < 1e-12
    draw = np.random.default_rng(0)
    for name, value in weights.items():
        direction, step = draw.standard_normal(value.shape), 1e-6
        moved = [loss({**weights, name: value + sign * step * direction}, images, labels) for sign in (1, -1)]
        assert np.sum(gradient[name] * direction) == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-6), name


@pytest.mark.parametrize("peer", ["symdeq Anderson", "jaxopt Anderson", "torchdeq Anderson"])
def test_peers_compute_the_same(peer):
    if "symdeq" not in peer:
        pytest.importorskip(peer.split()[0])
    with jax.enable_x64(False):
        answer, runs = equilibria.answered(peer, 1e-3)
    assert 0 < answer["evaluations"] <= digits.MAX_STEPS
    assert answer["residual"] < 1e-3
    assert answer["error"] < 2e-3
    assert answer["memory"] > 0
    assert answer["loss"] == pytest.approx(1.30, abs=0.01)  # of an epoch by any of them
    assert set(runs) == set(equilibria.RUNS)


def test_all_peers_have_a_module():
    assert set(equilibria.PEERS) == set(equilibria_jax.SEARCHES) | set(equilibria_torch.SETTINGS)
    assert sum(peer.startswith("symdeq") for peer in equilibria.PEERS) == 3


def test_ratios_are_those_of_the_least_epochs():
    def row(peer: str, least: float) -> equilibria.Row:
        timing = Timing(rounds=tuple(enumerate([2 * least, least, 3 * least])))
        return equilibria.Row(
            peer=peer, tolerance=0.1, first=1.0, evaluations=5, residual=0.01, error=0.02, memory=1000, loss=1.3,
            forward=timing, gradient=timing, epoch=timing,
        )  # fmt: skip

    failed = equilibria.Row(peer="jaxopt Anderson", tolerance=0.1, note="ModuleNotFoundError: No module named 'jaxopt'")
    text = equilibria.report([row("symdeq Anderson", 1e5), row("symdeq Broyden", 2e5), row("torchdeq", 5e5), failed])
    lines = text.splitlines()
    assert lines[0].startswith("tolerance 0.1")
    assert [line.split()[-1] for line in lines[2:5]] == ["1.00×", "2.00×", "5.00×"]
    assert "No module named 'jaxopt'" in lines[-1]
