"""Flow matching between noise and actions, as in pi0 (arXiv 2410.24164).

At time t in [0, 1], the noisy action is x = t * action + (1 - t) * noise. It is the noise at t = 0 and the
action at t = 1. A network learns the velocity, action - noise. Sampling integrates the velocity over t.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]  # (x (B, chunk, D), t (B,)) -> (B, chunk, D)
LATEST = 0.999  # the largest training time: at t = 1 nothing is left to learn
PERIODS = (4e-3, 4.0)  # shortest and longest period of the sine and cosine features of a time


def sample_times(count: int) -> Tensor:
    """(count,) times from pi0's distribution: LATEST * (1 - u), u from Beta(1.5, 1), so mostly near noise."""
    return LATEST * (1 - torch.rand(count) ** (2 / 3))  # the distribution function of Beta(1.5, 1) is u^1.5


def flow_errors(velocity: Velocity, actions: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """Mean squared error of the velocity at `times` (B,): (B, chunk), a mean over the D dimensions.

    `actions`, `noise`: (B, chunk, D).
    """
    t = times[:, None, None]
    error = velocity(t * actions + (1 - t) * noise, times) - (actions - noise)
    return error.square().mean(-1)


def integrate(velocity: Velocity, noise: Tensor, steps: int) -> Tensor:
    """Integrate the velocity with Euler's method from `noise` (B, chunk, D) at t = 0 to t = 1."""
    x = noise
    for step in range(steps):
        x = x + velocity(x, x.new_full((len(x),), step / steps)) / steps
    return x


def time_features(times: Tensor, width: int) -> Tensor:
    """Sines and cosines of `times` (B,), (B, width); their periods are spaced evenly on a log scale."""
    low, high = (torch.tensor(period).log() for period in PERIODS)
    rates = 2 * torch.pi / torch.linspace(low, high, width // 2, device=times.device).exp()
    angles = times[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
