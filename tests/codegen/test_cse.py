"""Sharing: same values, never more operations, names kept."""

from typing import Any

import numpy as np
import sympy as sp

from symdeq.codegen import Assignment, Program, verify
from symdeq.codegen.cse import share

x, y, z, a, b, c, d = sp.symbols("x y z a b c d", real=True)


def _program(*body: Assignment, outputs: tuple) -> Program:
    return Program(name="f", summary="A test.", inputs=(("y", (x, y, z)),), body=body, outputs=outputs)


def _run(program: Program, values: tuple[float, ...]) -> list[float]:
    known: dict[Any, Any] = dict(zip(program.arguments, map(sp.Float, values), strict=True))
    for line in program.assignments:
        known[line.target] = line.expression.xreplace(known)
    return [float(sp.Float(o.xreplace(known))) for o in program.outputs]


def test_shared_work_is_done_once_and_dead_work_not_at_all() -> None:
    program = _program(
        Assignment(d, sp.exp(z)),
        Assignment(a, sp.sin(x * y) + z * x * y),
        Assignment(b, sp.sin(x * y) - x * y),
        outputs=(a, b),
    )
    shared = share(program)
    verify(shared)
    assert d not in {line.target for line in shared.assignments}
    assert sum(line.expression.has(sp.sin) for line in shared.assignments) == 1
    assert shared.operations < program.operations
    np.testing.assert_allclose(_run(shared, (0.3, 0.7, 1.1)), _run(program, (0.3, 0.7, 1.1)), rtol=1e-14)


def test_what_is_shared_as_a_whole_keeps_its_name_and_comment() -> None:
    program = _program(Assignment(a, x + y), Assignment(b, 1 / (x + y), "b = 1/(x + y)"), outputs=(b, a))
    shared = share(program)
    assert [str(line) for line in shared.assignments] == ["a = x + y", "b = 1/a    # b = 1/(x + y)"]
    commented = _program(Assignment(a, x + y, "a = x + y"), Assignment(b, (x + y) ** 2), outputs=(b, a))
    assert [str(line) for line in share(commented).assignments] == ["a = x + y    # a = x + y", "b = a**2"]


def test_equal_assignments_are_merged_in_value() -> None:
    program = _program(Assignment(a, x * y, "a = x*y"), Assignment(b, x * y, "b = x*y"), outputs=(a, b))
    assert [str(line) for line in share(program).assignments] == ["a = x*y    # a = x*y", "b = a    # b = x*y"]


def test_renamings_vanish() -> None:
    program = _program(Assignment(a, x), Assignment(b, sp.Integer(3)), Assignment(c, a * b + y), outputs=(c, a, b))
    shared = share(program)
    assert [str(line) for line in shared.assignments] == ["c = 3*x + y"]
    assert shared.outputs == (c, x, sp.Integer(3))


def test_nothing_to_share_changes_nothing() -> None:
    program = _program(Assignment(a, x + y), Assignment(b, x * z), outputs=(a, b))
    assert share(program) == program


def test_operations_never_grow_on_random_sums_of_products() -> None:
    random = np.random.default_rng(3)
    for _ in range(10):
        terms = [sp.Mul(*random.choice([x, y, z], 3)) * int(random.integers(1, 4)) for _ in range(12)]
        sums = [sp.Add(*(terms[i] for i in random.choice(12, 5))) for _ in range(4)]
        targets = sp.symbols("f0:4", real=True)
        program = _program(*map(Assignment, targets, sums), outputs=targets)
        shared = share(program)
        verify(shared)
        assert shared.operations <= program.operations
        np.testing.assert_allclose(_run(shared, (0.3, -0.7, 1.1)), _run(program, (0.3, -0.7, 1.1)), rtol=1e-12)
