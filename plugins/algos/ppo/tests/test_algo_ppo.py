"""PPO's estimates, loss and gradients against independent references in float64."""

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
from slmk_algo_ppo import PPOConfig
from slmk_algo_ppo.ppo import PPO
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

T, N = 6, 3
DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,))


def ppo(action_space=DISCRETE, normalizers=None, compile="off", **options) -> PPO:
    cpu = torch.device("cpu")
    info = EnvInfo(N, {"obs": spaces.Box(-1, 1, (4,))}, action_space, cpu)
    config = PPOConfig(**{"horizon": T, "minibatches": 2, "epochs": 1, **options})
    generator = torch.Generator().manual_seed(0)
    networks = {
        role: MLP(MLPConfig(hidden=(8,)), dict(info.observation_spaces), spec, generator)
        for role, spec in PPO.roles(config, info).items()
    }
    model = Model(networks, {"actor": ("obs",), "critic": ("obs",)}, {})
    return PPO(config, info, Parts(model, normalizers or {}, generator, compile, 0, 0))


@torch.no_grad()
def rollout(algorithm: PPO, seed: int = 1) -> Transition:
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


class Rollouts:
    """A memory that hands out one and the same rollout."""

    def __init__(self, experience: Transition) -> None:
        self.experience = experience

    def take(self) -> Transition:
        return self.experience


def mlp64(state: dict[str, torch.Tensor], prefix: str, x: torch.Tensor) -> torch.Tensor:
    w0, b0, w1, b1 = (state[f"{prefix}.{n}"] for n in ("weight_0", "bias_0", "weight_out", "bias_out"))
    return torch.tanh(x @ w0 + b0) @ w1 + b1


def reference(algorithm: PPO, data, index, clip, entropy, value_clip):
    """Loss and gradients of eq. 9 written out in float64 with torch.distributions."""
    modules = {f"model.{n}": p for n, p in algorithm.model.named_parameters()}
    modules |= {f"head.{n}": p for n, p in algorithm.actor.head.named_parameters()}
    state = {n: p.detach().double().requires_grad_() for n, p in modules.items()}
    obs, raw, old, adv, ret, val = (
        (data[n] if n != "obs" else data["obs"]["obs"])[index].double()
        for n in ("obs", "raw", "log_prob", "advantage", "returns", "value")
    )
    features = mlp64(state, "model.networks.actor", obs)
    if "head.log_std" in state:
        policy = torch.distributions.Normal(features, state["head.log_std"].exp())
        log_prob, bonus = policy.log_prob(raw).sum(-1), policy.entropy().sum(-1).mean()
    else:
        policy = torch.distributions.Categorical(logits=features)
        log_prob, bonus = policy.log_prob(raw), policy.entropy().mean()
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    ratio = torch.exp(log_prob - old)
    surrogate = torch.stack([ratio * adv, torch.clamp(ratio, 1 - clip, 1 + clip) * adv]).min(0).values
    value = mlp64(state, "model.networks.critic", obs).squeeze(-1)
    error = (value - ret) ** 2
    if value_clip:
        error = torch.stack([error, (val + (value - val).clamp(-value_clip, value_clip) - ret) ** 2]).max(0).values
    loss = -surrogate.mean() + 0.5 * 0.5 * error.mean() - entropy * bonus
    loss.backward()
    return loss.item(), {n: p.grad for n, p in state.items()}


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
@pytest.mark.parametrize("value_clip", [0.0, 0.05])
def test_loss_and_gradients_equal_a_float64_reference(space, value_clip):
    """Away from the acting parameters, loss and every gradient agree with a reference to 1e-5."""
    algorithm = ppo(space, value_clip=value_clip)
    data = algorithm.prepare(rollout(algorithm))
    with torch.no_grad():  # Move away, so that ratios differ from 1 and both clips bind somewhere.
        for parameter in algorithm.model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    index = torch.arange(0, T * N, 2)
    loss, _ = algorithm.loss(data, index, clip=torch.tensor(0.2), entropy=torch.tensor(0.01))
    modules = {f"model.{n}": p for n, p in algorithm.model.named_parameters()}
    modules |= {f"head.{n}": p for n, p in algorithm.actor.head.named_parameters()}
    gradients = dict(zip(modules, torch.autograd.grad(loss, list(modules.values())), strict=True))
    expected_loss, expected = reference(algorithm, data, index, 0.2, 0.01, value_clip)
    assert loss.item() == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient.double(), expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("space", [DISCRETE, BOX], ids=["discrete", "continuous"])
def test_first_ratio_is_one(space):
    """At the acting parameters the KL estimate and the clipped share are exactly 0."""
    algorithm = ppo(space)
    data = algorithm.prepare(rollout(algorithm))
    _, metrics = algorithm.loss(data, torch.arange(T * N), clip=torch.tensor(0.2), entropy=torch.tensor(0.0))
    assert metrics["policy/kl"].item() == pytest.approx(0.0, abs=1e-7)
    assert metrics["policy/clipped"].item() == 0.0


def test_advantages_stop_at_episode_ends_and_bootstrap_at_truncation():
    """prepare() gives the advantages of a plain backward loop over δ = r + γ (1 − terminated) V(next) − V."""
    algorithm = ppo()
    experience = rollout(algorithm)
    data = algorithm.prepare(experience)
    value = algorithm.value(experience.obs).double()
    following = algorithm.value(experience.next_obs).double()
    expected = torch.zeros(T, N, dtype=torch.float64)
    for n in range(N):
        running = 0.0
        for t in reversed(range(T)):
            delta = experience.reward[t, n] + 0.99 * (not experience.terminated[t, n]) * following[t, n] - value[t, n]
            done = experience.terminated[t, n] or experience.truncated[t, n]
            running = delta + 0.99 * 0.95 * (not done) * running
            expected[t, n] = running
    torch.testing.assert_close(data["advantage"].view(T, N).double(), expected, rtol=1e-4, atol=1e-5)


def test_rewards_are_scaled_before_advantages_are_estimated():
    """With λ-returns of a critic that gives 0, returns are those of scaled rewards, whose statistics have moved."""
    algorithm = ppo(normalizers={"reward": Running(RunningConfig(), ())}, gamma=0.0)
    for parameter in algorithm.model.networks["critic"].parameters():
        parameter.data.zero_()
    experience = rollout(algorithm)
    data = algorithm.prepare(experience)
    spread = experience.reward.double().var(correction=0).add(1e-8).sqrt()
    expected = experience.reward.double() / spread
    torch.testing.assert_close(data["returns"].view(T, N).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [2, 3])
def test_windows_change_nothing_for_networks_without_memory(length):
    """Over a whole rollout, loss and metrics are the same for windows of any length as for single transitions."""
    algorithm = ppo(BOX)
    scalars = {"clip": torch.tensor(0.2), "entropy": torch.tensor(0.01)}
    experience = rollout(algorithm)
    expected = algorithm.loss(algorithm.prepare(experience), torch.arange(T * N), **scalars)
    algorithm.model.windows = Windows(length)
    data = algorithm.prepare(experience)
    assert data["obs"]["obs"].shape == (length, T * N // length, 4)
    found = algorithm.loss(data, torch.arange(T * N // length), **scalars)
    torch.testing.assert_close(found, expected)


def test_minibatches_cover_every_sample_once():
    """One epoch's indices are a permutation of all samples."""
    algorithm = ppo()
    index = algorithm.minibatches(T * N)
    assert index.shape == (2, T * N // 2)
    assert sorted(index.flatten().tolist()) == list(range(T * N))


def test_target_kl_ends_the_epochs_early():
    """With a tiny target the second of ten epochs never starts; without one all ten run."""

    bounded = ppo(epochs=10, target_kl=1e-9, lr=1e-2)
    bounded.learn(Rollouts(rollout(bounded)), 0.0)
    assert bounded.learner.updates == 2
    free = ppo(epochs=10, lr=1e-2)
    free.learn(Rollouts(rollout(free)), 0.0)
    assert free.learner.updates == 20


def test_rollout_must_split_into_minibatches():
    """A rollout of 2048 × 3 transitions does not split into 5 parts: a problem at `minibatches`."""
    from slmk import EnvConfig

    config = PPOConfig(minibatches=5)
    assert [path for path, _ in config.problems({"env": EnvConfig(num_envs=3)})] == ["minibatches"]
    assert not list(config.problems({"env": EnvConfig(num_envs=5)}))


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
    subject = Subject.find("algo", "ppo", options={"horizon": 16, "minibatches": 2}, sections={"network": networks})
    run = build_run(subject, {"name": "toy-probe", "num_envs": 4})
    run.algorithm.model.windows = Windows(length)
    return run


@pytest.mark.parametrize("length", [4, 8])
def test_first_ratio_is_one_for_recurrent_networks(length):
    """Unrolled over windows with ends of episodes in them, the networks give what they gave step by step."""
    algorithm, rollout = (run := recurrent_run(length)).algorithm, collect(run)
    data = algorithm.prepare(rollout)
    index = torch.arange(algorithm.model.windows.count(16 * 4))
    _, metrics = algorithm.loss(data, index, clip=torch.tensor(0.2), entropy=torch.tensor(0.0))
    assert metrics["policy/kl"].item() == pytest.approx(0.0, abs=1e-6)
    values = algorithm.model("critic", data["obs"]).squeeze(-1)
    torch.testing.assert_close(values, data["value"], rtol=1e-5, atol=1e-6)


def test_the_update_is_one_graph(monkeypatch):
    """Traced as a whole, without breaks, updates change the parameters as eager ones do."""

    def traced(step, device):
        return torch.compile(step, fullgraph=True, dynamic=False, backend="aot_eager", isolate_recompiles=True)

    monkeypatch.setattr("slmk.update_step.compiled", traced)
    results = {}
    for how in ("off", "on"):
        algorithm = ppo(compile=how)
        memory = Rollouts(rollout(algorithm))
        with torch._dynamo.config.patch(trace_autograd_ops=True):
            for _ in range(2):
                algorithm.learn(memory, 0.0)
        results[how] = algorithm.learner.choice, algorithm.learner.flat
    assert [choice for choice, _ in results.values()] == ["eager", "compiled"]
    torch.testing.assert_close(results["on"][1], results["off"][1], rtol=1e-5, atol=1e-6)
