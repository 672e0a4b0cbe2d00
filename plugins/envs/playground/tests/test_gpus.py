"""What concerns GPUs, tried without one."""

import jax
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from slmk.errors import SpecError
from slmk_env_playground import arrays, checks


@pytest.fixture
def current(monkeypatch):
    """The number of the current GPU, of which torch has none here."""
    current = [0]

    def exchange(number):
        before, current[0] = current[0], number
        return before

    monkeypatch.setattr(torch.cuda, "current_device", lambda: current[0])
    monkeypatch.setattr(torch.cuda, "_exchange_device", exchange)
    monkeypatch.setattr(torch.cuda, "_maybe_exchange_device", exchange)
    return current


def test_actions_pass_from_a_gpu_that_is_not_the_current_one(current, monkeypatch):
    """Torch's own condition for an export holds while it happens; afterwards the current GPU is as before."""
    exported = []
    monkeypatch.setattr(jax.dlpack, "from_dlpack", lambda x: exported.append((x.device.index, current[0])))
    with FakeTensorMode():
        arrays.to_jax(torch.empty(4, 2, device="cuda:1"))
    assert exported == [(1, 1)]
    assert current == [0]


@pytest.mark.parametrize(("version", "package"), [("12.8", "jax[cuda12]"), ("13.0", "jax[cuda13]")])
def test_advice_is_for_the_cuda_that_torch_has(version, package, monkeypatch):
    """JAX for another version would be loaded beside torch's libraries. The doctor and a run say the same."""
    monkeypatch.setattr(torch.version, "cuda", version)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (finding,) = checks.jax_devices()
    with pytest.raises(SpecError) as caught:
        arrays.jax_device(torch.device("cuda"))
    assert finding.advice == caught.value.problems[0].hint == f"pip install '{package}'"
