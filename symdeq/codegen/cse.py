"""Common subexpressions shared between all assignments of a Program."""

from __future__ import annotations

import itertools
from dataclasses import replace

import sympy as sp

from symdeq.codegen.program import Assignment, Program, without_dead


def share(program: Program) -> Program:
    """The same function with repeated subexpressions computed once, and nothing dead; never more operations.

    Nothing moves out of a guarded branch: its inputs are symbols of their own, so what is shared is as safe as the branch.
    """
    program = replace(program, body=without_dead(program.body, program.outputs))
    program = _without_aliases(program)
    shared = _shared(program)
    return shared if shared.operations < program.operations else program


def _shared(program: Program) -> Program:
    taken = {s.name for s in program.arguments} | {line.target.name for line in program.body}
    numbered = (f"v{i}" for i in itertools.count())
    symbols = (sp.Symbol(name, real=True) for name in numbered if name not in taken)
    replacements, reduced = sp.cse(
        [line.expression for line in program.body], symbols=symbols, optimizations=[], order="none", list=True
    )
    lines = [Assignment(target, value) for target, value in replacements]  # pyright: ignore[reportArgumentType]
    lines += [
        replace(line, expression=value) for line, value in zip(program.body, reduced, strict=True)
    ]
    return replace(program, body=_ordered(lines, set(program.arguments)))


def _without_aliases(program: Program) -> Program:
    """Assignments that only rename a symbol are left out, unless they carry a comment."""
    swap: dict[sp.Basic, sp.Basic] = {}
    kept: list[Assignment] = []
    for line in program.body:
        expression = line.expression.xreplace(swap)
        if isinstance(expression, sp.Symbol) and not line.comment:
            swap[line.target] = expression
        else:
            kept.append(replace(line, expression=expression))
    outputs = tuple(swap.get(o, o) for o in program.outputs)
    return replace(program, body=tuple(kept), outputs=outputs)


def _ordered(lines: list[Assignment], defined: set[sp.Basic]) -> tuple[Assignment, ...]:
    """Each shared quantity directly before its first use, everything else in its order."""
    by_target = {line.target: line for line in lines}
    shared = {line.target for line in lines if line.target not in defined}
    result: list[Assignment] = []
    done = set(defined)

    def visit(line: Assignment) -> None:
        stack = [line]
        while stack:
            top = stack[-1]
            if top.target in done:
                stack.pop()
                continue
            needed = [by_target[s] for s in sorted(top.expression.free_symbols & shared, key=str) if s not in done]
            if needed:
                stack.extend(reversed(needed))
            else:
                stack.pop()
                done.add(top.target)
                result.append(top)

    for line in lines:
        if line.target not in done and not _is_temporary(line):
            visit(line)
    return tuple(result)


def _is_temporary(line: Assignment) -> bool:
    return not line.comment and line.target.name[0] == "v" and line.target.name[1:].isdigit()
