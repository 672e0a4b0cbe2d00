"""A2C's estimates, loss and gradients against independent references in float64."""

import pytest
import torch
from gymnasium import spaces

from slmk import EnvInfo, Model, Parts, Transition
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.run import Run
from slmk.testing.algorithm_runs import build_run
from slmk.testing.subject import Subject
from slmk.windows import Windows
from slmk_algo_a2c import A2CConfig
from slmk_algo_a2c.a2c import A2C
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

T, N = 6, 3
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))
ENTROPY = torch.tensor(0.03)


def a2c(action_space=DISCRETE, normalizers=None, compile="off", **options) -> A2C:
    info = EnvInfo(N, {"obs": spaces.Box(-1, 1, (4,))}, action_space, torch.device("cpu"))
    config = A2CConfig(**{"horizon": T, **options})
    generator = torch.Generator().manual_seed(0)
    networks = {
        role: MLP(MLPConfig(hidden=(8,)), dict(info.observation_spaces), spec, generator)
        for role, spec in A2C.roles(config, info).items()
    }
    model = Model(networks, {"actor": ("obs",), "critic": ("obs",)}, {})
    return A2C(config, info, Parts(model, normalizers or {}, generator, compile, 0, 0))


@torch.no_grad()
def rollout(algorithm: A2C, seed: int = 1) -> Transition:
    generator = torch.Generator().manual_seed(seed)
    obs = torch.randn(T + 1, N, 4, generator=generator)
    act = [algorithm.act({"obs": x}, 0.0) for x in obs[:-1]]
    flags = torch.rand(T, N, generator=generator)
    return Transition(
        obs={"obs": obs[:-1]},
        action=torch.stack([a.action for a in act]),
        reward=torch.randn(T, N, generator=generator),
        next_obs={"obs": obs[1:] + 0.1},
        terminated=flags < 0.2,
        truncated=flags > 0.8,
        extras={"raw": torch.stack([a.extras["raw"] for a in act])},
    )


class Once:
    """A memory that hands out one rollout."""

    def __init__(self, experience: Transition) -> None:
        self.experience = experience

    def take(self) -> Transition:
        return self.experience


def parameters(algorithm: A2C) -> dict[str, torch.Tensor]:
    named = {f"model.{n}": p for n, p in algorithm.model.named_parameters()}
    return named | {f"head.{n}": p for n, p in algorithm.actor.head.named_parameters()}


def mlp64(state: dict[str, torch.Tensor], prefix: str, x: torch.Tensor) -> torch.Tensor:
    w0, b0, w1, b1 = (state[f"{prefix}.{n}"] for n in ("weight_0", "bias_0", "weight_out", "bias_out"))
    return torch.tanh(x @ w0 + b0) @ w1 + b1


def reference(algorithm: A2C, experience: Transition):
    """Loss and gradients of n-step A2C in float64: returns by a backward loop, densities by torch.distributions."""
    state = {n: p.detach().double().requires_grad_() for n, p in parameters(algorithm).items()}
    obs, following = experience.obs["obs"].double(), experience.next_obs["obs"].double()
    raw, reward = experience.extras["raw"].double(), experience.reward.double()
    value = mlp64(state, "model.networks.critic", obs).squeeze(-1)
    after = mlp64(state, "model.networks.critic", following).squeeze(-1).detach()
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
            returns[t, n] = reward[t, n] + 0.99 * ahead
    features = mlp64(state, "model.networks.actor", obs)
    if "head.log_std" in state:
        policy = torch.distributions.Normal(features, state["head.log_std"].exp())
        log_prob, bonus = policy.log_prob(raw).sum(-1), policy.entropy().sum(-1).mean()
    else:
        policy = torch.distributions.Categorical(logits=features)
        log_prob, bonus = policy.log_prob(raw), policy.entropy().mean()
    advantage = returns - value.detach()
    loss = -(log_prob * advantage).mean() + 0.5 * 0.5 * ((returns - value) ** 2).mean() - ENTROPY.double() * bonus
    loss.backward()
    return loss.item(), {n: p.grad for n, p in state.items()}


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_loss_and_gradients_equal_a_float64_reference(space):
    """Loss and every gradient of one rollout agree with the n-step formulas in float64."""
    algorithm = a2c(space)
    experience = rollout(algorithm)
    loss, _ = algorithm.loss(algorithm.prepare(experience), entropy=ENTROPY)
    gradients = torch.autograd.grad(loss, list(parameters(algorithm).values()))
    expected_loss, expected = reference(algorithm, experience)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in zip(expected, gradients, strict=True):
        torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-4, atol=1e-6)


def test_returns_of_a_rollout_by_hand():
    """With V = 0, γ = ½ and rewards 1, 2, 4 the returns are 3, 4, 4; an end after the first step makes its return 1."""
    algorithm = a2c(gamma=0.5)
    for parameter in algorithm.model.networks["critic"].parameters():
        parameter.data.zero_()
    experience = rollout(algorithm)
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
    advantage = algorithm.prepare(rollout(algorithm))["advantage"]
    assert advantage.mean().item() == pytest.approx(0.0, abs=1e-6)
    assert advantage.std().item() == pytest.approx(1.0, abs=1e-5)


def test_a_value_normalizer_changes_units_not_values():
    """The critic learns returns in the units of its normalizer, and `value` gives them back in those of reward."""
    statistics = Running(RunningConfig(), ())
    algorithm = a2c(normalizers={"value": statistics})
    statistics.update(torch.tensor([90.0, 110.0]))
    output = algorithm.model("critic", {"obs": torch.ones(1, 4)}).squeeze(-1)
    assert algorithm.value({"obs": torch.ones(1, 4)}).item() == pytest.approx(100 + 10 * output.item(), rel=1e-5)
    assert algorithm.as_output(torch.tensor(120.0)).item() == pytest.approx(2.0)


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """Loss and metrics are the same for windows of any length as for single transitions."""
    algorithm = a2c(BOX)
    experience = rollout(algorithm)
    expected = algorithm.loss(algorithm.prepare(experience), entropy=ENTROPY)
    algorithm.model.windows = Windows(length)
    data = algorithm.prepare(experience)
    assert data["obs"]["obs"].shape == (length, T * N // length, 4)
    torch.testing.assert_close(algorithm.loss(data, entropy=ENTROPY), expected)


def test_one_update_per_rollout():
    """Each call of `learn` is a single step of the optimiser."""
    algorithm = a2c()
    for count in (1, 2):
        algorithm.learn(Once(rollout(algorithm)), 0.0)
        assert algorithm.learner.updates == count


def test_the_default_optimiser_is_rmsprop_without_its_bias():
    """The first step moves each parameter by lr · g / (|g| + ε), since the average of g² is corrected for its start."""
    algorithm = a2c(max_grad_norm=1e9, lr=1e-3)
    experience = rollout(algorithm)
    before = {n: p.detach().clone() for n, p in parameters(algorithm).items()}
    loss, _ = algorithm.loss(algorithm.prepare(experience), entropy=torch.tensor(0.01))
    gradients = torch.autograd.grad(loss, list(parameters(algorithm).values()))
    algorithm.learn(Once(experience), 0.0)
    for (name, parameter), gradient in zip(parameters(algorithm).items(), gradients, strict=True):
        expected = before[name] - 1e-3 * gradient / (gradient.abs() + 1e-5)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def collect(run: Run) -> Transition:
    """One rollout, as the loop collects it."""
    for _ in range(run.algorithm.horizon):
        act = run.algorithm.act(run.obs, 0.0)
        step = run.recurrence.follow(run.obs, run.env.step(act.action))
        run.memory.add(run.obs, act, step)
        run.obs = step.obs
    return run.memory.take()


def recurrent_run(length: int) -> Run:
    """A run whose networks remember, on episodes of 4 steps, with rollouts cut into windows of that length."""
    networks = {role: {"name": "recurrent", "hidden": 8, "window": 8} for role in ("actor", "critic")}
    subject = Subject.find("algo", "a2c", options={"horizon": 16}, sections={"network": networks})
    run = build_run(subject, {"name": "toy-probe", "num_envs": 4})
    run.algorithm.model.windows = Windows(length)
    return run


def test_recurrent_networks_unroll_to_what_single_steps_give():
    """Loss and metrics over windows with ends of episodes in them equal those of single steps from stored states."""
    losses = []
    for length in (1, 4, 8):
        run = recurrent_run(length)
        losses.append(run.algorithm.loss(run.algorithm.prepare(collect(run)), entropy=ENTROPY))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(losses[2], losses[0], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph(monkeypatch):
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""

    def traced(step, device):
        return torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager", isolate_recompiles=True)

    monkeypatch.setattr("slmk.update_step.compiled", traced)
    results = {}
    for how in ("off", "on"):
        algorithm = a2c(compile=how)
        memory = Once(rollout(algorithm))
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            for _ in range(2):
                algorithm.learn(memory, 0.0)
        results[how] = algorithm.learner.choice, algorithm.learner.flat
    assert [choice for choice, _ in results.values()] == ["eager", "compiled"]
    torch.testing.assert_close(results["on"][1], results["off"][1], rtol=1e-5, atol=1e-6)
