"""Common subexpressions shared between all assignments of a Program."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import sympy as sp

from symdeq.codegen.program import Assignment, Program, without_dead


def share(program: Program) -> Program:
    """The same function with repeated subexpressions computed once, and nothing dead; never more operations.

    Nothing moves out of a guarded branch: its inputs are symbols of their own, so what is shared is as safe as the
    branch.
    """
    program = replace(program, body=without_dead(program.assignments, program.outputs))
    program = _without_aliases(program)
    shared = _shared(program)
    return shared if shared.operations < program.operations else program


def _shared(program: Program) -> Program:
    taken = {s.name for s in program.arguments} | {line.target.name for line in program.assignments}
    numbered = (f"v{i}" for i in itertools.count())
    symbols = (sp.Symbol(name, real=True) for name in numbered if name not in taken)
    replacements, reduced = sp.cse(
        [line.expression for line in program.assignments], symbols=symbols, optimizations=[], order="none", list=True
    )
    # A quantity that is shared as a whole keeps its own name.
    renamed: dict[Any, sp.Symbol] = {}
    definitions: dict[Any, Assignment] = {s: Assignment(s, value) for s, value in replacements}
    temporary = set(definitions)
    for line, value in zip(program.assignments, reduced, strict=True):
        if value in temporary and value not in renamed:
            renamed[value] = line.target
            value = definitions.pop(value).expression
        definitions[line.target] = replace(line, expression=value)
    for target, line in definitions.items():
        definitions[target] = replace(line, expression=line.expression.xreplace(renamed))
    return replace(program, body=_ordered(definitions, [line.target for line in program.assignments]))


def _without_aliases(program: Program) -> Program:
    """Assignments that only rename a symbol or a number are left out, unless they carry a comment."""
    swap: dict[sp.Basic, sp.Basic] = {}
    kept: list[Assignment] = []
    for line in program.assignments:
        expression = line.expression.xreplace(swap)
        if isinstance(expression, sp.Symbol | sp.Number) and not line.comment:
            swap[line.target] = expression
        else:
            kept.append(replace(line, expression=expression))
    outputs = tuple(swap.get(o, o) for o in program.outputs)
    return replace(program, body=tuple(kept), outputs=outputs)


def _ordered(definitions: dict[Any, Assignment], targets: list[sp.Symbol]) -> tuple[Assignment, ...]:
    """Each shared quantity directly before its first use, everything else in its order."""
    result: list[Assignment] = []
    done: set[sp.Basic] = set()
    for target in targets:
        stack: list[sp.Basic] = [target]
        while stack:
            line = definitions[stack[-1]]
            if needed := (line.expression.free_symbols & definitions.keys()) - done:
                stack += sorted(needed, key=str, reverse=True)
            else:
                stack.pop()
                if line.target not in done:
                    done.add(line.target)
                    result.append(line)
    return tuple(result)
