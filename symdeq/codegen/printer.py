"""SymPy expressions as JAX source, with the same value for scalars of any floating-point type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp
from sympy.functions.special.error_functions import Ci, Ei, Si, erf, erfc, erfinv, expint, fresnelc, fresnels
from sympy.printing.precedence import PRECEDENCE, precedence
from sympy.printing.str import StrPrinter

from symdeq._errors import UnsupportedError
from symdeq.codegen.derivatives import (
    besseli1_derivative,
    gammainc_derivative,
    log_or_zero,
    sinc_derivative,
    zeta_derivative,
)
from symdeq.codegen.helpers import HELPERS

# Arguments are filled in as {0}, {1}; each template is a call or in parentheses, so that it is an operand anywhere.
TEMPLATES: Mapping[type, str] = {
    sp.sin: "jnp.sin({0})",
    sp.cos: "jnp.cos({0})",
    sp.tan: "jnp.tan({0})",
    sp.cot: "(1 / jnp.tan({0}))",
    sp.sec: "(1 / jnp.cos({0}))",
    sp.csc: "(1 / jnp.sin({0}))",
    sp.sinc: "sinc({0})",
    sp.asin: "jnp.arcsin({0})",
    sp.acos: "jnp.arccos({0})",
    sp.atan: "jnp.arctan({0})",
    sp.acot: "arccot({0})",
    sp.asec: "jnp.arccos(1 / {0})",
    sp.acsc: "jnp.arcsin(1 / {0})",
    sp.atan2: "jnp.arctan2({0}, {1})",
    sp.sinh: "jnp.sinh({0})",
    sp.cosh: "jnp.cosh({0})",
    sp.tanh: "jnp.tanh({0})",
    sp.coth: "(1 / jnp.tanh({0}))",
    sp.sech: "(1 / jnp.cosh({0}))",
    sp.csch: "(1 / jnp.sinh({0}))",
    sp.asinh: "jnp.arcsinh({0})",
    sp.acosh: "jnp.arccosh({0})",
    sp.atanh: "jnp.arctanh({0})",
    sp.acoth: "jnp.arctanh(1 / {0})",
    sp.asech: "jnp.arccosh(1 / {0})",
    sp.acsch: "jnp.arcsinh(1 / {0})",
    sp.exp: "jnp.exp({0})",
    sp.log: "jnp.log({0})",
    sp.Abs: "jnp.abs({0})",
    sp.sign: "jnp.sign({0})",
    sp.floor: "jnp.floor({0})",
    sp.ceiling: "jnp.ceil({0})",
    sp.frac: "jnp.mod({0}, 1)",
    sp.Mod: "jnp.mod({0}, {1})",
    sp.Heaviside: "jnp.heaviside({0}, {1})",
    erf: "special.erf({0})",
    erfc: "special.erfc({0})",
    erfinv: "special.erfinv({0})",
    Ei: "special.expi({0})",
    expint: "special.expn({0}, {1})",
    Si: "special.sici({0})[0]",
    Ci: "special.sici({0})[1]",
    fresnels: "special.fresnel({0})[0]",
    fresnelc: "special.fresnel({0})[1]",
    sp.gamma: "special.gamma({0})",
    sp.loggamma: "special.gammaln({0})",
    sp.factorial: "special.gamma({0} + 1)",
    sp.polygamma: "special.polygamma({0}, {1})",
    sp.beta: "special.beta({0}, {1})",
    sp.lowergamma: "(special.gamma({0}) * special.gammainc({0}, {1}))",
    sp.uppergamma: "(special.gamma({0}) * special.gammaincc({0}, {1}))",
    sp.zeta: "special.zeta({0}, {1})",
    sp.besseli: "special.i{0}({1})",
    log_or_zero: "log_or_zero({0})",
    sinc_derivative: "sinc_derivative({0})",
    besseli1_derivative: "i1_derivative({0})",
    zeta_derivative: "zeta_derivative({0}, {1})",
    gammainc_derivative: "jax.lax.igamma_grad_a({0}, {1})",
}
_LARGEST_INT = 2**31 - 1
_LARGEST_EXACT = 2**53
_RELATIONS = {sp.Gt: ">", sp.Ge: ">=", sp.Lt: "<", sp.Le: "<=", sp.Eq: "==", sp.Ne: "!="}


_HALF = sp.Rational(1, 2)
# A square root and a few products take a fraction of the time of a general power.
_LARGEST_HALF = 8


def _whole(exponent: sp.Expr) -> sp.Expr:
    """A whole number as an integer: JAX multiplies for `x**2` and calls a power function for `x**2.0`."""
    return sp.Integer(int(exponent)) if exponent.is_Float and float(exponent).is_integer() else exponent


def _halved(exponent: sp.Expr) -> bool:
    """Whether an exponent is 3/2, 5/2 and so on."""
    if not (exponent.is_Rational or exponent.is_Float):
        return False
    return 1 < float(exponent) <= _LARGEST_HALF and float(exponent) % 1 == 0.5


class JaxSource(StrPrinter):
    """Prints one expression; symbols by the identifiers given.

    After printing, `helpers` holds the names of the module's own functions that the text calls.
    """

    printmethod = "_jax_source"  # what expressions say of themselves to other printers is no source

    def __init__(self, names: Mapping[sp.Symbol, str]):
        super().__init__()
        self.names = names
        self.helpers: set[str] = set()

    def _print(self, expr, **kwargs) -> str:
        template = TEMPLATES.get(type(expr))
        if template is not None:
            return self._call(template, expr)
        if isinstance(expr, sp.NumberSymbol):
            return repr(float(expr))
        return super()._print(expr, **kwargs)

    def _call(self, template: str, expr) -> str:
        name = template.partition("(")[0]
        if name in HELPERS:
            self.helpers.add(name)
        operand = PRECEDENCE["Pow"] + 1 if "/ {0}" in template else 0
        arguments = [self.parenthesize(a, operand) for a in expr.args]
        if isinstance(expr, sp.zeta) and len(arguments) == 1:
            arguments.append("1")
        if isinstance(expr, sp.polygamma) and expr.args[0] == 0:
            return f"special.digamma({arguments[1]})"
        return template.format(*arguments)

    def _print_Component(self, expr) -> str:
        return f"{self.parenthesize(expr.args[0], PRECEDENCE['Atom'], strict=True)}[{expr.args[1]}]"

    def _print_Numbers(self, expr) -> str:
        return f"jnp.array([{', '.join(map(self._print, expr.args))}])"

    def _print_Symbol(self, expr) -> str:
        return self.names[expr]

    def _print_Integer(self, expr) -> str:
        return str(expr.p) if abs(expr.p) <= _LARGEST_INT else repr(float(expr))

    def _print_Rational(self, expr) -> str:
        exact = expr.q & (expr.q - 1) == 0 or max(abs(expr.p), expr.q) > _LARGEST_EXACT
        return repr(float(expr)) if exact else f"{expr.p} / {expr.q}"

    _print_Half = _print_Rational

    def _print_Float(self, expr) -> str:
        return repr(float(expr))

    def _print_NaN(self, expr) -> str:
        return "jnp.nan"

    def _print_BooleanTrue(self, expr) -> str:
        return "True"

    def _print_BooleanFalse(self, expr) -> str:
        return "False"

    def _print_Add(self, expr, order=None) -> str:
        text = ""
        for term in self._as_ordered_terms(expr, order=order):
            part = self.parenthesize(term, PRECEDENCE["Add"])
            if not text:
                text = part
            else:
                text += f" - {part[1:]}" if part.startswith("-") else f" + {part}"
        return text

    def _print_Mul(self, expr) -> str:
        coefficient, rest = expr.as_coeff_Mul()
        if coefficient < 0:
            return f"-{self._product(-coefficient, rest, tight=True)}"
        return self._product(coefficient, rest)

    def _product(self, coefficient, rest, tight: bool = False) -> str:
        """A fraction; with `tight` a sign will stand in front, and a power that comes first is put in parentheses."""
        above, below = ([] if coefficient == 1 else [self._factor(coefficient)]), []
        for factor in rest.as_ordered_factors() if rest.is_Mul else (rest,):
            if isinstance(factor, sp.Pow) and factor.exp.is_number and factor.exp.is_negative:
                below.append(self._factor(sp.Pow(factor.base, -factor.exp, evaluate=False)))
            else:
                level = PRECEDENCE["Pow"] + 1 if tight and not above else PRECEDENCE["Mul"] + 1
                above.append(self.parenthesize(factor, level))
        text = " * ".join(above) or "1"
        if not below:
            return text
        return f"{text} / {below[0]}" if len(below) == 1 else f"{text} / ({' * '.join(below)})"

    def _factor(self, factor) -> str:
        return self.parenthesize(factor, PRECEDENCE["Mul"] + 1)

    def _print_Pow(self, expr, rational=False) -> str:
        base, exponent = expr.base, _whole(expr.exp)
        if exponent == _HALF:
            return f"jnp.sqrt({self._print(base)})"
        if exponent == 1:
            return self._print(base)
        if exponent.is_number and exponent.is_negative:
            return f"1 / {self._factor(sp.Pow(base, -exponent, evaluate=False))}"
        if _halved(exponent):
            self.helpers.add("half_power")
            return f"half_power({self._print(base)}, {int(exponent - _HALF)})"
        tight = PRECEDENCE["Pow"] + 1
        return f"{self.parenthesize(base, tight)}**{self.parenthesize(exponent, tight)}"

    def parenthesize(self, item, level, strict=False) -> str:
        text = self._print(item)
        return f"({text})" if self._level(item, text) < level else text

    def _level(self, item, text: str) -> int:
        """How tightly what was printed binds, which is not always what SymPy's form says."""
        if text.startswith("-"):
            return PRECEDENCE["Add"]
        if type(item) in TEMPLATES or isinstance(item, sp.Piecewise | sp.Min | sp.Max):
            return PRECEDENCE["Atom"]
        if isinstance(item, sp.Rational):
            return PRECEDENCE["Mul"] if "/" in text else PRECEDENCE["Atom"]
        if isinstance(item, sp.Pow):
            exponent = _whole(item.exp)
            if exponent == 1:
                return self._level(item.base, text)
            if exponent == _HALF or _halved(exponent):
                return PRECEDENCE["Atom"]
            return PRECEDENCE["Mul"] if exponent.is_number and exponent.is_negative else PRECEDENCE["Pow"]
        return precedence(item)

    def _print_Piecewise(self, expr) -> str:
        text = "jnp.nan"
        for value, condition in reversed(expr.args):
            value = self._print(sp.Float(value)) if isinstance(value, sp.Integer) else self._print(value)
            text = value if condition == sp.true else f"jnp.where({self._print(condition)}, {value}, {text})"
        return text

    def _print_ITE(self, expr) -> str:
        return f"jnp.where({', '.join(map(self._print, expr.args))})"

    def _extreme(self, name: str, expr) -> str:
        first, *rest = (self._print(a) for a in expr.args)
        for other in rest:
            first = f"{name}({first}, {other})"
        return first

    def _print_Max(self, expr) -> str:
        return self._extreme("jnp.maximum", expr)

    def _print_Min(self, expr) -> str:
        return self._extreme("jnp.minimum", expr)

    def _print_Relational(self, expr) -> str:
        return f"{self._print(expr.lhs)} {_RELATIONS[type(expr)]} {self._print(expr.rhs)}"

    def _logic(self, operator: str, expr) -> str:
        parts = sorted(expr.args, key=sp.default_sort_key)
        texts = [self._print(p) if isinstance(p, sp.Symbol) else f"({self._print(p)})" for p in parts]
        return f" {operator} ".join(texts)

    def _print_And(self, expr, order=None) -> str:
        return self._logic("&", expr)

    def _print_Or(self, expr, order=None) -> str:
        return self._logic("|", expr)

    def _print_Xor(self, expr, order=None) -> str:
        return self._logic("^", expr)

    def _print_Not(self, expr) -> str:
        return f"jnp.logical_not({self._print(expr.args[0])})"

    def emptyPrinter(self, expr: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        raise UnsupportedError(f"`{type(expr).__name__}` in `{expr}` has no equivalent in JAX.")

    _print_Function = _print_Derivative = _print_Subs = _print_Integral = emptyPrinter  # pyright: ignore
