"""Torch twins of the recurrent cells, and the weights of torch.nn.LSTM as ours."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from torch import Tensor

Array = np.ndarray


def lstm_step_forward(
    x: Float[Tensor, "batch d_in"],
    h: Float[Tensor, "batch d_h"],
    c: Float[Tensor, "batch d_h"],
    W_x: Float[Tensor, "d_in 4*d_h"],
    W_h: Float[Tensor, "d_h 4*d_h"],
    b: Float[Tensor, " 4*d_h"],
) -> tuple[Float[Tensor, "batch d_h"], Float[Tensor, "batch d_h"]]:
    """Advance the cell by one time step (eq. lstm-step)."""
    a_i, a_f, a_g, a_o = (x @ W_x + h @ W_h + b).chunk(4, dim=1)
    c_t = a_f.sigmoid() * c + a_i.sigmoid() * a_g.tanh()
    return a_o.sigmoid() * c_t.tanh(), c_t


def lstm_peephole_step_forward(
    x: Float[Tensor, "batch d_in"],
    h: Float[Tensor, "batch d_h"],
    c: Float[Tensor, "batch d_h"],
    W_x: Float[Tensor, "d_in 4*d_h"],
    W_h: Float[Tensor, "d_h 4*d_h"],
    b: Float[Tensor, " 4*d_h"],
    p_i: Float[Tensor, " d_h"],
    p_f: Float[Tensor, " d_h"],
    p_o: Float[Tensor, " d_h"],
) -> tuple[Float[Tensor, "batch d_h"], Float[Tensor, "batch d_h"]]:
    """Advance the peephole cell by one step, which torch lacks (eq. lstm-peephole)."""
    a_i, a_f, a_g, a_o = (x @ W_x + h @ W_h + b).chunk(4, dim=1)
    c_t = (a_f + p_f * c).sigmoid() * c + (a_i + p_i * c).sigmoid() * a_g.tanh()
    return (a_o + p_o * c_t).sigmoid() * c_t.tanh(), c_t


def gru_step_forward(
    x: Float[Tensor, "batch d_in"],
    h: Float[Tensor, "batch d_h"],
    W_x: Float[Tensor, "d_in 3*d_h"],
    W_h: Float[Tensor, "d_h 3*d_h"],
    b_x: Float[Tensor, " 3*d_h"],
    b_h: Float[Tensor, " 3*d_h"],
    reset: Literal["after", "before"] = "after",
    z_means: Literal["keep", "update"] = "keep",
) -> Float[Tensor, "batch d_h"]:
    """Advance the gated recurrent unit in any of its conventions (eq. gru-step).

    Raises ValueError for any other word than those of the annotations.
    """
    if reset not in ("after", "before") or z_means not in ("keep", "update"):
        raise ValueError(f"unknown convention: reset {reset!r}, z_means {z_means!r}")
    W_hr, W_hz, W_hn = W_h.chunk(3, dim=1)
    b_hr, b_hz, b_hn = b_h.chunk(3)
    u_r, u_z, u_n = (x @ W_x + b_x).chunk(3, dim=1)
    r = (u_r + h @ W_hr + b_hr).sigmoid()
    z = (u_z + h @ W_hz + b_hz).sigmoid()
    if reset == "after":
        n = (u_n + r * (h @ W_hn + b_hn)).tanh()
    else:
        n = (u_n + (r * h) @ W_hn + b_hn).tanh()
    keep = z if z_means == "keep" else 1 - z
    return keep * h + (1 - keep) * n


def load_torch_weights(
    weight_ih: Float[Array, "gates d_in"],
    weight_hh: Float[Array, "gates d_h"],
    bias_ih: Float[Array, " gates"],
    bias_hh: Float[Array, " gates"],
) -> tuple[
    Float[Array, "d_in gates"], Float[Array, "d_h gates"], Float[Array, " gates"]
]:
    """Turn the four parameters of a torch.nn.LSTM layer into our (W_x, W_h, b).

    torch multiplies from the left and keeps two biases of which only the sum matters;
    its gate order is ours.
    """
    return weight_ih.T.copy(), weight_hh.T.copy(), bias_ih + bias_hh
