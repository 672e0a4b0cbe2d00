"""Distributions against PyTorch's own, against numbers computed by hand, and against their samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as reference

from slmk.toolbox.distributions import Bernoulli, Categorical, MultiCategorical, Normal, TanhNormal

BATCH = (3, 5)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Parameters to test with."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def stream(seed: int = 1) -> torch.Generator:
    """A stream to sample from."""
    return torch.Generator().manual_seed(seed)


def test_categorical_agrees_with_pytorch() -> None:
    """Log-probability, entropy, divergence and mode are those of `torch.distributions`."""
    a, b = draw(*BATCH, 4), draw(*BATCH, 4, seed=1)
    raw = Categorical(a).sample(stream())
    ours, theirs = Categorical(a), reference.Categorical(logits=a)
    assert raw.shape == BATCH
    assert raw.dtype == torch.int64
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(raw))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(
        ours.kl(Categorical(b)), reference.kl_divergence(theirs, reference.Categorical(logits=b))
    )
    assert torch.equal(ours.mode(), a.argmax(-1))


def test_categorical_samples_by_its_probabilities() -> None:
    """Among 40 000 draws with p = 0.1, 0.2, 0.7 the frequencies are within four standard errors."""
    p = torch.tensor([0.1, 0.2, 0.7])
    raw = Categorical(p.log().expand(40_000, 3)).sample(stream())
    frequency = raw.bincount(minlength=3) / len(raw)
    assert ((frequency - p).abs() < 4 * (p * (1 - p) / len(raw)).sqrt()).all()


def test_masked_actions_have_no_probability() -> None:
    """With one of two equal actions forbidden the other has probability 1, entropy 0 and a finite gradient."""
    logits = torch.zeros(1000, 3, requires_grad=True)
    mask = torch.tensor([True, False, False]).expand(1000, 3)
    policy = Categorical(logits, mask)
    assert (policy.sample(stream()) == 0).all()
    assert (policy.mode() == 0).all()
    assert torch.equal(policy.entropy(), torch.zeros(1000))
    assert torch.equal(policy.log_prob(torch.zeros(1000, dtype=torch.int64)), torch.zeros(1000))
    (policy.entropy().sum() + policy.log_prob(torch.zeros(1000, dtype=torch.int64)).sum()).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_entropy_with_mask_counts_allowed_actions_alone() -> None:
    """Two of three equal actions have entropy log 2."""
    policy = Categorical(torch.zeros(3), torch.tensor([True, False, True]))
    assert policy.entropy().item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("nvec", [(3, 3), (2, 5, 3)])
def test_multi_categorical_is_a_product_of_choices(nvec: tuple[int, ...]) -> None:
    """Log-probability, entropy and divergence are sums over the choices, whether or not they are equally wide."""
    a, b = draw(*BATCH, sum(nvec)), draw(*BATCH, sum(nvec), seed=1)
    ours = MultiCategorical(a, nvec)
    raw = ours.sample(stream())
    parts = [reference.Categorical(logits=piece) for piece in a.split(list(nvec), -1)]
    others = [reference.Categorical(logits=piece) for piece in b.split(list(nvec), -1)]
    assert raw.shape == (*BATCH, len(nvec))
    assert (raw < torch.tensor(nvec)).all()
    torch.testing.assert_close(ours.log_prob(raw), sum(p.log_prob(raw[..., k]) for k, p in enumerate(parts)))
    torch.testing.assert_close(ours.entropy(), sum(p.entropy() for p in parts))
    divergence = sum(reference.kl_divergence(p, q) for p, q in zip(parts, others, strict=True))
    torch.testing.assert_close(ours.kl(MultiCategorical(b, nvec)), divergence)
    modes = [piece.argmax(-1) for piece in a.split(list(nvec), -1)]
    assert torch.equal(ours.mode(), torch.stack(modes, -1))


def test_multi_categorical_honours_its_mask() -> None:
    """With one action allowed in each choice, only that one is ever drawn."""
    mask = torch.tensor([False, True, True, False, False]).expand(500, 5)
    raw = MultiCategorical(torch.zeros(500, 5), (2, 3), mask).sample(stream())
    assert torch.equal(raw, torch.tensor([1, 0]).expand(500, 2))


def test_bernoulli_agrees_with_pytorch() -> None:
    """Log-probability, entropy and divergence sum over the bits as PyTorch's independent Bernoulli does."""
    a, b = draw(*BATCH, 4), draw(*BATCH, 4, seed=1)
    ours = Bernoulli(a)
    theirs, other = (reference.Independent(reference.Bernoulli(logits=x), 1) for x in (a, b))
    raw = ours.sample(stream())
    assert raw.dtype == torch.bool
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(raw.double()))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.kl(Bernoulli(b)), reference.kl_divergence(theirs, other))
    assert torch.equal(ours.mode(), a > 0)


def test_bernoulli_samples_by_its_probability() -> None:
    """Log-odds log 3 give ones three times out of four, within four standard errors of 40 000 draws."""
    raw = Bernoulli(torch.full((40_000, 1), math.log(3))).sample(stream())
    assert abs(raw.double().mean().item() - 0.75) < 4 * math.sqrt(0.75 * 0.25 / 40_000)


@pytest.mark.parametrize("shared", [True, False])
def test_normal_agrees_with_pytorch(shared: bool) -> None:
    """The diagonal Gaussian has PyTorch's values, with a deviation per sample or one for all."""
    mean, log_std = draw(*BATCH, 2), draw(2, seed=2) if shared else draw(*BATCH, 2, seed=2)
    ours, other = Normal(mean, log_std), Normal(mean + 1, log_std - 0.5)
    theirs = reference.Independent(reference.Normal(mean, log_std.exp()), 1)
    that = reference.Independent(reference.Normal(mean + 1, (log_std - 0.5).exp()), 1)
    raw = ours.sample(stream())
    torch.testing.assert_close(ours.log_prob(raw), theirs.log_prob(raw))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.kl(other), reference.kl_divergence(theirs, that))
    assert torch.equal(ours.mode(), mean)


def test_normal_samples_have_its_moments() -> None:
    """40 000 draws with mean 2 and deviation 3 have these within four standard errors."""
    raw = Normal(torch.full((40_000, 1), 2.0), torch.tensor([math.log(3)])).sample(stream())
    assert abs(raw.mean().item() - 2) < 4 * 3 / math.sqrt(40_000)
    assert abs(raw.std().item() - 3) < 4 * 3 / math.sqrt(2 * 40_000)


def test_normal_at_given_noise() -> None:
    """At noise −1 and 2 a Gaussian with mean 3 and deviation 2 gives 1 and 7, with gradients 1 and 2 · noise."""
    mean, log_std = torch.full((2,), 3.0, requires_grad=True), torch.full((2,), math.log(2), requires_grad=True)
    raw = Normal(mean, log_std).at(torch.tensor([-1.0, 2.0]))
    assert raw.tolist() == pytest.approx([1.0, 7.0])
    raw.sum().backward()
    assert mean.grad is not None
    assert log_std.grad is not None
    assert mean.grad.tolist() == [1.0, 1.0]
    assert log_std.grad.tolist() == pytest.approx([-2.0, 4.0])


def test_tanh_normal_agrees_with_a_transformed_distribution() -> None:
    """The density after tanh is PyTorch's, taken at the raw action."""
    mean, log_std = draw(*BATCH, 2), draw(*BATCH, 2, seed=2)
    raw = TanhNormal(mean, log_std).sample(stream())
    base = reference.Normal(mean, log_std.exp())
    theirs = reference.TransformedDistribution(base, reference.TanhTransform(cache_size=1))
    expected = theirs.log_prob(theirs.transforms[0](raw)).sum(-1)
    torch.testing.assert_close(TanhNormal(mean, log_std).log_prob(raw), expected)


def test_tanh_normal_is_finite_where_tanh_is_one() -> None:
    """At raw ±30, where tanh rounds to ±1, density and gradient are finite: −450 − ½ log 2π − 2 log 2 + 60."""
    mean = torch.zeros(2, 1, requires_grad=True)
    value = TanhNormal(mean, torch.zeros(1)).log_prob(torch.tensor([[30.0], [-30.0]]))
    assert value.tolist() == pytest.approx([-450 - 0.5 * math.log(2 * math.pi) - 2 * math.log(2) + 60] * 2)
    value.sum().backward()
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


@pytest.mark.parametrize("std", [0.1, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("mean", [0.0, 0.7, 2.0])
def test_tanh_normal_entropy_estimates(mean: float, std: float) -> None:
    """Both estimates agree with the integral −∫ p log p over actions in (−1, 1), computed on a fine grid."""
    x = torch.linspace(mean - 12 * std, mean + 12 * std, 200_001, dtype=torch.float64)
    policy = TanhNormal(torch.full((1,), mean, dtype=torch.float64), torch.tensor([math.log(std)]).double())
    density = reference.Normal(mean, std).log_prob(x).exp()
    entropy = -torch.trapezoid(density * policy.log_prob(x.unsqueeze(-1)), x).item()

    assert policy.entropy().item() == pytest.approx(entropy, abs=0.01 if std <= 1 else 0.1)
    many = TanhNormal(policy.mean.expand(100_000, 1), policy.log_std)
    assert many.entropy(many.sample(stream())).mean().item() == pytest.approx(entropy, abs=0.04)


@pytest.mark.parametrize("kind", ["categorical", "multi", "bernoulli", "normal", "tanh"])
def test_distributions_compile_into_one_graph(kind: str) -> None:
    """Log-probability, entropy and divergence compile with ``fullgraph`` and keep their values."""
    build = {
        "categorical": Categorical,
        "multi": lambda x: MultiCategorical(x, (2, 4)),
        "bernoulli": Bernoulli,
        "normal": lambda x: Normal(x, x * 0.1),
        "tanh": lambda x: TanhNormal(x, x * 0.1),
    }[kind]

    def values(x: torch.Tensor, raw: torch.Tensor) -> tuple[torch.Tensor, ...]:
        policy = build(x)
        return policy.log_prob(raw), policy.entropy(), policy.kl(build(x + 1))

    x = draw(7, 6).float()
    raw = build(x).sample(stream())
    torch.testing.assert_close(torch.compile(values, fullgraph=True, backend="aot_eager")(x, raw), values(x, raw))
