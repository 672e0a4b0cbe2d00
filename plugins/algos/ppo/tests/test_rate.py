"""The learning rate that follows the KL divergence."""

import pytest
import torch

from slmk import SpecError, load
from slmk.loop import iterate
from slmk.session import Session
from slmk_algo_ppo import ByKL
from slmk_algo_ppo.rate import KLRate

SPEC = {
    "run": {"env_steps": 4096, "compile": "off"},
    "env": {"name": "gymnasium", "id": "Pendulum-v1", "num_envs": 4},
    "algorithm": {"name": "ppo", "horizon": 64, "epochs": 4, "minibatches": 4, "lr": {"kl": 0.01, "start": 1e-3}},
    "memory": {"name": "rollout"},
    "network": {"actor": {"name": "mlp"}, "critic": {"name": "mlp"}},
}


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(0.0, 1), (0.004, 1.5), (0.005, 1), (0.01, 1), (0.02, 1), (0.021, 1 / 1.5), (5.0, 1 / 1.5)],
)
def test_the_rate_goes_up_and_down_by_half(kl, factor):
    """Below half of the wanted divergence and above twice that; a divergence of 0 says nothing yet."""
    rate = KLRate(ByKL(kl=0.01, start=2e-3), torch.device("cpu"))
    rate.follow(torch.tensor(kl))
    assert rate.value.item() == pytest.approx(2e-3 * factor)


def test_the_rate_keeps_its_limits():
    """However long the divergence stays too small or too large."""
    rate = KLRate(ByKL(kl=0.01, least=1e-4, most=5e-3), torch.device("cpu"))
    for kl, limit in ((1e-6, 5e-3), (1.0, 1e-4)):
        for _ in range(20):
            rate.follow(torch.tensor(kl))
        assert rate.value.item() == pytest.approx(limit)


def test_training_uses_the_rate():
    """The rate of each step follows the divergence that the step before it found."""
    run = Session(load(SPEC), seed=0)
    learner, seen = run.algorithm.learner, []
    take = learner.step

    def step(*batch, lr, **options):
        if seen:
            before, kl = seen[-1][0], learner.latest("policy/kl").item()
            factor = 1 / 1.5 if kl > 0.02 else 1.5 if 0 < kl < 0.005 else 1
            assert lr.item() == pytest.approx(min(1e-2, max(1e-5, before * factor)), rel=1e-5)
        seen.append((lr.item(),))
        return take(*batch, lr=lr, **options)

    learner.step = step
    row = next(iterate(run))
    run.close()
    assert len({rate for (rate,) in seen}) > 1
    assert row["update/lr"].item() == run.algorithm.rate.value.item()


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        ({"kl": 0.01, "start": 1.0}, r"algorithm\.lr\.start: the rate has to start between least"),
        ({"kl": 0.01, "strt": 1.0}, r"algorithm\.lr\.strt: unknown key; did you mean 'start'"),
        ({"start": 1e-3}, r"algorithm\.lr\.end: missing key"),
        ("fast", "a number at least 0 or a table of start, end, until or a table of start, kl, least, most"),
    ],
)
def test_wrong_rates_are_problems(lr, said):
    """Mistakes are told of the kind of rate that is meant."""
    with pytest.raises(SpecError, match=said):
        load(SPEC | {"algorithm": SPEC["algorithm"] | {"lr": lr}})
