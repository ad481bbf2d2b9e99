"""Reactions: stoichiometry, rate laws, what is conserved, the systems made from them, and errors that say where."""

import inspect

import numpy as np
import pytest
import sympy as sp

from symdeq._errors import ModelError, UnsupportedError
from symdeq.model import D, Eq, Reaction, parameters, reactions, state, states, t

# Values that no other test declares: an equal symbol declared later would change the order.
E, S, ES, P = states(E=1021, S=1022, ES=1023, P=1024)
A, B, C = states(A=1025, B=1026, C=1027)
kf, kr, kc = parameters(kf=1028.0, kr=1029.0, kc=1030.0)
k, v, K = parameters(k=1031.0, v=1032.0, K=1033.0)


def enzyme():
    return reactions(
        [
            Reaction(kf, {E: 1, S: 1}, {ES: 1}),
            Reaction(kr, {ES: 1}, {E: 1, S: 1}),
            Reaction(kc, {ES: 1}, {E: 1, P: 1}, name="turnover"),
        ],
        name="enzyme",
    )


def sides(system):
    return {equation.lhs: sp.expand(equation.rhs) for equation in system.equations}


def test_enzyme() -> None:
    network = enzyme()
    assert network.species == (E, S, ES, P)
    assert network.parameters == (kf, kr, kc)
    assert network.stoichiometry.tolist() == [[-1, 1, 1], [-1, 1, 0], [1, -1, -1], [0, 0, 1]]
    assert network.rates == network.propensities == (kf * E * S, kr * ES, kc * ES)
    assert [total.expression for total in network.conserved] == [E + ES, S + ES + P]
    assert [total.coefficients for total in network.conserved] == [(1, 0, 1, 0), (0, 1, 1, 1)]
    made, kept = kf * E * S - kr * ES, kc * ES
    assert sides(network.ode()) == {D(E): kept - made, D(S): -made, D(ES): made - kept, D(P): kept}
    assert network.ode().states == network.species
    assert str(network).splitlines() == [
        "`enzyme`: 4 species, 3 reactions",
        "  R1        E + S -> ES  kf*E*S",
        "  R2        ES -> E + S  kr*ES",
        "  turnover  ES -> E + P  kc*ES",
        "  conserved  E + ES",
        "  conserved  ES + P + S",
    ]


def test_reactants_are_counted_by_the_ways_to_choose_them() -> None:
    pair = [Reaction(k, {A: 2}, {B: 1}), Reaction(kr, {B: 1}, {A: 2}), Reaction(kc, {A: 3, B: 1}, {C: 1})]
    network = reactions(pair)
    assert network.rates == (k * A**2 / 2, kr * B, kc * A**3 * B / 6)
    assert network.propensities == (k * A * (A - 1) / 2, kr * B, kc * A * (A - 1) * (A - 2) * B / 6)
    assert network.stoichiometry.tolist() == [[-2, 2, -3], [1, -1, -1], [0, 0, 1]]
    assert [total.expression for total in network.conserved] == [A + 2 * B + 5 * C]
    plain = reactions(pair, combinatoric=False)
    assert plain.rates == (k * A**2, kr * B, kc * A**3 * B)
    assert plain.propensities == (k * A * (A - 1), kr * B, kc * A * (A - 1) * (A - 2) * B)
    assert sides(reactions(pair[:2]).ode()) == {D(A): 2 * kr * B - k * A**2, D(B): k * A**2 / 2 - kr * B}


def test_totals_are_a_basis_of_what_the_reactions_leave() -> None:
    rng = np.random.default_rng(3)
    pool = states(**{f"s{i}": 1 for i in range(9)})
    found = set()
    for _ in range(20):
        drawn = zip(*np.array([rng.permutation(9)[:3] for _ in range(5)]).T, *rng.integers(1, 4, (2, 5)), strict=True)
        network = reactions([Reaction(1.0, {pool[a]: n}, {pool[b]: m, pool[c]: 1}) for a, b, c, n, m in drawn])
        totals = np.array([[int(c) for c in total.coefficients] for total in network.conserved])
        found.add(len(totals))
        assert not (totals @ network.stoichiometry).any()
        assert np.linalg.matrix_rank(totals) == len(totals)
        assert len(totals) == len(network.species) - np.linalg.matrix_rank(network.stoichiometry)
    assert len(found) > 1


def test_whole_rate_laws_catalysts_and_sources() -> None:
    saturating = Reaction(v * A / (K + A), {A: 1}, {B: 1}, mass_action=False)
    network = reactions([saturating, Reaction(k, products={A: 1}), Reaction(kr, {B: 1, C: 1}, {C: 1})])
    assert network.rates == network.propensities == (v * A / (K + A), k, kr * B * C)
    assert network.stoichiometry.tolist() == [[-1, 1, 0], [1, 0, -1], [0, 0, 0]]
    assert [total.expression for total in network.conserved] == [C]
    assert sides(network.ode())[D(C)] == 0
    assert [str(reaction) for reaction in network.reactions] == ["A -> B", "0 -> A", "B + C -> C"]
    assert reactions([Reaction(k * sp.sin(t), {A: 1})]).rates == (k * sp.sin(t) * A,)


def test_equations_know_the_reactions_that_they_come_from() -> None:
    here = inspect.currentframe().f_lineno  # pyright: ignore[reportOptionalMemberAccess]
    network = reactions([Reaction(k, {A: 1}, {B: 1}), Reaction(kr, {B: 1, C: 1}, {C: 1})])
    for_a, for_b, for_c = network.ode().equations
    assert [o.text for o in for_a.origins] == ["Reaction(k, {A: 1}, {B: 1})"]
    assert [(o.file, o.line) for o in for_b.origins] == [(__file__, here + 1)] * 2
    assert [o.text for o in for_c.origins] == ["Reaction(kr, {B: 1, C: 1}, {C: 1})"]
    assert network.reactions[0].located.endswith(f"test_reactions.py:{here + 1})")


def test_equal_networks_are_equal() -> None:
    assert enzyme() == enzyme()
    assert hash(enzyme().jumps()) == hash(enzyme().jumps())
    assert enzyme().ode() == enzyme().ode()


def test_langevin_has_a_motion_for_each_reaction() -> None:
    network = reactions([Reaction(k, {A: 2}, {B: 1}), Reaction(kr, {B: 1}, {A: 2}, name="back")])
    there, back = sp.sqrt(k * A**2 / 2), sp.sqrt(kr * B)
    (for_a, for_b) = network.langevin().equations
    first, second = sorted((s for s in for_b.symbols if str(s).startswith("D(W")), key=str)
    assert (str(first), str(second)) == ("D(W_R1)", "D(W_back)")
    drift = k * A**2 / 2 - kr * B
    assert sp.expand(for_b.rhs - drift - there * first + back * second) == 0
    assert sp.expand(for_a.rhs + 2 * (drift + there * first - back * second)) == 0
    (_, for_b) = network.langevin(absolute=True).equations
    there, back = sp.sqrt(sp.Abs(k * A**2 / 2)), sp.sqrt(sp.Abs(kr * B))
    assert sp.expand(for_b.rhs - drift - there * first + back * second) == 0


def test_jumps() -> None:
    process = reactions([Reaction(k, {A: 2}, {B: 1}), Reaction(kr, {B: 1}, {A: 2})], name="pairs").jumps()
    assert (process.species, process.changes) == ((A, B), ((-2, 1), (2, -1)))
    assert process.propensities == (k * A * (A - 1) / 2, kr * B)
    assert str(process) == "Jump process `pairs`\n  R1  2 A -> B  with k*A*(A - 1)/2\n  R2  B -> 2 A  with kr*B"
    with pytest.raises(UnsupportedError, match=r"depends on `t`(.|\n)*R1: A -> 0(.|\n)*test_reactions\.py:\d+"):
        reactions([Reaction(k * t, {A: 1})]).jumps()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((k,), "neither reactants nor products"),
        ((k, {A: -1}), r"amount of `A` among the reactants is -1"),
        ((k, {A: 1}, {B: 1.5}), r"amount of `B` among the products is 1\.5"),
        ((k, {A: 0}), "is 0; it must be a whole number"),
        ((k, {A: True}), "is True; it must"),
        ((k, {"A": 1}), "name 'A', which is no state"),
        ((k, {sp.Symbol("A"): 1}), "name A, which is no state"),
        ((k, {k: 1}), "name k, which is no state"),
        ((k, [A]), r"must be \{species: amount\}"),
        ((k, {state("h", 0.0, shape=(2,)): 1}), "`h` is a vector"),
        ((k, {state("h", 0.0, shape=(2,))[0]: 1}), "is a vector or a part of one"),
        ((k * A, {A: 1}), "contains the state `A`; its reactants come in by themselves"),
        ((sp.Symbol("q"), {A: 1}), "`q` is not declared"),
        ((-1.0, {A: 1}), "is negative: -1"),
        ((float("nan"), {A: 1}), "rate of a reaction must be finite"),
        (("k", {A: 1}), "must be a number or an expression of symbols, not 'k'"),
        ((D(A), {A: 1}, {}, None, False), r"contains `D\(A\)`"),
        ((k, {A: 1}, {}, "a b"), "cannot be the name"),
    ],
)
def test_a_reaction_that_cannot_be_is_refused_where_it_stands(arguments, said) -> None:
    with pytest.raises(ModelError, match=rf"{said}(.|\n)*where:  Reaction at .*test_reactions\.py:\d+"):
        Reaction(*arguments)


def test_a_network_that_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match=r"Two reactions are named `a`(.|\n)*A -> 0(.|\n)*B -> 0"):
        reactions([Reaction(k, {A: 1}, name="a"), Reaction(k, {B: 1}, name="a")])
    with pytest.raises(ModelError, match="Two reactions are named `R2`"):
        reactions([Reaction(k, {A: 1}, name="R2"), Reaction(k, {B: 1})])
    with pytest.raises(ModelError, match=r"Two species are named `A`(.|\n)*test_reactions"):
        reactions([Reaction(k, {A: 1}), Reaction(k, {state("A", 3): 1})])
    with pytest.raises(ModelError, match=r"`C` stands in the rate(.|\n)*catalyst"):
        reactions([Reaction(k * C, {A: 1}, mass_action=False)])
    for bad, said in (
        ([], "no reactions"),
        (Reaction(k, {A: 1}), "put it in a list"),
        ([Eq(D(A), 1)], "is no reaction"),
    ):
        with pytest.raises(ModelError, match=said):
            reactions(bad)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ModelError, match="cannot be the name of a network"):
        reactions([Reaction(k, {A: 1})], name="a b")
