"""Layers: compiled models and neural differential equations inside networks, and their training."""

from symdeq.nn import saved as _saved  # noqa: F401  # tells `save` of the layers
from symdeq.nn.deq import DEQ as DEQ
from symdeq.nn.deq import DEQInfo as DEQInfo
from symdeq.nn.layer import ODELayer as ODELayer
from symdeq.nn.multiscale import MultiScaleDEQ as MultiScaleDEQ
from symdeq.nn.multiscale import MultiScaleNeuralODE as MultiScaleNeuralODE
from symdeq.nn.multiscale import MultiScaleSkipDEQ as MultiScaleSkipDEQ
from symdeq.nn.multiscale import SkipDEQ as SkipDEQ
from symdeq.nn.neural_ode import NeuralODE as NeuralODE
from symdeq.nn.neural_sde import NeuralSDE as NeuralSDE
from symdeq.nn.roughness import roughness as roughness
from symdeq.nn.shooting import MultipleShooting as MultipleShooting
from symdeq.nn.train import train as train
from symdeq.nn.training import Training as Training
from symdeq.nn.training import TrainingError as TrainingError
