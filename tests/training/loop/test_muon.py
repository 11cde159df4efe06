"""Muon: singular values, PyTorch's own as the reference, and what it leaves to AdamW."""

import copy

import pytest
import torch

from icmformer import build_model
from training.loop.muon import Muon, orthogonalized
from training.loop.optimization import make_optimizer
from training.loop.recipe import Optimization


def random_weights(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def as_parameters(weights):
    return [torch.nn.Parameter(weight.clone()) for weight in weights]


def descend(optimizer, parameters, steps):
    """Take steps along gradients that are the same for every optimiser."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("shape", [(32, 8), (8, 32), (16, 16)])
def test_singular_values_become_nearly_equal_and_their_vectors_stay(shape):
    matrices = torch.stack(random_weights(shape, shape))

    found = orthogonalized(matrices)

    for matrix, changed in zip(matrices, found, strict=True):
        left, _, right = torch.linalg.svd(matrix, full_matrices=False)
        values = left.T @ changed @ right.T
        torch.testing.assert_close(values, torch.diag(values.diag()), atol=1e-3, rtol=0)
        assert values.diag().min() > 0.6
        assert values.diag().max() < 1.3


def test_the_scale_of_a_gradient_and_a_gradient_of_zero_do_not_matter():
    [matrix] = random_weights((4, 8))

    found = orthogonalized(torch.stack([matrix, 1e-4 * matrix, 0 * matrix]))

    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[2], torch.zeros(4, 8))


def test_matrices_move_as_by_pytorchs_own():
    weights = random_weights((24, 8), (8, 24), (8, 24))
    ours, theirs = as_parameters(weights), as_parameters(weights)

    descend(Muon([{"params": ours, "orthogonal": True}], lr=0.01, weight_decay=0.1), ours, steps=5)
    reference = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    descend(reference, theirs, steps=5)

    for start, our, their in zip(weights, ours, theirs, strict=True):
        # PyTorch's computes in bf16, of which three digits are left
        difference = (our - their).norm() / (their - start).norm()
        assert difference < 0.02


def test_everything_else_moves_as_by_adamw():
    weights = random_weights((8,), (4, 3, 2, 2))
    ours, theirs = as_parameters(weights), as_parameters(weights)
    matrix = torch.nn.Parameter(torch.ones(2, 2))
    groups = [{"params": [matrix], "orthogonal": True}, {"params": ours, "orthogonal": False}]

    descend(Muon(groups, lr=0.01), ours, steps=3)
    descend(torch.optim.AdamW(theirs, lr=0.01), theirs, steps=3)

    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(matrix.detach(), torch.ones(2, 2))


def test_a_gradient_is_still_there_after_the_step():
    [matrix] = as_parameters(random_weights((2, 2)))

    descend(Muon([{"params": [matrix], "orthogonal": True}]), [matrix], steps=1)

    assert matrix.grad is not None


def test_a_closure_is_refused():
    [matrix] = as_parameters(random_weights((2, 2)))

    with pytest.raises(TypeError, match="no closure: compute the gradients before"):
        Muon([{"params": [matrix], "orthogonal": True}]).step(lambda: matrix.sum())


def test_it_continues_from_its_state():
    weights = random_weights((4, 8), (8,))
    parameters = as_parameters(weights)

    def made(parameters):
        matrix, vector = parameters
        return Muon(
            [{"params": [matrix], "orthogonal": True}, {"params": [vector], "orthogonal": False}],
            lr=0.01,
        )

    optimizer = made(parameters)
    descend(optimizer, parameters, steps=2)
    continued = as_parameters([parameter.detach() for parameter in parameters])
    other = made(continued)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    descend(optimizer, parameters, steps=2)
    descend(other, continued, steps=2)

    torch.testing.assert_close(continued, parameters)


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_of_a_network_it_takes_the_matrices_that_decay(name):
    model = build_model(name)

    optimizer = make_optimizer(model, Optimization(optimizer="muon", weight_decay=0.1))

    taken = {id(p) for g in optimizer.param_groups if g["orthogonal"] for p in g["params"]}
    names = {n for n, p in model.named_parameters() if id(p) in taken}
    assert names
    assert all("weight" in name and "norm" not in name for name in names)
    assert not any("conv" in name or "patch_embed.proj" in name for name in names)
    settings = {(g["orthogonal"], g["weight_decay"]) for g in optimizer.param_groups}
    assert settings == {(True, 0.1), (False, 0.1), (False, 0.0)}
