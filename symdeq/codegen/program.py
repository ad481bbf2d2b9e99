"""`Program`: straight-line code, the intermediate form between a `System` and the text that is generated from it."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

from symdeq._errors import VerificationError
from symdeq.model import ModelSymbol

# A scalar argument, or a named group of scalars that the function unpacks.
Argument = tuple[str, sp.Symbol | tuple[sp.Symbol, ...]]


@dataclass(frozen=True)
class Assignment:
    """`target = expression`, done once; `comment` is the user's equation where this is what computes it."""

    target: sp.Symbol
    expression: sp.Basic
    comment: str = ""

    def __str__(self) -> str:
        return f"{self.target} = {self.expression}" + (f"    # {self.comment}" if self.comment else "")


@dataclass(frozen=True)
class Program:
    """A function of scalars without branches or loops: `body` in order, then `outputs`.

    Arguments:

    - `name`: of the generated function.
    - `summary`: one line of what it returns.
    - `inputs`: `(name, symbol)` for a scalar argument, `(name, symbols)` for a group.
    - `body`: single assignments, each using only inputs and earlier targets.
    - `outputs`: inputs, targets or numbers.
    """

    name: str
    summary: str
    inputs: tuple[Argument, ...]
    body: tuple[Assignment, ...]
    outputs: tuple[sp.Basic, ...]

    @property
    def arguments(self) -> tuple[sp.Symbol, ...]:
        """All scalars that come in, in order."""
        return tuple(s for _, group in self.inputs for s in ((group,) if isinstance(group, sp.Symbol) else group))

    @property
    def operations(self) -> int:
        """Arithmetic operations, comparisons and function calls; a sum of three terms is two."""
        return sum(_operations(line.expression) for line in self.body)

    def __str__(self) -> str:
        inputs = ", ".join(
            str(group) if isinstance(group, sp.Symbol) else f"{name}: {' '.join(map(str, group)) or '()'}"
            for name, group in self.inputs
        )
        lines = [f"program {self.name}({inputs})", *(f"    {line}" for line in self.body)]
        return "\n".join([*lines, f"    return {', '.join(map(str, self.outputs))}"])


@dataclass(frozen=True)
class Programs:
    """Everything that is generated for one system; what `emit` turns into a module.

    Arguments:

    - `name`: the model's.
    - `states`, `parameters`, `observed`: symbols in the order of the vectors.
    - `mass`: the diagonal of the mass matrix, 1 or 0.
    - `sparsity`: positions (i, k) of the Jacobian's non-zeros, by row; the order of what `jac` returns.
    - `parameter_sparsity`: the same for `jac_params`.
    - `initial`: for each state `"given"`, `"guess"` or `"missing"`.
    - `functions`: the Programs.
    """

    name: str
    states: tuple[ModelSymbol, ...]
    parameters: tuple[ModelSymbol, ...]
    observed: tuple[ModelSymbol, ...]
    mass: tuple[int, ...]
    sparsity: tuple[tuple[int, int], ...]
    parameter_sparsity: tuple[tuple[int, int], ...]
    initial: tuple[str, ...]
    functions: tuple[Program, ...]

    def __getitem__(self, name: str) -> Program:
        for program in self.functions:
            if program.name == name:
                return program
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(program.name == name for program in self.functions)

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.functions))


def verify(program: Program) -> None:
    """Raise `VerificationError` unless everything is defined before use, assigned once, and used."""
    defined: set[sp.Basic] = set()
    for symbol in program.arguments:
        if symbol in defined:
            raise _broken(program, f"`{symbol}` comes in twice")
        defined.add(symbol)
    used: set[sp.Basic] = set()
    for line in program.body:
        if missing := line.expression.free_symbols - defined:
            raise _broken(program, f"`{line}` uses {_listed(missing)} before its definition")
        if line.target in defined:
            raise _broken(program, f"`{line.target}` is assigned twice")
        defined.add(line.target)
        used |= line.expression.free_symbols
    for output in program.outputs:
        if not isinstance(output, sp.Symbol | sp.Number):
            raise _broken(program, f"the output `{output}` is neither a symbol nor a number")
        if isinstance(output, sp.Symbol) and output not in defined:
            raise _broken(program, f"the output `{output}` is not defined")
    used |= set(program.outputs)
    if dead := {line.target for line in program.body} - used:
        raise _broken(program, f"{_listed(dead)} is never used")


def _operations(expression: sp.Basic) -> int:
    own = len(expression.args) - 1 if isinstance(expression, sp.Add | sp.Mul | sp.And | sp.Or) else 1
    return own + sum(_operations(a) for a in expression.args) if expression.args else 0


def _listed(symbols: set) -> str:
    return ", ".join(f"`{s}`" for s in sorted(symbols, key=str))


def _broken(program: Program, what: str) -> VerificationError:
    return VerificationError(f"Program `{program.name}` is not valid: {what}.\n{program}")


def without_dead(body: tuple[Assignment, ...], outputs: tuple[sp.Basic, ...]) -> tuple[Assignment, ...]:
    """The assignments that the outputs need, in their order."""
    needed: set[sp.Basic] = set(outputs)
    kept: list[Assignment] = []
    for line in reversed(body):
        if line.target in needed:
            kept.append(line)
            needed |= line.expression.free_symbols
    return tuple(reversed(kept))
