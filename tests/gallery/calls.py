"""Calls that cannot be right: each function is one, with its message in messages.txt. A new case is a new function."""

# pyright: basic, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import sympy as sp

import symdeq as sd
from symdeq import D, Eq
from tests import models as _models

_DATA = {"time": [0.0, 1.0, 2.0], "hare": [1.0, 2.0, 1.5], "lynx": [1.0, 0.5, 0.7]}


def compile_equations_without_a_system():
    x = sd.state("x", 1.0)
    sd.compile([Eq(D(x), -x)])


def compile_with_a_contradicting_initial_value():
    x, y = sd.states(x=1.0, y=5.0)
    sd.compile(sd.System([Eq(D(x), -x), Eq(y, 2 * x)]))


def replace_a_misspelt_name():
    k = sd.parameter("rate", 1.0)
    x = sd.state("x", 1.0)
    sd.compile(sd.System([Eq(D(x), -k * x)], name="decay")).replace(raet=2.0)


def replace_by_text():
    _models.growth().replace(alpha="2.0")


def replace_by_a_batch():
    _models.growth().replace(alpha=jnp.array([0.1, 0.2]))


def replace_by_infinity():
    _models.growth().replace(alpha=np.inf)


def replace_what_was_eliminated():
    x, y = sd.states(x=1.0, y=None)
    sd.compile(sd.System([Eq(D(x), -x), Eq(y, 2 * x)])).replace({y: 1.0})


def replace_the_highest_derivative():
    model = _models.oscillator()
    model.replace({D(model.states[0], 2): 1.0})


def solve_a_system_that_is_not_compiled():
    x = sd.state("x", 1.0)
    sd.solve(sd.System([Eq(D(x), -x)]), t1=1.0)


def solve_without_an_end():
    sd.solve(_models.growth())


def solve_to_infinity():
    sd.solve(_models.growth(), t1=np.inf)


def solve_to_several_ends():
    sd.solve(_models.growth(), t1=[1.0, 2.0])


def solve_an_empty_interval():
    sd.solve(_models.growth(), t0=1.0, t1=1.0)


def solve_to_an_expression_of_states():
    model = _models.lotka_volterra()
    sd.solve(model, t1=10 * model.states[0])


def solve_with_a_solver_by_name():
    sd.solve(_models.growth(), t1=1.0, solver="Tsit5")


def solve_with_an_adjoint_by_name():
    sd.solve(_models.growth(), t1=1.0, adjoint="backwards")


def solve_algebraic_equations_explicitly():
    sd.solve(_models.algebraic(), t1=1.0, solver=dfx.Tsit5())


def solve_with_a_key_and_no_noise():
    sd.solve(_models.growth(), t1=1.0, key=jax.random.key(0))


def solve_with_no_steps():
    sd.solve(_models.growth(), t1=1.0, max_steps=0)


def solve_beyond_precision():
    sd.solve(_models.growth(), t1=1.0, rtol=1e-18)


def solve_with_a_negative_tolerance():
    sd.solve(_models.growth(), t1=1.0, atol=-1e-9)


def solve_with_a_tolerance_for_each_of_too_many():
    sd.solve(_models.growth(), t1=1.0, atol=np.array([1e-9, 1e-9]))


def save_outside_the_interval():
    sd.solve(_models.growth(), t1=1.0, saveat=[0.5, 1.5])


def save_out_of_order():
    sd.solve(_models.growth(), t1=1.0, saveat=[0.5, 0.2])


def save_at_nothing():
    sd.solve(_models.growth(), t1=1.0, saveat=[])


def save_at_text():
    sd.solve(_models.growth(), t1=1.0, saveat="every second")


def save_far_too_often():
    sd.solve(_models.growth(), t1=1.0, saveat=1e-9)


def start_with_too_many_values():
    sd.solve(_models.lotka_volterra(), t1=1.0, y0=[1.0, 2.0, 3.0])


def start_with_a_parameter():
    sd.solve(_models.growth(), t1=1.0, y0={"alpha": 1.0})


def start_without_a_value():
    x = sd.state("x")
    sd.solve(sd.compile(sd.System([Eq(D(x), -x)], name="decay")), t1=1.0)


def start_without_a_slope():
    x = sd.state("x", 1.0)
    sd.solve(sd.compile(sd.System([Eq(D(x, 2), -x)], name="swing")), t1=1.0)


def start_without_a_parameter():
    x, k = sd.state("x", 1.0), sd.parameter("k")
    sd.solve(sd.compile(sd.System([Eq(D(x), -k * x)], name="decay")), t1=1.0)


def look_up_a_symbol_of_sympy():
    sd.solve(_models.growth(), t1=1.0)[sp.Symbol("r")]


def look_up_a_misspelt_name():
    sd.solve(_models.rober(), t1=1.0)["y4"]


def look_up_an_equation():
    model = _models.growth()
    (r,) = model.states
    sd.solve(model, t1=1.0)[Eq(r, 1)]


def evaluate_between_saved_times():
    sd.solve(_models.growth(), t1=1.0, saveat=[1.0]).evaluate(0.5)


def plot_on_an_unknown_scale():
    sd.solve(_models.growth(), t1=1.0).plot(xscale="loglog")


def fail_by_growing_without_bound():
    x = sd.state("x", 1.0)
    sd.solve(sd.compile(sd.System([Eq(D(x), x**2)], name="explosion")), t1=2.0)


def fail_for_want_of_steps():
    sd.solve(_models.lotka_volterra(), t1=10.0, max_steps=20)


def ensemble_of_a_system_that_is_not_compiled():
    x = sd.state("x", 1.0)
    sd.ensemble(sd.System([Eq(D(x), -x)]), {x: [1.0, 2.0]}, t1=1.0, saveat=[1.0])


def ensemble_in_which_nothing_varies():
    sd.ensemble(_models.growth(), {}, t1=1.0, saveat=[1.0])


def ensemble_of_a_list():
    sd.ensemble(_models.growth(), [0.1, 0.2], t1=1.0, saveat=[1.0])


def ensemble_of_one_value():
    sd.ensemble(_models.growth(), {"alpha": 0.1}, t1=1.0, saveat=[1.0])


def ensemble_of_a_grid():
    sd.ensemble(_models.growth(), {"alpha": np.ones((2, 3))}, t1=1.0, saveat=[1.0])


def ensemble_of_unequal_lengths():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2], "r": [1.0, 2.0, 3.0]}, t1=1.0, saveat=[1.0])


def ensemble_of_text():
    sd.ensemble(_models.growth(), {"alpha": ["low", "high"]}, t1=1.0, saveat=[1.0])


def ensemble_of_a_misspelt_name():
    sd.ensemble(_models.growth(), {"alhpa": [0.1, 0.2]}, t1=1.0, saveat=[1.0])


def ensemble_of_a_value_given_twice():
    model = _models.growth()
    sd.ensemble(model, {"r": [1.0, 2.0], model.states[0]: [1.0, 2.0]}, t1=1.0, saveat=[1.0])


def ensemble_of_what_was_eliminated():
    x, y = sd.states(x=1.0, y=None)
    sd.ensemble(sd.compile(sd.System([Eq(D(x), -x), Eq(y, 2 * x)])), {y: [1.0, 2.0]}, t1=1.0, saveat=[1.0])


def ensemble_of_no_finite_value():
    sd.ensemble(_models.growth(), {"alpha": [np.nan, np.inf]}, t1=1.0, saveat=[1.0])


def ensemble_from_too_many_initial_values():
    sd.ensemble(_models.lotka_volterra(), y0=np.ones((4, 3)), t1=1.0, saveat=[1.0])


def ensemble_from_initial_values_given_twice():
    sd.ensemble(_models.lotka_volterra(), {"x": np.ones(4)}, y0=np.ones((4, 2)), t1=1.0, saveat=[1.0])


def ensemble_from_text():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2]}, y0="one", t1=1.0, saveat=[1.0])


def ensemble_from_the_value_of_a_parameter():
    sd.ensemble(_models.growth(), {"r": [1.0, 2.0]}, y0={"alpha": 0.5}, t1=1.0, saveat=[1.0])


def ensemble_at_the_solvers_own_steps():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2]}, t1=1.0)


def ensemble_with_dense_output():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2]}, t1=1.0, saveat=dfx.SaveAt(dense=True))


def ensemble_spaced_over_intervals_that_differ():
    model = _models.growth()
    sd.ensemble(model, {"alpha": [0.1, 0.2]}, t1=1 / model.parameters[0], saveat=0.1)


def ensemble_out_of_order_over_intervals_that_differ():
    model = _models.growth()
    sd.ensemble(model, {"alpha": [0.1, 0.2]}, t1=1 / model.parameters[0], saveat=[0.1, 0.5, 0.2])


def ensemble_in_which_some_fail():
    x, k = sd.state("x", 1.0), sd.parameter("k", 0.1)
    model = sd.compile(sd.System([Eq(D(x), k * x**2)], name="explosion"))
    sd.ensemble(model, {k: [0.1, 1.0, np.nan]}, t1=2.0, saveat=[2.0])


def look_up_a_member_that_does_not_exist():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2]}, t1=1.0, saveat=[1.0]).member(2)


def plot_an_ensemble_at_times_of_its_members():
    sd.ensemble(_models.growth(), {"alpha": [0.1, 0.2]}, t1=1.0, saveat=dfx.SaveAt(t1=True)).plot()


def fit_a_column_that_does_not_exist():
    sd.fit(_models.lotka_volterra(), _DATA, time="time", observe={"hear": "x"}, noise=sd.LogNormal())


def fit_a_state_that_does_not_exist():
    sd.fit(_models.lotka_volterra(), _DATA, time="time", observe={"hare": "hare"}, noise=sd.LogNormal())


def fit_logarithms_of_negative_values():
    data = {**_DATA, "hare": [1.0, -2.0, 1.5]}
    sd.fit(_models.lotka_volterra(), data, time="time", observe={"hare": "x", "lynx": "y"}, noise=sd.LogNormal())
