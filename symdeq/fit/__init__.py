"""Parameter estimation: measurements, noise, the search from many starts, and how well the estimates are known."""

from symdeq.fit.data import Measurements as Measurements
from symdeq.fit.noise import AbstractNoise as AbstractNoise
from symdeq.fit.noise import LogNormal as LogNormal
from symdeq.fit.noise import Normal as Normal
from symdeq.fit.predict import Curve as Curve
from symdeq.fit.predict import Prediction as Prediction
from symdeq.fit.problem import fit as fit
from symdeq.fit.profile import Profile as Profile
from symdeq.fit.result import Fit as Fit
from symdeq.fit.starts import Outcome as Outcome
from symdeq.fit.starts import Starts as Starts
from symdeq.fit.unknowns import Unknown as Unknown
