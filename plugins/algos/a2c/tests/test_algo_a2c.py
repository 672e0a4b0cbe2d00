"""A2C's estimates, loss and gradients against independent references in float64."""

import pytest
import torch
from gymnasium import spaces

from slmk import EnvConfig
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.testing.on_policy import (
    ENVS,
    Once,
    Reference,
    assemble,
    check_one_graph,
    collect,
    parameters,
    random_rollout,
    recurrent_run,
)
from slmk.windows import Windows
from slmk_algo_a2c import A2CConfig
from slmk_algo_a2c.a2c import A2C

T, N = 6, ENVS
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))
ENTROPY = torch.tensor(0.03)


def a2c(action_space=DISCRETE, normalizers=None, compile="off", **options) -> A2C:
    config = A2CConfig(**{"horizon": T, **options})
    return assemble(A2C, config, action_space, normalizers=normalizers, compile=compile)


def n_step_loss(reference: Reference, experience):
    """The loss of n-step A2C in float64, returns by a backward loop."""
    obs = experience.obs["obs"]
    value, after = reference.value(obs), reference.value(experience.next_obs["obs"]).detach()
    returns = torch.zeros(T, N, dtype=torch.float64)
    for n in range(N):
        for t in reversed(range(T)):
            if experience.terminated[t, n]:
                ahead = 0.0
            elif experience.truncated[t, n] or t == T - 1:
                ahead = after[t, n]
            else:
                # The value of the state acted on next: in the rollout it is `obs[t + 1]`, here made to differ.
                ahead = returns[t + 1, n] - value[t + 1, n].detach() + after[t, n]
            returns[t, n] = experience.reward[t, n].double() + 0.99 * ahead
    log_prob, entropy = reference.policy(obs, experience.extras["raw"])
    advantage = returns - value.detach()
    return -(log_prob * advantage).mean() + 0.25 * ((returns - value) ** 2).mean() - 0.03 * entropy.mean()


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_loss_and_gradients_equal_a_float64_reference(space):
    """Loss and every gradient of one rollout agree with the n-step formulas in float64."""
    algorithm = a2c(space)
    experience = random_rollout(algorithm)
    loss, _ = algorithm.loss(algorithm.prepare(experience), entropy=ENTROPY)
    reference = Reference(algorithm)
    reference.check(algorithm, loss, n_step_loss(reference, experience))


def test_returns_of_a_rollout_by_hand():
    """With V = 0, γ = ½ and rewards 1, 2, 4 the returns are 3, 4, 4; an end after the first step makes its return 1."""
    algorithm = a2c(gamma=0.5)
    for parameter in algorithm.model.networks["critic"].parameters():
        parameter.data.zero_()
    experience = random_rollout(algorithm)
    experience.reward = torch.tensor([1.0, 2.0, 4.0, 0.0, 0.0, 0.0]).unsqueeze(-1).repeat(1, N)
    experience.truncated = torch.zeros(T, N, dtype=torch.bool)
    experience.terminated = torch.zeros(T, N, dtype=torch.bool)
    experience.terminated[0, 1] = True
    returns = algorithm.prepare(experience)["returns"].view(T, N)
    assert returns[:3, 0].tolist() == [3.0, 4.0, 4.0]
    assert returns[:3, 1].tolist() == [1.0, 4.0, 4.0]


def test_standardised_advantages():
    """With `normalize_advantage` the advantages of a rollout have mean 0 and standard deviation 1."""
    algorithm = a2c(normalize_advantage=True)
    advantage = algorithm.prepare(random_rollout(algorithm))["advantage"]
    assert advantage.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert advantage.std().item() == pytest.approx(1.0, abs=1e-5)


def test_a_single_transition_is_not_standardised():
    """It has no deviation; of two there is one."""
    one, two = (A2CConfig(horizon=length, normalize_advantage=True).problems({"env": EnvConfig()}) for length in (1, 2))
    assert [path for path, _ in one] == ["normalize_advantage"]
    assert list(two) == []
    assert list(A2CConfig(horizon=1).problems({"env": EnvConfig()})) == []


def test_a_value_normalizer_changes_units_not_values():
    """The critic learns returns in the units of its normalizer, and `value` gives them back in those of reward."""
    statistics = Running(RunningConfig(), ())
    algorithm = a2c(normalizers={"value": statistics})
    statistics.update(torch.tensor([90.0, 110.0]))
    output = algorithm.model("critic", {"obs": torch.ones(1, 4)}).squeeze(-1)
    assert algorithm.value({"obs": torch.ones(1, 4)}).item() == pytest.approx(100 + 10 * output.item(), rel=1e-5)
    assert algorithm.critic.as_output(torch.tensor(120.0)).item() == pytest.approx(2.0)


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """Loss and metrics are the same for windows of any length as for single transitions."""
    algorithm = a2c(BOX)
    experience = random_rollout(algorithm)
    expected = algorithm.loss(algorithm.prepare(experience), entropy=ENTROPY)
    algorithm.model.windows = Windows(length)
    data = algorithm.prepare(experience)
    assert data["obs"]["obs"].shape == (length, T * N // length, 4)
    torch.testing.assert_close(algorithm.loss(data, entropy=ENTROPY), expected)


def test_one_update_per_rollout():
    """Each call of `learn` is a single step of the optimiser."""
    algorithm = a2c()
    for count in (1, 2):
        algorithm.learn(Once(random_rollout(algorithm)), 0.0)
        assert algorithm.learner.updates == count


def test_the_default_optimiser_is_rmsprop_without_its_bias():
    """The first step moves each parameter by lr · g / (|g| + ε), since the average of g² is corrected for its start."""
    algorithm = a2c(max_grad_norm=1e9, lr=1e-3)
    experience = random_rollout(algorithm)
    before = {n: p.detach().clone() for n, p in parameters(algorithm).items()}
    loss, _ = algorithm.loss(algorithm.prepare(experience), entropy=torch.tensor(0.01))
    gradients = torch.autograd.grad(loss, list(parameters(algorithm).values()))
    algorithm.learn(Once(experience), 0.0)
    for (name, parameter), gradient in zip(parameters(algorithm).items(), gradients, strict=True):
        expected = before[name] - 1e-3 * gradient / (gradient.abs() + 1e-5)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-6)


def test_recurrent_networks_unroll_to_what_single_steps_give():
    """Loss and metrics over windows with ends of episodes in them equal those of single steps from stored states."""
    losses = []
    for length in (1, 4, 8):
        run = recurrent_run("a2c", length, horizon=16)
        losses.append(run.algorithm.loss(run.algorithm.prepare(collect(run)), entropy=ENTROPY))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph():
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""
    check_one_graph(lambda compile: a2c(compile=compile))
