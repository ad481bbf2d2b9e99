"""Delays as they are written, and what the passes make of them."""

import numpy as np
import pytest
import sympy as sp

import symdeq as sd
from symdeq import D, Eq, passes, t
from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import DelayedValue, delayed_in


def lowered(*equations, **more):
    return passes.run(sd.System(list(equations), **more))


def test_a_delay_reads_as_it_was_written():
    x, y = sd.states(x=1.0, y=1.0)
    tau = sd.parameter("tau", 1.0)
    assert str(sd.delay(x * y, tau)) == "delay(x*y, tau)"
    assert sp.latex(sd.delay(x, tau)) == r"x\left(t - \tau\right)"
    assert sd.delay(x, 0) is x
    assert sd.delay(tau, 1) is tau
    assert delayed_in(sd.delay(x, tau) + 1) == [DelayedValue(x, tau)]


def test_products_time_and_nested_delays_are_written_out():
    x, y = sd.states(x=1.0, y=1.0)
    tau = sd.parameter("tau", 1.0)
    system = lowered(
        Eq(D(x), sd.delay(x * y * t, tau)), Eq(D(y), sd.delay(sd.delay(y, tau), 2 + sp.sin(t))), name="nested"
    )
    first, second = (str(e.rhs) for e in system.equations)
    assert first == "x(t - tau)*y(t - tau)*(-tau + t)"
    assert second == "y(t - (tau + sin(t) + 2))"
    assert [str(lag.expression) for lag in system.delays] == ["tau", "tau + sin(t) + 2"]
    assert system.structure is not None
    assert system.structure.lags == ("constant", "time")


def test_what_lags_depend_on_is_found_through_computed_quantities():
    x, y, speed = sd.states(x=1.0, y=1.0, speed=None)
    system = lowered(Eq(D(x), -sd.delay(x, 1 / speed)), Eq(D(y), -sd.delay(y, 2)), Eq(speed, 1 + x**2))
    assert system.structure is not None
    assert dict(zip([str(d.expression) for d in system.delays], system.structure.lags, strict=True)) == {
        "1/speed": "state",
        "2": "constant",
    }


def test_a_delayed_computed_quantity_is_computed_from_delayed_states():
    x, y, total = sd.states(x=1.0, y=1.0, total=None)
    system = lowered(Eq(D(x), -sd.delay(total, 1)), Eq(D(y), -y), Eq(total, x + t * y))
    assert system.equations[0].rhs == system.delays[0].lagged[0] * -1 - (t - 1) * system.delays[0].lagged[1]
    assert [str(s) for s in system.delays[0].lagged] == ["x(t - 1)", "y(t - 1)"]


def test_a_lower_derivative_may_be_delayed_and_its_history_follows():
    x = sd.state("x", 0.0)
    system = lowered(
        Eq(D(x, 2), -x - sd.delay(D(x), 0.5)), initial={D(x): 1.0}, history={x: sp.sin(t)}, name="oscillator"
    )
    assert str(system.equations[1].rhs) == "-x_t(t - 0.5) - x"
    assert {str(e.lhs): str(e.rhs) for e in system.history} == {"x": "sin(t)", "x_t": "cos(t)"}


def test_parts_of_a_system_bring_their_delays_and_histories_along():
    x = sd.state("x", 1.0)
    k, tau = sd.parameters(k=1.0, tau=2.0)
    part = sd.System([Eq(D(x), -k * sd.delay(x, tau))], name="part", history={x: k * t})
    y = sd.state("y", 1.0)
    whole = sd.System([Eq(D(y), sd.delay(part.x, 1) - y)], name="whole", subsystems=[part])
    system = passes.run(whole)
    assert [str(e.rhs) for e in system.equations] == ["part.x(t - 1) - y", "-part.x(t - part.tau)*part.k"]
    assert [str(e) for e in system.history] == ["part.x = part.k*t"]
    outer = passes.run(whole.replace(history={part.x: 3.0}))
    assert [str(e) for e in outer.history] == ["part.x = 3"]


def test_what_cannot_be_delayed_is_refused_by_name():
    x, y = sd.states(x=1.0, y=1.0)
    w = sd.brownian("W")
    with pytest.raises(UnsupportedError, match=r"`delay\(D\(x\), 1\)` delays the highest derivative of `x`.*neutral"):
        sd.System([Eq(D(x), sd.delay(D(x), 1))])
    with pytest.raises(UnsupportedError, match="delayed derivative"):
        D(sd.delay(x, 1) * x)
    with pytest.raises(UnsupportedError, match=r"noise and delays, `x\(t - 1\)`: a stochastic delay equation"):
        sd.compile(sd.System([Eq(D(x), -sd.delay(x, 1) + D(w))]))
    with pytest.raises(UnsupportedError, match="contains noise, `D"):
        sd.delay(D(w), 1)
    with pytest.raises(UnsupportedError, match="depends on delayed values"):
        sd.delay(x, 1 + sd.delay(y, 1))
    with pytest.raises(UnsupportedError, match="is delayed again, by 1, and its own lag depends on states"):
        sd.compile(sd.System([Eq(D(x), -sd.delay(sd.delay(x, x**2), 1))]))
    with pytest.raises(ModelError, match=r"delay\(x, -1\) asks for the future"):
        sd.delay(x, -1)
    z = sd.state("z", None)
    with pytest.raises(UnsupportedError, match="`z` of system `system` follows from its own past"):
        sd.compile(sd.System([Eq(D(x), -sd.delay(z, 1)), Eq(z, x + sd.delay(z, 1) / 2)]))
    with pytest.raises(UnsupportedError, match="delays, and equations that determine unknowns only implicitly"):
        sd.compile(sd.System([Eq(D(x), -sd.delay(x, 1) - y), Eq(y + sp.exp(y), x)]))


def test_histories_are_checked_at_the_door():
    x, y, z = sd.states(x=1.0, y=1.0, z=1.0)
    equation = Eq(D(x), -sd.delay(x, 1))
    with pytest.raises(ModelError, match="no equation contains `z`"):
        sd.System([equation], history={z: 1.0})
    with pytest.raises(ModelError, match="has a history and no delay"):
        sd.System([Eq(D(x), -x)], history={x: 1.0})
    with pytest.raises(ModelError, match="history of `x` contains `y`"):
        sd.System([equation, Eq(D(y), -y)], history={x: y})
    with pytest.raises(ModelError, match=r"history of `x` contains `x`"):
        sd.System([equation], history={x: sd.delay(x, 1)})
    with pytest.raises(ModelError, match="key 'x', which is neither a state"):
        sd.System([equation], history={"x": 1.0})
    with pytest.raises(ModelError, match=r"times of shape \(3,\) and values of shape \(2,\)"):
        sd.System([equation], history={x: (np.arange(3.0), np.ones(2))})
    with pytest.raises(ModelError, match="times that do not grow"):
        sd.System([equation], history={x: ([0.0, 0.0, 1.0], np.ones(3))})
    with pytest.raises(ModelError, match="Delays are written into the equations"):
        sd.System([equation], delays=(1,))  # pyright: ignore[reportArgumentType]


def test_the_lag_has_the_unit_of_time():
    x = sd.state("x", 1.0, unit="kg")
    tau, k = sd.parameter("tau", 1.0, unit="kg"), sd.parameter("k", 1.0, unit="1/s")
    with pytest.raises(ModelError, match=r"lag in `delay\(x, tau\)` has the unit kg, and time s"):
        sd.System([Eq(D(x), -k * sd.delay(x, tau))], time_unit="s")
    hours = sd.parameter("tau", 1.0, unit="s")
    assert sd.System([Eq(D(x), -k * sd.delay(x, hours))], time_unit="s").params == (k, hours)


def test_generated_code_names_delayed_values():
    x, y = sd.states(x=1.0, y=1.0)
    tau = sd.parameter("tau", 1.0)
    model = sd.compile(sd.System([Eq(D(x), -sd.delay(x, tau) * y), Eq(D(y), -y)], history={x: sp.cos(t)}))
    assert [str(s) for s in model.delayed] == ["x(t - tau)"]
    assert "x_t_tau" in model.source
    assert "delays      x(t - tau), a lag of parameters" in str(model)
    assert model.rhs(0.0, [2.0, 3.0], None, [5.0]).tolist() == [-15.0, -3.0]
    assert model.jac(0.0, [2.0, 3.0], None, [5.0]).tolist() == [[0.0, -5.0], [0.0, -1.0]]
    with pytest.raises(ModelError, match=r"needs 1 delayed values, and past has the shape \(0,\)"):
        model.rhs(0.0, [2.0, 3.0])
