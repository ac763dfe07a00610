"""Muon (https://kellerjordan.github.io/posts/muon), batched for many small matrices.

The update is that of torch.optim.Muon with `match_rms_adamw`, but matrices of the same shape are
orthogonalised together and in float32. For a tiny backbone on a CPU, orthogonalising took a third of a
pre-training step; batched, it took a sixth of that time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

# p(x) = a x + b x^3 + c x^5, one polynomial after another, by their number. The five equal ones are usual;
# singular values end between 0.7 and 1.2. Of the three, each is the best for the interval that the one before
# it leaves, in the sense of the largest |1 - p(x)|, as in Polar Express (arXiv 2505.16932). They begin with
# [0.01, 1], end with 0.73 to 1.27, and take three fifths of the time.
POLYNOMIALS = {
    3: ((8.0934, -23.6204, 17.4462), (3.6366, -2.7219, 0.5365), (2.6613, -1.9772, 0.4526)),
    5: ((3.4445, -4.7750, 2.0315),) * 5,
}
EPSILON = 1e-7


class Muon(torch.optim.Optimizer):
    """Momentum whose update is replaced by the nearest orthogonal matrix.

    The update is scaled by the rate times 0.2 * sqrt(longer side). Its root mean square is then 0.2 times the
    rate (Moonlight, arXiv 2502.16982), so learning rates are comparable to AdamW's. All parameters must be
    2-D; otherwise the constructor raises ValueError. `polynomials`: 3 or 5 approximate the orthogonal matrix.
    """

    def __init__(
        self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.0, polynomials: int = 5
    ):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.polynomials = POLYNOMIALS[polynomials]
        for group in self.param_groups:
            if any(parameter.ndim != 2 for parameter in group["params"]):
                raise ValueError("Muon takes matrices only")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            gradients = [parameter.grad for parameter in parameters]
            buffers = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            torch._foreach_lerp_(buffers, gradients, 1 - group["momentum"])
            directions = torch._foreach_lerp(gradients, buffers, group["momentum"])  # Nesterov
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            for members in self._by_shape(parameters):
                wide = torch.stack([_wide(directions[index]) for index in members])
                stacked = orthogonal(wide, self.polynomials)
                for index, direction in zip(members, stacked, strict=True):
                    parameter = parameters[index]
                    rate = group["lr"] * 0.2 * max(parameter.shape) ** 0.5
                    tall = parameter.shape[0] > parameter.shape[1]
                    parameter.sub_(direction.T if tall else direction, alpha=rate)

    @staticmethod
    def _by_shape(parameters: list[torch.Tensor]) -> list[list[int]]:
        """Group the indices of parameters that have the same shape once tall matrices are transposed."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, parameter in enumerate(parameters):
            groups.setdefault(tuple(sorted(parameter.shape)), []).append(index)
        return list(groups.values())


def _wide(matrix: torch.Tensor) -> torch.Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def orthogonal(
    matrices: torch.Tensor, polynomials: Sequence[tuple[float, float, float]] = POLYNOMIALS[5]
) -> torch.Tensor:
    """Approximate the orthogonal factor of each matrix of (N, rows, columns), where rows <= columns.

    Singular values above a hundredth of the matrix's Frobenius norm become about 0.7 to 1.3.
    """
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=EPSILON)
    for a, b, c in polynomials:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
