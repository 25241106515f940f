"""The chunked head against the full softmax, its gradient against autograd, and its memory against the vocabulary."""

import pytest
import torch
from torch import nn

from nlft.lm import head as module
from nlft.lm.head import gathered_logprobs, target_logprobs


def naive(head: nn.Linear, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(head(hidden).float(), -1).gather(-1, targets[:, None]).squeeze(-1)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 7])
def test_chunks_give_the_full_softmax_and_its_gradient(
    monkeypatch: pytest.MonkeyPatch, rows: int, frozen: bool, bias: bool
) -> None:
    torch.manual_seed(rows)
    head = nn.Linear(5, 11, bias=bias).requires_grad_(not frozen)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 11 * 2)  # two rows a chunk
    targets = torch.randint(11, (rows,))
    one = torch.randn(rows, 5, requires_grad=True)
    two = one.detach().clone().requires_grad_()
    weights = torch.rand(rows)
    found, expected = target_logprobs(head, one, targets), naive(head, two, targets)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    (found * weights).sum().backward()
    got = {name: p.grad.clone() for name, p in head.named_parameters() if p.grad is not None}
    head.zero_grad()
    (expected * weights).sum().backward()
    torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-5)
    for name, parameter in head.named_parameters():
        assert (name in got) is not frozen
        if not frozen:
            torch.testing.assert_close(got[name], parameter.grad, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_gradient_of_a_likely_token_is_no_rounding_noise(dtype: torch.dtype) -> None:
    """P 0.999 in half precision, against the same numbers in float32; its slope is small, and not 0."""
    torch.manual_seed(0)
    head = nn.Linear(64, 1000, bias=False).requires_grad_(False)
    hidden, targets = torch.randn(20, 64), torch.arange(20)
    hidden += 40 * head.weight[targets]
    low = head.to(dtype)
    one = hidden.to(dtype).requires_grad_()
    found = target_logprobs(low, one, targets)
    found.sum().backward()
    exact = nn.Linear(64, 1000, bias=False)
    exact.weight.data = low.weight.float()
    two = one.detach().float().requires_grad_()
    expected = naive(exact, two, targets)
    expected.sum().backward()
    assert expected.exp().median() > 0.99
    assert one.grad is not None
    assert two.grad is not None
    error = (one.grad.float() - two.grad).norm(dim=-1) / two.grad.norm(dim=-1)
    assert error.max() < 0.1


def test_chosen_tokens_carry_gradient() -> None:
    head = nn.Linear(4, 9, bias=False).requires_grad_(False)
    hidden = torch.randn(6, 4, requires_grad=True, dtype=torch.float32)
    ids = torch.randint(9, (6, 3))
    found = gathered_logprobs(head, hidden, ids)
    torch.testing.assert_close(found, torch.log_softmax(head(hidden), -1).gather(-1, ids))
    assert found.requires_grad


def test_no_tensor_of_positions_by_vocabulary_is_ever_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest result of any operation, forward and backward, stays a chunk."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        size = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    self.size = max(self.size, tensor.numel())
            return result

    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * 1000 * 8)  # eight rows
    positions, vocabulary = 200, 1000
    head = nn.Linear(4, vocabulary, bias=False).requires_grad_(False)
    hidden = torch.randn(positions, 4, requires_grad=True)
    with Largest() as largest:
        target_logprobs(head, hidden, torch.randint(vocabulary, (positions,))).sum().backward()
    assert largest.size == 8 * vocabulary
