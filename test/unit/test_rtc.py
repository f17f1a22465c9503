# SPDX-License-Identifier: Apache-2.0
"""The formulas of real-time chunking, against published numbers, finite differences and defects seen in the field."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import policy_ros.execution.rtc as stable
import policy_ros.rtc as formulas
from policy_ros.errors import ConfigurationError
from policy_ros.rtc import (
    JACOBIANS,
    SCHEDULES,
    GuidanceOptions,
    guidance_weight,
    guided_clean_sample,
    guided_velocity,
    inference_weights,
    prefix_weights,
)

H, A = 6, 3
TAUS = (0.0, 0.2, 0.5, 0.9)


class Network(nn.Module):
    """A velocity in which every value of a chunk depends on every other, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        size = H * A
        self.layers = nn.Sequential(nn.Linear(size + 1, 16), nn.Tanh(), nn.Linear(16, size)).double()

    def forward(self, x: Tensor, tau: float) -> Tensor:
        flat = x.flatten(-2)
        time = flat.new_full((*flat.shape[:-1], 1), tau)
        velocity: Tensor = self.layers(torch.cat((flat, time), dim=-1)).reshape(x.shape)
        return velocity


@pytest.fixture
def network() -> Network:
    return Network()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def falling(rows: int = H) -> Tensor:
    return torch.linspace(1.0, 0.0, rows, dtype=torch.float64)


def numeric_pull(estimate: Callable[[Tensor], Tensor], x: Tensor, prefix: Tensor, weights: Tensor) -> Tensor:
    """``J^T (W (prefix - estimate))`` by central differences; prefix and weights have the shape of x."""
    step, pull = 1e-6, torch.zeros_like(x)
    with torch.no_grad():
        error = weights * (prefix - estimate(x))
        for index in np.ndindex(*x.shape):
            shift = torch.zeros_like(x)
            shift[index] = step
            pull[index] = ((estimate(x + shift) - estimate(x - shift)) / (2 * step) * error).sum()
    return pull


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("exp", [1, 1, 0.5706, 0.2871, 0.1145, 0.0258, 0, 0, 0, 0]),
        ("linear", [1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0, 0]),
        ("ones", [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]),
        ("zeros", [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_weights_are_the_published_ones(schedule: str, expected: list[float]) -> None:
    weights = prefix_weights(2, 6, 10, schedule)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, expected, atol=5e-5)


def test_weights_of_the_papers_horizon_are_the_published_ones() -> None:
    expected = [0.7645, 0.5706, 0.4130, 0.2871, 0.1888, 0.1145, 0.0611, 0.0258, 0.0061]
    weights = prefix_weights(5, 14, 25, "exp")
    np.testing.assert_allclose(weights[5:14], expected, atol=5e-5)
    assert np.all(weights[:5] == 1.0) and np.all(weights[14:] == 0.0)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (5, [5, 4.25, 2.1667, 2.1667, 4.25]),
        (10, [10, 9.1111, 4.25, 2.7619, 2.1667, 2, 2.1667, 2.7619, 4.25, 9.1111]),
    ],
)
def test_guidance_weights_over_the_denoising_steps_are_the_published_ones(steps: int, expected: list[float]) -> None:
    weights = [guidance_weight(index / steps, float(steps)) for index in range(steps)]
    np.testing.assert_allclose(weights, expected, atol=5e-5)


def test_the_guidance_weight_is_its_limit_at_both_ends() -> None:
    assert guidance_weight(0.0, 5.0) == guidance_weight(1.0, 5.0) == 5.0
    assert guidance_weight(1e-9, 5.0) == guidance_weight(1.0 - 1e-9, 5.0) == 5.0
    assert guidance_weight(0.5, 0.0) == 0.0


@pytest.mark.parametrize(("jacobian", "expected"), [("exact", 1.475), ("identity", 1.8)])
def test_the_worked_example_of_the_other_time_convention(jacobian: str, expected: float) -> None:
    """LeRobot's time t runs from 1, noise, to 0, action: tau = 1 - t, and its velocity points the other way.

    With v = x / 2 at x = 1, t = 0.5 its estimate of the action is x - t v = 0.75, the Jacobian of that 0.75 and the
    weight 2, so that v - 2 * 0.75 * (0.1 - 0.75) = 1.475.
    """
    t = 0.5
    ours = guided_velocity(
        lambda x, tau: -0.5 * x, torch.ones(1, 1), 1.0 - t, torch.full((1, 1), 0.1), torch.ones(1), 10.0, jacobian
    )
    assert -ours.item() == pytest.approx(expected)


# Weights -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 10), (3, 3), (10, 10), (7, 4)])
def test_weights_fall_from_one_to_nothing(schedule: str, start: int, end: int) -> None:
    weights = prefix_weights(start, end, 10, schedule)
    assert np.all(np.diff(weights) <= 0.0)
    assert np.all(weights[: min(start, end)] == 1.0) and np.all(weights[end:] == 0.0)


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (0, -1), (0, 11), (11, 11)])
def test_weights_outside_the_chunk_are_refused(start: int, end: int) -> None:
    with pytest.raises(ConfigurationError, match="expected start and end in 0 to 10"):
        prefix_weights(start, end, 10)


def test_an_unknown_schedule_names_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'linear'"):
        prefix_weights(0, 1, 2, "linaer")


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_field_defect_window_shorter_than_the_delay(schedule: str) -> None:
    """Every row that will be executed before the chunk arrives is tied, for all feasible delays."""
    for s in range(1, H):
        for d in range(min(s, H - s) + 1):
            weights = inference_weights(delay=d, execution_horizon=s, horizon=H, rows=H - s, schedule=schedule)
            assert np.all(weights[:d] == 1.0), (d, s)
            np.testing.assert_array_equal(weights, prefix_weights(d, H - s, H, schedule))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_field_defect_frozen_rows_that_are_padding(schedule: str) -> None:
    """Where d > H - s, rows will be executed that the old chunk does not have: they are free, not tied to zeros."""
    weights = inference_weights(delay=9, execution_horizon=6, horizon=10, rows=4, schedule=schedule)
    assert weights.tolist() == [1.0] * 4 + [0.0] * 6
    shorter = inference_weights(delay=2, execution_horizon=2, horizon=10, rows=3, schedule=schedule)
    np.testing.assert_array_equal(shorter[:3], prefix_weights(2, 8, 10, schedule)[:3])
    assert np.all(shorter[3:] == 0.0)


def test_nothing_is_tied_where_nothing_is_left() -> None:
    assert not inference_weights(delay=2, execution_horizon=10, horizon=10, rows=0).any()
    assert not inference_weights(delay=2, execution_horizon=15, horizon=10, rows=0).any()


@pytest.mark.parametrize("changes", [{"delay": -1}, {"execution_horizon": -1}, {"rows": -1}])
def test_negative_counts_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="of 0 or more, got"):
        inference_weights(**{"delay": 1, "execution_horizon": 1, "horizon": 4, "rows": 3, **changes})


# Guidance ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("shape", [(H, A), (2, H, A)])
def test_guidance_agrees_with_finite_differences(network: Network, tau: float, shape: tuple[int, ...]) -> None:
    x, prefix, weights = draw(*shape), draw(*shape, seed=2), falling()

    def estimate(at: Tensor) -> Tensor:
        return at + (1.0 - tau) * network(at, tau)

    pull = numeric_pull(estimate, x, prefix, weights[:, None])
    guided = guided_velocity(network, x, tau, prefix, weights, 5.0)
    torch.testing.assert_close(guided, network(x, tau).detach() + guidance_weight(tau, 5.0) * pull, atol=1e-8, rtol=0)
    assert not guided.requires_grad


@pytest.mark.parametrize("alpha_bar", [0.0, 0.1, 0.6, 1.0])
def test_clean_sample_guidance_agrees_with_finite_differences(network: Network, alpha_bar: float) -> None:
    x, prefix, weights = draw(H, A), draw(H, A, seed=2), falling()
    signal, noise = np.sqrt(alpha_bar), np.sqrt(1.0 - alpha_bar)
    tau, scale = signal / (signal + noise), signal + noise
    pull = numeric_pull(lambda at: network(at, 0.0), x, prefix, weights[:, None])
    guided = guided_clean_sample(lambda at: network(at, 0.0), x, alpha_bar, prefix, weights, 5.0)
    expected = network(x, 0.0).detach() + (1.0 - tau) * guidance_weight(tau, 5.0) * scale * pull
    torch.testing.assert_close(guided, expected, atol=1e-8, rtol=0)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("alpha_bar", [0.0, 0.1, 0.6, 0.99])
def test_a_diffusion_is_guided_as_the_flow_it_is(network: Network, alpha_bar: float, jacobian: str) -> None:
    """One model seen as both: the same estimate of the action from the same mixture of action and noise."""
    scale = np.sqrt(alpha_bar) + np.sqrt(1.0 - alpha_bar)
    tau = np.sqrt(alpha_bar) / scale
    z, prefix, weights = draw(H, A), draw(H, A, seed=2), falling()

    def clean(x: Tensor) -> Tensor:
        return network(x / scale, tau)

    def velocity(at: Tensor, tau: float) -> Tensor:
        return (network(at, tau) - at) / (1.0 - tau)

    as_flow = z + (1.0 - tau) * guided_velocity(velocity, z, tau, prefix, weights, 5.0, jacobian)
    as_diffusion = guided_clean_sample(clean, scale * z, alpha_bar, prefix, weights, 5.0, jacobian)
    torch.testing.assert_close(as_diffusion, as_flow)


def test_the_identity_jacobian_is_the_error_itself(network: Network) -> None:
    x, prefix, weights, tau = draw(H, A), draw(H, A, seed=2), falling(), 0.3
    free = network(x, tau).detach()
    expected = free + guidance_weight(tau, 5.0) * weights[:, None] * (prefix - (x + (1.0 - tau) * free))
    torch.testing.assert_close(guided_velocity(network, x, tau, prefix, weights, 5.0, "identity"), expected)


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_without_weights_guidance_changes_nothing(network: Network, jacobian: str) -> None:
    x, prefix = draw(2, H, A), draw(H, A, seed=2)
    torch.testing.assert_close(
        guided_velocity(network, x, 0.4, prefix, np.zeros(H), 5.0, jacobian), network(x, 0.4), atol=0.0, rtol=0.0
    )
    torch.testing.assert_close(
        guided_velocity(network, x, 0.4, prefix, falling(), 0.0, jacobian), network(x, 0.4), atol=0.0, rtol=0.0
    )


def test_a_batch_is_guided_row_by_row_of_it(network: Network) -> None:
    x, prefix = draw(3, H, A), draw(3, 4, A, seed=2)
    together = guided_velocity(network, x, 0.3, prefix, falling(), 5.0)
    alone = [guided_velocity(network, x[i], 0.3, prefix[i], falling(), 5.0) for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone))
    shared = guided_velocity(network, x, 0.3, prefix[0], falling(), 5.0)
    torch.testing.assert_close(shared[0], alone[0])


def test_arrays_scalars_and_other_precision_are_taken(network: Network) -> None:
    x, prefix, weights = draw(H, A), draw(4, A, seed=2), falling()
    expected = guided_velocity(network, x, 0.3, prefix, weights, 5.0)
    given = guided_velocity(network, x, 0.3, prefix.numpy(), weights.numpy(), 5.0)
    torch.testing.assert_close(given, expected)
    columns = guided_velocity(network, x, 0.3, prefix, weights[:, None].expand(H, A), 5.0)
    torch.testing.assert_close(columns, expected)
    single = guided_velocity(lambda at, tau: -at, x.float(), 0.3, prefix, 1.0, 5.0)
    assert single.dtype == torch.float32 and single.shape == (H, A)


def test_a_vector_is_rows_of_one_value() -> None:
    arguments = (0.3, torch.tensor([0.5, 0.2]), torch.tensor([1.0, 0.5, 0.2]), 5.0)
    vector = guided_velocity(lambda x, tau: -x, torch.tensor([1.0, 2.0, 3.0]), *arguments)
    column = guided_velocity(
        lambda x, tau: -x, torch.tensor([[1.0], [2.0], [3.0]]), 0.3, arguments[1][:, None], *arguments[2:]
    )
    torch.testing.assert_close(vector, column[:, 0])


# Defects seen in the field -------------------------------------------------------------------------------------------


def test_field_defect_velocity_evaluated_before_gradients_are_on(network: Network) -> None:
    """Then the Jacobian of the network is lost and what is left is the identity, which looks like guidance."""
    arguments = (draw(H, A), 0.3, draw(H, A, seed=2), falling(), 5.0)
    exact, identity = (guided_velocity(network, *arguments, jacobian) for jacobian in JACOBIANS)
    assert (exact - identity).abs().max() > 0.01


@pytest.mark.parametrize("inside", ["no_grad", "inference_mode", "detach"])
def test_field_defect_gradients_switched_off_inside_the_network_are_found(network: Network, inside: str) -> None:
    silent: Callable[[Tensor, float], Tensor] = {
        "no_grad": torch.no_grad()(network.forward),
        "inference_mode": torch.inference_mode()(network.forward),
        "detach": lambda x, tau: network(x.detach(), tau),
    }[inside]
    x, prefix = draw(H, A), draw(H, A, seed=2)
    with pytest.raises(ConfigurationError, match="Jacobian is lost"):
        guided_velocity(silent, x, 0.3, prefix, falling(), 5.0)
    with pytest.raises(ConfigurationError, match="Jacobian is lost"):
        guided_clean_sample(lambda at: silent(at, 0.3), x, 0.5, prefix, falling(), 5.0)
    guided_velocity(silent, x, 0.3, prefix, falling(), 5.0, "identity")


def test_a_network_that_ignores_its_input_has_no_jacobian() -> None:
    constant, prefix = draw(H, A, seed=3), draw(H, A, seed=2)
    exact, identity = (
        guided_velocity(lambda x, tau: constant, draw(H, A), 0.3, prefix, falling(), 5.0, jacobian)
        for jacobian in JACOBIANS
    )
    torch.testing.assert_close(exact, identity)
    torch.testing.assert_close(
        guided_clean_sample(lambda x: constant, draw(H, A), 0.5, prefix, falling(), 5.0), constant
    )


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("frozen", [False, True])
def test_field_defect_inference_mode_around_the_guided_step(network: Network, around: Any, frozen: bool) -> None:
    expected = guided_velocity(network, draw(H, A), 0.3, draw(4, A, seed=2), falling(), 5.0)
    clean = guided_clean_sample(lambda at: network(at, 0.3), draw(H, A), 0.5, draw(4, A, seed=2), falling(), 5.0)
    network.requires_grad_(not frozen)
    with around():
        x, prefix, weights = draw(H, A), draw(4, A, seed=2), falling()  # made there, as a caller would
        torch.testing.assert_close(guided_velocity(network, x, 0.3, prefix, weights, 5.0), expected, atol=0, rtol=0)
        sample = guided_clean_sample(lambda at: network(at, 0.3), x, 0.5, prefix, weights, 5.0)
        torch.testing.assert_close(sample, clean, atol=0, rtol=0)


def test_parameters_collect_no_gradients_and_inputs_stay_as_they_are(network: Network) -> None:
    x, prefix, weights = draw(H, A).requires_grad_(), draw(4, A, seed=2), falling()
    before = [value.detach().clone() for value in (x, prefix, weights)]
    guided_velocity(network, x, 0.3, prefix, weights, 5.0)
    assert x.grad is None and all(parameter.grad is None for parameter in network.parameters())
    for value, old in zip((x, prefix, weights), before, strict=True):
        torch.testing.assert_close(value.detach(), old, atol=0, rtol=0)


def test_field_defect_prefix_shifted_against_the_chunk() -> None:
    """Row i of the prefix pulls row i, seen on a velocity that does not mix rows."""
    for row in range(4):
        weights = torch.zeros(H)
        weights[row] = 1.0
        prefix = torch.zeros(4, A)
        prefix[row] = 7.0
        guided = guided_velocity(lambda x, tau: 0.0 * x, torch.zeros(H, A), 0.0, prefix, weights, 5.0)
        expected = torch.zeros(H, A)
        expected[row] = 35.0
        torch.testing.assert_close(guided, expected)


@pytest.mark.parametrize("padding", [0.0, 1e6, float("nan"), float("inf")])
@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_field_defect_guided_toward_padding(network: Network, padding: float, jacobian: str) -> None:
    """Rows that the prefix lacks, or that weigh nothing, hold whatever they hold: the result is the same."""
    x, prefix, weights = draw(2, H, A), draw(4, A, seed=2), falling()
    short = guided_velocity(network, x, 0.3, prefix, weights, 5.0, jacobian)
    padded = torch.cat((prefix, torch.full((H - 4, A), padding, dtype=torch.float64)))
    weights[4:] = 0.0
    torch.testing.assert_close(
        guided_velocity(network, x, 0.3, padded, weights, 5.0, jacobian), short, atol=0.0, rtol=0.0
    )
    assert torch.isfinite(short).all()


def test_an_empty_prefix_guides_nothing(network: Network) -> None:
    x = draw(H, A)
    torch.testing.assert_close(guided_velocity(network, x, 0.3, x[:0], falling(), 5.0), network(x, 0.3), atol=0, rtol=0)


def test_the_exact_jacobian_carries_the_prefix_into_rows_without_weight(network: Network) -> None:
    """This is what keeps the rows behind the prefix in line with it."""
    x, prefix = draw(H, A), draw(2, A, seed=2)
    moved = {
        jacobian: guided_velocity(network, x, 0.3, prefix, falling(), 5.0, jacobian) - network(x, 0.3)
        for jacobian in JACOBIANS
    }
    assert moved["identity"][2:].abs().max() == 0.0
    assert moved["exact"][2:].abs().min() > 0.0


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prefix": torch.zeros(H + 1, A)}, r"at most 6 rows of 3 values, got shape \(7, 3\)"),
        ({"prefix": torch.zeros(H, 1)}, "rows of 3 values"),
        ({"prefix": torch.zeros(A)}, "rows of 3 values"),
        ({"prefix": torch.zeros(2, H, A)}, "rows of 3 values"),
        ({"weights": torch.ones(H + 1)}, r"expected \(6,\), got \(7,\)"),
        ({"weights": torch.ones(1)}, r"expected \(6,\), got \(1,\)"),
        ({"weights": torch.ones(2, H, A)}, "weights: expected"),
        ({"weights": -torch.ones(H)}, "0 or more, got a negative one"),
        ({"weights": torch.full((H,), float("nan"))}, "no number"),
        ({"velocity": lambda x, tau: x[:-1]}, r"expected the network to return \(6, 3\), got \(5, 3\)"),
        ({"tau": 1.5}, "flow time of 0 to 1, got 1.5"),
        ({"tau": float("nan")}, "flow time of 0 to 1"),
        ({"max_weight": -1.0}, "max_weight: expected a finite number of 0 or more"),
        ({"max_weight": float("inf")}, "max_weight: expected a finite number of 0 or more"),
        ({"jacobian": "exakt"}, "did you mean 'exact'"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "velocity": lambda x, tau: -x,
        "x": torch.zeros(H, A),
        "tau": 0.3,
        "prefix": torch.zeros(H, A),
        "weights": torch.ones(H),
        "max_weight": 5.0,
    }
    with pytest.raises(ConfigurationError, match=message):
        guided_velocity(**{**arguments, **changes})


@pytest.mark.parametrize("alpha_bar", [-0.1, 1.1, float("nan")])
def test_a_noise_level_outside_its_range_is_refused(alpha_bar: float) -> None:
    with pytest.raises(ConfigurationError, match="alpha_bar: expected 0 to 1"):
        guided_clean_sample(lambda x: x, torch.zeros(H, A), alpha_bar, torch.zeros(H, A), torch.ones(H), 5.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "cosine"}, "schedule: unknown 'cosine'"),
        ({"jacobian": "none"}, "jacobian: unknown 'none'"),
        ({"max_weight": -1.0}, "max_weight"),
        ({"max_weight": float("nan")}, "max_weight"),
    ],
)
def test_options_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        GuidanceOptions(**changes)


# Where they are found ------------------------------------------------------------------------------------------------


def test_the_stable_path_offers_all_of_it() -> None:
    own = {name for name, value in vars(formulas).items() if getattr(value, "__module__", "") == formulas.__name__}
    public = {name for name in own if not name.startswith("_")} | {"SCHEDULES", "JACOBIANS"}
    assert set(stable.__all__) == public
    assert all(getattr(stable, name) is getattr(formulas, name) for name in public)


def test_importing_the_formulas_leaves_torch_out() -> None:
    code = (
        "import sys, policy_ros.execution.rtc as rtc; rtc.prefix_weights(1, 2, 3); rtc.guidance_weight(0.5, 5.0); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
