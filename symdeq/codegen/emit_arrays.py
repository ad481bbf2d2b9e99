"""A vectorised Program as the text of a function from arrays to an array, and the tables that it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sympy as sp

from symdeq.codegen.layout import assignment, in_brackets
from symdeq.codegen.names import unique_names
from symdeq.codegen.printer import JaxSource
from symdeq.codegen.program import Assignment, Call, Group, Program, Sums


@dataclass
class Tables:
    """Tables of whole numbers and of coefficients in a module, each written once."""

    names: dict[tuple, str] = field(default_factory=dict)

    def positions(self, values: Sequence[int]) -> str:
        return self.names.setdefault(("int32", tuple(values)), f"I{len(self.names) + 1}")

    def numbers(self, values: Sequence[float]) -> str:
        return self.names.setdefault(("float64", tuple(values)), f"C{len(self.names) + 1}")

    def lines(self) -> list[str]:
        """The tables as constants."""
        result = []
        for (kind, values), name in self.names.items():
            start, stop, step = _range(values) if kind == "int32" else (0, 0, 0)
            if step:
                result.append(f"{name} = np.arange({start}, {stop}, {step}, dtype=np.int32)")
            else:
                result += in_brackets(f"{name} = np.array(", [repr(v) for v in values], f", np.{kind})", 0)
        return result


def _range(values: Sequence[int]) -> tuple[int, int, int]:
    """Start, stop and step of evenly spaced whole numbers; a step of 0 where they are not."""
    if len(values) < 2 or values[1] <= values[0]:
        return 0, 0, 0
    start, step = values[0], values[1] - values[0]
    stop = start + step * len(values)
    return (start, stop, step) if tuple(values) == tuple(range(start, stop, step)) else (0, 0, 0)


def array_function(program: Program, tables: Tables, helpers: set[str], comment: Callable[[str], list[str]]) -> str:
    """The text of one function.

    Arguments:

    - `tables`: of the module; those that the function needs are added.
    - `helpers`: names of the module's helpers; those that the function calls are added.
    - `comment`: makes a comment of an equation.
    """
    writer = _Writer(program, tables)
    for line in program.body:
        assert not isinstance(line, Call), "networks are called by straight-line code"
        if line.comment:
            writer.lines += comment(str(line.comment))
        writer.statement(line)
    writer.returned(program.outputs)
    helpers |= writer.helpers
    head = f"def {program.name}({', '.join(name for name, _ in program.inputs)}):"
    return "\n".join([head, f'    """{program.summary}"""', *writer.lines])


class _Writer:
    """Statements as lines; remembers where each symbol is."""

    def __init__(self, program: Program, tables: Tables):
        self.tables = tables
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self._places: dict[Any, tuple[str, int]] = {}  # array and position
        self._scalars: dict[Any, str] = {}
        self._joined: dict[tuple[str, ...], tuple[str, dict[str, int]]] = {}
        self._sizes: dict[str, int] = {}
        self._slots: dict[str, str] = {}
        self._count = 0
        used = {name for name, _ in program.inputs}
        for name, group in program.inputs:
            if isinstance(group, sp.Symbol):
                self._scalars[group] = name
                continue
            self._sizes[name] = len(group)
            self._places.update({s: (name, i) for i, s in enumerate(group)})
        scalars = [line.target for line in program.body if isinstance(line, Assignment)]
        reserved = {*used, *(f"{letter}{i}" for letter in "gsz" for i in range(2 * len(program.body) + 2))}
        self._names = unique_names([*scalars, *program.arguments], {}, {"np", *reserved})
        # An empty array has a type too, as of a model without parameters.
        self.like = next(name for name, group in program.inputs if not isinstance(group, sp.Symbol))

    def statement(self, line: Assignment | Group | Sums) -> None:
        if isinstance(line, Assignment):
            self._scalar(line)
        elif isinstance(line, Group):
            self._group(line)
        else:
            self._sums(line)

    def _scalar(self, line: Assignment) -> None:
        names = {s: self._as_scalar(s) for s in sorted(line.expression.free_symbols, key=str)}
        text = self._printed(line.expression, names)
        name = self._names[line.target]
        self.lines += assignment(name, text, 4)
        self._scalars[line.target] = name

    def _as_scalar(self, symbol: Any) -> str:
        """The name of a scalar, which is taken out of its array before its first use."""
        if symbol not in self._scalars:
            array, position = self._places[symbol]
            name = self._names.get(symbol) or self._fresh("g")
            self.lines.append(f"    {name} = {array}[{position}]")
            self._scalars[symbol] = name
        return self._scalars[symbol]

    def _group(self, group: Group) -> None:
        names = {slot: self._leaves(leaves) for slot, leaves in group.slots}
        text = self._printed(group.template, names)
        array = self._fresh("g")
        if all(_same(leaves) for _, leaves in group.slots):
            text = f"jnp.full({len(group.targets)}, {text})"
        self.lines += assignment(array, text, 4)
        self._places.update({s: (array, i) for i, s in enumerate(group.targets)})
        self._sizes[array] = len(group.targets)

    def _sums(self, sums: Sums) -> None:
        rows = [m for m, row in enumerate(sums.rows) for _ in row]
        coefficients = [float(c) for row in sums.rows for c, _ in row]
        values = self._leaves([leaf for row in sums.rows for _, leaf in row])
        if len(set(coefficients)) > 1 or coefficients[0] != 1:
            values = f"{self._constants(coefficients)} * {values}"
        array = self._fresh("g")
        self.helpers.add("row_sums")
        text = f"row_sums({values}, {self.tables.positions(rows)}, {len(sums.targets)})"
        self.lines += assignment(array, text, 4)
        self._places.update({s: (array, i) for i, s in enumerate(sums.targets)})
        self._sizes[array] = len(sums.targets)

    def returned(self, outputs: Sequence[sp.Basic]) -> None:
        if not outputs:
            self.lines.append("    return jnp.zeros(0)")
            return
        text = self._leaves(outputs, name=False)
        if _same(outputs):
            text = f"jnp.full({len(outputs)}, {text})"
        self.lines += [line.replace("result = ", "return ", 1) for line in assignment("result", text, 4)]

    def _leaves(self, leaves: Sequence[Any], name: bool = True) -> str:
        """One value for all members, or the name of an array of their values."""
        if _same(leaves):
            leaf = leaves[0]
            return self._printed(leaf, {}) if isinstance(leaf, sp.Number) else self._as_scalar(leaf)
        if all(isinstance(leaf, sp.Number) for leaf in leaves):
            return self._constants([float(leaf) for leaf in leaves])
        text = self._gathered(leaves)
        if not name or text.isidentifier():
            return text
        if text not in self._slots:
            self._slots[text] = self._fresh("s")
            self.lines += assignment(self._slots[text], text, 4)
        return self._slots[text]

    def _gathered(self, leaves: Sequence[Any]) -> str:
        arrays = list(dict.fromkeys(self._places[s][0] for s in leaves if s in self._places))
        loose = [s for s in dict.fromkeys(leaves) if s not in self._places]
        if len(arrays) == 1 and not loose:
            array = arrays[0]
            positions = [self._places[s][1] for s in leaves]
        else:
            array, offsets = self._join(arrays, loose)
            extra = {s: offsets[""] + i for i, s in enumerate(loose)}
            positions = [extra[s] if s in extra else offsets[self._places[s][0]] + self._places[s][1] for s in leaves]
        start, stop, step = _range(positions)
        if step == 1:
            return array if (start, stop) == (0, self._sizes[array]) else f"{array}[{start}:{stop}]"
        if step:
            return f"{array}[{start}:{min(stop, self._sizes[array])}:{step}]"
        return f'jnp.take({array}, {self.tables.positions(positions)}, mode="clip")'

    def _join(self, arrays: list[str], loose: list[Any]) -> tuple[str, dict[str, int]]:
        """An array of all entries of some arrays, and of scalars and numbers behind them; where each begins."""
        scalars = [repr(float(s)) if isinstance(s, sp.Number) else self._as_scalar(s) for s in loose]
        key = (*arrays, *scalars)
        if key not in self._joined:
            offsets, total = {}, 0
            for array in arrays:
                offsets[array] = total
                total += self._sizes[array]
            offsets[""] = total
            loose_part = f"jnp.array(({', '.join(scalars)}{',' * (len(scalars) == 1)}), {self.like}.dtype)"
            name = self._fresh("z")
            self._sizes[name] = total + len(scalars)
            text = (
                f"jnp.concatenate(({', '.join([*arrays, loose_part] if scalars else arrays)}))"
                if arrays
                else loose_part
            )
            self.lines += assignment(name, text, 4)
            self._joined[key] = name, offsets
        return self._joined[key]

    def _constants(self, values: Sequence[float]) -> str:
        if len(set(values)) == 1:
            return repr(values[0])
        return f"jnp.asarray({self.tables.numbers(values)}, {self.like}.dtype)"

    def _printed(self, expression: sp.Basic, names: Mapping[Any, str]) -> str:
        safe = {s: f"({text})" if text.startswith("-") or " " in text else text for s, text in names.items()}
        printer = JaxSource(safe)
        text = printer.doprint(expression)
        self.helpers |= printer.helpers
        return text

    def _fresh(self, letter: str) -> str:
        self._count += 1
        return f"{letter}{self._count}"


def _same(leaves: Sequence[sp.Basic]) -> bool:
    return len(set(leaves)) == 1
