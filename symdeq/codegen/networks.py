"""Networks in straight-line code: each call becomes one statement, whatever number of its outputs is used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import sympy as sp

from symdeq.codegen.program import Assignment, Call
from symdeq.model import NetworkValue, shape_of


@dataclass
class _Calls:
    """The statements written so far, and the place of each call among them."""

    lines: list[Assignment | Call] = field(default_factory=list)
    at: dict[tuple[Any, ...], int] = field(default_factory=dict)
    known: dict[NetworkValue, sp.Symbol] = field(default_factory=dict)

    def rewritten(self, node: Any) -> Any:
        if isinstance(node, NetworkValue):
            return self._target(node)
        return node.func(*map(self.rewritten, node.args)) if node.has(NetworkValue) else node

    def _target(self, node: NetworkValue) -> sp.Symbol:
        if node in self.known:
            return self.known[node]
        inputs = [_parts(given) for given in node.inputs]
        starts = [sum(map(len, inputs[:i])) for i in range(len(inputs))]
        given = [part for parts in inputs for part in parts]
        arguments = tuple(self._argument(node, i, self.rewritten(part)) for i, part in enumerate(given))
        call = sp.Symbol(node.network.name, real=True), len(node.along), arguments
        if call not in self.at:
            self.at[call] = len(self.lines)
            self.lines.append(Call(*call, targets=(), places=()))
        position = self.at[call]
        along = tuple(starts[i] for i in node.along)
        place = () if node.is_whole else (node.index, *along)
        suffix = "".join(f"_{i}" for i in place)
        target = sp.Symbol(f"{node.network.name}{list(self.at).index(call) + 1}{suffix}", real=True)
        line = self.lines[position]
        assert isinstance(line, Call)
        self.lines[position] = replace(line, targets=(*line.targets, target), places=(*line.places, place))
        self.known[node] = target
        return target

    def _argument(self, node: NetworkValue, i: int, given: sp.Basic) -> sp.Basic:
        """An input as a symbol or a number."""
        if isinstance(given, sp.Symbol | sp.Number):
            return given
        for line in self.lines:
            if isinstance(line, Assignment) and line.expression == given:
                return line.target
        count = sum(isinstance(line, Assignment) for line in self.lines)
        symbol = sp.Symbol(f"{node.network.name}_input{i}_{count}", real=True)
        self.lines.append(Assignment(symbol, given))
        return symbol


def _parts(given: sp.Expr) -> list[sp.Expr]:
    """The numbers in an input that strings all outputs of other networks together; any other input as it is."""
    whole: set[Any] = {node for node in given.atoms(NetworkValue) if node.is_whole}
    shape = shape_of(given)
    if not shape or any(shape_of(symbol) for symbol in given.free_symbols):
        return [given]
    return [given.xreplace({node: node[k] for node in whole}) for k in range(shape[0])]  # pyright: ignore


def with_calls(body: Iterable[Assignment]) -> tuple[Assignment | Call, ...]:
    """Straight-line code with every network in it called by a statement of its own, once for equal inputs.

    Arguments:

    - `body`: assignments in order; the right-hand sides may contain `NetworkValue`.
    """
    calls = _Calls()
    for line in body:
        calls.lines.append(replace(line, expression=calls.rewritten(line.expression)))
    return tuple(calls.lines)
