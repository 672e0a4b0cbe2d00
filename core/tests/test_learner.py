"""The update step against torch's own optimisers."""

import pytest
import torch
from structlog.testing import capture_logs
from torch import nn

from slmk import Adam, CheckpointError, Learner


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def batches(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(16, 3, generator=generator), torch.randn(16, 1, generator=generator)) for _ in range(count)]


def learner_for(module: nn.Module, **options) -> Learner:
    def loss(x, y, *, weight):
        error = (module(x) - y).square().mean()
        return weight * error, {"loss/error": error}

    return Learner({"net": module}, loss, **options)


@pytest.mark.parametrize(("decay", "norm"), [(0.0, 0.1), (0.1, 0.1), (0.1, 0.0)])
def test_step_equals_torch_adam_with_clipping(decay, norm):
    """Six steps give the parameters that clip_grad_norm_ and torch's AdamW give; a norm of 0 stands for no clipping."""
    ours, theirs = net(), net()
    learner = learner_for(ours, optimiser=Adam(eps=1e-5, weight_decay=decay, max_grad_norm=norm))
    optimiser = torch.optim.AdamW(theirs.parameters(), lr=1e-2, eps=1e-5, weight_decay=decay)
    for x, y in batches():
        learner.step(x, y, lr=1e-2, weight=2.0)
        optimiser.zero_grad()
        (2.0 * (theirs(x) - y).square().mean()).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), norm or float("inf"))
        optimiser.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_changing_scalars_reach_the_step():
    """A learning rate of 0 in between changes nothing, and the next rate counts again."""
    module = net()
    learner = learner_for(module)
    (x, y), *_ = batches()
    learner.step(x, y, lr=1e-2, weight=1.0)
    before = learner.flat.clone()
    learner.step(x, y, lr=0.0, weight=1.0)
    assert torch.equal(learner.flat, before)
    learner.step(x, y, lr=1e-2, weight=1.0)
    assert not torch.equal(learner.flat, before)


def test_a_scalar_may_be_a_tensor_in_between():
    """A number that was given before counts again after a tensor."""
    module, seen = net(), []

    def loss(x, *, weight):
        seen.append(weight.item())
        return module(x).sum() * weight, {}

    learner = Learner({"net": module}, loss)
    for value in (1.0, torch.tensor(5.0), 1.0):
        learner.step(torch.ones(1, 3), lr=0.0, weight=value)
    assert seen == [1.0, 5.0, 1.0]
    learner.step(torch.ones(1, 3), lr=torch.tensor(1.0), weight=1.0)
    before = learner.flat.clone()
    learner.step(torch.ones(1, 3), lr=0.0, weight=1.0)
    assert torch.equal(learner.flat, before)


def test_compiled_step_equals_eager_step():
    """The whole step as one compiled graph gives the eager parameters within float32 rounding."""
    eager, compiled = net(), net()
    learners = [learner_for(eager), learner_for(compiled, compile="on")]
    for x, y in batches():
        for learner in learners:
            learner.step(x, y, lr=1e-2, weight=1.0)
    assert [learner.choice for learner in learners] == ["eager", "compiled"]
    torch.testing.assert_close(learners[0].flat, learners[1].flat, rtol=1e-4, atol=1e-6)


class Scaled:
    """A loss with a function and a value of its own."""

    def __init__(self, function) -> None:
        self.module, self.function, self.factor = net(), function, 1.0

    def __call__(self, x, y):
        error = self.factor * self.function(self.module(x) - y).mean()
        return error, {"loss/error": error}


def test_compiled_steps_follow_their_own_loss():
    """Learners of equal shapes keep their losses apart, and a step sees a value of the loss that changed in between."""
    losses = [Scaled(torch.square), Scaled(torch.abs)]
    learners = [Learner({"net": loss.module}, loss.__call__, compile="on") for loss in losses]
    (x, y), *_ = batches()
    for factor in (1.0, 2.0):
        losses[0].factor = factor
        with torch.no_grad():
            expected = [loss(x, y)[0].item() for loss in losses]
        for learner in learners:
            learner.step(x, y, lr=0.0)
        assert [learner.choice for learner in learners] == ["compiled", "compiled"]
        assert [learner.latest("loss/error") for learner in learners] == pytest.approx(expected, rel=1e-5)


def test_metrics_are_means_since_the_last_call():
    """Metrics average over the steps between two calls; `latest` looks at the newest alone."""
    module = net()
    learner = learner_for(module)
    errors = []
    for x, y in batches(3):
        with torch.no_grad():
            errors.append((module(x) - y).square().mean().item())
        learner.step(x, y, lr=1e-2, weight=1.0)
    assert learner.latest("loss/error") == pytest.approx(errors[2], rel=1e-5)
    assert learner.latest("loss/error", 2) == pytest.approx((errors[1] + errors[2]) / 2, rel=1e-5)
    assert learner.metrics()["loss/error"].item() == pytest.approx(sum(errors) / 3, rel=1e-5)
    assert learner.metrics() == {}


def test_state_restores_the_exact_trajectory():
    """Three steps, a copy, three more on both: bit for bit the same parameters."""
    first, second = net(), net()
    a, b = learner_for(first), learner_for(second)
    data = batches()
    for x, y in data[:3]:
        a.step(x, y, lr=1e-2, weight=1.0)
    b.load_state_dict({k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in a.state_dict().items()})
    for x, y in data[3:]:
        a.step(x, y, lr=1e-2, weight=1.0)
        b.step(x, y, lr=1e-2, weight=1.0)
    assert torch.equal(a.flat, b.flat)
    assert a.updates == b.updates == 6


def test_state_of_another_network_is_refused():
    """Parameters of other shapes are a checkpoint error, not a silent partial load."""
    a, b = learner_for(net()), learner_for(nn.Linear(3, 1))
    with pytest.raises(CheckpointError, match="other names or shapes"):
        b.load_state_dict(a.state_dict())


def test_module_parameters_are_views_of_the_flat_vector():
    """Acting sees an update at once: the module's parameters share the learner's memory."""
    module = net()
    learner = learner_for(module)
    learner.flat.zero_()
    assert all(not parameter.any() for parameter in module.parameters())


def test_auto_stays_eager_where_compiling_cannot_pay_back():
    """With ten steps ahead, `auto` measures the eager step only, and leaves parameters and buffers alone."""
    module = nn.Sequential(nn.BatchNorm1d(3), net())
    learner = learner_for(module, compile="auto", steps_ahead=10)
    mean = module[0].running_mean.clone()
    (x, y), *_ = batches()
    learner.step(x, y, lr=0.0, weight=1.0)
    assert learner.choice == "eager"
    torch.testing.assert_close(module[0].running_mean, 0.9 * mean + 0.1 * x.mean(0))


def test_a_failed_compile_goes_on_eagerly_with_one_warning():
    """A loss that cannot be compiled still trains; the user is told once."""
    module = nn.Linear(3, 1)

    def loss(x, y):
        error = (module(x) - y).square().mean()
        if error.item() < 0:  # A branch on a value breaks the graph.
            raise AssertionError
        return error, {"loss/error": error}

    learner = Learner({"net": module}, loss, compile="on")
    (x, y), *_ = batches()
    with capture_logs() as logs:
        learner.step(x, y, lr=1e-2)
        learner.step(x, y, lr=1e-2)
    assert [log["event"] for log in logs] == ["compiling the update failed, going on without"]
    assert logs[0]["error"]
    assert learner.choice == "eager"
    assert learner.updates == 2
