"""Muon: orthogonal steps for matrices and kernels, AdamW's own for everything else."""

import copy

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from diffvqa.training.muon import Muon, hidden_matrices, orthogonal


class Small(nn.Module):
    """A kernel, a matrix, an embedding, a bias."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Conv2d(3, 4, 3, bias=False)
        self.embedding = nn.Embedding(5, 4)
        self.matrix = nn.Linear(4, 6)

    def forward(self, pixels, words):
        return self.matrix(self.kernel(pixels).mean((2, 3)) + self.embedding(words)).square().sum()


@pytest.fixture
def small():
    torch.manual_seed(0)
    return Small()


def muon(model, **options):
    groups = [{"params": list(model.parameters()), "weight_decay": 0.1}]
    return Muon(hidden_matrices(model), groups, lr=0.01, weight_decay=0.1, betas=(0.9, 0.95), **options)


def step(model, optimizer, seed):
    random = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    model(torch.randn(2, 3, 5, 5, generator=random), torch.tensor([1, 3])).backward()
    optimizer.step()


@pytest.mark.parametrize("shape", [(8, 8), (4, 12), (12, 4)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(1)
    matrix = 0.3 * torch.randn(shape) + 2 * torch.eye(*shape)
    found = orthogonal(matrix)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.allclose(torch.linalg.svdvals(found), torch.ones(min(shape)), atol=0.35)
    # In the matrix's own directions it is nearly diagonal.
    turned = left.T @ found @ right.T
    assert (turned - turned.diag().diag()).abs().max() < 0.05
    assert torch.allclose(orthogonal(matrix.T), found.T, atol=0.1)


def test_it_takes_matrices_and_kernels_but_not_what_embeds_or_predicts_tokens(small):
    assert {id(one) for one in hidden_matrices(small)} == {id(small.kernel.weight), id(small.matrix.weight)}
    decoder = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=20))
    taken = {id(one) for one in hidden_matrices(decoder)}
    names = {name for name, one in decoder.named_parameters() if id(one) in taken}
    parts = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    assert names == {f"transformer.h.0.{part}.weight" for part in parts}


def test_what_is_frozen_is_not_taken(small):
    small.kernel.weight.requires_grad_(False)
    assert [id(one) for one in hidden_matrices(small)] == [id(small.matrix.weight)]


def test_a_first_step_is_the_orthogonal_gradient(small):
    before, kernel, optimizer = small.kernel.weight.detach().clone(), small.kernel.weight, muon(small)
    # Of full rank: what has no direction would be rounded to any.
    kernel.grad = torch.randn(kernel.shape, generator=torch.Generator().manual_seed(3))
    optimizer.step()
    moved = (before * (1 - 0.01 * 0.1) - kernel.detach()) / (0.01 * 0.2 * 27**0.5)
    assert torch.allclose(moved.flatten(1), orthogonal(kernel.grad.flatten(1)), atol=0.1)
    assert moved.flatten(1).norm() == pytest.approx(2.0, rel=0.2)


def test_all_else_goes_as_torchs_adamw_takes_it(small):
    other = copy.deepcopy(small)
    ours = muon(small)
    theirs = torch.optim.AdamW([*other.embedding.parameters(), other.matrix.bias], 0.01, (0.9, 0.95), weight_decay=0.1)
    for seed in range(3):
        step(small, ours, seed)
        theirs.zero_grad()
        for one, two in ((small.embedding.weight, other.embedding.weight), (small.matrix.bias, other.matrix.bias)):
            two.grad = one.grad.clone()
        theirs.step()
    assert torch.allclose(small.embedding.weight, other.embedding.weight, atol=1e-6)
    assert torch.allclose(small.matrix.bias, other.matrix.bias, atol=1e-6)


def test_the_layout_of_a_kernel_makes_no_difference(small):
    other = copy.deepcopy(small).to(memory_format=torch.channels_last)
    for model in (small, other):
        optimizer = muon(model)
        for seed in range(3):
            step(model, optimizer, seed)
    assert torch.allclose(small.kernel.weight, other.kernel.weight, atol=1e-3)


def test_it_goes_on_from_a_saved_state_as_if_it_had_never_stopped(small):
    optimizer = muon(small)
    step(small, optimizer, 0)
    other = copy.deepcopy(small)
    going_on = muon(other)
    going_on.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (1, 2):
        step(small, optimizer, seed)
        step(other, going_on, seed)
    assert all(torch.equal(one, two) for one, two in zip(small.parameters(), other.parameters(), strict=True))
