"""Euler's method and the residual network: equal to the last bit, and a classifier of two moons."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from examples import residual_network as example


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> example.Run:
    return example.main(tmp_path_factory.mktemp("output") / "new")


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_solver_and_stack_are_equal_to_the_last_bit(run, precision):
    by_solver, by_stack = run.activations[precision]
    assert by_solver.dtype == by_stack.dtype == precision
    assert by_solver.shape == by_stack.shape == (100, example.DEPTH + 1, 2)
    np.testing.assert_array_equal(by_solver[:, 0], run.points[300:].astype(precision))
    np.testing.assert_array_equal(by_solver, by_stack)
    assert np.all(np.ptp(by_solver, axis=1) > 0.1)  # the points do move


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_layer_ends_where_the_last_residual_layer_ends(run, precision):
    block = example.in_precision(run.training.module.flow.network, precision)
    flow = eqx.filter_jit(example.euler(block))
    for point, by_stack in zip(run.points[300:320].astype(precision), run.activations[precision][1][:20], strict=True):
        np.testing.assert_array_equal(flow(point), by_stack[-1])


@pytest.mark.parametrize(("precision", "rtol"), [("float32", 1e-4), ("float64", 1e-12)])
def test_layers_compiled_one_by_one_differ_by_rounding_only(run, precision, rtol):
    block = example.in_precision(run.training.module.flow.network, precision)
    layer = eqx.filter_jit(lambda block, y: y + block(y))
    for point, by_solver in zip(run.points[300:320], run.activations[precision][0][:20], strict=True):
        y = jnp.asarray(point, precision)
        for depth in range(example.DEPTH):
            y = layer(block, y)
            np.testing.assert_allclose(y, by_solver[depth + 1], rtol=rtol, atol=rtol)


def test_the_moons_are_told_apart(run):
    assert run.training.losses[0] > 0.5
    assert run.training.losses[-1] < 0.05
    by_steps, by_accurate_solution = run.accuracy
    assert by_steps > 0.97
    assert by_accurate_solution < 0.95  # what was trained with coarse steps needs them
    assert 170 < run.labels.sum() < 230


def test_the_script_prints_and_draws(tmp_path, capsys):
    example.main(tmp_path / "new", steps=2)
    printed = capsys.readouterr().out
    assert "float32: 0 of 2200 activations differ" in printed
    assert "float64: 0 of 2200 activations differ" in printed
    assert (tmp_path / "new" / "residual_network.png").read_bytes().startswith(b"\x89PNG")
