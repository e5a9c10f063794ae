"""The two costly parts of a training step on a CPU, with hand-written gradients.

Both take a `dtype` for their matrix products. With bfloat16 a core that has AVX512-BF16 multiplies about
five times faster than in float32; weights, cell states and the softmax itself stay float32. With float32 both
equal torch's own LSTM and cross-entropy.
"""

from typing import Any

import torch
from torch import Tensor

_ROWS = 256  # of logits held at once: 256 x 10,000 float32 are 10 MB and stay near the core


class _ProjectedLstm(torch.autograd.Function):
    """LSTM with projection from the zero state over (T, B, N); equations as in torch.nn.LSTM."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, w_hr: Tensor, dtype: torch.dtype
    ) -> Tensor:
        steps, batch, _ = x.shape
        hidden, projection = w_hh.shape[0] // 4, w_hr.shape[0]
        w_hh_low, w_hr_low, x_low = w_hh.to(dtype), w_hr.to(dtype), x.to(dtype)
        gates = torch.matmul(x_low, w_ih.to(dtype).t()).float().add_(bias)  # (T, B, 4H), activated in place
        cells = x.new_zeros(steps + 1, batch, hidden)
        outputs = x.new_zeros(steps + 1, batch, projection, dtype=dtype)  # the state before each step
        inner = x.new_empty(steps, batch, hidden, dtype=dtype)
        for t in range(steps):
            gate = gates[t]
            if t > 0:
                gate.add_(outputs[t] @ w_hh_low.t())
            gate[:, : 2 * hidden].sigmoid_()
            gate[:, 2 * hidden : 3 * hidden].tanh_()
            gate[:, 3 * hidden :].sigmoid_()
            i, f, g, o = gate.chunk(4, dim=1)
            torch.mul(i, g, out=cells[t + 1])
            cells[t + 1].addcmul_(f, cells[t])
            inner[t] = torch.tanh(cells[t + 1]).mul_(o)
            torch.mm(inner[t], w_hr_low.t(), out=outputs[t + 1])
        ctx.save_for_backward(x_low, w_ih, w_hh_low, w_hr_low, gates, cells, outputs, inner)
        return outputs[1:].float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, w_hr, gates, cells, outputs, inner = ctx.saved_tensors
        dtype = x.dtype
        steps, batch, hidden = inner.shape
        d_outputs = torch.empty_like(outputs[1:])
        d_gates = gates.new_empty(gates.shape, dtype=dtype)
        d_cell = gates.new_zeros(batch, hidden)
        carried = torch.zeros_like(grads[0][0])
        for t in range(steps - 1, -1, -1):
            d_output = d_outputs[t]
            d_output.copy_(grads[0][t] + carried)
            i, f, g, o = gates[t].chunk(4, dim=1)
            tanh_cell = torch.tanh(cells[t + 1])
            d_inner = (d_output @ w_hr).float()
            d_cell.add_((1.0 - tanh_cell.square()).mul_(o).mul_(d_inner))
            d_i, d_f, d_g, d_o = d_gates[t].chunk(4, dim=1)
            d_o.copy_(tanh_cell.mul_(d_inner).mul_(o).mul_(1.0 - o))
            d_i.copy_((d_cell * g).mul_(i).mul_(1.0 - i))
            d_g.copy_((d_cell * i).mul_(1.0 - g.square()))
            d_f.copy_((d_cell * cells[t]).mul_(f).mul_(1.0 - f))
            d_cell.mul_(f)
            if t > 0:
                carried = (d_gates[t] @ w_hh).float()
        flat = d_gates.flatten(0, 1)
        d_x = (flat @ w_ih.to(dtype)).float().view(x.shape)
        d_w_ih = (flat.t() @ x.flatten(0, 1)).float()
        d_w_hh = (flat.t() @ outputs[:-1].flatten(0, 1)).float()
        d_bias = flat.sum(0, dtype=torch.float32)
        d_w_hr = (d_outputs.flatten(0, 1).t() @ inner.flatten(0, 1)).float()
        return d_x, d_w_ih, d_w_hh, d_bias, d_w_hr, None


class _TiedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropy of softmax(h W^T + b), its gradients made in the same pass over the logits."""

    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
    ) -> Tensor:
        low, weight_low = states.to(dtype), weight.to(dtype)
        rows = min(_ROWS, len(low))
        product = low.new_empty(rows, len(weight))
        logits = states.new_empty(rows, len(weight))
        d_states = torch.empty_like(states)
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        total = states.new_zeros(())
        for start in range(0, len(low), rows):
            part = low[start : start + rows]
            wanted = targets[start : start + rows].unsqueeze(1)
            n = len(part)
            z, p = logits[:n], product[:n]
            torch.mm(part, weight_low.t(), out=p)
            torch.add(p, bias, out=z)
            total -= z.gather(1, wanted).sum()
            peak = z.amax(1, keepdim=True)
            z.sub_(peak).exp_()
            norm = z.sum(1, keepdim=True)
            total += (norm.log() + peak).sum()
            z.div_(norm)
            z.scatter_add_(1, wanted, z.new_full((n, 1), -1.0))
            d_bias += z.sum(0)
            p.copy_(z)
            d_states[start : start + rows] = p @ weight_low
            d_weight += p.t() @ part
        ctx.save_for_backward(d_states, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_weight, d_bias = ctx.saved_tensors
        return d_states * grads[0], d_weight * grads[0], d_bias * grads[0], None, None


def projected_lstm(
    x: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, w_hr: Tensor, dtype: torch.dtype
) -> Tensor:
    """Outputs (T, B, P) of an LSTM with projection for inputs (T, B, N), from the zero state.

    `w_ih` (4H, N), `w_hh` (4H, P), `bias` (4H,) the sum of torch's two, `w_hr` (P, H).
    """
    result: Tensor = _ProjectedLstm.apply(x, w_ih, w_hh, bias, w_hr, dtype)  # type: ignore[no-untyped-call]
    return result


def tied_cross_entropy(
    states: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
) -> Tensor:
    """Summed cross-entropy in nats of `targets` (M,) under softmax(`states` (M, P) `weight`^T + `bias`)."""
    result: Tensor = _TiedCrossEntropy.apply(states, weight, bias, targets, dtype)  # type: ignore[no-untyped-call]
    return result
