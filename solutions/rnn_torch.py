"""Torch twins of the Elman network and of the network over a tree."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def rnn_step_forward(
    x: Float[Tensor, "batch d_in"],
    h: Float[Tensor, "batch d_h"],
    W_x: Float[Tensor, "d_in d_h"],
    W_h: Float[Tensor, "d_h d_h"],
    b: Float[Tensor, " d_h"],
) -> Float[Tensor, "batch d_h"]:
    """Advance the hidden state by one time step (eq. rnn-step)."""
    return (x @ W_x + h @ W_h + b).tanh()


def rnn_forward(
    x: Float[Tensor, "batch time d_in"],
    h_0: Float[Tensor, "batch d_h"],
    W_x: Float[Tensor, "d_in d_h"],
    W_h: Float[Tensor, "d_h d_h"],
    b: Float[Tensor, " d_h"],
    k: int | None = None,
) -> Float[Tensor, "batch time d_h"]:
    """Run the step over a sequence; with k, detach the state after every k steps.

    Eq. rnn-step and rnn-truncated.
    """
    h, hidden = h_0, []
    for t, x_t in enumerate(x.unbind(dim=1)):
        if k and t and t % k == 0:
            h = h.detach()
        h = rnn_step_forward(x_t, h, W_x, W_h, b)
        hidden.append(h)
    return torch.stack(hidden, dim=1)


def tree_forward(
    leaves: Float[Tensor, "leaves d_h"],
    children: Int[Tensor, "inner 2"],
    W: Float[Tensor, "2*d_h d_h"],
    b: Float[Tensor, " d_h"],
) -> Float[Tensor, "leaves+inner d_h"]:
    """Give every node of a binary tree a vector (eq. rnn-tree)."""
    h = list(leaves)
    for left, right in children.tolist():
        h.append((torch.cat([h[left], h[right]]) @ W + b).tanh())
    return torch.stack(h)
