"""GRU and LSTM against torch's own cells in float64, and how their weights begin."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slmk_net_recurrent.cells import CELLS, cell_parameters

INPUTS, HIDDEN, ROWS = 3, 5, 7


def torch_step(kind: str, x: Tensor, carry: Tensor, parameters: list[Tensor]) -> Tensor:
    """The carry after a step of torch's cell."""
    cell = {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](INPUTS, HIDDEN, dtype=torch.float64)
    weight_input, bias_input, weight_state, bias_state = parameters
    given = {"weight_ih": weight_input.T, "weight_hh": weight_state.T, "bias_ih": bias_input, "bias_hh": bias_state}
    state = carry if kind == "gru" else tuple(carry.chunk(2, -1))
    after = torch.func.functional_call(cell, given, (x, state))
    return after if kind == "gru" else torch.cat(after, -1)


@pytest.mark.parametrize("kind", CELLS)
def test_a_step_and_its_gradients_are_those_of_torch(kind: str) -> None:
    """The carry after a step, and the gradient of every argument, equal torch's cell to 1e-12 in float64."""
    generator, cell = torch.Generator().manual_seed(0), CELLS[kind]
    shapes = [
        (ROWS, INPUTS), (ROWS, cell.states * HIDDEN),
        (INPUTS, cell.gates * HIDDEN), (cell.gates * HIDDEN,), (HIDDEN, cell.gates * HIDDEN), (cell.gates * HIDDEN,),
    ]  # fmt: skip
    given = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    x, carry, weight_input, bias_input, weight_state, bias_state = given
    from_input, from_state = x @ weight_input + bias_input, carry[:, :HIDDEN] @ weight_state + bias_state
    mine, right = cell.step(from_input, from_state, carry), torch_step(kind, x, carry, given[2:])
    torch.testing.assert_close(mine, right, rtol=0, atol=1e-12)
    direction = torch.randn(right.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(*(torch.autograd.grad(each, given, direction) for each in (mine, right)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_a_gru_by_hand() -> None:
    """Where all gates are half open and the candidate is tanh(.5 + .5 · 1), the mean of that and the state remains."""
    from_input, from_state = torch.tensor([[0.0, 0.0, 0.5]]), torch.tensor([[0.0, 0.0, 1.0]])
    after = CELLS["gru"].step(from_input, from_state, torch.tensor([[0.2]]))
    assert after.item() == pytest.approx(0.5 * 0.7615942 + 0.5 * 0.2, abs=1e-6)  # tanh 1 = .7615942


def test_an_lstm_by_hand() -> None:
    """Half of the memory 2 and half of the candidate tanh 1 make 1.3807971; half of its tanh is the output."""
    zero = torch.zeros(1, 4)
    after = CELLS["lstm"].step(torch.tensor([[0.0, 0.0, 1.0, 0.0]]), zero, torch.tensor([[9.0, 2.0]]))
    torch.testing.assert_close(after, torch.tensor([[0.5 * 0.8811296, 1.3807971]]))  # tanh 1.3807971 = .8811296


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("ensemble", [0, 2])
def test_initial_weights(kind: str, ensemble: int) -> None:
    """Weights from the state are orthogonal gate by gate, biases 0 but for 1 in an LSTM's forget gate."""
    cell, generator = CELLS[kind], torch.Generator().manual_seed(0)
    drawn = cell_parameters(cell, INPUTS, HIDDEN, "lecun_uniform", generator, ensemble)
    weight, bias = (parameter.detach() for parameter in drawn["state"])
    assert weight.shape == (*([ensemble] if ensemble else []), HIDDEN, cell.gates * HIDDEN)
    for gate in weight.chunk(cell.gates, -1):
        torch.testing.assert_close(gate.mT @ gate, torch.eye(HIDDEN).expand_as(gate.mT @ gate), atol=1e-5, rtol=0)
    assert not bias.any()
    gates = drawn["input"][1].detach().chunk(cell.gates, -1)
    assert [gate.unique().tolist() for gate in gates] == [[float(k == cell.forget)] for k in range(cell.gates)]
    assert drawn["input"][0].abs().max() <= 1.0  # ±√(3 / inputs)
    if ensemble:
        assert not torch.equal(*drawn["input"][0].detach())
