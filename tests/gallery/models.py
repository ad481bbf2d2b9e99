"""Malformed models: each function is one, and its message is in messages.txt. A new case is a new function.

Symbols are declared inside the function; what is wrong shows when the model is written, or when `run` takes it through
the passes.
"""

# ruff: noqa: F841, RUF059
# pyright: basic, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import numpy as np
import sympy as sp

from symdeq.model import D, Eq, System, guess, parameter, parameters, state, states, t
from symdeq.passes import run


def name_with_a_space():
    state("two words", 1.0)


def name_is_a_keyword():
    states(**{"lambda": 1.0})


def name_of_time():
    parameter("t", 1.0)


def value_is_text():
    parameter("k", "1.0")


def value_is_an_array():
    state("x", np.array([1.0, 2.0]))


def value_is_not_a_number():
    parameter("k", float("nan"))


def value_outside_its_bounds():
    parameter("k", 3.0, bounds=(0.0, 1.0))


def bounds_turned_around():
    parameter("k", 3.0, bounds=(5.0, 1.0))


def log_scale_of_a_negative_value():
    parameter("k", -3.0, scale="log")


def initial_value_from_another_state():
    x = state("x", 1.0)
    y = state("y", 2 * x)


def initial_value_with_an_unknown_function():
    k = parameter("k", 1.0)
    state("x", sp.besselj(0, k))


def order_of_a_derivative_is_no_whole_number():
    x = state("x", 1.0)
    D(x, 1.5)


def derivative_of_something_undeclared():
    x = state("x", 1.0)
    D(x * sp.Symbol("q"))


def no_equations():
    System([])


def equations_of_sympy():
    x = state("x", 1.0)
    System([sp.Eq(D(x), -x)])


def a_single_equation_without_a_list():
    x = state("x", 1.0)
    System(Eq(D(x), -x))


def right_side_is_text():
    x = state("x", 1.0)
    Eq(D(x), "-x")


def right_side_is_infinite():
    x = state("x", 1.0)
    Eq(D(x), x + sp.oo)


def equation_as_a_condition():
    x = state("x", 1.0)
    if Eq(x, 1):
        pass


def undeclared_symbol():
    x = state("x", 1.0)
    k = sp.Symbol("k")
    System([Eq(D(x), -k * x)])


def plain_symbol_of_a_declared_name():
    x = state("x", 1.0)
    System([Eq(D(x), -sp.Symbol("x"))])


def plain_time():
    x = state("x", 1.0)
    System([Eq(D(x), -sp.sin(sp.Symbol("t")) + t)])


def two_symbols_of_one_name():
    x = state("x", 1.0)
    other = parameter("x", 2.0)
    System(
        [
            Eq(D(x), -other),
        ]
    )


def two_declarations_of_one_state():
    x = state("x", 1.0)
    again = state("x", 2.0)
    y = state("y", 1.0)
    System([Eq(D(x), -x), Eq(D(y), again)])


def two_parameters_that_print_alike():
    k, same = parameter("k", 1.0), parameter("k", 1.0, bounds=(0, 2))
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -k * x), Eq(D(y), same * x)])


def trivially_true():
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -x), Eq(x * (y + 1), x * y + x)])


def unknowns_cancel():
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -x), Eq(y + 1, y)])


def no_unknown():
    x = state("x", 1.0)
    a, b = parameters(a=1.0, b=2.0)
    System([Eq(D(x), -x), Eq(a, b + t)])


def stands_twice():
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -x), Eq(x + D(x), 0)])


def unsupported_function():
    x = state("x", 1.0)
    System([Eq(D(x), sp.besselj(0, x))])


def unsupported_order():
    x = state("x", 1.0)
    System([Eq(D(x), sp.besseli(3, x))])


def function_of_time_in_sympy_style():
    x = sp.Function("x")
    System([Eq(x(t).diff(t), -x(t))])


def unknown_function_of_time():
    x = state("x", 1.0)
    force = sp.Function("force")
    System([Eq(D(x), force(t) - x)])


def complex_coefficient():
    x = state("x", 1.0)
    System([Eq(D(x), sp.I * x)])


def an_integral():
    x = state("x", 1.0)
    s = sp.Symbol("s")
    System([Eq(D(x), sp.Integral(sp.sin(t) * t, t))])


def name_of_a_system():
    x = state("x", 1.0)
    System([Eq(D(x), -x)], name="my system")


def initial_value_by_name():
    x = state("x", 1.0)
    System([Eq(D(x), -x)], initial={"x": 1.0})


def initial_value_of_nothing():
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -x)], initial={y: 1.0})


def initial_value_of_an_observed_quantity():
    x, e = states(x=1.0, e=None)
    System([Eq(D(x), -D(e))], observed=[Eq(e, x**2)], initial={e: 1.0})


def initial_value_in_time():
    x = state("x", 1.0)
    System([Eq(D(x, 2), -x)], initial={D(x): t})


def initial_value_of_the_highest_derivative():
    x = state("x", 1.0)
    run(System([Eq(D(x), -x)], initial={D(x): -1.0}))


def observed_twice():
    x, e = states(x=1.0, e=None)
    System([Eq(D(x), -x)], observed=[Eq(e, x), Eq(e, 2 * x)])


def observed_in_a_circle():
    x, e, f = states(x=1.0, e=None, f=None)
    System([Eq(D(x), -x)], observed=[Eq(e, f + x), Eq(f, 2 * e)])


def observed_without_a_name():
    x, y = states(x=1.0, y=1.0)
    System([Eq(D(x), -y), Eq(D(y), x)], observed=[Eq(x**2 + y**2, 1)])


def observed_derivative_of_algebra():
    x, z = states(x=1.0, z=None)
    run(System([Eq(D(x), -z), Eq(z, x**2)], observed={"slope": D(z)}))


def equation_missing():
    x, y, z = states(x=1.0, y=1.0, z=None)
    run(System([Eq(D(x), y + z), Eq(D(y), -x)]))


def equation_missing_for_one_of_two():
    x, u, v = states(x=1.0, u=None, v=None)
    run(System([Eq(D(x), -x), Eq(u * v, x)]))


def equation_too_many():
    x, y = states(x=1.0, y=1.0)
    run(System([Eq(D(x), y), Eq(D(y), -x), Eq(x**2 + y**2, 1)]))


def one_missing_and_one_too_many():
    x, y, z = states(x=1.0, y=1.0, z=1.0)
    run(System([Eq(D(x), -x), Eq(x, sp.sin(t)), Eq(y * z, x)]))


def parameter_declared_as_a_state():
    x, k = states(x=1.0, k=0.5)
    run(System([Eq(D(x), -k * x)]))


def index_two():
    x, y, u, v, force = states(x=1.0, y=0.0, u=0.0, v=0.0, force=guess(1.0))
    g = parameter("g", 9.81)
    run(
        System(
            [
                Eq(D(x), u),
                Eq(D(y), v),
                Eq(D(u), -force * x),
                Eq(D(v), -force * y - g),
                Eq(x**2 + y**2, 1),
            ]
        )
    )


def dependent_equations():
    x, y, z = states(x=1.0, y=None, z=None)
    a, b = parameters(a=1.0, b=2.0)
    run(System([Eq(D(x), -y), Eq(a * y + b * z, x), Eq(2 * a * y, 3 - 2 * b * z)]))


def dependent_derivatives():
    x, y = states(x=1.0, y=1.0)
    run(System([Eq(D(x) + D(y), x), Eq(3 * D(x) + 3 * D(y), y)]))


def units_of_the_sides():
    x = state("x", 1.0, unit="m")
    k = parameter("k", 1.0, unit="1/s")
    System([Eq(D(x), -k)], time_unit="s")


def units_of_a_sum():
    c = state("c", 1.0, unit="mol/L")
    k, v = parameter("k", 1.0, unit="1/min"), parameter("v", 1.0, unit="mol/L")
    System([Eq(D(c), -k * c + v)], time_unit="min")


def units_in_an_exponential():
    c = state("c", 1.0, unit="mol/L")
    System([Eq(D(c), sp.exp(-c))], time_unit="min")


def unit_that_is_none():
    state("x", 1.0, unit="furlong")


def unit_with_parentheses():
    parameter("k", 1.0, unit="L/(mol*s)")


def two_subsystems_of_one_name():
    x, u = states(x=1.0, u=0.0)
    part = System([Eq(D(x), -x)], name="part")
    System([Eq(D(u), part.x)], subsystems=[part, part])


def subsystem_left_out():
    x, u = states(x=1.0, u=0.0)
    part = System([Eq(D(x), -x)], name="part")
    System([Eq(D(u), part.x)])


def subsystem_replaced_by_another():
    u = state("u", 0.0)
    part, other = (System([Eq(D(state("x", v)), 1)], name="part") for v in (1.0, 2.0))
    run(System([Eq(D(u), part.x)], subsystems=[other]))


def subsystems_in_other_units_of_time():
    x, u = states(x=1.0, u=0.0)
    part = System([Eq(D(x), -x)], name="part", time_unit="s")
    run(System([Eq(D(u), part.x)], subsystems=[part], time_unit="min"))


def misspelt_symbol_of_a_subsystem():
    x = state("glucose", 1.0)
    part = System([Eq(D(x), -x)], name="part")
    part.glucos  # noqa: B018


def noise_in_this_version():
    x = state("x", 1.0)
    System([Eq(D(x), -x)], noise=("W",))
