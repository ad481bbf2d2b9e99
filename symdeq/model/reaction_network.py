"""A network of reactions: its rate equations, its chemical Langevin equations, and its process of single jumps.

D. T. Gillespie, The chemical Langevin equation, J. Chem. Phys. 113 (2000) 297-306, has all three.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import sympy as sp
from sympy.polys.domains import QQ
from sympy.polys.matrices import DomainMatrix

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model.derivative import D
from symdeq.model.equations import Equation, shown
from symdeq.model.noise import brownian
from symdeq.model.reactions import Reaction
from symdeq.model.symbols import Parameter, State, Time
from symdeq.model.system import Invariant, System


@dataclass(frozen=True)
class ReactionNetwork:
    """Reactions between species, and what follows from them; made by `reactions`.

    For a reaction with the constant k and m of the reactants A, the rate law is k A^m / m! (`rates`), that of single
    molecules k A (A - 1) ... (A - m + 1) / m! (`propensities`): k times the number of ways to choose the reactants.
    With `combinatoric=False` both are without 1 / m!.

    - `reactions`, `name`, `combinatoric`: as given to `reactions`; every reaction has a name.
    - `species`, `parameters`: the symbols, in the order of declaration.
    - `stoichiometry`: what each reaction makes less what it uses, whole numbers of shape (species, reactions).
    - `rates`, `propensities`: an expression for each reaction.
    - `conserved`: the totals that no reaction changes, each with `expression` and `coefficients` by species.
    """

    reactions: tuple[Reaction, ...]
    name: str
    combinatoric: bool = True

    @cached_property
    def species(self) -> tuple[State, ...]:
        """The species, in the order of declaration."""
        found = {s for reaction in self.reactions for s in reaction.species}
        return tuple(sorted(found, key=lambda s: s.serial))

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters of the rates, in the order of declaration."""
        found = {s for reaction in self.reactions for s in reaction.rate.free_symbols if isinstance(s, Parameter)}
        return tuple(sorted(found, key=lambda s: s.serial))

    @cached_property
    def stoichiometry(self) -> np.ndarray:
        """What each reaction makes less what it uses, whole numbers of shape (species, reactions)."""
        place = {s: i for i, s in enumerate(self.species)}
        net = np.zeros((len(self.species), len(self.reactions)), dtype=np.int64)
        for j, reaction in enumerate(self.reactions):
            for sign, amounts in ((-1, reaction.reactants), (1, reaction.products)):
                for s, amount in amounts:
                    net[place[s], j] += sign * amount
        net.setflags(write=False)
        return net

    @cached_property
    def rates(self) -> tuple[sp.Expr, ...]:
        """The rate law of each reaction for amounts that change continuously."""
        return tuple(self._law(reaction, lambda s, m: s**m) for reaction in self.reactions)

    @cached_property
    def propensities(self) -> tuple[sp.Expr, ...]:
        """The rate law of each reaction for counts of molecules: its probability in a short time is this times dt."""
        return tuple(self._law(reaction, _falling) for reaction in self.reactions)

    @cached_property
    def conserved(self) -> tuple[Invariant, ...]:
        """The totals that no reaction changes: an exact basis of the left null space of the stoichiometry.

        With whole numbers that have no common factor, and without negative ones where sums of two totals allow it.
        """
        matrix = DomainMatrix(
            [[QQ(int(v)) for v in row] for row in self.stoichiometry.T], self.stoichiometry.T.shape, QQ
        )
        rows = []
        for row in matrix.to_sparse().nullspace(divide_last=True).to_list():
            scale = math.lcm(*(int(v.denominator) for v in row))
            rows.append([int(v.numerator) * (scale // int(v.denominator)) for v in row])
        found = []
        for row in _without_minus(rows):
            coefficients = tuple(map(sp.Integer, row))
            total = sp.Add(*(c * s for c, s in zip(coefficients, self.species, strict=True)))
            found.append(Invariant(coefficients, total))
        return tuple(found)

    def ode(self) -> System:
        """The rate equations, D(x) = S v with the `stoichiometry` S and the `rates` v.

        Returns a `System`, for `compile`.
        """
        return self._system(self.rates)

    def langevin(self, *, absolute: bool = False) -> System:
        """The chemical Langevin equations, D(x) = S v + S sqrt(v) D(W), with a Brownian motion W for each reaction.

        They hold where every reaction happens many times before its rate changes. The Brownian motions are named
        `W_R1`, `W_R2`, ... after the reactions. Close to zero noise may carry an amount below it, where the root of a
        rate is not real and the solve fails.

        Arguments:

        - `absolute`: take the root of |v| instead, which lets the solve go on with amounts below zero until the drift
            brings them back; default `False`.

        Returns a `System` in the sense of Itô, for `compile`.
        """
        noise = [
            sp.sqrt(sp.Abs(v) if absolute else v) * D(brownian(f"W_{r.name}"))
            for v, r in zip(self.rates, self.reactions, strict=True)
        ]
        return self._system(tuple(v + w for v, w in zip(self.rates, noise, strict=True)))

    def jumps(self) -> JumpProcess:
        """The process of single reactions with the `propensities`, for `simulate`: counts that jump.

        Raises `UnsupportedError` for a rate that depends on `t`.
        """
        return self._process

    @cached_property
    def _process(self) -> JumpProcess:
        for reaction in self.reactions:
            if any(isinstance(s, Time) for s in reaction.rate.free_symbols):
                raise UnsupportedError(
                    "The rate of a reaction depends on `t`; exact simulation takes rates that change by jumps only.",
                    where=reaction.located,
                    remedy="solve network.ode() or network.langevin(), or make the rate a parameter",
                )
        changes = tuple(tuple(map(int, column)) for column in self.stoichiometry.T)
        return JumpProcess(self.name, self.species, changes, self.propensities, self.reactions, self.ode())

    def __len__(self) -> int:
        return len(self.reactions)

    def __str__(self) -> str:
        names = [f"{reaction.name}" for reaction in self.reactions]
        sides = [str(reaction) for reaction in self.reactions]
        wide = max(map(len, names)), max(map(len, sides))
        lines = [
            f"  {name:{wide[0]}}  {side:{wide[1]}}  {shown(rate)}"
            for name, side, rate in zip(names, sides, self.rates, strict=True)
        ]
        kept = [f"  conserved  {shown(total.expression)}" for total in self.conserved]
        head = f"`{self.name}`: {len(self.species)} species, {len(self)} reaction{'' if len(self) == 1 else 's'}"
        return "\n".join([head, *lines, *kept])

    __repr__ = __str__

    def _law(self, reaction: Reaction, choose: Callable[[State, int], sp.Expr]) -> sp.Expr:
        if not reaction.mass_action:
            return reaction.rate
        factors = [choose(s, m) / (math.factorial(m) if self.combinatoric else 1) for s, m in reaction.reactants]
        return sp.Mul(reaction.rate, *factors)

    def _system(self, terms: tuple[sp.Expr, ...]) -> System:
        equations = []
        for s, row in zip(self.species, self.stoichiometry, strict=True):
            involved = [r for r, net in zip(self.reactions, row, strict=True) if net]
            origins = dict.fromkeys(o for r in involved or self._with(s) for o in r.origins)
            rate = sp.Add(*(int(net) * term for net, term in zip(row, terms, strict=True)))
            equations.append(Equation(D(s), rate, tuple(origins)))
        return System(equations, name=self.name)

    def _with(self, species: State) -> list[Reaction]:
        return [reaction for reaction in self.reactions if species in reaction.species]


@dataclass(frozen=True)
class JumpProcess:
    """Counts that change by single reactions; made by `ReactionNetwork.jumps`, for `simulate`.

    - `species`: what is counted.
    - `changes`: what each reaction adds to the counts, whole numbers, a tuple of a number a species for each reaction.
    - `propensities`: the rate of each reaction as an expression of counts and parameters.
    - `reactions`: the reactions.
    - `equations`: the rate equations, the `System` whose parameters and initial values the process has.
    """

    name: str
    species: tuple[State, ...]
    changes: tuple[tuple[int, ...], ...]
    propensities: tuple[sp.Expr, ...]
    reactions: tuple[Reaction, ...]
    equations: System

    def __str__(self) -> str:
        lines = [f"  {r.name}  {r}  with {shown(a)}" for r, a in zip(self.reactions, self.propensities, strict=True)]
        return "\n".join([f"Jump process `{self.name}`", *lines])

    __repr__ = __str__


def reactions(reactions: Iterable[Reaction], name: str = "reactions", *, combinatoric: bool = True) -> ReactionNetwork:
    """A network of reactions, from which rate equations, Langevin equations and a jump process are made.

    Arguments:

    - `reactions`: a list of `Reaction(rate, reactants, products)`. Those without a name get `R1`, `R2`, ... by their
        place.
    - `name`: the name of the network and of the systems made from it; default `"reactions"`.
    - `combinatoric`: whether a rate counts the ways to choose the reactants: k A^2 / 2 and k A (A - 1) / 2 for 2 A
        (default), or k A^2 and k A (A - 1).

    Returns a `ReactionNetwork`. Raises `ModelError` for two reactions or two species of one name, and for a species
    that stands in a rate only.
    """
    if isinstance(reactions, Reaction) or not isinstance(reactions, Iterable):
        raise ModelError(
            f"A network is made of a list of reactions, not of {reactions!r}.", remedy="put it in a list: [...]"
        )
    given = tuple(reactions)
    for reaction in given:
        if not isinstance(reaction, Reaction):
            raise ModelError(f"{reaction!r} is no reaction.", remedy="sd.reactions([sd.Reaction(k, {A: 1}, {B: 1})])")
    if not given:
        raise ModelError("A network has no reactions.", remedy="sd.reactions([sd.Reaction(k, {A: 1}, {B: 1})])")
    if not isinstance(name, str) or not name.isidentifier():
        raise ModelError(f"{name!r} cannot be the name of a network.", remedy="use letters, digits and underscores")
    named = tuple(r if r.name else replace(r, name=f"R{i + 1}") for i, r in enumerate(given))
    _check_names(named)
    taking_part = {s for r in named for s, _ in (*r.reactants, *r.products)}
    for reaction in named:
        for s in reaction.species:
            if s not in taking_part:
                raise ModelError(
                    f"`{s}` stands in the rate of a reaction, but no reaction uses or makes it.",
                    where=reaction.located,
                    remedy="add it as reactant and product if it is a catalyst, or declare it as a parameter",
                )
    return ReactionNetwork(named, name, bool(combinatoric))


def _check_names(named: tuple[Reaction, ...]) -> None:
    seen: dict[str, Reaction] = {}
    species: dict[str, tuple[State, Reaction]] = {}
    for reaction in named:
        other = seen.setdefault(str(reaction.name), reaction)
        if other is not reaction:
            raise ModelError(
                f"Two reactions are named `{reaction.name}`.",
                where=f"{other.located}\n{reaction.located}",
                remedy="give each its own name: Reaction(..., name=...)",
            )
        for s in reaction.species:
            known, at = species.setdefault(s.name, (s, reaction))
            if known != s:
                raise ModelError(
                    f"Two species are named `{s}`.",
                    where=f"{at.located}\n{reaction.located}",
                    remedy="declare each species once, and use that symbol in all reactions",
                )


def _falling(species: State, amount: int) -> sp.Expr:
    """A (A - 1) ... (A - m + 1), the ordered choices of m among A."""
    return sp.Mul(*(species - i for i in range(amount)))


def _without_minus(rows: list[list[int]]) -> list[list[int]]:
    """A basis of the same space that counts parts: negative numbers go by adding a row that has none."""
    rows = [_reduced(row) for row in rows]
    plain = [row for row in rows if min(row) >= 0]
    done = []
    for row in rows:
        sums = [] if row in plain else [_covered(mine, other) for mine in (row, [-v for v in row]) for other in plain]
        good = [found for found in sums if min(found) >= 0]
        done.append(_reduced(min(good, key=sum)) if good else row)
    return done


def _covered(row: list[int], other: list[int]) -> list[int]:
    """The row plus the smallest multiple of the other that leaves nothing negative where the other is not zero."""
    times = max(0, *(-(v // o) for v, o in zip(row, other, strict=True) if o))
    return [v + times * o for v, o in zip(row, other, strict=True)]


def _reduced(row: list[int]) -> list[int]:
    """The same direction in lowest terms, the first number positive."""
    scale = math.gcd(*row) * (-1 if next(v for v in row if v) < 0 else 1)
    return [v // scale for v in row]
