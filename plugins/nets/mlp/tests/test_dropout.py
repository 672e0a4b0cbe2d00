"""Dropout: how much, where, when, and the same again."""

import pytest
import torch
from gymnasium import spaces

from slmk import Learner
from slmk.protocols import Role
from slmk.state import get_state, set_state
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.dropout import Dropout
from slmk_net_mlp.mlp import MLP


def dropout(share, seed=0):
    return Dropout(share, torch.Generator().manual_seed(seed))


def mlp(ensemble=0, **options):
    inputs = {"obs": spaces.Box(-1, 1, (4,))}
    config = MLPConfig(hidden=(64, 64), **options)
    return MLP(config, inputs, Role(3, ensemble=ensemble), torch.Generator().manual_seed(0))


def batch():
    return {"obs": torch.randn(32, 4, generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_the_share_goes_and_the_mean_stays(share):
    """Of a million features a share is 0, the rest is scaled by 1 / (1 − share)."""
    y = dropout(share)(torch.ones(1000, 1000))
    deviation = (share * (1 - share) / 1e6) ** 0.5
    assert (y == 0).float().mean().item() == pytest.approx(share, abs=4 * deviation)
    assert y.max().item() == pytest.approx(1 / (1 - share))


def test_places_and_calls_are_independent():
    """The correlation of neighbours, of rows and of consecutive calls is that of chance."""
    layer = dropout(0.5)
    first, second = ((layer(torch.ones(1000, 1000)) > 0).float() - 0.5 for _ in range(2))
    pairs = {
        "neighbours": (first[:, 1:], first[:, :-1]),
        "rows": (first[1:], first[:-1]),
        "calls": (first, second),
        "layers": (first, (dropout(0.5, seed=1)(torch.ones(1000, 1000)) > 0).float() - 0.5),
    }
    for name, (a, b) in pairs.items():
        assert 4 * (a * b).mean().item() == pytest.approx(0, abs=0.005), name


def test_each_member_of_an_ensemble_loses_other_features():
    """Members see the same input."""
    kept = dropout(0.5)(torch.ones(2, 100, 64)) > 0
    assert (kept[0] == kept[1]).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_only_training_drops():
    """Acting and bootstrapping are deterministic; the gradient of the input alone is no training."""
    network, plain = mlp(dropout=0.5), mlp()
    network.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(network(batch()), plain(batch()))
    network.requires_grad_(False)
    obs = {"obs": batch()["obs"].requires_grad_()}
    torch.testing.assert_close(network(obs), plain(obs))
    network.requires_grad_(True)
    assert not torch.allclose(network(batch()), network(batch()))


@pytest.mark.parametrize(
    ("norm", "ensemble"),
    [
        ("none", 2),
        ("layer", 0),
        pytest.param("none", 0, marks=pytest.mark.nightly),
        pytest.param("layer", 2, marks=pytest.mark.nightly),
    ],
)
def test_a_compiled_update_drops_what_an_eager_one_does(norm, ensemble):
    """Three updates give the same parameters; and so do two, a checkpoint and another one."""

    def learner(compile):
        network = mlp(ensemble, dropout=0.5, norm=norm)

        def loss(obs):
            return network(obs).square().mean(), {}

        return network, Learner({"network": network}, loss, compile=compile)

    (eager_net, eager), (compiled_net, compiled) = learner("off"), learner("on")
    for _ in range(3):
        eager.step(batch(), lr=1e-2)
        compiled.step(batch(), lr=1e-2)
    torch.testing.assert_close(compiled.flat, eager.flat, rtol=1e-4, atol=1e-5)
    assert torch.equal(compiled_net.dropouts[0].counter, eager_net.dropouts[0].counter)

    straight_net, straight = learner("off")
    resumed_net, resumed = learner("off")
    for _ in range(2):
        straight.step(batch(), lr=1e-2)
    set_state(resumed, get_state(straight))
    resumed_net.load_state_dict(straight_net.state_dict())
    for each in (straight, resumed):
        each.step(batch(), lr=1e-2)
    assert torch.equal(resumed.flat, straight.flat)
