"""The step of the GRU in Triton, in its four conventions: what the tests of all kernels leave open."""

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED, checker
from kernels.lstm_gru import gru_step_forward
from tests import kernel_twins
from tests.test_kernel_values import assert_kernel_close

TWIN = kernel_twins.twins()["gru_step_forward"]
SIZES = {"batch": 19, "d_in": 5, "d_h": 7}
SETTINGS = kernel_twins.settings(TWIN.forward)
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=[" ".join(map(str, s.values())) for s in SETTINGS])
interpreted = pytest.mark.skipif(not INTERPRETED, reason="launches are watched in the interpreter")


def tensors_of(rng, sizes=SIZES):
    drawn = kernel_twins.draw(TWIN.forward, rng, sizes, {})
    return [value for value in drawn.values() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("setting", [{"reset": "inside"}, {"z_means": "forget"}], ids=["reset", "z_means"])
def test_an_unknown_convention_is_refused(setting, rng):
    (word,) = setting.values()
    with pytest.raises(ValueError, match=rf"reset to be after or before and z_means keep or update, got .*'{word}'"):
        gru_step_forward(*tensors_of(rng), **setting)


def test_the_library_s_convention_is_that_of_torch(rng):
    x, h, W_x, W_h, b_x, b_h = tensors_of(rng)
    expected = torch.gru_cell(x, h, W_x.T, W_h.T, b_x, b_h)
    assert_kernel_close(gru_step_forward(x, h, W_x, W_h, b_x, b_h), expected.cpu().double().numpy())


@each_setting
@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_large_inputs_give_finite_states_and_gradients(size, setting, rng):
    tensors = [(size * tensor.sign()).requires_grad_() for tensor in tensors_of(rng)]
    h_t = gru_step_forward(*tensors, **setting)
    arguments = dict(enumerate([*tensors, *setting.values()]))
    assert_kernel_close(h_t, *kernel_twins.expected(TWIN, arguments))
    h_t.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in tensors)


@each_setting
def test_a_gate_that_keeps_all_hands_the_old_state_and_its_gradient_on(setting, rng):
    tensors = tensors_of(rng)
    for weights in tensors[2:]:
        weights[..., 7:14] = 0.0
    tensors[5][7:14] = 200.0 if setting["z_means"] == "keep" else -200.0
    h = tensors[1].requires_grad_()
    h_t = gru_step_forward(*tensors, **setting)
    assert torch.equal(h_t, h)
    h_t.sum().backward()
    assert torch.equal(h.grad, torch.ones_like(h))


@interpreted
@each_setting
def test_reset_after_takes_one_launch_and_reset_before_two(setting, rng):
    tensors = [tensor.requires_grad_() for tensor in tensors_of(rng, SIZES | {"batch": 67, "d_h": 37})]
    with checker.watch() as launches:
        h_t = gru_step_forward(*tensors, **setting)
        forward = [launch.kernel for launch in launches]
        h_t.sum().backward()
    backward = [launch.kernel for launch in launches[len(forward) :]]
    if setting["reset"] == "after":
        assert (forward, backward) == (["gru_step_kernel"], ["gru_step_backward_kernel"])
    else:
        assert (forward, backward) == (["gru_gates_kernel", "gru_candidate_kernel"], ["gru_before_backward_kernel"])


@interpreted
def test_nothing_is_saved_where_no_gradient_is_wanted(rng):
    tensors = tensors_of(rng)
    with checker.watch() as launches:
        assert not gru_step_forward(*tensors).requires_grad
        tensors[0].requires_grad_()
        with torch.no_grad():
            gru_step_forward(*tensors)
    assert [{"gates", "v_n"} & launch.traffic.keys() for launch in launches] == [set(), set()]


@each_setting
def test_an_empty_batch_gives_an_empty_state_and_no_gradient(setting, rng):
    tensors = [tensor.requires_grad_() for tensor in tensors_of(rng)]
    h_t = gru_step_forward(*(tensor[:0] for tensor in tensors[:2]), *tensors[2:], **setting)
    assert h_t.shape == (0, 7)
    h_t.sum().backward()
    assert all(not tensor.grad.any() for tensor in tensors)


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (1, lambda h: h[0], r"expected h of \(19, d_h\) .*, got \(7,\)"),
        (2, lambda W_x: W_x.T, r"expected W_x of \(5, 21\) .*, got \(21, 5\)"),
        (3, lambda W_h: W_h[:, :14], r"expected W_h of \(7, 21\) .*, got \(7, 14\)"),
        (4, lambda b_x: b_x[:14], r"expected b_x of \(21,\) .*, got \(14,\)"),
        (5, lambda b_h: b_h.double(), r"expected b_h of \(21,\) torch.float32 .*, got \(21,\) torch.float64"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(index, change, message, rng):
    tensors = tensors_of(rng)
    tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        gru_step_forward(*tensors)
