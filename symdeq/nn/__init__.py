"""Layers: compiled models and neural differential equations inside networks, and their training."""

from symdeq.nn import saved as _saved  # noqa: F401  # tells `save` of the layers
from symdeq.nn.layer import ODELayer as ODELayer
from symdeq.nn.neural_ode import NeuralODE as NeuralODE
from symdeq.nn.roughness import roughness as roughness
from symdeq.nn.shooting import MultipleShooting as MultipleShooting
from symdeq.nn.train import train as train
from symdeq.nn.training import Training as Training
from symdeq.nn.training import TrainingError as TrainingError
