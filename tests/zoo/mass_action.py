"""Random networks of chemical reactions with mass-action kinetics: stiff, sparse, as large as one likes."""

from __future__ import annotations

import functools
from collections import defaultdict
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import scipy.sparse

from .problem import Problem, geometrically

REACTIONS_PER_SPECIES = 3
# Masses of the species; a reaction keeps the sum of them, so the network is closed.
_MASSES = (1, 2, 3, 4)
# A -> B, A -> B + C, A + B -> C, A + B -> C + D.
_KINDS, _SHARES = ((1, 1), (1, 2), (2, 1), (2, 2)), (0.55, 0.2, 0.2, 0.05)


@dataclass(frozen=True)
class Network:
    """Reactions by the positions of their species, and their rate constants.

    Arguments:
        mass: of each species, shape (n,); `mass @ y` never changes
        reactants: two positions a reaction, shape (m, 2); the second is n where there is only one reactant
        products: likewise
        rates: rate constants, shape (m,)
        start: initial values, shape (n,)
    """

    mass: np.ndarray
    reactants: np.ndarray
    products: np.ndarray
    rates: np.ndarray
    start: np.ndarray

    @property
    def stoichiometry(self) -> scipy.sparse.csr_matrix:
        """What each reaction adds to each species, shape (n, m)."""
        n, m = len(self.mass), len(self.rates)
        rows = np.concatenate([self.reactants.T.ravel(), self.products.T.ravel()])
        columns = np.tile(np.arange(m), 4)
        values = np.repeat([-1.0, 1.0], 2 * m)
        whole = scipy.sparse.csr_matrix((values, (rows, columns)), shape=(n + 1, m))
        return whole[:n].tocsr()


@functools.cache
def network(n: int, seed: int) -> Network:
    """About three reactions a species, each species a reactant of three; rate constants over six decades."""
    rng = np.random.default_rng((seed, n))
    mass = np.resize(_MASSES, n)
    of_mass = {m: np.flatnonzero(mass == m) for m in _MASSES}
    reactants, products = [], []
    for first in np.tile(np.arange(n), REACTIONS_PER_SPECIES):
        found = None
        while found is None:
            found = _reaction(int(first), mass, of_mass, rng)
        reactants.append(found[0])
        products.append(found[1])
    rates = 10.0 ** rng.uniform(-3, 3, len(reactants))
    return Network(mass, np.array(reactants), np.array(products), rates, rng.uniform(0.1, 1.0, n))


def _reaction(first: int, mass: np.ndarray, of_mass: dict, rng: np.random.Generator) -> tuple | None:
    """Reactants and products of equal mass and no species on both sides; None where the draw allows none."""
    n = len(mass)
    taken, made = _KINDS[rng.choice(len(_KINDS), p=_SHARES)]
    left = [first] if taken == 1 else [first, int(rng.integers(n))]
    total = int(mass[left].sum())
    if made == 1:
        shares = [total]
    else:
        small = int(rng.integers(1, total)) if total > 1 else 0
        shares = [small, total - small]
    if any(share not in of_mass for share in shares):
        return None
    right = [int(rng.choice(of_mass[share])) for share in shares]
    if set(left) & set(right) or len(set(left)) < taken or len(set(right)) < made:
        return None
    return (*left, n)[:2], (*right, n)[:2]


def _build(n: int, seed: int):
    """The model in symdeq's language."""
    import symdeq as sd
    from symdeq import D, Eq

    net = network(n, seed)
    x = [sd.state(f"x{i + 1}", float(v)) for i, v in enumerate(net.start)]
    k = [sd.parameter(f"k{i + 1}", float(v)) for i, v in enumerate(net.rates)]
    terms = defaultdict(list)
    for constant, left, right in zip(k, net.reactants, net.products, strict=True):
        rate = constant
        for i in left[left < n]:
            rate = rate * x[i]
        for i in left[left < n]:
            terms[i].append(-rate)
        for i in right[right < n]:
            terms[i].append(rate)
    equations = [Eq(D(x[i]), sum(terms[i][1:], terms[i][0])) for i in range(n)]
    return sd.System(equations, name=f"mass_action_{n}")


def _field(net: Network, t, y, args):
    """By hand, for JAX: all rates at once, then sums by species."""
    n, m = len(net.mass), len(net.rates)
    padded = jnp.concatenate([y, jnp.ones(1, y.dtype)])
    rates = jnp.asarray(args) * padded[net.reactants[:, 0]] * padded[net.reactants[:, 1]]
    where = np.concatenate([net.reactants.T.ravel(), net.products.T.ravel()])
    signs = np.repeat([-1.0, 1.0], 2 * m)
    return jnp.zeros(n + 1, y.dtype).at[where].add(signs * jnp.tile(rates, 4))[:n]


def _numpy_rhs(net: Network, stoichiometry, t, y, p):
    """By hand, for NumPy."""
    padded = np.append(y, 1.0)
    return stoichiometry @ (np.asarray(p) * padded[net.reactants[:, 0]] * padded[net.reactants[:, 1]])


def _numpy_jac_sparse(net: Network, stoichiometry, t, y, p):
    """By hand, for SciPy, as a sparse matrix."""
    n, m = len(net.mass), len(net.rates)
    padded, k, every = np.append(y, 1.0), np.asarray(p), np.arange(m)
    first, second = net.reactants.T
    values = np.concatenate([k * padded[second], k * padded[first]])
    rates = scipy.sparse.csr_matrix((values, (np.tile(every, 2), np.concatenate([first, second]))), shape=(m, n + 1))
    return (stoichiometry @ rates[:, :n]).tocsc()


def mass_action(n: int, seed: int = 0) -> Problem:
    """A closed network of n species; the same n and seed give the same one. No reference values are known."""
    net = network(n, seed)
    stoichiometry = net.stoichiometry
    sparse = functools.partial(_numpy_jac_sparse, net, stoichiometry)
    return Problem(
        name=f"mass_action_{n}",
        source="made here at random; the mass of all species together stays as it is",
        states=tuple(f"x{i + 1}" for i in range(n)),
        parameters=tuple(f"k{i + 1}" for i in range(len(net.rates))),
        build=functools.partial(_build, n, seed),
        field=functools.partial(_field, net),
        numpy_rhs=functools.partial(_numpy_rhs, net, stoichiometry),
        numpy_jac=lambda t, y, p: sparse(t, y, p).toarray(),
        y0=tuple(map(float, net.start)),
        params=tuple(map(float, net.rates)),
        t0=0.0,
        t1=100.0,
        ts=geometrically(1e-3, 100.0),
        reference={},
        stiff=True,
        numpy_jac_sparse=sparse,
    )
