"""The LSTM cell with peepholes in Triton: what the tests of all kernels leave open."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED
from kernels.lstm import lstm_step_forward
from kernels.lstm_peephole import lstm_peephole_step_forward
from tests import kernel_twins
from tests.test_kernel_values import assert_kernel_close
from tests.tolerances import assert_close

TWIN = kernel_twins.twins()["lstm_peephole_step_forward"]
SIZES = {"batch": 19, "d_in": 5, "d_h": 7}


def draw(rng, sizes=SIZES):
    return list(kernel_twins.draw(TWIN.forward, rng, sizes, {}).values())


def test_without_peepholes_the_cell_is_the_plain_one(rng):
    *tensors, p_i, p_f, p_o = draw(rng)
    blind = lstm_peephole_step_forward(*tensors, *(torch.zeros_like(p) for p in (p_i, p_f, p_o)))
    for came, plain in zip(blind, lstm_step_forward(*tensors), strict=True):
        assert_close(came.cpu().numpy(), plain.cpu().numpy())


@pytest.mark.parametrize("place", [6, 7, 8], ids=["p_i", "p_f", "p_o"])
@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_a_peephole_that_saturates_its_gate_gives_finite_states_and_gradients(place, size, rng):
    tensors = draw(rng)
    tensors[2], tensors[place] = 3 * tensors[2].sign(), torch.full_like(tensors[place], size)
    named = dict(enumerate(tensor.requires_grad_() for tensor in tensors))
    came = lstm_peephole_step_forward(*tensors)
    for output, right in zip(came, kernel_twins.expected(TWIN, named), strict=True):
        assert_kernel_close(output, right)
    gradients = torch.autograd.grad(came, tensors, [torch.ones_like(output) for output in came])
    for gradient, right in zip(
        gradients, kernel_twins.expected_gradients(TWIN, named, [torch.ones_like(c) for c in came]), strict=True
    ):
        assert np.isfinite(right).all()
        assert gradient.isfinite().all()


def test_the_sums_over_the_batch_come_out_the_same_each_time(rng):
    """Row blocks are added up in a second step, in one order; with atomic additions the order would be chance."""

    def gradients():
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        sum(lstm_peephole_step_forward(*leaves)).sum().backward()
        return [leaf.grad for leaf in leaves]

    tensors = draw(rng, SIZES | {"batch": 53})
    assert all(torch.equal(one, two) for one, two in zip(gradients(), gradients(), strict=True))


def test_an_empty_batch_gives_empty_states_and_no_gradient(rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng)]
    h_t, c_t = lstm_peephole_step_forward(*(tensor[:0] for tensor in tensors[:3]), *tensors[3:])
    assert h_t.shape == c_t.shape == (0, 7)
    (h_t.sum() + c_t.sum()).backward()
    assert all(not tensor.grad.any() for tensor in tensors)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x.tolist(), r"expected x to be a torch tensor, got list"),
        (2, lambda c: c[:4], r"expected c of \(19, 7\) .*, got \(4, 7\)"),
        (6, lambda p_i: p_i[None], r"expected p_i of \(7,\) .*, got \(1, 7\)"),
        (7, lambda p_f: p_f[:5], r"expected p_f of \(7,\) .*, got \(5,\)"),
        (8, lambda p_o: p_o.half(), r"expected p_o of \(7,\) torch.float32 .*, got \(7,\) torch.float16"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(index, change, message, rng):
    tensors = draw(rng)
    tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        lstm_peephole_step_forward(*tensors)


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong(rng):
    with pytest.raises(ValueError, match=r"expected x of dtype torch\.float32 or torch\.float16, got torch\.bfloat16"):
        lstm_peephole_step_forward(*(tensor.bfloat16() for tensor in draw(rng)))
