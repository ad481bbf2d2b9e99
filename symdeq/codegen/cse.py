"""Common subexpressions shared between all assignments of a Program."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import sympy as sp

from symdeq.codegen.program import Assignment, Call, Program, Statement, without_dead


def share(program: Program) -> Program:
    """The same function with repeated subexpressions computed once, and nothing dead; never more operations.

    Nothing moves out of a guarded branch: its inputs are symbols of their own, so what is shared is as safe as the
    branch.
    """
    program = replace(program, body=without_dead(program.body, program.outputs))
    program = _without_aliases(program)
    shared = _shared(program)
    return shared if shared.operations < program.operations else program


def _shared(program: Program) -> Program:
    taken = {s.name for s in (*program.arguments, *(s for line in program.body for s in line.targets))}
    numbered = (f"v{i}" for i in itertools.count())
    symbols = (sp.Symbol(name, real=True) for name in numbered if name not in taken)
    replacements, reduced = sp.cse(
        [line.expression for line in program.assignments], symbols=symbols, optimizations=[], order="none", list=True
    )
    # A quantity that is shared as a whole keeps its own name.
    renamed: dict[Any, sp.Symbol] = {}
    definitions: dict[Any, Statement] = {s: Assignment(s, value) for s, value in replacements}
    temporary = set(definitions)
    for line, value in zip(program.assignments, reduced, strict=True):
        if value in temporary and value not in renamed:
            renamed[value] = line.target
            value = definitions.pop(value).expression  # pyright: ignore[reportAttributeAccessIssue]
        definitions[line.target] = replace(line, expression=value)
    definitions |= {target: line for line in program.body if isinstance(line, Call) for target in line.targets}
    for target, line in definitions.items():
        if isinstance(line, Assignment):
            definitions[target] = replace(line, expression=line.expression.xreplace(renamed))
    return replace(program, body=_ordered(definitions, [s for line in program.body for s in line.targets]))


def _without_aliases(program: Program) -> Program:
    """Assignments that only rename a symbol or a number are left out, unless they carry a comment."""
    swap: dict[sp.Basic, sp.Basic] = {}
    kept: list[Statement] = []
    for line in program.body:
        if isinstance(line, Call):
            kept.append(replace(line, arguments=tuple(swap.get(a, a) for a in line.arguments)))
            continue
        assert isinstance(line, Assignment)
        expression = line.expression.xreplace(swap)
        if isinstance(expression, sp.Symbol | sp.Number) and not line.comment:
            swap[line.target] = expression
        else:
            kept.append(replace(line, expression=expression))
    outputs = tuple(swap.get(o, o) for o in program.outputs)
    return replace(program, body=tuple(kept), outputs=outputs)


def _ordered(definitions: dict[Any, Statement], targets: list[sp.Symbol]) -> tuple[Statement, ...]:
    """Each shared quantity directly before its first use, everything else in its order."""
    result: list[Statement] = []
    done: set[sp.Basic] = set()
    for target in targets:
        stack: list[sp.Basic] = [target]
        while stack:
            line = definitions[stack[-1]]
            if needed := (line.needs & definitions.keys()) - done:
                stack += sorted(needed, key=str, reverse=True)
            else:
                stack.pop()
                if not done.issuperset(line.targets):
                    done.update(line.targets)
                    result.append(line)
    return tuple(result)
