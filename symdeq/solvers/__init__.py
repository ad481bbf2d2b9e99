"""diffrax solvers that diffrax lacks: Rosenbrock methods, and one that switches between explicit and Rosenbrock steps.

They work with any diffrax term of an ordinary differential equation, and know nothing of symdeq's models.
"""

from .autoswitch import AutoSwitch as AutoSwitch, SwitchState as SwitchState, SwitchStats as SwitchStats
from .explicit import ExplicitTableau as ExplicitTableau
from .explicit_tableaus import BOSH3 as BOSH3, TSIT5 as TSIT5
from .interpolation import QuarticInterpolation as QuarticInterpolation
from .linear import linear_solver as linear_solver
from .linearise import (
    AbstractLinearisation as AbstractLinearisation,
    DenseLinearisation as DenseLinearisation,
    linearise as linearise,
    MassTerm as MassTerm,
)
from .rodas5p import RODAS5P as RODAS5P, Rodas5P as Rodas5P
from .rosenbrock import AbstractRosenbrock as AbstractRosenbrock, RosenbrockTableau as RosenbrockTableau
from .rosenbrock23 import ROSENBROCK23 as ROSENBROCK23, Rosenbrock23 as Rosenbrock23
