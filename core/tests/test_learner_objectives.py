"""Several objectives and target networks in one step, against torch's own optimisers in float64."""

from copy import deepcopy

import pytest
import torch
from structlog.testing import capture_logs
from torch import nn

from slmk import Adam, Average, CheckpointError, Learner, Objective
from slmk.state import get_state, set_state

TAU, LR = 0.1, {"critic": 1e-2, "actor": 1e-3, "temperature": 1e-1}


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def forward(self):
        return self.log_alpha.exp()


class Toy:
    """A small actor-critic with a target network and a temperature, in the shape of SAC."""

    def __init__(self, dtype=torch.float32):
        torch.manual_seed(0)
        self.critic, self.actor, self.temperature = nn.Linear(3, 1), nn.Linear(2, 1), Temperature()
        for module in (self.critic, self.actor, self.temperature):
            module.to(dtype)
        self.target = deepcopy(self.critic).requires_grad_(False)

    def learner(self, **options):
        modules = {n: getattr(self, n) for n in ("critic", "actor", "temperature", "target")}
        objectives = {
            "critic": Objective(self.critic_loss, [self.critic], Adam(beta1=0.5, max_grad_norm=0.5)),
            "actor": Objective(self.actor_loss, [self.actor]),
            "temperature": Objective(self.temperature_loss, [self.temperature], sees_metrics=True),
        }
        return Learner(modules, objectives, averages=[Average(self.target, self.critic, TAU)], **options)

    def q(self, critic, x, a):
        return critic(torch.cat([x, a], -1)).squeeze(-1)

    def critic_loss(self, x, reward):
        target = reward + 0.9 * self.q(self.target, x, self.actor(x)) * self.temperature()
        error = self.q(self.critic, x, torch.ones_like(x[:, :1])) - target
        return error.square().mean(), {"loss/critic": error.square().mean(), "error": error}

    def actor_loss(self, x, reward):
        action = self.actor(x)
        loss = (self.temperature() * action.square().squeeze(-1) - self.q(self.critic, x, action)).mean()
        return loss, {"loss/actor": loss, "policy/size": action.square().mean()}

    def temperature_loss(self, x, reward, *, metrics):
        return self.temperature.log_alpha * (metrics["policy/size"] - 0.3), {"policy/alpha": self.temperature()}


def batches(dtype=torch.float32, count=5):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(16, 2, generator=generator).to(dtype), torch.randn(16, generator=generator).to(dtype))
        for _ in range(count)
    ]


def reference():
    """The same by `backward` and torch's Adam; detached by hand."""
    toy = Toy(torch.float64)
    optimisers = {
        "critic": torch.optim.Adam(toy.critic.parameters(), lr=LR["critic"], betas=(0.5, 0.999)),
        "actor": torch.optim.Adam(toy.actor.parameters(), lr=LR["actor"]),
        "temperature": torch.optim.Adam(toy.temperature.parameters(), lr=LR["temperature"]),
    }
    for x, reward in batches(torch.float64):
        with torch.no_grad():
            target = reward + 0.9 * toy.q(toy.target, x, toy.actor(x)) * toy.temperature()
        losses = {"critic": lambda: (toy.q(toy.critic, x, torch.ones_like(x[:, :1])) - target).square().mean()}  # noqa: B023
        losses["actor"] = lambda: toy.actor_loss(x, reward)[0]  # noqa: B023
        size = toy.actor(x).square().mean().detach()
        losses["temperature"] = lambda: toy.temperature.log_alpha * (size - 0.3)  # noqa: B023
        for name, optimiser in optimisers.items():
            for each in optimisers.values():
                each.zero_grad()
            losses[name]().backward()
            if name == "critic":
                nn.utils.clip_grad_norm_(toy.critic.parameters(), 0.5)
            optimiser.step()
        with torch.no_grad():
            for mine, theirs in zip(toy.target.parameters(), toy.critic.parameters(), strict=True):
                mine += TAU * (theirs - mine)
    return toy


@pytest.mark.parametrize("compile", ["off", "on"])
def test_objectives_and_target_equal_torch(compile):
    """Five steps give what three Adams, detached losses and a Polyak average give; compiled or not."""
    toy, right = Toy(), reference()
    learner = toy.learner(compile=compile)
    for batch in batches():
        learner.step(*batch, lr=LR)
    for name in ("critic", "actor", "temperature", "target"):
        pairs = zip(getattr(toy, name).parameters(), getattr(right, name).parameters(), strict=True)
        for mine, theirs in pairs:
            torch.testing.assert_close(mine.double(), theirs, rtol=2e-5, atol=1e-6)
    assert learner.choice == {"off": "eager", "on": "compiled"}[compile]


def test_values_with_axes_are_returned_and_others_are_metrics():
    """The error of each sample comes back from the step; metrics are means over the steps, one norm per objective."""
    toy = Toy()
    learner = toy.learner()
    x, reward = batches()[0]
    with torch.no_grad():
        error = toy.critic_loss(x, reward)[1]["error"]
    outputs = learner.step(x, reward, lr=LR)
    torch.testing.assert_close(outputs, {"error": error})
    assert set(learner.metrics()) == {
        "loss/critic", "loss/actor", "policy/size", "policy/alpha",
        *(f"update/{name}_grad_norm" for name in LR),
    }  # fmt: skip


def test_only_some_objectives_are_taken_where_asked():
    """A step over the critic alone leaves actor and temperature alone, and metrics average over those that had them."""
    toy = Toy()
    learner, first, second = toy.learner(), *batches()[:2]
    learner.step(*first, lr=LR)
    actor, critic, target = (next(m.parameters()).clone() for m in (toy.actor, toy.critic, toy.target))
    learner.step(*second, lr=LR, only=("critic",))
    assert torch.equal(next(toy.actor.parameters()), actor)
    assert not torch.equal(next(toy.critic.parameters()), critic)
    assert not torch.equal(next(toy.target.parameters()), target)
    metrics = learner.metrics()
    assert {"loss/critic", "loss/actor"} <= set(metrics)
    assert learner.updates == 2


def test_sync_copies_what_was_trained():
    """After `sync` the target network is the trained one."""
    toy = Toy()
    learner = toy.learner()
    learner.step(*batches()[0], lr=LR)
    assert not torch.equal(toy.target.weight, toy.critic.weight)
    learner.sync()
    assert torch.equal(toy.target.weight, toy.critic.weight)


@pytest.mark.parametrize("frozen", [0, 1])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_a_target_follows_what_is_trained_of_a_network(frozen, compile):
    """A layer that is frozen stays as it is in both; the others train, and their copies follow."""
    torch.manual_seed(0)
    layers = [nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1)]
    layers[frozen].requires_grad_(False)
    source = nn.Sequential(*layers)
    target, start = deepcopy(source).requires_grad_(False), deepcopy(source)

    def loss(x):
        return (source(x) - target(x) - 1).square().mean(), {}

    modules = {"source": source, "target": target}
    averages = [Average(target, source, TAU)]
    learner = Learner(modules, {"x": Objective(loss, [source])}, averages=averages, compile=compile)
    learner.step(torch.ones(4, 2), lr=0.1)
    assert learner.choice == {"off": "eager", "on": "compiled"}[compile]
    for index, (a, b, c) in enumerate(zip(source, target, start, strict=True)):
        assert torch.equal(a.weight, c.weight) == (index == frozen)
        torch.testing.assert_close(b.weight, c.weight + TAU * (a.weight - c.weight))
    learner.sync()
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_a_target_has_the_statistics_of_its_network():
    """What batch normalisation has gathered in training is copied, while weights follow by a share."""
    source = nn.BatchNorm1d(3)
    target = deepcopy(source).requires_grad_(False)
    objective = Objective(lambda x: (source(x).square().mean(), {}), [source])
    learner = Learner({"source": source, "target": target}, {"x": objective}, averages=[Average(target, source, TAU)])
    learner.step(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)) + 5, lr=0.1)
    assert source.running_mean.min() > 0.1
    assert torch.equal(target.running_mean, source.running_mean)
    assert torch.equal(target.running_var, source.running_var)
    torch.testing.assert_close(target.weight, 1 + TAU * (source.weight - 1))


@pytest.mark.parametrize(("broken", "choice"), [(["b"], "compiled"), (["a"], "compiled"), (["a", "b"], "eager")])
def test_in_a_world_only_a_gradient_that_cannot_be_compiled_is_eager(broken, choice, monkeypatch):
    """There each gradient is compiled by itself: one that fails does not have another objective step twice."""

    def compiled(method, device):
        def form(name, *arguments):
            if name in broken:
                raise RuntimeError("inductor failed")
            return method(name, *arguments)

        return form

    monkeypatch.setattr("slmk.update_step.compiled", compiled)
    monkeypatch.setattr("slmk.world.size", lambda: 2)
    monkeypatch.setattr("slmk.world.average", lambda *tensors: None)
    a, b = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    objectives = {"a": Objective(lambda x: (a(x).sum(), {}), [a]), "b": Objective(lambda x: (b(x).sum(), {}), [b])}
    learner = Learner({"a": a, "b": b}, objectives, compile="on")
    start = [a.weight.item(), b.weight.item()]
    with capture_logs() as logs:
        for steps in (1, 2):
            learner.step(torch.ones(1, 1), lr=0.1)
            moved = [before - x.weight.item() for before, x in zip(start, (a, b), strict=True)]
            assert moved == pytest.approx([0.1 * steps] * 2)
    assert learner.choice == choice
    assert [log["objective"] for log in logs] == broken


def test_state_restores_the_exact_trajectory():
    """Two steps, a state, three more on a copy: bit for bit the same, target network included."""
    first, second = Toy(), Toy()
    a, b = first.learner(), second.learner()
    data = batches()
    for batch in data[:2]:
        a.step(*batch, lr=LR)
    set_state(b, deepcopy(get_state(a)))
    for batch in data[2:]:
        a.step(*batch, lr=LR)
        b.step(*batch, lr=LR)
    for name in ("critic", "actor", "temperature", "target"):
        pairs = zip(getattr(first, name).parameters(), getattr(second, name).parameters(), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
    other = Toy()
    other.critic = nn.Linear(4, 1)
    other.target = deepcopy(other.critic)
    with pytest.raises(CheckpointError, match="other names or shapes"):
        other.learner().load_state_dict(a.state_dict())


def test_a_network_is_in_training_only_where_it_is_trained():
    """Batch statistics of a network that another objective trains are left alone: it sees constants there."""

    class Noticing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.register_buffer("trained", torch.zeros(1))

        def forward(self, x):
            if self.weight.requires_grad:
                self.trained += 1
            return x * self.weight

    one, two = Noticing(), Noticing()
    losses = [lambda x: (one(two(x)).sum(), {}), lambda x: (two(one(x)).sum() + two(x).sum(), {})]
    objectives = {"one": Objective(losses[0], [one]), "two": Objective(losses[1], [two])}
    for compile in ("off", "on"):
        learner = Learner({"one": one, "two": two}, objectives, compile=compile)
        learner.step(torch.ones(2), lr=0.1)
    assert (one.trained.item(), two.trained.item()) == (2, 4)


def test_misuse_is_refused():
    """Shared parameters, modules unknown to the learner, and targets that follow nothing are errors."""
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    loss = lambda: (torch.zeros(()), {})  # noqa: E731
    with pytest.raises(ValueError, match="what another one trains"):
        Learner({"a": a}, {"x": Objective(loss, [a]), "y": Objective(loss, [a])})
    with pytest.raises(ValueError, match="not among the learner's modules"):
        Learner({"a": a}, {"x": Objective(loss, [b])})
    frozen = nn.Linear(1, 1).requires_grad_(False)
    with pytest.raises(ValueError, match="what no objective trains"):
        Learner({"a": a, "b": b, "c": frozen}, {"x": Objective(loss, [a])}, averages=[Average(b, frozen)])
    with pytest.raises(ValueError, match="what no objective trains"):
        Learner({"a": a, "b": b, "c": deepcopy(b)}, {"x": Objective(loss, [a])}, averages=[Average(deepcopy(b), b)])
