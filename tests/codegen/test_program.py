"""The rules of a Program, and how it prints."""

import pytest
import sympy as sp

from symdeq._errors import VerificationError
from symdeq.codegen import Assignment, Program, lower, verify
from symdeq.codegen.program import without_dead
from tests.codegen import models

x, y, a, b, c = sp.symbols("x y a b c", real=True)


def _program(*body: Assignment, outputs: tuple = (b,)) -> Program:
    return Program(name="f", summary="A test.", inputs=(("t", x), ("y", (y,))), body=body, outputs=outputs)


def test_valid_program_passes_and_prints() -> None:
    program = _program(Assignment(a, x * y), Assignment(b, a + 1, "b = x*y + 1"), outputs=(b, sp.Integer(0), x))
    verify(program)
    assert str(program) == ("program f(x, y: y)\n    a = x*y\n    b = a + 1    # b = x*y + 1\n    return b, 0, x")
    assert program.operations == 2


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (_program(Assignment(b, a + 1), Assignment(a, x)), "uses `a` before its definition"),
        (_program(Assignment(b, x), Assignment(b, y)), "`b` is assigned twice"),
        (_program(Assignment(b, x), Assignment(x, y)), "`x` is assigned twice"),
        (_program(Assignment(a, x), Assignment(b, y)), "`a` is never used"),
        (_program(Assignment(b, x), outputs=(b, c)), "the output `c` is not defined"),
        (_program(Assignment(b, x), outputs=(b + 1,)), "neither a symbol nor a number"),
        (Program(name="f", summary="", inputs=(("t", x), ("y", (x,))), body=(), outputs=()), "`x` comes in twice"),
    ],
)
def test_broken_program_is_refused(program: Program, message: str) -> None:
    with pytest.raises(VerificationError, match=message.replace("(", r"\(")):
        verify(program)


def test_dead_assignments_are_left_out() -> None:
    body = (Assignment(a, x), Assignment(c, a), Assignment(b, a))
    assert without_dead(body, (b,)) == (body[0], body[2])


@pytest.mark.parametrize("name", ["lotka_volterra", "rober", "driven", "awkward"])
def test_all_programs_of_a_system_are_valid(name: str) -> None:
    programs = lower(getattr(models, name)())
    for program in programs.functions:
        verify(program)
        assert programs[program.name] is program
    assert "rhs" in programs
    assert "nothing" not in programs
    assert "program rhs" in str(programs)


def test_factorisation_only_without_mass_matrix_and_time_derivative_only_where_time_matters() -> None:
    assert "factorise" in lower(models.rober())
    assert "dfdt" not in lower(models.rober())
    assert "factorise" not in lower(models.awkward())
    assert "dfdt" in lower(models.driven())
