"""Brax's PPO: loss and gradient against Brax itself, targets by hand, and the order of things in an iteration."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pydantic import ValidationError

from slmk import EnvInfo, Model, Parts, Transition
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.algorithm_runs import build_run
from slmk.testing.on_policy import Once, collect
from slmk.testing.subject import Subject
from slmk_algo_ppo_brax import PPOBraxConfig
from slmk_algo_ppo_brax.ppo_brax import PPOBrax, targets
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

OBS, ACT, L, B = 5, 2, 6, 8
HIDDEN = {"actor": (16, 12), "critic": (14, 10)}


def build(**options):
    """PPO on B environments with one segment of L steps each, networks of swish as Brax has them."""
    info = EnvInfo(B, {"state": spaces.Box(-9, 9, (OBS,))}, spaces.Box(-1, 1, (ACT,)), torch.device("cpu"))
    config = PPOBraxConfig(unroll_length=L, unrolls=1, minibatches=1, epochs=1, **options)
    generator, networks = torch.Generator().manual_seed(0), {}
    for role, spec in PPOBrax.roles(config, info).items():
        mlp = MLPConfig(hidden=HIDDEN[role], activation="swish", init="lecun_uniform")
        networks[role] = MLP(mlp, info.observation_spaces, spec, generator)
    model = Model(networks, {"actor": ("state",), "critic": ("state",)}, {})
    return PPOBrax(config, info, Parts(model, {}, generator, "off", 0, 0))


def rollout(algorithm, seed=0):
    """Random experience (L, B); in row 1 an episode is cut, in row 2 one ends, in row 3 both happen."""
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn(L + 1, B, OBS, generator=generator)
    raw = algorithm.actor({"state": obs[:-1]}).sample(generator).detach()
    terminated, truncated = torch.zeros(2, L, B, dtype=torch.bool)
    truncated[2, 1] = terminated[3, 2] = terminated[1, 3] = truncated[4, 3] = truncated[-1, 4] = True
    reward = torch.randn(L, B, generator=generator)
    after = {"state": obs[1:]}
    return Transition({"state": obs[:-1]}, raw.tanh(), reward, after, terminated, truncated, {"raw": raw})


def moved(algorithm, by=0.3):
    """Other parameters than those that acted, so that ratios are not 1."""
    with torch.no_grad():
        algorithm.learner.flat.add_(
            by * torch.randn(algorithm.learner.flat.shape, generator=torch.Generator().manual_seed(5))
        )


@pytest.mark.parametrize("normalize", [True, False])
def test_loss_and_gradient_equal_brax(normalize):
    """Same weights, same batch, same noise: `compute_ppo_loss` and its gradient, to 1e-4 of their size."""
    jax = pytest.importorskip("jax")
    from brax.training import types
    from brax.training.agents.ppo.losses import PPONetworkParams, compute_ppo_loss
    from brax.training.agents.ppo.networks import make_ppo_networks

    algorithm = build(normalize_advantage=normalize, reward_scale=10.0)
    data = rollout(algorithm)
    segments = algorithm.prepare(data)
    moved(algorithm)
    networks = make_ppo_networks(
        OBS, ACT, policy_hidden_layer_sizes=HIDDEN["actor"], value_hidden_layer_sizes=HIDDEN["critic"]
    )

    def weights(role):
        network = algorithm.model.networks[role]
        names = [*(str(index) for index in range(len(HIDDEN[role]))), "out"]
        pairs = ((network.get_parameter(f"weight_{name}"), network.get_parameter(f"bias_{name}")) for name in names)
        layers = {
            f"hidden_{index}": {"kernel": weight.detach().numpy(), "bias": bias.detach().numpy()}
            for index, (weight, bias) in enumerate(pairs)
        }
        return {"params": layers}

    def swapped(x):
        return np.swapaxes(x.numpy(), 0, 1)

    key = jax.random.PRNGKey(3)
    noise = torch.from_numpy(np.array(jax.random.normal(key, (L, B, ACT))))
    ended = data.terminated | data.truncated
    truncation = (data.truncated & ~data.terminated).float()
    batch = types.Transition(
        observation=swapped(data.obs["state"]),
        action=swapped(data.action),
        reward=swapped(data.reward),
        discount=swapped(1 - ended.float()),
        next_observation=swapped(data.next_obs["state"]),
        extras={
            "state_extras": {"truncation": swapped(truncation)},
            "policy_extras": {
                "raw_action": swapped(data.extras["raw"]),
                "log_prob": swapped(segments["log_prob"]),
                "distribution_params": np.zeros((B, L, 2 * ACT), np.float32),
            },
        },
    )

    def brax_loss(params):
        options = {"entropy_cost": 1e-2, "discounting": 0.995, "reward_scaling": 10.0, "gae_lambda": 0.95}
        loss, _ = compute_ppo_loss(
            params, None, batch, key, networks, clipping_epsilon=0.3, normalize_advantage=normalize, **options
        )
        return loss

    params = PPONetworkParams(policy=weights("actor"), value=weights("critic"))
    expected, gradient = jax.value_and_grad(brax_loss)(params)

    scalars = {"clip": torch.tensor(0.3), "entropy": torch.tensor(1e-2)}
    loss, _ = algorithm.loss(segments, torch.arange(B), noise, **scalars)
    assert loss.item() == pytest.approx(float(expected), rel=1e-4)
    loss.backward()
    for role, theirs in (("actor", gradient.policy), ("critic", gradient.value)):
        network = algorithm.model.networks[role]
        for index, name in enumerate([*(str(number) for number in range(len(HIDDEN[role]))), "out"]):
            for kind, other in (("weight", "kernel"), ("bias", "bias")):
                mine = network.get_parameter(f"{kind}_{name}").grad
                their = torch.from_numpy(np.array(theirs["params"][f"hidden_{index}"][other]))
                assert (mine - their).norm() <= 1e-4 * their.norm(), (role, name, kind)


def test_normalised_observations_equal_brax():
    """After three batches of scales from 0.1 to 1e3: what both make of a fourth, to 1e-4; ours without its clip."""
    jnp = pytest.importorskip("jax.numpy")
    from brax.training.acme import running_statistics, specs

    generator = torch.Generator().manual_seed(0)
    scale, shift = torch.tensor([0.1, 1.0, 30.0, 1e3]), torch.tensor([0.5, -2.0, 0.0, 1e3])
    batches = [shift + scale * torch.randn(5, 16, 4, generator=generator) for _ in range(4)]
    ours = Running(RunningConfig(clip=1e9, epsilon=1e-12), (4,))
    theirs = running_statistics.init_state(specs.Array((4,), jnp.dtype("float32")))
    for batch in batches[:3]:
        ours.update(batch)
        theirs = running_statistics.update(theirs, jnp.asarray(batch.numpy()))
    expected = running_statistics.normalize(jnp.asarray(batches[3].numpy()), theirs)
    torch.testing.assert_close(ours(batches[3]), torch.from_numpy(np.array(expected)), rtol=1e-4, atol=1e-4)


def test_targets_by_hand():
    """Three steps with γ = ½, λ = ½, worked out on paper; cut and ended episodes beside them."""
    reward, value = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[4.0], [6.0], [8.0]])
    no = torch.zeros(3, 1, dtype=torch.bool)
    middle = torch.tensor([[False], [True], [False]])
    after = torch.tensor([10.0])

    # δ = 1 + 3 − 4, 2 + 4 − 6, 3 + 5 − 8: all 0.
    returns, advantage = targets(reward, value, after, no, no, 0.5, 0.5)
    assert returns.flatten().tolist() == [4, 6, 8]
    assert advantage.flatten().tolist() == [0, 0, 0]

    # Ended after the second step: δ = 0, 2 − 6 = −4, 0; v = 4 − ¼ · 4 = 3, 2, 8; A = 1 + ½ · 2 − 4 = −2, −4, 0.
    returns, advantage = targets(reward, value, after, middle, no, 0.5, 0.5)
    assert returns.flatten().tolist() == [3, 2, 8]
    assert advantage.flatten().tolist() == [-2, -4, 0]

    # What the critic makes of the observation after the end does not matter.
    returns, advantage = targets(reward, value, torch.tensor([torch.nan]), ~no, no, 0.5, 0.5)
    assert returns.flatten().tolist() == [1, 2, 3]
    assert advantage.flatten().tolist() == [-3, -4, -5]

    # Cut there: that step says nothing, and the first one bootstraps from its value.
    returns, advantage = targets(reward + 2, value, after, no, middle, 0.5, 0.5)
    assert returns.flatten().tolist() == [6, 6, 10]
    assert advantage.flatten().tolist() == [2, 0, 2]


@torch.no_grad()
def test_statistics_move_between_what_is_known_of_the_acting_policy_and_the_update(monkeypatch):
    """Log-probabilities are those of the policy that acted, while updates see observations by the new statistics."""
    subject = Subject.find("algo", "ppo_brax", options={"unroll_length": 8, "unrolls": 2, "minibatches": 1})
    sections = {"normalizer": {"obs": {"name": "running"}}}
    run = build_run(subject, {"name": "toy-probe", "num_envs": 4}, sections=sections)
    algorithm, rollout, seen = run.algorithm, collect(run), []
    (statistics,) = algorithm.model.normalizers.values()
    expected = algorithm.actor(rollout.obs).log_prob(rollout.extras["raw"])

    def step(data, *batch, **scalars):
        seen.append((sorted(data["log_prob"].flatten().tolist()), statistics.count.item()))

    monkeypatch.setattr(algorithm.learner, "step", step)
    algorithm.learn(Once(rollout), 0.0)
    assert seen[0] == (pytest.approx(sorted(expected.flatten().tolist())), 16 * 4)
    moved_since = algorithm.actor(rollout.obs).log_prob(rollout.extras["raw"])
    assert not torch.allclose(moved_since, expected, atol=1e-4)


def test_segments_are_consecutive_and_end_where_they_should():
    """Of 2 × 3 steps of two environments, `next_obs` is that of steps 2 and 5."""
    algorithm = build()
    algorithm.windows.length = 3
    object.__setattr__(algorithm, "config", algorithm.config.model_copy(update={"unroll_length": 3}))
    number = 10.0 * torch.arange(6).view(6, 1, 1) + torch.arange(2).view(1, 2, 1)
    obs = {"state": number.expand(6, 2, OBS)}
    no = torch.zeros(6, 2, dtype=torch.bool)
    after = {"state": obs["state"] + 0.5}
    data = algorithm.prepare(
        Transition(obs, torch.zeros(6, 2, ACT), no.float(), after, no, no, {"raw": torch.zeros(6, 2, ACT)})
    )
    assert data["obs"]["state"][..., 0].T.tolist() == [[0, 10, 20], [1, 11, 21], [30, 40, 50], [31, 41, 51]]
    assert data["next_obs"]["state"][:, 0].tolist() == [20.5, 21.5, 50.5, 51.5]


def test_the_standard_deviation_starts_as_in_brax():
    """softplus(0) + 0.001 where the network gives 0."""
    algorithm = build()
    with torch.no_grad():
        algorithm.learner.flat.zero_()
    policy = algorithm.actor({"state": torch.zeros(1, OBS)})
    torch.testing.assert_close(policy.log_std.exp(), torch.full((1, ACT), np.log(2) + 1e-3, dtype=torch.float32))


def test_segments_have_two_steps_at_least():
    """One alone would be no segment, but a transition without an axis of time."""
    with pytest.raises(ValidationError, match="greater than 1"):
        PPOBraxConfig(unroll_length=1)


def test_segments_that_do_not_split_are_a_problem():
    """Sixteen segments do not make three minibatches."""
    config = PPOBraxConfig(unrolls=2, minibatches=3)
    env = type("Env", (), {"num_envs": 8})()
    assert [path for path, _ in config.problems({"env": env})] == ["minibatches"]
    assert config.horizon == 60
