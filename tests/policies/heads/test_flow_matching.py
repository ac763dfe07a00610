"""Flow matching against closed forms: for Gaussian actions the best velocity is known exactly.

With noise ~ N(0, 1) and actions ~ N(m, s^2), x_t = t a + (1 - t) e is Gaussian with mean t m and variance
v(t) = (t s)^2 + (1 - t)^2, and E[a - e | x_t] = m + (t s^2 - (1 - t)) / v(t) * (x_t - t m).
"""

import numpy as np
import pytest
import torch
from scipy import integrate as quadrature
from scipy import stats

from vlm4vla.policies.heads.flow_matching import LATEST, flow_errors, integrate, sample_times, time_features

MEAN, DEVIATION = 0.4, 0.3


def variance(t):
    return (t * DEVIATION) ** 2 + (1 - t) ** 2


def best_velocity(x, times):
    """The conditional mean of the velocity, which has the smallest possible error."""
    t = times[:, None, None]
    slope = (t * DEVIATION**2 - (1 - t)) / variance(t)
    return MEAN + slope * (x - t * MEAN)


def least_error(t):
    """Var[a - e | x_t] = Var[a - e] - Cov[a - e, x_t]^2 / v(t)."""
    return DEVIATION**2 + 1 - (t * DEVIATION**2 - (1 - t)) ** 2 / variance(t)


def draw_actions_and_noise(count):
    torch.manual_seed(0)
    actions = MEAN + DEVIATION * torch.randn(count, 1, 1, dtype=torch.float64)
    return actions, torch.randn_like(actions)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.7, 0.95])
def test_loss_of_the_best_velocity_is_the_conditional_variance(t):
    actions, noise = draw_actions_and_noise(200_000)
    times = torch.full((len(actions),), t, dtype=torch.float64)
    errors = flow_errors(best_velocity, actions, noise, times)
    half = 4 * errors.std() / len(errors) ** 0.5
    assert abs(errors.mean().item() - least_error(t)) < half


def test_any_other_velocity_has_a_larger_loss():
    actions, noise = draw_actions_and_noise(50_000)
    times = sample_times(len(actions)).double()
    best = flow_errors(best_velocity, actions, noise, times).mean()
    for other in (lambda x, t: best_velocity(x, t) + 0.1, lambda x, t: 0.9 * best_velocity(x, t)):
        assert flow_errors(other, actions, noise, times).mean() > best


def test_sampling_follows_the_exact_flow():
    """The flow maps x_0 to m + s * x_0: each quantile of the noise to the same quantile of the actions."""
    noise = torch.linspace(-3, 3, 61, dtype=torch.float64).view(-1, 1, 1)
    found = integrate(best_velocity, noise, 2000)
    assert (found - (MEAN + DEVIATION * noise)).abs().max() < 2e-3


def test_ten_steps_are_eulers_method():
    """Under x' = m + b(t) (x - t m), x stays a linear function of the noise, which Euler's method updates."""
    steps, offset, factor = 10, 0.0, 1.0
    for step in range(steps):
        t = step / steps
        slope = (t * DEVIATION**2 - (1 - t)) / variance(t)
        offset += (MEAN + slope * (offset - t * MEAN)) / steps
        factor += slope * factor / steps
    noise = torch.tensor([-1.0, 0.0, 2.5], dtype=torch.float64).view(-1, 1, 1)
    found = integrate(best_velocity, noise, steps)
    torch.testing.assert_close(found, offset + factor * noise, atol=1e-12, rtol=0)


def test_a_trained_velocity_reaches_the_closed_form():
    """A small network, trained with the loss on Gaussian actions, samples the same Gaussian."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(17, 64), torch.nn.SiLU(), torch.nn.Linear(64, 1))

    def velocity(x, times):
        features = time_features(times, 16)[:, None].expand(len(x), 1, 16)
        return net(torch.cat([x, features], dim=-1))

    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(1500):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / 1500)
        actions = MEAN + DEVIATION * torch.randn(256, 1, 1)
        loss = flow_errors(velocity, actions, torch.randn_like(actions), sample_times(256)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        found = integrate(velocity, torch.randn(20_000, 1, 1), 10)
    assert found.mean().item() == pytest.approx(MEAN, abs=0.03)
    assert found.std().item() == pytest.approx(DEVIATION, rel=0.25)  # ten Euler steps, not the exact flow


def test_times_follow_pi0s_distribution():
    torch.manual_seed(0)
    found = sample_times(50_000).numpy()
    assert stats.kstest(1 - found / LATEST, stats.beta(1.5, 1).cdf).pvalue > 0.01
    expected, _ = quadrature.quad(lambda u: LATEST * (1 - u) * stats.beta(1.5, 1).pdf(u), 0, 1)
    assert np.mean(found) == pytest.approx(expected, abs=0.005)
