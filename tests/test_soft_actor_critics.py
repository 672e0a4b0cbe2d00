"""What SAC, CrossQ and RLPD have in common: what they ask of the memory, and which options reach which part."""

import pytest
import torch

from slmk.testing.off_policy import BOX, Fixed, assemble, random_sample
from slmk_algo_crossq import CrossQConfig
from slmk_algo_crossq.crossq import CrossQ
from slmk_algo_rlpd import RLPDConfig
from slmk_algo_rlpd.rlpd import RLPD
from slmk_algo_sac import SACConfig
from slmk_algo_sac.sac import SAC
from slmk_net_mlp import MLPConfig
from slmk_net_mlp.mlp import MLP

B = 12
ALGORITHMS = {
    "sac": (SAC, SACConfig, "none", {}),
    "crossq": (CrossQ, CrossQConfig, "batch_renorm", {"policy_delay": 1}),
    "rlpd": (RLPD, RLPDConfig, "none", {"policy_delay": 1, "utd_ratio": 1.0, "critics": 2}),
}
EACH = pytest.mark.parametrize("name", ALGORITHMS)


def soft(name, **options):
    """Every step trains actor, critics and temperature."""
    algorithm, config, norm, given = ALGORITHMS[name]

    def network(role, inputs, told, generator):
        return MLP(MLPConfig(hidden=(8,), norm=norm), inputs, told, generator)

    return assemble(algorithm, config(**{"learning_starts": 0, "batch_size": B, **given, **options}), BOX, network)


@EACH
def test_samples_are_asked_for_as_the_options_say(name):
    """The memory is told batch size, discount, steps and progress, and gets back the error of each transition."""
    algorithm, memory = soft(name, n_step=3, gamma=0.9), Fixed(random_sample(BOX))
    algorithm.learn(memory, 0.25)
    assert memory.asked == [{"batch_size": B, "gamma": 0.9, "n_step": 3, "progress": 0.25}]
    assert [error.shape for error in memory.told] == [(B,)]


@EACH
def test_before_the_memory_holds_a_batch_nothing_is_learned(name):
    """A batch of 1001 of a memory that has 1000 transitions is not drawn."""
    memory = Fixed(random_sample(BOX))
    assert soft(name, batch_size=len(memory) + 1).learn(memory, 0.5) == {}
    assert memory.asked == []
    assert soft(name, batch_size=len(memory)).learn(memory, 0.5)


@EACH
def test_the_temperature_has_a_rate_of_its_own(name):
    """Of Adam's first step a parameter moves by its rate."""
    algorithm = soft(name, lr=1e-3, temperature_lr=1e-2)
    before = algorithm.actor.temperature.log_alpha.item()
    algorithm.learn(Fixed(random_sample(BOX)), 0.0)
    assert abs(algorithm.actor.temperature.log_alpha.item() - before) == pytest.approx(1e-2, rel=1e-2)


@pytest.mark.parametrize(("name", "auto"), [("sac", -2.0), ("crossq", -2.0), ("rlpd", -1.0)])
def test_the_entropy_to_be_reached(name, auto):
    """Of two dimensions −1 each as in SAC, or −½ each as in RLPD; or whatever is stated."""
    assert soft(name).actor.target_entropy == auto
    assert soft(name, target_entropy=-0.7).actor.target_entropy == -0.7


@pytest.mark.parametrize("name", ["sac", "rlpd"])
def test_targets_follow_by_a_small_share(name):
    """From where they are, by `tau` towards the critics as they are after the step."""
    algorithm, target = soft(name, tau=0.1), []
    target += [x.clone() for x in algorithm.target.parameters()]
    algorithm.learn(Fixed(random_sample(BOX)), 0.0)
    critic = algorithm.model.networks["critic"].parameters()
    for old, new, source in zip(target, algorithm.target.parameters(), critic, strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * source)
        assert not torch.equal(new, source)
