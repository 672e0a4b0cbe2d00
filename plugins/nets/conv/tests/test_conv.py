"""The convolutional network against torch's own modules and against JAX, and what it says of wrong inputs."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

from slmk import SpecError
from slmk.protocols import Role
from slmk_net_conv import ConvConfig
from slmk_net_conv.conv import Conv

OUTPUTS = 5
PIXELS = {"pixels": spaces.Box(0, 255, (36, 44, 3), np.uint8)}
SMALL = ConvConfig(channels=(4, 6), kernels=(5, 3), strides=(2, 1), hidden=(16,))


def network(config=SMALL, inputs=PIXELS, *, seed=0, **role):
    return Conv(config, inputs, Role(OUTPUTS, **role), torch.Generator().manual_seed(seed))


def pixels(*batch, shape=(36, 44, 3)):
    return torch.randint(0, 256, (*batch, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("activation", "module"), [("relu", nn.ReLU), ("tanh", nn.Tanh)])
def test_features_are_those_of_torchs_modules(activation, module):
    """Convolutions, flattening and layers with the same weights give the same features, in float64 to rounding."""
    net = network(SMALL.model_copy(update={"activation": activation}))
    own = dict(net.named_parameters())
    reference = nn.Sequential(
        nn.Conv2d(3, 4, 5, 2), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(16), module(),
        nn.Linear(16, OUTPUTS),
    )  # fmt: skip
    x = pixels(7)
    planes = x.movedim(-1, 1).double() / 255
    reference.double()(planes)
    places = {"conv_0_0": 0, "conv_0_1": 2, "hidden_0": 5, "out": 7}
    with torch.no_grad():
        for name, index in places.items():
            weight = own[f"weight_{name}"]
            reference[index].weight.copy_(weight if weight.dim() == 4 else weight.T)
            reference[index].bias.copy_(own[f"bias_{name}"].normal_())
    torch.testing.assert_close(net({"pixels": x}).double(), reference(planes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("options", "gain"), [({}, 0.01), ({"out_gain": 0.3}, 0.3)])
def test_the_last_layer_has_the_gain_of_the_role_or_the_one_stated(options, gain):
    """Of orthogonal weights it is every singular value."""
    net = network(SMALL.model_copy(update={"init": "orthogonal", **options}), gain=0.01)
    values = torch.linalg.svdvals(net.weight_out.detach())
    torch.testing.assert_close(values, torch.full_like(values, gain))


@pytest.mark.parametrize("size", [(64, 64), (33, 50)])
@pytest.mark.parametrize("max_pool", [False, True])
def test_places_are_those_of_jax(size, max_pool):
    """``same`` and ``max_pool`` put filters and windows where flax's layers do, as in Brax's networks for pictures."""
    linen = pytest.importorskip("flax.linen")
    jax = pytest.importorskip("jax")
    config = ConvConfig(
        channels=(4, 6),
        kernels=(5, 3),
        strides=(2, 2),
        padding="same",
        max_pool=max_pool,
        conv_activation="elu",
        hidden=(),
    )
    space = {"pixels": spaces.Box(-0.5, 0.5, (*size, 3), np.float32)}
    net = network(config, space)
    own = dict(net.named_parameters())
    x = torch.rand(2, *size, 3, generator=torch.Generator().manual_seed(2)) - 0.5
    y = x.numpy()
    for index, (filters, kernel) in enumerate(zip(config.channels, config.kernels, strict=True)):
        weight, bias = own[f"weight_conv_0_{index}"], own[f"bias_conv_0_{index}"]
        values = {"kernel": weight.detach().permute(2, 3, 1, 0).numpy(), "bias": bias.detach().numpy()}
        y = jax.nn.elu(linen.Conv(filters, (kernel, kernel), 2, padding="SAME").apply({"params": values}, y))
        if max_pool:
            y = linen.max_pool(y, (2, 2), (2, 2), padding="SAME")
    features = torch.as_tensor(np.asarray(y).transpose(0, 3, 1, 2).reshape(2, -1).copy())
    expected = features @ own["weight_out"] + own["bias_out"]
    torch.testing.assert_close(net({"pixels": x}), expected, rtol=1e-4, atol=1e-5)


def test_other_groups_and_actions_join_behind_the_convolutions():
    """They change features through the hidden layer alone: with its weights for them at 0 they change nothing."""
    inputs = {**PIXELS, "state": spaces.Box(-1, 1, (3,)), "action": spaces.Box(-1, 1, (2,))}
    net = network(inputs=inputs, extra={"action": inputs["action"]})
    one = {"pixels": pixels(4), "state": torch.rand(4, 3), "action": torch.rand(4, 2)}
    other = {**one, "state": torch.rand(4, 3), "action": torch.rand(4, 2)}
    assert not torch.allclose(net(one), net(other))
    with torch.no_grad():
        net.weight_hidden_0[-5:] = 0
    torch.testing.assert_close(net(one), net(other))


def test_each_picture_has_convolutions_of_its_own():
    """Two views may have different sizes, and exchange nothing before the hidden layers."""
    inputs = {"left": PIXELS["pixels"], "right": spaces.Box(0, 255, (4, 20, 20), np.uint8)}
    net = network(inputs=inputs)
    assert net.weight_conv_0_0.shape == (4, 3, 5, 5)
    assert net.weight_conv_1_0.shape == (4, 4, 5, 5)
    assert net({"left": pixels(2, 7), "right": pixels(2, 7, shape=(4, 20, 20))}).shape == (2, 7, OUTPUTS)


@pytest.mark.parametrize("config", [SMALL, SMALL.model_copy(update={"global_pool": "mean", "padding": "same"})])
def test_a_member_of_an_ensemble_is_a_network(config):
    """Each member gives what a single network with its weights gives, alone, in any order and together."""
    inputs = {**PIXELS, "action": spaces.Box(-1, 1, (2,))}
    role = {"extra": {"action": inputs["action"]}}
    together = network(config, inputs, ensemble=3, **role)
    obs = {"pixels": pixels(2, 4), "action": torch.rand(2, 4, 2)}
    features, some = together(obs), together(obs, members=torch.tensor([2, 0]))
    for member in range(3):
        alone = network(config, inputs, seed=1, **role)
        alone.load_state_dict(
            {name: x[member].reshape(alone.get_parameter(name).shape) for name, x in together.state_dict().items()}
        )
        torch.testing.assert_close(alone(obs), features[member], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some, features[[2, 0]], rtol=1e-4, atol=1e-5)


def test_filters_are_drawn_by_their_scheme():
    """Orthogonal filters as rows have singular values of √2, LeCun's uniform ones stay within √(3 / inputs)."""
    filters = network().weight_conv_0_0.detach().flatten(1)
    torch.testing.assert_close(torch.linalg.svdvals(filters), torch.full((4,), 2**0.5), rtol=1e-4, atol=1e-4)
    filters = network(SMALL.model_copy(update={"conv_init": "lecun_uniform"})).weight_conv_0_0.detach()
    bound = (3 / filters[0].numel()) ** 0.5
    assert 0.9 * bound < filters.abs().max() <= bound


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"obs": spaces.Box(-1, 1, (3,))}, "no observation group is a picture.*obs: Box.*take the network mlp"),
        (
            {"pixels": spaces.Box(0, 255, (8, 8, 3), np.uint8)},
            r"the pictures of the group 'pixels' are too small \(8 × 8\).*2 × 2 are left for filters of 3 × 3.*padding",
        ),
    ],
)
def test_wrong_inputs_are_told(inputs, said):
    """No picture, or one that is smaller than the filters."""
    with pytest.raises(SpecError, match=said):
        network(inputs=inputs)


def test_convolutions_have_sizes_and_strides():
    """Lists of different lengths are problems."""
    config = ConvConfig(channels=(8, 8), kernels=(3,), strides=(1, 1, 1))
    assert [where for where, _ in config.problems({})] == ["kernels", "strides"]
