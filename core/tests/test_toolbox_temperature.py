"""The temperature's loss and gradient, and target entropies, against numbers worked out by hand."""

import math

import pytest
import torch
from gymnasium import spaces

from slmk.toolbox.temperature import Temperature, target_entropy, temperature_loss


def test_loss_and_gradient_of_the_temperature():
    """At α = ½ with 3 nats where 1 is wanted, the loss is ½ · (3 − 1) = 1, and so is its derivative by log α."""
    temperature = Temperature(0.5)
    loss = temperature_loss(temperature(), torch.tensor(3.0), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert temperature.log_alpha.grad.item() == pytest.approx(1.0)


@pytest.mark.parametrize(("entropy", "falls"), [(2.0, True), (-5.0, False)])
def test_temperature_falls_where_there_is_entropy_enough(entropy, falls):
    """A descent step lowers α where the policy has more than the target of −3 nats, and raises it where it has less."""
    temperature = Temperature()
    before = temperature().item()
    temperature_loss(temperature(), torch.tensor(entropy), -3.0).backward()
    torch.optim.SGD(temperature.parameters(), 0.01).step()
    assert (temperature().item() < before) is falls
    assert before == 1.0


@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_a_fixed_temperature_has_no_gradient(alpha):
    """One that is not learned keeps its value, 0 included, and its parameter asks for no gradient."""
    temperature = Temperature(alpha, learned=False)
    assert temperature().item() == pytest.approx(alpha)
    assert not temperature.log_alpha.requires_grad


def test_temperature_of_a_setting():
    """``auto`` is learned from the initial value on; a number is kept."""
    learned, fixed = Temperature.of("auto", 0.5), Temperature.of(0.2, 0.5)
    assert (learned.learned, fixed.learned) == (True, False)
    assert (learned().item(), fixed().item()) == pytest.approx((0.5, 0.2))


def test_target_entropies():
    """−1 nat, or as many as asked, for each of 2 × 3 dimensions; 0.3 log 4 for four actions; or what is set."""
    assert target_entropy("auto", spaces.Box(-1, 1, (2, 3)), per_dimension=-0.5) == -3
    assert target_entropy("auto", spaces.Box(-1, 1, (2, 3))) == -6
    assert target_entropy("auto", spaces.Discrete(4, start=1)) == pytest.approx(0.3 * math.log(4))
    assert target_entropy(-1.5, spaces.Box(-1, 1, (2, 3))) == -1.5
