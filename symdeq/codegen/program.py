"""`Program`: straight-line code, the intermediate form between a `System` and the text that is generated from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import sympy as sp

from symdeq._errors import VerificationError
from symdeq.model import Equation, ModelSymbol, State

# A scalar argument, or a named group of scalars that the function unpacks.
Argument = tuple[str, sp.Symbol | tuple[sp.Symbol, ...]]


@dataclass(frozen=True)
class Comment:
    """The user's equation, as text with file name and line once somebody reads it: printing thousands takes seconds."""

    equation: Equation

    def __str__(self) -> str:
        equation = self.equation
        # File names only: folders differ between machines.
        places = dict.fromkeys(
            f"{PurePath(origin.file).name}:{origin.line}" + (f": {origin.text}" if origin.text else "")
            for origin in equation.origins
        )
        return f"{equation}    [{', '.join(places)}]" if places else str(equation)


@dataclass(frozen=True)
class Assignment:
    """`target = expression`, done once; `comment` is the user's equation where this is what computes it."""

    target: sp.Symbol
    expression: sp.Basic
    comment: Comment | str = ""

    @property
    def targets(self) -> tuple[sp.Symbol, ...]:
        return (self.target,)

    @property
    def needs(self) -> set[sp.Basic]:
        return self.expression.free_symbols

    @property
    def operations(self) -> int:
        return operations(self.expression)

    def __str__(self) -> str:
        return f"{self.target} = {self.expression}" + (f"    # {self.comment}" if self.comment else "")


@dataclass(frozen=True)
class Group:
    """Assignments of one shape: `targets[m]` is `template` with each slot replaced by its leaf number m.

    Arguments:

    - `targets`: one a member.
    - `template`: an expression of the slots.
    - `slots`: `(slot, leaves)`, a symbol or number for each member.
    """

    targets: tuple[sp.Symbol, ...]
    template: sp.Expr
    slots: tuple[tuple[sp.Symbol, tuple[sp.Symbol | sp.Number, ...]], ...]
    comment: str = ""

    @property
    def needs(self) -> set[sp.Basic]:
        return {leaf for _, leaves in self.slots for leaf in leaves if isinstance(leaf, sp.Symbol)}

    @property
    def operations(self) -> int:
        return len(self.targets) * operations(self.template)

    def __str__(self) -> str:
        first = ", ".join(f"{slot} = {leaves[0]}" for slot, leaves in self.slots)
        return f"{self.targets[0]} and {len(self.targets) - 1} more = {self.template}, first with {first}"


@dataclass(frozen=True)
class Sums:
    """`targets[m]` is the sum of coefficient times leaf over `rows[m]`; the rows may differ in length."""

    targets: tuple[sp.Symbol, ...]
    rows: tuple[tuple[tuple[sp.Number, sp.Symbol | sp.Number], ...], ...]
    comment: str = ""

    @property
    def needs(self) -> set[sp.Basic]:
        return {leaf for row in self.rows for _, leaf in row if isinstance(leaf, sp.Symbol)}

    @property
    def operations(self) -> int:
        return sum(2 * len(row) - 1 for row in self.rows)

    def __str__(self) -> str:
        first = sp.Add(*(c * leaf for c, leaf in self.rows[0]))
        return f"{self.targets[0]} and {len(self.targets) - 1} more are sums, first {first}"


@dataclass(frozen=True)
class Call:
    """One evaluation of a network, or of its derivatives of some order; each target is one entry of what it gives.

    Arguments:

    - `network`: the input that holds it.
    - `order`: 0 for the outputs, shape (outputs,); 1 for their derivatives, shape (outputs, inputs); and so on.
    - `arguments`: symbols or numbers; vectors are strung together.
    - `targets`: symbols, each at one of the `places`: the index of its entry, `()` for all outputs together.
    """

    network: sp.Symbol
    order: int
    arguments: tuple[sp.Basic, ...]
    targets: tuple[sp.Symbol, ...]
    places: tuple[tuple[int, ...], ...]
    comment: str = ""

    @property
    def needs(self) -> set[sp.Basic]:
        return {self.network, *(a for a in self.arguments if isinstance(a, sp.Symbol))}

    @property
    def operations(self) -> int:
        return 1

    def only(self, needed: set[sp.Basic]) -> Call:
        """The same with no more targets than are needed."""
        kept = [(s, place) for s, place in zip(self.targets, self.places, strict=True) if s in needed]
        return replace(self, targets=tuple(s for s, _ in kept), places=tuple(place for _, place in kept))

    def __str__(self) -> str:
        primes = "'" * self.order
        return f"{', '.join(map(str, self.targets))} = {self.network}{primes}({', '.join(map(str, self.arguments))})"


Statement = Assignment | Group | Sums | Call


@dataclass(frozen=True)
class Program:
    """A function of scalars without branches or loops: `body` in order, then `outputs`.

    Arguments:

    - `name`: of the generated function.
    - `summary`: one line of what it returns.
    - `inputs`: `(name, symbol)` for a scalar argument, `(name, symbols)` for a group.
    - `body`: single assignments, or many of one shape, each using only inputs and earlier targets.
    - `outputs`: inputs, targets or numbers.
    - `sizes`: for a function that returns one array, how many numbers of it each output is; else empty.
    """

    name: str
    summary: str
    inputs: tuple[Argument, ...]
    body: tuple[Statement, ...]
    outputs: tuple[sp.Basic, ...]
    sizes: tuple[int, ...] = ()

    @property
    def arguments(self) -> tuple[sp.Symbol, ...]:
        """All scalars that come in, in order."""
        return tuple(s for _, group in self.inputs for s in ((group,) if isinstance(group, sp.Symbol) else group))

    @property
    def operations(self) -> int:
        """Arithmetic operations, comparisons and function calls; a sum of three terms is two."""
        return sum(line.operations for line in self.body)

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """The single assignments: the whole body of a program without groups and calls."""
        return tuple(line for line in self.body if isinstance(line, Assignment))

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
    - `vectorised`: whether they are array code, whose functions take and return arrays.
    - `networks`: the names of the networks that are called.
    - `delayed`: for each number of the argument `past`, its lag and its place in the state vector.
    - `lags`: for each lag what it depends on: `"constant"`, `"time"` or `"state"`.
    - `history`: for each state of a system with delays `"given"` or `"missing"`.
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
    vectorised: bool = False
    networks: tuple[str, ...] = ()
    delayed: tuple[tuple[int, int], ...] = ()
    lags: tuple[str, ...] = ()
    history: tuple[str, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each state is."""
        return tuple(s.size if isinstance(s, State) else 1 for s in self.states)

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
        if missing := line.needs - defined:
            raise _broken(program, f"`{line}` uses {_listed(missing)} before its definition")
        for target in line.targets:
            if target in defined:
                raise _broken(program, f"`{target}` is assigned twice")
            defined.add(target)
        used |= line.needs
    for output in program.outputs:
        if not isinstance(output, sp.Symbol | sp.Number):
            raise _broken(program, f"the output `{output}` is neither a symbol nor a number")
        if isinstance(output, sp.Symbol) and output not in defined:
            raise _broken(program, f"the output `{output}` is not defined")
    used |= set(program.outputs)
    if dead := {target for line in program.body for target in line.targets} - used:
        raise _broken(program, f"{_listed(dead)} is never used")


def operations(expression: sp.Basic) -> int:
    """Arithmetic operations, comparisons and function calls in an expression."""
    own = len(expression.args) - 1 if isinstance(expression, sp.Add | sp.Mul | sp.And | sp.Or) else 1
    return own + sum(operations(a) for a in expression.args) if expression.args else 0


def _listed(symbols: set) -> str:
    return ", ".join(f"`{s}`" for s in sorted(symbols, key=str))


def _broken(program: Program, what: str) -> VerificationError:
    return VerificationError(f"Program `{program.name}` is not valid: {what}.\n{program}")


def without_dead(body: Iterable[Any], outputs: tuple[sp.Basic, ...]) -> tuple[Any, ...]:
    """The statements that the outputs need, in their order."""
    needed: set[sp.Basic] = set(outputs)
    kept: list[Any] = []
    for line in reversed(tuple(body)):
        if needed.intersection(line.targets):
            kept.append(line.only(needed) if isinstance(line, Call) else line)
            needed |= line.needs
    return tuple(reversed(kept))
