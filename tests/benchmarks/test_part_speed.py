"""The parts that make up a training step against the least that could do the same work."""

import pytest
import torch

import slmk
from slmk.session import Session
from slmk.toolbox.minibatches import minibatches

NETWORK = {"name": "mlp", "hidden": [64, 64], "activation": "tanh"}


def run_of(num_envs: int, compile: str = "off") -> Session:
    return Session(
        slmk.load(
            {
                "run": {"env_steps": 10**9, "compile": compile},
                "env": {"name": "gymnasium", "id": "CartPole-v1", "num_envs": num_envs},
                "algorithm": {"name": "ppo", "horizon": 128, "epochs": 4, "minibatches": 4},
                "memory": {"name": "rollout"},
                "network": {"actor": NETWORK, "critic": NETWORK},
            }
        ),
        seed=0,
    )


@pytest.mark.parametrize("num_envs", [4, 64])
def test_act(num_envs, throughput, benchmark):
    """`act` is at least 0.4 times as fast as the bare products, activations and sampling on detached tensors."""
    run = run_of(num_envs)
    layers = [p.detach() for p in run.algorithm.model.networks["actor"].parameters()]
    x, generator = run.obs["obs"], torch.Generator()

    def floor():
        with torch.no_grad():
            h = torch.tanh_((x @ layers[0]).add_(layers[1]))
            h = torch.tanh_((h @ layers[2]).add_(layers[3]))
            logits = (h @ layers[4]).add_(layers[5])
            return (logits - torch.empty_like(logits).exponential_(generator=generator).log_()).argmax(-1)

    act = torch.no_grad()(run.algorithm.act)
    benchmark(act, run.obs, 0.0)
    throughput(lambda: [act(run.obs, 0.0) for _ in range(50)], lambda: [floor() for _ in range(50)], at_least=0.4)


def test_a_compiled_update_is_twice_as_fast(throughput, benchmark):
    """Sixteen compiled steps on 128 samples take at most half the time of as many eager ones."""
    steps = []
    for mode in ("on", "off"):
        run = run_of(4, mode)
        act_on = torch.no_grad()(run.algorithm.act)
        for _ in range(128):
            act = act_on(run.obs, 0.0)
            step = run.env.step(act.action)
            run.memory.add(run.obs, act, step)
            run.obs = step.obs
        data = run.algorithm.prepare(run.memory.take())
        index = minibatches(512, 4, run.algorithm.generator)[0]

        def update(learner=run.algorithm.learner, data=data, index=index):
            for _ in range(16):
                learner.step(data, index, lr=3e-4, clip=0.2, entropy=0.0)
            learner.metrics()

        update()
        steps.append(update)
    benchmark(steps[0])
    throughput(*steps, at_least=2)
