"""Rodas5P: Rosenbrock method of order 5 for stiff equations and index-1 differential-algebraic equations.

Coefficients: Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia
Differential Equations package, BIT Numerical Mathematics 63:27 (2023).
"""

from typing import ClassVar

from symdeq.solvers.rosenbrock import AbstractRosenbrock, RosenbrockTableau, padded

_A = (
    (),
    (3.0,),
    (2.849394379747939, 0.45842242204463923),
    (-6.954028509809101, 2.489845061869568, -10.358996098473584),
    (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
    (-7.502846399306121, 2.561846144803919, -11.627539656261098, -0.18268767659942256, 0.030198172008377946),
)
_C = (
    (),
    (-14.155112264123755,),
    (-17.97296035885952, -2.859693295451294),
    (147.12150275711716, -1.41221402718213, 71.68940251302358),
    (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
    (24.854864614690072, -3.0009227002832186, 47.4931110020768, 5.5814197821558125, -0.6610691825249471),
    (
        30.91273214028599,
        -3.1208243349937974,
        77.79954646070892,
        34.28646028294783,
        -19.097331116725623,
        -28.087943162872662,
    ),
    (
        37.80277123390563,
        -3.2571969029072276,
        112.26918849496327,
        66.9347231244047,
        -40.06618937091002,
        -54.66780262877968,
        -9.48861652309627,
    ),
)
_GAMMA = 0.21193756319429014

# For y' = λ (y - φ(t)) + φ'(t) with λ → -∞ (Prothero and Robinson, Math. Comp. 28:145-162, 1974), and so for algebraic
# equations, every step ends on φ exactly, b_error sees nothing, and the dense output in between knows nothing of φ.
# These weights, which are not in the paper, see it. Up to a factor they are the one combination of the stages that all
# conditions up to order 5 annul, so that where the equation is not stiff they vanish faster than b_error; the factor
# makes them half the largest error of the dense output for φ = t⁴, λ → -∞ (docs/decisions/006-switching.md).
_DEFECT = (
    -0.040896037515382684,
    0.0008094435427254568,
    -0.20459561326438774,
    -0.19378476142649873,
    0.1244612987191898,
    0.1577655678148423,
    0.028313939478553388,
    0.0280060337501887,
)

RODAS5P = RosenbrockTableau(
    order=5,
    error_order=5,
    gamma=_GAMMA,
    # The method is stiffly accurate: each of the last stages starts where the one before it ends.
    a=padded((*_A, (*_A[5], 1.0), (*_A[5], 1.0, 1.0)), 8),
    c=padded(_C, 8),
    times=(0.0, 0.6358126895828704, 0.4095798393397535, 0.9769306725060716, 0.4288403609558664, 1.0, 1.0, 1.0),
    d=(
        _GAMMA,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    ),
    b=(*_A[5], 1.0, 1.0, 1.0),
    b_error=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    dense=(
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
    b_defect=_DEFECT,
)


class Rodas5P(AbstractRosenbrock):
    """Order 5, stiffly accurate, L-stable, with dense output of order 4; for tolerances of 1e-5 and tighter.

    A diffrax solver: `diffrax.diffeqsolve(diffrax.ODETerm(f), Rodas5P(), ...)`. Eight stages with one factorisation. An
    estimate of the error between the ends of the step takes part in the control of the step size. Source: Steinebach,
    BIT Numerical Mathematics 63:27 (2023).
    """

    tableau: ClassVar[RosenbrockTableau] = RODAS5P
