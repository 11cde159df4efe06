"""Muon: matrices move along their momentum, all of whose singular values are made nearly equal.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024); scaled as by
J. Liu et al., "Muon is Scalable for LLM Training" (2025), so that rates and decays for AdamW fit.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

_MOMENTUM = 0.95
# Jordan's polynomial: steep at zero, so that few steps raise small singular values to about one.
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)
_STEPS = 5
# AdamW's steps are about this large (root mean square, in units of the rate; Liu et al.).
_SIZE_OF_ADAMW = 0.2


class Muon(torch.optim.AdamW):
    """Moves groups with "orthogonal" set, which hold matrices, by Muon, and all others by AdamW.

    torch.optim.Muon computes in bf16 only, which a CPU without it does several times as slowly.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient.

        Raises:
            TypeError: if there is a closure, whose gradients would come too late to be told apart.
        """
        if closure is not None:
            raise TypeError("Muon takes no closure: compute the gradients before the step")
        marked = [group for group in self.param_groups if group["orthogonal"]]
        gradients = {p: p.grad for group in marked for p in group["params"] if p.grad is not None}
        for matrix in gradients:
            matrix.grad = None  # which AdamW passes over
        super().step()
        for matrix, gradient in gradients.items():
            matrix.grad = gradient
        for group in marked:
            shapes: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes[matrix.shape].append(matrix)
            for alike in shapes.values():
                self._move(alike, group)

    def _move(self, matrices: list[torch.Tensor], group: dict[str, Any]) -> None:
        """Move matrices of one shape."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                # AdamW, when it loads a state, looks for a step in each
                zero = torch.zeros((), dtype=torch.float32)
                self.state[matrix] = {"step": zero, "momentum": torch.zeros_like(matrix)}
        momenta = [self.state[matrix]["momentum"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, _MOMENTUM)  # Nesterov's
        size = _SIZE_OF_ADAMW * max(matrices[0].shape) ** 0.5
        torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
        steps = orthogonalized(torch.stack(ahead)).unbind()
        torch._foreach_add_(matrices, steps, alpha=-group["lr"] * size)


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """Return U f(S) Vᵀ for each U S Vᵀ, where f(S) lies between about 0.7 and 1.2.

    Args:
        matrices: (N, rows, columns) float. Singular values below a thousandth or so of a matrix's
            norm end below that range.
    """
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    found = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = _POLYNOMIAL
    for _ in range(_STEPS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found.mT if wide is not matrices else found
