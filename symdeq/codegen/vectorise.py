"""Straight-line code of a large model as array code: what has one shape is computed at once, over tables of positions.

What occurs more than once gets a name. Then the assignments are sorted into levels, each of which needs only earlier
ones, and within a level into shapes. A shape with many members becomes one `Group`, sums of different lengths become
one `Sums`. What is left over is taken apart until its pieces have common shapes, or stays as it is where it is little.
So the length of the code follows the number of different shapes and not that of the equations.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp
from sympy.logic.boolalg import Boolean

from symdeq.codegen.program import Assignment, Group, Program, Statement, Sums, operations, without_dead
from symdeq.codegen.shapes import Leaf, Shape, Shapes

# Fewer assignments of one shape are not worth a loop of their own.
_FEWEST = 4
# Operations that may stay as scalar code in each program.
_SCALAR_OPERATIONS = 200


def vectorise(program: Program) -> Program:
    """The same function with array statements in place of assignments of equal shape, and nothing dead."""
    work = _Work(replace(program, body=without_dead(program.body, program.outputs)))  # pyright: ignore[reportArgumentType]
    return replace(program, body=tuple(work.statements()), outputs=work.outputs)


@dataclass(frozen=True)
class _Line:
    """An assignment with what it is sorted by."""

    assignment: Assignment
    level: int
    shape: Shape


class _Work:
    """The assignments of one program on their way into statements."""

    def __init__(self, program: Program):
        self.inputs = program.arguments
        self.groups = [group for _, group in program.inputs if not isinstance(group, sp.Symbol)]
        self.lines = [line for line in program.body if isinstance(line, Assignment)]
        taken = {s.name for s in self.inputs} | {line.target.name for line in self.lines}
        numbered = (sp.Symbol(f"v{i}", real=True) for i in itertools.count(1))
        self.fresh = (s for s in numbered if s.name not in taken)
        self.outputs = program.outputs
        self._share()
        self._take_apart()

    def statements(self) -> Iterable[Statement]:
        """The lines as statements, level by level."""
        self._place: dict[sp.Basic, tuple[int, int]] = {}  # the array that holds a symbol, and its position there
        for number, group in enumerate(self.groups):
            self._place.update({s: (-number - 1, i) for i, s in enumerate(group)})
        classes: dict[tuple[int, Any], list[_Line]] = defaultdict(list)
        for line in self._sorted():
            sums = _terms(line.assignment.expression) is not None
            classes[line.level, "sum" if sums else line.shape.number].append(line)
        for (_, kind), lines in sorted(classes.items(), key=lambda item: item[0][0]):
            if kind == "sum":
                yield from self._sums(lines)
            elif len(lines) >= _FEWEST:
                yield self._placed(self._group(lines))
            else:
                yield from (line.assignment for line in lines)

    def _placed(self, statement: Group | Sums) -> Group | Sums:
        number = len(self._place)
        self._place.update({s: (number, i) for i, s in enumerate(statement.targets)})
        return statement

    def _sums(self, lines: list[_Line]) -> Iterable[Statement]:
        """Sums of one shape whose leaves are evenly spaced as a group, which needs no tables; the others as one."""
        by_shape: dict[int, list[_Line]] = defaultdict(list)
        for line in lines:
            by_shape[line.shape.number].append(line)
        rest: list[_Line] = []
        for same in by_shape.values():
            if len(same) >= _FEWEST and self._even(same):
                yield self._placed(self._group(same))
            else:
                rest += same
        if len(rest) < _FEWEST:
            yield from (line.assignment for line in rest)
            return
        sums = Sums(
            targets=tuple(line.assignment.target for line in rest),
            rows=tuple(_terms(line.assignment.expression) or () for line in rest),
            comment=_comment([line.assignment for line in rest]),
        )
        yield self._placed(sums)

    def _even(self, lines: list[_Line]) -> bool:
        """Whether each slot takes one value, numbers, or evenly spaced entries of one array."""
        for column in zip(*(line.shape.leaves for line in lines), strict=True):
            if len(set(column)) == 1 or all(isinstance(leaf, sp.Number) for leaf in column):
                continue
            places = [self._place.get(leaf, (0, 0)) for leaf in column]
            if len({array for array, _ in places}) > 1 or not _evenly_spaced([i for _, i in places]):
                return False
        return True

    def _group(self, lines: list[_Line]) -> Group:
        columns = list(zip(*(line.shape.leaves for line in lines), strict=True))
        slots = [sp.Symbol(f"s{i}", real=True) for i in range(len(columns))]
        return Group(
            targets=tuple(line.assignment.target for line in lines),
            template=self.shapes.template(lines[0].assignment.expression, slots),
            slots=tuple(zip(slots, columns, strict=True)),
            comment=_comment([line.assignment for line in lines]),
        )

    def _sorted(self) -> list[_Line]:
        """The lines with their levels and shapes."""
        self.shapes = Shapes({s: i for i, s in enumerate((*self.inputs, *(line.target for line in self.lines)))})
        level: dict[sp.Basic, int] = dict.fromkeys(self.inputs, 0)
        found = []
        for line in self.lines:
            level[line.target] = 1 + max((level[s] for s in line.expression.free_symbols), default=0)
            found.append(_Line(line, level[line.target], self.shapes(line.expression)))
        return found

    def _share(self) -> None:
        """Names for what occurs more than once, for all subexpressions of a shape or for none."""
        rank = {s: i for i, s in enumerate((*self.inputs, *(line.target for line in self.lines)))}
        shapes = Shapes(rank)
        users: dict[sp.Basic, int] = defaultdict(int)
        for line in self.lines:
            users[_core(line.expression)] += 1
        seen: set[sp.Basic] = set()
        stack = [_core(line.expression) for line in self.lines]
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            for child in map(_core, node.args):
                if child.args and isinstance(child, sp.Expr):
                    users[child] += 1
                    stack.append(child)
                elif child.args:
                    stack.append(child)
        shared, all_of = defaultdict(int), defaultdict(int)
        for node, count in users.items():
            if node.args and not isinstance(node, Boolean):
                number = shapes(node).number
                all_of[number] += 1
                shared[number] += count > 1
        chosen = {number for number, count in shared.items() if 2 * count >= all_of[number]}
        named: set[Any] = {
            node for node in users if node.args and isinstance(node, sp.Expr) and shapes(node).number in chosen
        }
        self._name(named)

    def _name(self, named: set[Any]) -> None:
        """Put the named subexpressions into assignments of their own, before their first use."""
        names: dict[Any, sp.Symbol] = {}
        known: dict[sp.Basic, Any] = {}
        lines: list[Assignment] = []
        # A quantity that is named as a whole keeps its own name.
        own = {line.expression: line for line in reversed(self.lines) if line.expression in named}
        written: set[sp.Symbol] = set()
        whole: dict[Any, sp.Symbol] = {}

        def rewritten(node: Any, top: bool = False) -> Any:
            if not node.args:
                return node
            coefficient, core = _split(node)
            if core in named and not (top and coefficient == 1):
                return coefficient * symbol(core)
            if node not in known:
                parts = [rewritten(a) for a in node.args]
                same = all(new is old for new, old in zip(parts, node.args, strict=True))
                known[node] = node if same else _rebuilt(node, parts)
            return known[node]

        def symbol(core: Any) -> sp.Symbol:
            if core not in names:
                line = own.get(core)  # its symbols are defined by now: the core occurs here
                if line is not None and line.target not in written:
                    names[core] = line.target
                    written.add(line.target)
                    lines.append(replace(line, expression=rewritten(core, top=True)))
                else:
                    target = next(self.fresh)
                    expression = rewritten(core, top=True)
                    names[core] = target
                    lines.append(Assignment(target, expression))
            return names[core]

        for line in self.lines:
            if line.target in written:
                continue
            expression = line.expression
            if expression in names or expression in whole:
                expression = names.get(expression) or whole[expression]
            else:
                whole[expression] = line.target
                if expression in named:
                    names[expression] = line.target
                expression = rewritten(expression, top=True)
            written.add(line.target)
            lines.append(replace(line, expression=expression))
        self.lines, self.outputs = _without_aliases(lines, self.outputs)

    def _take_apart(self) -> None:
        """Break up lines of rare shapes, one operation deep at a time, while much scalar code would be left."""
        names: dict[sp.Basic, sp.Symbol] = {}
        while True:
            rare = self._rare()
            if sum(operations(line.expression) for line in rare) <= _SCALAR_OPERATIONS:
                return
            broken, progress = set(map(id, rare)), False
            lines: list[Assignment] = []
            for line in self.lines:
                if id(line) not in broken:
                    lines.append(line)
                    continue
                expression, pieces = self._opened(line.expression, names)
                progress |= bool(pieces) or expression != line.expression
                lines += pieces
                lines.append(replace(line, expression=expression))
            self.lines = lines
            if not progress:
                return

    def _opened(self, node: Any, names: dict[sp.Basic, sp.Symbol]) -> tuple[Any, list[Assignment]]:
        """The outermost operation on symbols and numbers, and assignments for those of them that are new."""
        pieces: list[Assignment] = []
        if isinstance(node, sp.Piecewise) or not isinstance(node, sp.Expr):
            return node, pieces

        def named(argument: Any) -> Any:
            coefficient, core = _split(argument) if isinstance(node, sp.Add) else (sp.Integer(1), argument)
            if not core.args or not isinstance(core, sp.Expr) or core.is_number:
                return argument
            if core not in names:
                names[core] = next(self.fresh)
                pieces.append(Assignment(names[core], core))
            return coefficient * names[core]

        if isinstance(node, sp.Mul):
            coefficient, core = _split(node)
            if coefficient != 1 and core.is_Mul:
                if core not in names:
                    names[core] = next(self.fresh)
                    pieces.append(Assignment(names[core], core))
                return coefficient * names[core], pieces
        parts = [named(a) for a in node.args]
        return (_rebuilt(node, parts) if pieces or parts != list(node.args) else node), pieces

    def _rare(self) -> list[Assignment]:
        lines = self._sorted()
        count: dict[tuple[int, Any], int] = defaultdict(int)
        kinds = []
        for line in lines:
            kind = (line.level, "sum" if _terms(line.assignment.expression) is not None else line.shape.number)
            kinds.append(kind)
            count[kind] += 1
        return [line.assignment for line, kind in zip(lines, kinds, strict=True) if count[kind] < _FEWEST]


def _rebuilt(node: Any, parts: list[Any]) -> Any:
    return sp.Piecewise(*parts, evaluate=False) if isinstance(node, sp.Piecewise) else node.func(*parts)


def _split(node: Any) -> tuple[Any, Any]:
    """A number and the rest of a product; 1 and the node itself for anything else."""
    return node.as_coeff_Mul() if isinstance(node, sp.Mul) else (sp.Integer(1), node)


def _core(node: Any) -> Any:
    return _split(node)[1]


def _terms(expression: Any) -> tuple[tuple[sp.Number, Leaf], ...] | None:
    """The terms of a sum of numbers times symbols, and `None` for everything else."""
    if not isinstance(expression, sp.Add):
        return None
    terms = []
    for argument in expression.args:
        coefficient, core = _split(argument)
        if isinstance(core, sp.Number):
            coefficient, core = sp.Integer(1), coefficient * core
        if not isinstance(core, sp.Symbol | sp.Number) or not isinstance(coefficient, sp.Number):
            return None
        terms.append((coefficient, core))
    return tuple(terms)


def _evenly_spaced(positions: list[int]) -> bool:
    step = positions[1] - positions[0]
    return step > 0 and all(b - a == step for a, b in itertools.pairwise(positions))


def _comment(lines: list[Assignment]) -> str:
    first = next((line for line in lines if line.comment), None)
    if first is None:
        return f"{len(lines)} quantities such as {lines[0].target}"
    return f"{len(lines)} equations such as {first.comment}"


def _without_aliases(
    lines: list[Assignment], outputs: tuple[sp.Basic, ...]
) -> tuple[list[Assignment], tuple[sp.Basic, ...]]:
    """Without assignments that only rename a symbol or a number."""
    swap: dict[Any, Any] = {}
    kept = []
    for line in lines:
        expression = line.expression.xreplace(swap) if swap else line.expression
        if isinstance(expression, sp.Symbol | sp.Number):
            swap[line.target] = expression
        else:
            kept.append(replace(line, expression=expression))
    return kept, tuple(swap.get(o, o) for o in outputs)
