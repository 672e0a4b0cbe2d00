"""Checks of the promises that every normalizer makes, one function per promise."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from slmk.config import NormalizerConfig
from slmk.testing.checkpoints import through_a_file
from slmk.testing.compare import copy_of, equal, first_difference
from slmk.testing.subject import Skip, Subject

__all__ = [
    "NORMALIZER_CHECKS",
    "check_normalizer_constant_data",
    "check_normalizer_identity_before_data",
    "check_normalizer_inverse",
    "check_normalizer_is_frozen",
    "check_normalizer_scale_keeps_sign",
    "check_normalizer_shapes",
    "check_normalizer_splitting",
    "check_normalizer_state_round_trip",
    "check_normalizer_statistics_are_buffers",
]

SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 2))


def check_normalizer_shapes(subject: Subject) -> None:
    """`forward`, `inverse` and `scale` keep shape and dtype, for samples of any shape, alone and in batches."""
    for shape in SHAPES:
        normalizer = _with_data(subject, shape)
        for batch in ((), (6,), (2, 6)):
            x = _data(batch, shape)
            for name in ("forward", "inverse", "scale"):
                y = getattr(normalizer, name)(x)
                assert y.shape == x.shape, f"{name} of {tuple(x.shape)} has shape {tuple(y.shape)}"
                assert y.dtype == torch.float32, f"{name} of float32 is {y.dtype}"
            normalizer.update(x)


def check_normalizer_statistics_are_buffers(subject: Subject) -> None:
    """It is a module without trainable parameters, and `update` leaves no gradient behind."""
    normalizer = _build(subject, (3,))
    is_module = isinstance(normalizer, nn.Module)
    assert is_module, f"it is a {type(normalizer).__name__}, not a torch.nn.Module"
    trained = [name for name, p in normalizer.named_parameters() if p.requires_grad]
    assert not trained, f"{', '.join(trained)} would be trained; statistics are buffers (register_buffer)"
    before = copy_of(normalizer.state_dict())
    normalizer.update(_data((6,), (3,)).requires_grad_())
    attached = [name for name, value in normalizer.state_dict(keep_vars=True).items() if value.requires_grad]
    assert not attached, f"after update, {', '.join(attached)} carries a gradient; decorate update with torch.no_grad()"
    if before:
        assert first_difference(before, normalizer.state_dict()), "update changes nothing of state_dict"


def check_normalizer_identity_before_data(subject: Subject) -> None:
    """One with statistics leaves data as it is until the first `update`."""
    normalizer = _build(subject, (3,))
    if not normalizer.state_dict():
        raise Skip("it has no statistics")
    x = _data((6,), (3,))
    for name, y in (("forward", normalizer(x)), ("inverse", normalizer.inverse(x)), ("scale", normalizer.scale(x))):
        assert torch.allclose(y, x), f"before the first update {name} changes {x[0].tolist()} to {y[0].tolist()}"


def check_normalizer_inverse(subject: Subject) -> None:
    """`inverse` undoes `forward`, to 1e-4 of the data's size."""
    for shape in SHAPES:
        normalizer, x = _with_data(subject, shape), _data((50,), shape)
        worst = (normalizer.inverse(normalizer(x)) - x).abs().max().item()
        assert worst < 1e-3, f"inverse(forward(x)) is off by {worst:.2g} for samples of shape {shape}"


def check_normalizer_scale_keeps_sign(subject: Subject) -> None:
    """`scale` does not shift: 0 stays 0, every sign stays, and so does the order."""
    normalizer = _with_data(subject, ())
    x = torch.linspace(-20, 20, 41)
    y = normalizer.scale(x)
    assert y[20] == 0, f"scale(0) is {y[20].item():.3g}"
    assert equal(y.sign(), x.sign()), "scale changes the sign of some values"
    assert (y.diff() > 0).all(), "scale changes the order of some values"


def check_normalizer_is_frozen(subject: Subject) -> None:
    """Nothing but `update` moves the statistics, in training mode or not, and the data is left as it is."""
    normalizer, x = _with_data(subject, (3,)), _data((6,), (3,))
    before, given = copy_of(normalizer.state_dict()), x.clone()
    for mode in (True, False):
        normalizer.train(mode)
        for function in (normalizer, normalizer.inverse, normalizer.scale):
            function(x)
    moved = first_difference(before, normalizer.state_dict())
    assert moved is None, f"normalising moves {moved}; only update may"
    assert equal(x, given), "the data was changed in place"


def check_normalizer_splitting(subject: Subject) -> None:
    """Where the config says `pooled`: the statistics do not depend on how the data was split into batches."""
    if not cast("type[NormalizerConfig]", subject.component.config).pooled:
        raise Skip("its config does not claim it: pooled is False")
    x = _data((60,), (3,))
    outcomes = []
    for sizes in ([60], [10] * 6, [1] * 60, [7, 23, 30]):
        normalizer = _build(subject, (3,))
        for part in torch.split(x, sizes):
            normalizer.update(part)
        outcomes.append(normalizer(x))
    worst = max((y - outcomes[0]).abs().max().item() for y in outcomes)
    assert worst < 1e-4, f"normalised values differ by {worst:.2g} between ways of splitting the data into batches"


def check_normalizer_constant_data(subject: Subject) -> None:
    """Data without any spread gives finite values."""
    normalizer = _build(subject, (3,))
    for _ in range(3):
        normalizer.update(torch.full((6, 3), 2.0))
    x = torch.tensor([[2.0, 2.0, 2.0], [3.0, 0.0, -1.0]])
    for name, y in (("forward", normalizer(x)), ("scale", normalizer.scale(x)), ("inverse", normalizer.inverse(x))):
        assert torch.isfinite(y).all(), f"after constant data {name} gives {y.tolist()}"


def check_normalizer_state_round_trip(subject: Subject) -> None:
    """One restored from a checkpoint goes on as if nothing had happened, bit for bit."""
    straight, restored = _with_data(subject, (3,)), _build(subject, (3,))
    restored.load_state_dict(through_a_file(straight.state_dict()))
    x = _data((6,), (3,))
    outcomes: list[list[Tensor]] = []
    for normalizer in (straight, restored):
        before = normalizer(x)
        normalizer.update(x)
        outcomes.append([before, normalizer(x), normalizer.inverse(x), normalizer.scale(x)])
    assert first_difference(outcomes[0], outcomes[1]) is None, "one with the restored state normalises differently"


def _build(subject: Subject, shape: tuple[int, ...]) -> Any:
    return subject.target()(subject.config(), shape)


def _with_data(subject: Subject, shape: tuple[int, ...]) -> Any:
    """After three batches of the distribution that `_data` draws from."""
    normalizer = _build(subject, shape)
    for seed in (1, 2, 3):
        normalizer.update(_data((40,), shape, seed))
    return normalizer


def _data(batch: tuple[int, ...], shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Normal with mean 2 and standard deviation 3."""
    return torch.randn((*batch, *shape), generator=torch.Generator().manual_seed(seed)) * 3 + 2


NORMALIZER_CHECKS = (
    check_normalizer_shapes,
    check_normalizer_statistics_are_buffers,
    check_normalizer_identity_before_data,
    check_normalizer_inverse,
    check_normalizer_scale_keeps_sign,
    check_normalizer_is_frozen,
    check_normalizer_splitting,
    check_normalizer_constant_data,
    check_normalizer_state_round_trip,
)
"""All of these checks."""
