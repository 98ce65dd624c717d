"""muon.py - momentum made orthogonal, for the matrices of transformer blocks

The update of a matrix is its momentum with all singular values near one (Jordan et al.,
"Muon", 2024: five steps of a quintic Newton-Schulz iteration), times
0.2 sqrt(larger side), which gives it the size that AdamW's updates have (Liu et al.,
"Muon is scalable for LLM training", 2025), so that both share rates and decay.
"""
import torch

STEPS, A, B, C = 5, 3.4445, -4.7750, 2.0315


def orthogonal(x):
    """x [n,r,c] with r <= c; singular values go to about one."""
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = A * x + (B * square + C * square @ square) @ x
    return x


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, weight_decay=0.01):
        super().__init__(parameters, dict(lr=lr, momentum=momentum,
                                          weight_decay=weight_decay))

    def direction(self, p, momentum):
        state = self.state[p]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(p.grad, 1 - momentum)
        return p.grad.lerp(state["momentum"], momentum)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            alike = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for shape, list_ in alike.items():
                x = torch.stack([self.direction(p, group["momentum"]) for p in list_])
                tall = shape[0] > shape[1]
                x = orthogonal((x.mT if tall else x).bfloat16())
                x = (x.mT if tall else x).to(list_[0].dtype)
                torch._foreach_mul_(list_, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(list_, list(x.unbind()),
                                    alpha=-group["lr"] * 0.2 * max(shape) ** 0.5)
