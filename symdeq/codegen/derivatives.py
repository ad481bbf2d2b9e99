"""Derivatives of straight-line code by forward accumulation: each intermediate quantity keeps its own derivative as a
symbol.

Substituting the intermediate quantities first would give the same values and expressions of exponential size. The
elementary rules are applied here and not by SymPy's `diff` where SymPy's form is wrong or singular in floating point:
`x**n` gives `n*x**(n - 1)` and not `n*x**n/x`, a jump has the derivative zero, and the derivative of a `Piecewise` is
that of its branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sympy as sp
from sympy.core.function import ArgumentIndexError, UndefinedFunction
from sympy.functions.special.error_functions import expint

from symdeq._errors import UnsupportedError
from symdeq.codegen.program import Assignment, Call


class log_or_zero(sp.Function):
    """log(x), and 0 at x = 0: the factor in the derivative of `x**n` with respect to `n`, whose limit at 0 is 0."""

    nargs = 1


class sinc_derivative(sp.Function):
    """The derivative of sin(x)/x, by its series near 0."""

    nargs = 1


class besseli1_derivative(sp.Function):
    """The derivative of the modified Bessel function of order one, 1/2 at 0."""

    nargs = 1


class gammainc_derivative(sp.Function):
    """The derivative of the regularised lower incomplete gamma function P(a, x) with respect to `a`."""

    nargs = 2


class zeta_derivative(sp.Function):
    """The derivative of the Hurwitz zeta function zeta(s, q) with respect to `s`."""

    nargs = 2


INTERNAL: frozenset[type] = frozenset(
    {log_or_zero, sinc_derivative, besseli1_derivative, gammainc_derivative, zeta_derivative}
)

_HALF: Any = sp.Rational(1, 2)


def _extreme(node: Any, i: int) -> Any:
    """One where this argument is taken, one half where two are equal."""
    rest = node.func(*(a for k, a in enumerate(node.args) if k != i))
    gap = node.args[i] - rest
    return sp.Heaviside(gap if isinstance(node, sp.Max) else -gap, _HALF)


def _lower_gamma(node: Any, i: int) -> Any:
    a, x = node.args
    if i == 1:
        return x ** (a - 1) * sp.exp(-x)
    return sp.polygamma(0, a) * node + sp.gamma(a) * gammainc_derivative(a, x)


def _upper_gamma(node: Any, i: int) -> Any:
    a, x = node.args
    if i == 1:
        return -(x ** (a - 1)) * sp.exp(-x)
    return sp.polygamma(0, a) * node - sp.gamma(a) * gammainc_derivative(a, x)


def _zeta(node: Any, i: int) -> Any:
    s, q = (*node.args, sp.Integer(1))[:2]
    return zeta_derivative(s, q) if i == 0 else -s * sp.zeta(s + 1, q)


def _zero(node: Any, i: int) -> Any:
    return sp.Integer(0)


# Where SymPy's `fdiff` is missing, wrong almost everywhere, or singular. (node, position of the argument) -> partial
# derivative.
_PARTIAL: Mapping[type, Callable[[Any, int], Any]] = {
    sp.Abs: lambda node, i: sp.sign(node.args[0]),
    sp.sign: _zero,
    sp.Heaviside: _zero,
    sp.DiracDelta: _zero,
    sp.floor: _zero,
    sp.ceiling: _zero,
    sp.frac: lambda node, i: sp.Integer(1),
    sp.Mod: lambda node, i: sp.Integer(1) if i == 0 else -sp.floor(node.args[0] / node.args[1]),
    sp.Max: _extreme,
    sp.Min: _extreme,
    sp.sinc: lambda node, i: sinc_derivative(node.args[0]),
    sp.besseli: lambda node, i: sp.besseli(1, node.args[1]) if node.args[0] == 0 else besseli1_derivative(node.args[1]),
    sp.lowergamma: _lower_gamma,
    sp.uppergamma: _upper_gamma,
    expint: lambda node, i: -expint(node.args[0] - 1, node.args[1]),
    sp.loggamma: lambda node, i: sp.polygamma(0, node.args[0]),
    sp.zeta: _zeta,
    sp.Si: lambda node, i: sp.sinc(node.args[0]),
}


class Differentiator:
    """Total derivatives of expressions whose intermediate symbols have derivatives of their own.

    Arguments:

    - `seed`: the derivative of a symbol with respect to the variable: 0, 1, or the symbol that holds it.
    - `where`: the equation that an error names.
    """

    def __init__(self, seed: Callable[[sp.Basic], sp.Expr], where: object = None):
        self._seed, self._where = seed, where
        self._known: dict[sp.Basic, sp.Expr] = {}

    def __call__(self, node: sp.Basic) -> sp.Expr:
        if (result := self._known.get(node)) is None:
            result = self._known[node] = self._derive(node)
        return result

    def _derive(self, node: Any) -> sp.Expr:
        if isinstance(node, sp.Symbol):
            return self._seed(node)
        if not node.args or all(self._seed(s) == 0 for s in node.free_symbols):
            return sp.Integer(0)
        if isinstance(node, sp.Add):
            return sp.Add(*(self(a) for a in node.args))
        if isinstance(node, sp.Mul):
            parts = ((k, self(a)) for k, a in enumerate(node.args))
            return sp.Add(*(sp.Mul(*node.args[:k], d, *node.args[k + 1 :]) for k, d in parts if d != 0))
        if isinstance(node, sp.Piecewise):
            return sp.Piecewise(*((self(branch.args[0]), branch.args[1]) for branch in node.args))
        if isinstance(node, sp.exp):
            return node * self(node.args[0])
        if isinstance(node, sp.Pow):
            return self._power(node)
        total = []
        for i, argument in enumerate(node.args):
            if (inner := self(argument)) != 0:
                total.append(self._partial(node, i) * inner)
        return sp.Add(*total)

    def _power(self, node: Any) -> sp.Expr:
        base, exponent = node.base, node.exp
        along_base, along_exponent = self(base), self(exponent)
        result = exponent * base ** (exponent - 1) * along_base
        if along_exponent != 0:
            factor = sp.log(base) if base.is_positive else log_or_zero(base)
            result += factor * node * along_exponent
        return result

    def _partial(self, node: Any, i: int) -> sp.Expr:
        rule = _PARTIAL.get(type(node))
        if rule is not None:
            if not (type(node) is expint and i == 0):
                return rule(node, i)
        else:
            try:
                result = node.fdiff(i + 1)
            except (ArgumentIndexError, AttributeError, NotImplementedError):
                result = None
            if result is not None and not result.has(sp.Derivative, sp.Subs, sp.Integral, sp.Sum, sp.meijerg):
                return result
        name = type(node).__name__ if not isinstance(type(node), UndefinedFunction) else str(node)
        raise UnsupportedError(
            f"The derivative of `{name}` with respect to its argument {i + 1}, `{node.args[i]}`, "
            "has no equivalent in JAX.",
            where=str(self._where),
            remedy="make that argument a number, or rewrite the equation",
        )


def differentiate(
    body: Iterable[Assignment | Call],
    outputs: tuple[sp.Basic, ...],
    variables: tuple[sp.Symbol, ...],
    guards: Mapping[sp.Basic, sp.Basic],
) -> tuple[tuple[Assignment | Call, ...], dict[tuple[int, int], sp.Expr]]:
    """Derivatives of the outputs of straight-line code with respect to some of its inputs.

    Arguments:

    - `body`: the assignments that compute `outputs`; all are part of the result again.
    - `outputs`: symbols assigned in `body`, in order.
    - `variables`: input symbols, in order.
    - `guards`: symbols that equal another one wherever they matter (see `guards.py`), so that they have its derivative.

    Returns the extended body, and the structural non-zeros as `{(i, k): expression}` in terms of its symbols.
    Raises `UnsupportedError` naming the equation whose derivative JAX cannot compute.
    """
    wanted = {symbol: k for k, symbol in enumerate(variables)}
    # {symbol: {variable: derivative}} with non-zero derivatives only.
    known: dict[sp.Basic, dict[int, sp.Expr]] = {symbol: {k: sp.Integer(1)} for symbol, k in wanted.items()}
    lines = tuple(body)
    used = {s for line in lines for s in line.needs}
    extended: list[Assignment | Call] = []
    for line in lines:
        extended.append(line)
        if isinstance(line, Call):
            known.update(_through(line, variables, known, extended))
            continue
        if line.target in guards:
            known[line.target] = known.get(guards[line.target], {})
            continue
        row: dict[int, sp.Expr] = {}
        # Term by term, so that a long sum is not gone through for every variable in it.
        terms: dict[int, list[sp.Basic]] = {}
        for term in sp.Add.make_args(line.expression):  # pyright: ignore[reportArgumentType]
            for k in set().union(*(known[s] for s in term.free_symbols if s in known)):
                terms.setdefault(k, []).append(term)
        for k, involved in sorted(terms.items()):
            derive = Differentiator(lambda s, k=k: known.get(s, {}).get(k, sp.Integer(0)), line.comment or line)
            derivative = sp.Add(*map(derive, involved))
            if derivative != 0:
                row[k] = derivative
        if line.target in used:
            row = {k: _named(line.target, variables[k], derivative, extended) for k, derivative in row.items()}
        known[line.target] = row
    found = {(i, k): derivative for i, output in enumerate(outputs) for k, derivative in known[output].items()}
    return tuple(extended), found


def _through(
    call: Call,
    variables: tuple[sp.Symbol, ...],
    known: Mapping[sp.Basic, dict[int, sp.Expr]],
    body: list[Assignment | Call],
) -> dict[sp.Basic, dict[int, sp.Expr]]:
    """The derivatives of what a network gives, by the chain rule with the network's own derivatives."""
    moving = {i: known[a] for i, a in enumerate(call.arguments) if known.get(a)}
    if not moving:
        return {target: {} for target in call.targets}
    slopes = {(target, i): sp.Symbol(f"d({target})/d(input {i})", real=True) for target in call.targets for i in moving}
    places = tuple((*place, i) for place in call.places for i in moving)
    body.append(Call(call.network, call.order + 1, call.arguments, tuple(slopes.values()), places))
    rows: dict[sp.Basic, dict[int, sp.Expr]] = {}
    for target in call.targets:
        terms: dict[int, list[sp.Expr]] = {}
        for i, row in moving.items():
            for k, inner in row.items():
                terms.setdefault(k, []).append(slopes[target, i] * inner)
        rows[target] = {k: _named(target, variables[k], sp.Add(*parts), body) for k, parts in sorted(terms.items())}
    return rows


def _named(target: sp.Basic, variable: sp.Symbol, derivative: sp.Expr, body: list[Assignment | Call]) -> sp.Expr:
    """A number or symbol that holds the derivative of an intermediate quantity."""
    if isinstance(derivative, sp.Number | sp.Symbol):
        return derivative
    symbol = sp.Symbol(f"d({target})/d({variable})", real=True)
    body.append(Assignment(symbol, derivative))
    return symbol
