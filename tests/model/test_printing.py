"""Systems as text and as LaTeX."""

import sympy as sp

from symdeq.model import D, Eq, System, guess, parameter, state, states
from symdeq.passes import run


def pendulum() -> System:
    g = parameter("g", 9.81, unit="m/s**2", bounds=(9, 10), description="gravity")
    x = state("x", g / 10, unit="m")
    z = state("z", guess(0.5), description="unknown")
    return System(
        [Eq(D(x, 2), -g * x), Eq(z + sp.sin(z), x)],
        observed={"energy": D(x) ** 2 / 2},
        initial={D(x): 0.0},
        name="pendulum",
    )


def test_text_of_a_declared_system() -> None:
    assert (
        str(pendulum())
        == """\
System `pendulum` (declared)
  equations
    D(x, 2) = -g*x
    z + sin(z) = x
  observed
    energy = D(x)**2/2
  states
    x(t0) = g/10 m
    z(t0) ~ 0.5 unknown
    D(x)(t0) = 0
  parameters
    g = 9.81 m/s**2 in [9, 10] gravity"""
    )


def test_text_of_a_compiled_system() -> None:
    assert (
        str(run(pendulum()))
        == """\
System `pendulum` (analysed)
  equations
    D(x) = x_t
    D(x_t) = -g*x
    0 = -x + z + sin(z)
  observed
    energy = x_t**2/2
  states
    x(t0) = g/10 m
    x_t(t0) = 0 the first derivative of x
    z(t0) ~ 0.5 unknown
  parameters
    g = 9.81 m/s**2 in [9, 10] gravity
  structure
    kind dae, 4 non-zeros in the Jacobian, autonomous"""
    )


def test_text_of_a_composed_system_holds_the_parts() -> None:
    x = state("x", 1.0)
    part = System([Eq(D(x), -x)], name="part")
    u = state("u", 0.0)
    assert (
        str(System([Eq(D(u), part.x - u)], subsystems=[part], name="whole"))
        == """\
System `whole` (declared)
  equations
    D(u) = part.x - u
  subsystem part
    equations
      D(x) = -x
    states
      x(t0) = 1
  states
    u(t0) = 0"""
    )


def test_invariants_are_shown() -> None:
    x, y = states(x=1.0, y=0.0)
    assert "    constant: x + y" in str(run(System([Eq(D(x), -x), Eq(D(y), x)]))).splitlines()


def test_latex() -> None:
    text = pendulum().latex()
    assert text == (
        r"\begin{aligned}"
        r"\frac{\mathrm{d}^{2} x}{\mathrm{d} t^{2}} &= - g x \\ "
        r"z + \sin{\left(z \right)} &= x \\ "
        r"energy &= \frac{\left(\frac{\mathrm{d} x}{\mathrm{d} t}\right)^{2}}{2}"
        r"\end{aligned}"
    )
    assert pendulum()._repr_latex_() == f"${text}$"


def test_latex_of_subsystems() -> None:
    x = state("x_1", 1.0)
    part = System([Eq(D(x), -x)], name="part_1")
    u = state("u", 0.0)
    whole = System([Eq(D(u), part.x_1**2)], subsystems=[part])
    assert whole.latex() == (
        r"\begin{aligned}"
        r"\frac{\mathrm{d} u}{\mathrm{d} t} &= {x_{1}}_{\mathrm{part_1}}^{2} \\ "
        r"&\text{part\_1:} \\ "
        r"\frac{\mathrm{d} x_{1}}{\mathrm{d} t} &= - x_{1}"
        r"\end{aligned}"
    )
