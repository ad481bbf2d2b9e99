"""What stands for a network or a part of a vector inside an expression: symbol-like, and nothing is looked into.

The symbolic layers know of a network no more than its name and which output is meant. Two expressions that call one
network with equal arguments are one call, which is evaluated once.
"""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE

from symdeq._errors import ModelError, UnsupportedError

# Tells apart networks of one name.
SERIAL = itertools.count(1)


class _OutOfRange(ModelError, IndexError):
    """An index that does not exist; as an `IndexError` it ends the unpacking of a vector."""


def checked_index(index: Any, size: int, of: str) -> int:
    """An index from 0 below `size` (0: any), or an error that names what is indexed."""
    if isinstance(index, bool) or not isinstance(index, numbers.Integral) or int(index) < 0:
        raise ModelError(f"`{of}` is indexed by {index!r}.", remedy="use a whole number from 0 on")
    if size and int(index) >= size:
        raise _OutOfRange(f"`{of}` has {size} numbers and no [{index}].", remedy=f"use 0 to {size - 1}")
    return int(index)


class Network(sp.Atom):
    """The name of a network inside an expression; equal to another if all of the following is.

    - `name`: as declared.
    - `outputs`: how many numbers it gives; 0 where that was not said.
    - `serial`: tells apart networks of one name; 0 in a compiled system, which holds one network a name.

    `module`, the network itself, comes along where it was declared.
    """

    __slots__ = ("module", "name", "outputs", "serial")
    name: str
    outputs: int
    serial: int
    module: Any
    is_commutative = True

    def __new__(cls, name: str, outputs: int = 0, serial: int = 0, module: Any = None) -> Network:
        self = super().__new__(cls)
        self.name, self.outputs, self.serial, self.module = name, outputs, serial, module
        return self

    def _hashable_content(self) -> tuple[Any, ...]:
        return self.name, f"{self.outputs} {self.serial}"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.name, self.outputs, self.serial, self.module

    def prefixed(self, prefix: str) -> Network:
        """The same network as a part of something larger."""
        return Network(prefix + self.name, self.outputs, self.serial, self.module)

    def without_serial(self) -> Network:
        """The network as a compiled system holds it."""
        return Network(self.name, self.outputs)

    def _sympystr(self, printer: Any) -> str:
        return self.name

    def _latex(self, printer: Any) -> str:
        return rf"\mathrm{{{self.name}}}".replace("_", r"\_")


class NetworkValue(sp.Expr):
    """One output of a network, all outputs, or a derivative of them by the inputs.

    Arguments:

    - `network`: a `Network`.
    - `index`: the output, a whole number from 0; or -1 for all outputs together, which is a vector.
    - `along`: `sp.Tuple` of the inputs by which it is differentiated, in order; empty for the value itself.
    - `inputs`: expressions; vectors are strung together.
    """

    is_commutative = True
    is_real = True
    is_extended_real = True

    def __new__(cls, network: Network, index: Any, along: Any, *inputs: sp.Expr) -> NetworkValue:
        kind = NetworkOutputs if index == -1 else NetworkValue
        return sp.Expr.__new__(kind, network, sp.Integer(index), sp.Tuple(*along), *inputs)  # pyright: ignore

    @property
    def network(self) -> Network:
        return self.args[0]  # pyright: ignore[reportReturnType]

    @property
    def index(self) -> int:
        return int(self.args[1])  # pyright: ignore[reportArgumentType]

    @property
    def along(self) -> tuple[int, ...]:
        return tuple(int(i) for i in self.args[2].args)  # pyright: ignore[reportArgumentType]

    @property
    def inputs(self) -> tuple[sp.Expr, ...]:
        return self.args[3:]  # pyright: ignore[reportReturnType]

    @property
    def is_whole(self) -> bool:
        """Whether all outputs together are meant."""
        return self.index == -1

    @property
    def call(self) -> tuple[sp.Basic, ...]:
        """What is called, and with what: equal for values that one evaluation gives."""
        return (self.network, *self.inputs)

    def _eval_derivative(self, s: Any) -> sp.Expr:
        terms = []
        for i, given in enumerate(self.inputs):
            inner = given.diff(s)
            if inner != 0:
                if shape_of(given):
                    raise UnsupportedError(
                        f"`{self}` is to be differentiated, and its input `{given}` is a vector.",
                        remedy="write the derivative as a state of its own",
                    )
                terms.append(self.func(self.network, self.index, (*self.along, i), *self.inputs) * inner)
        return sp.Add(*terms)

    def _sympystr(self, printer: Any) -> str:
        along = "".join(f".d{i}" for i in self.along)
        called = f"{self.network.name}{along}({', '.join(printer.doprint(a) for a in self.inputs)})"
        return called if self.is_whole else f"{called}[{self.index}]"

    def _latex(self, printer: Any) -> str:
        name = printer.doprint(self.network) + "".join(rf"^{{\prime_{{{i}}}}}" for i in self.along)
        called = rf"{name}\left({', '.join(printer.doprint(a) for a in self.inputs)}\right)"
        return called if self.is_whole else f"{called}_{{{self.index}}}"


class NetworkOutputs(NetworkValue):
    """All outputs of a network together: a vector that can be indexed, and unpacked where their number is known."""

    _iterable = False  # for SymPy

    def __getitem__(self, index: Any) -> NetworkValue:
        index = checked_index(index, self.network.outputs, str(self))
        return NetworkValue(self.network, index, self.along, *self.inputs)

    def __iter__(self) -> Iterator[NetworkValue]:
        if not self.network.outputs:
            raise ModelError(
                f"How many outputs `{self}` has is not known, so it cannot be unpacked.",
                remedy=f'index it, {self}[0], or say so: sd.Neural("{self.network}", ..., outputs=2)',
            )
        return (self[i] for i in range(self.network.outputs))


class Component(sp.Expr):
    """One number of a vector: `h[0]` of a state that was declared with a shape."""

    is_commutative = True
    is_real = True
    is_extended_real = True

    def __new__(cls, vector: sp.Expr, index: Any) -> Component:
        return sp.Expr.__new__(cls, vector, sp.Integer(index))

    @property
    def vector(self) -> sp.Expr:
        return self.args[0]  # pyright: ignore[reportReturnType]

    @property
    def index(self) -> int:
        return int(self.args[1])  # pyright: ignore[reportArgumentType]

    def _eval_derivative(self, s: Any) -> sp.Expr:
        if s in self.vector.free_symbols:
            raise UnsupportedError(f"`{self}` has no derivative by the vector or expression `{s}` as a whole.")
        return sp.Integer(0)

    def _sympystr(self, printer: Any) -> str:
        return f"{printer.parenthesize(self.vector, PRECEDENCE['Atom'], strict=True)}[{self.index}]"

    def _latex(self, printer: Any) -> str:
        return rf"{printer.parenthesize(self.vector, PRECEDENCE['Atom'], strict=True)}_{{{self.index}}}"


class Numbers(sp.Expr):
    """A vector of given numbers, as an initial value may be."""

    is_commutative = True
    is_real = True
    is_extended_real = True

    def _sympystr(self, printer: Any) -> str:
        return f"({', '.join(printer.doprint(a) for a in self.args)})"

    def _latex(self, printer: Any) -> str:
        return rf"\left({', '.join(printer.doprint(a) for a in self.args)}\right)"


def shape_of(expression: sp.Basic) -> tuple[int, ...]:
    """`()` for a number, `(n,)` for a vector of n; `(0,)` for all outputs of a network that are not counted yet.

    Raises `ModelError` where vectors of different lengths meet.
    """
    if isinstance(expression, Component):
        return ()
    if isinstance(expression, Numbers):
        return (len(expression.args),)
    if isinstance(expression, NetworkValue):
        return (expression.network.outputs,) if expression.is_whole else ()
    if isinstance(expression, sp.Symbol):
        return getattr(expression, "shape", ())
    shapes = {shape for part in expression.args if (shape := shape_of(part)) != ()}
    if len(shapes - {(0,)}) > 1:
        lengths = " and ".join(str(n) for (n,) in sorted(shapes))
        raise ModelError(
            f"Vectors of the lengths {lengths} meet in `{expression}`.", remedy="vectors act element by element"
        )
    return max(shapes, default=())


def networks_in(*expressions: sp.Basic) -> tuple[Network, ...]:
    """The networks that expressions call, by name."""
    found: set[Any] = set().union(*(e.atoms(Network) for e in expressions if e.has(NetworkValue)))
    return tuple(sorted(found, key=lambda n: (n.name, n.serial)))
