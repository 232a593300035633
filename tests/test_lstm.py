"""LSTM and GRU in NumPy: against torch's modules, against autograd through the torch twins, and by hand."""

import inspect
import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from autograder.cases import draw
from solutions import lstm, lstm_torch
from tests.tolerances import assert_close

LENGTHS = pytest.mark.parametrize(
    "sizes", [{"time": 5}, {"time": 1}, {"time": 5, "batch": 1}, {"time": 1, "batch": 1}], ids=str
)
GRU_CONVENTIONS = pytest.mark.parametrize(
    ("reset", "z_means"), [("after", "keep"), ("after", "update"), ("before", "keep"), ("before", "update")]
)


def leaves(arrays):
    """The arrays as tensors that ask for their gradient."""
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def arrays_of(inputs):
    return [value for value in inputs.values() if isinstance(value, np.ndarray)]


def upstream_of(outputs, rng):
    return [rng.standard_normal(out.shape) for out in outputs]


def autograd(outputs, arguments, upstream):
    """The gradients of sum(upstream * outputs) at the arguments."""
    return torch.autograd.grad(list(outputs), list(arguments), [torch.from_numpy(d) for d in upstream])


def assert_all_close(came, expected):
    for ours, theirs in zip(came, expected, strict=True):
        assert ours.dtype == np.float64
        assert_close(ours, theirs.detach().numpy())


def unroll(step, x, state, *weights):
    """Run a torch step over a sequence; the state is a tuple whose first part is the hidden state."""
    hidden = []
    for t in range(x.shape[1]):
        out = step(x[:, t], *state, *weights)
        state = out if isinstance(out, tuple) else (out,)
        hidden.append(state[0])
    return torch.stack(hidden, dim=1), state


def module_with_weights(module, weights):
    """Give a torch module our weights, in the order of its parameters, each turned to torch's orientation."""
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(torch.from_numpy(weight.T))
    return module


# Against torch.nn


def test_lstm_step_equals_lstm_cell_of_torch(rng):
    x, h, c, W_x, W_h, b = draw(lstm.lstm_step_forward, rng).values()
    cell = torch.nn.LSTMCell(x.shape[1], h.shape[1], dtype=torch.float64)
    module_with_weights(cell, [W_x, W_h, b, np.zeros_like(b)])
    x_, h_, c_ = leaves([x, h, c])
    expected = cell(x_, (h_, c_))
    *came, cache = lstm.lstm_step_forward(x, h, c, W_x, W_h, b)
    assert_all_close(came, expected)

    dh, dc = upstream_of(came, rng)
    dx_, dh_, dc_, dW_x, dW_h, db, db_hh = autograd(expected, [x_, h_, c_, *cell.parameters()], [dh, dc])
    assert_all_close(lstm.lstm_step_backward(dh, dc, cache), [dx_, dh_, dc_, dW_x.T, dW_h.T, db])
    assert torch.equal(db, db_hh), "torch's second bias is redundant"


@LENGTHS
def test_lstm_equals_that_of_torch(sizes, rng):
    x, h_0, c_0, W_x, W_h, b = draw(lstm.lstm_forward, rng, sizes=sizes).values()
    module = torch.nn.LSTM(x.shape[2], h_0.shape[1], batch_first=True, dtype=torch.float64)
    module_with_weights(module, [W_x, W_h, b, np.zeros_like(b)])
    x_, h_0_, c_0_ = leaves([x, h_0, c_0])
    h_, (_, c_T_) = module(x_, (h_0_[None], c_0_[None]))
    h, c_T, cache = lstm.lstm_forward(x, h_0, c_0, W_x, W_h, b)
    assert_all_close([h, c_T], [h_, c_T_[0]])

    dh, dc_T = upstream_of([h, c_T], rng)
    *dstates, dW_x, dW_h, db, _ = autograd([h_, c_T_], [x_, h_0_, c_0_, *module.parameters()], [dh, dc_T[None]])
    assert_all_close(lstm.lstm_backward(dh, dc_T, cache), [*dstates, dW_x.T, dW_h.T, db])


@pytest.mark.parametrize("layers", [1, 3])
@LENGTHS
def test_stacked_lstm_equals_that_of_torch(layers, sizes, rng):
    inputs = draw(lstm.stacked_lstm_forward, rng, sizes=sizes | {"layers": layers})
    x, h_0, c_0, W_x, W_up, W_h, b = inputs.values()
    module = torch.nn.LSTM(x.shape[2], h_0.shape[2], num_layers=layers, batch_first=True, dtype=torch.float64)
    per_layer = zip([W_x, *W_up], W_h, b, np.zeros_like(b), strict=True)
    module_with_weights(module, [weight for weights in per_layer for weight in weights])
    x_, h_0_, c_0_ = leaves([x, h_0, c_0])
    h_, (h_T_, c_T_) = module(x_, (h_0_, c_0_))
    *came, cache = lstm.stacked_lstm_forward(**inputs)
    assert_all_close(came, [h_, h_T_, c_T_])

    upstream = upstream_of(came, rng)
    *dstates, dW_x, dW_up, dW_h, db = lstm.stacked_lstm_backward(*upstream, cache)
    dx_, dh_0_, dc_0_, *dweights_ = autograd([h_, h_T_, c_T_], [x_, h_0_, c_0_, *module.parameters()], upstream)
    assert_all_close(dstates, [dx_, dh_0_, dc_0_])
    assert_all_close([dW_x, *dW_up], [dW.T for dW in dweights_[0::4]])
    assert_all_close(dW_h, [dW.T for dW in dweights_[1::4]])
    assert_all_close(db, dweights_[2::4])
    assert dW_up.shape == W_up.shape


@LENGTHS
def test_gru_equals_that_of_torch_in_the_default_convention(sizes, rng):
    x, h_0, W_x, W_h, b_x, b_h = arrays_of(draw(lstm.gru_forward, rng, sizes=sizes))
    module = torch.nn.GRU(x.shape[2], h_0.shape[1], batch_first=True, dtype=torch.float64)
    module_with_weights(module, [W_x, W_h, b_x, b_h])
    x_, h_0_ = leaves([x, h_0])
    h_, _ = module(x_, h_0_[None])
    h, cache = lstm.gru_forward(x, h_0, W_x, W_h, b_x, b_h)
    assert_all_close([h], [h_])

    (dh,) = upstream_of([h], rng)
    dx, dh_0, dW_x, dW_h, db_x, db_h = autograd([h_], [x_, h_0_, *module.parameters()], [dh])
    assert_all_close(lstm.gru_backward(dh, cache), [dx, dh_0, dW_x.T, dW_h.T, db_x, db_h])


# Against autograd through the torch twins


def test_lstm_step_equals_its_torch_twin(rng):
    check_step(lstm.lstm_step_forward, lstm.lstm_step_backward, lstm_torch.lstm_step_forward, {}, rng)


def test_peephole_step_equals_its_torch_twin(rng):
    check_step(
        lstm.lstm_peephole_step_forward,
        lstm.lstm_peephole_step_backward,
        lstm_torch.lstm_peephole_step_forward,
        {},
        rng,
    )


@GRU_CONVENTIONS
def test_gru_step_equals_its_torch_twin_in_every_convention(reset, z_means, rng):
    convention = {"reset": reset, "z_means": z_means}
    check_step(lstm.gru_step_forward, lstm.gru_step_backward, lstm_torch.gru_step_forward, convention, rng)


def check_step(forward, backward, twin, convention, rng):
    """Compare a step and its backward with the torch twin of the step."""
    arguments = arrays_of(draw(forward, rng))
    tensors = leaves(arguments)
    *came, cache = forward(*arguments, **convention)
    expected = twin(*tensors, **convention)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert_all_close(came, expected)
    upstream = upstream_of(came, rng)
    assert_all_close(backward(*upstream, cache), autograd(expected, tensors, upstream))


@LENGTHS
def test_peephole_lstm_equals_the_torch_twin_of_its_step_unrolled(sizes, rng):
    arguments = arrays_of(draw(lstm.lstm_peephole_forward, rng, sizes=sizes))
    x, h_0, c_0, *weights = tensors = leaves(arguments)
    h_, (_, c_T_) = unroll(lstm_torch.lstm_peephole_step_forward, x, (h_0, c_0), *weights)
    h, c_T, cache = lstm.lstm_peephole_forward(*arguments)
    assert_all_close([h, c_T], [h_, c_T_])

    upstream = upstream_of([h, c_T], rng)
    assert_all_close(lstm.lstm_peephole_backward(*upstream, cache), autograd([h_, c_T_], tensors, upstream))


@GRU_CONVENTIONS
@LENGTHS
def test_gru_equals_the_torch_twin_of_its_step_unrolled(reset, z_means, sizes, rng):
    arguments = arrays_of(draw(lstm.gru_forward, rng, sizes=sizes))
    x, h_0, *weights = tensors = leaves(arguments)
    h_, _ = unroll(lstm_torch.gru_step_forward, x, (h_0,), *weights, reset, z_means)
    h, cache = lstm.gru_forward(*arguments, reset, z_means)
    assert_all_close([h], [h_])

    upstream = upstream_of([h], rng)
    assert_all_close(lstm.gru_backward(*upstream, cache), autograd([h_], tensors, upstream))


def test_the_four_gru_conventions_all_differ(rng):
    arguments = arrays_of(draw(lstm.gru_forward, rng))
    outs = [
        lstm.gru_forward(*arguments, reset, z_means)[0]
        for reset in ("after", "before")
        for z_means in ("keep", "update")
    ]
    for k, out in enumerate(outs):
        for other in outs[:k]:
            assert np.abs(out - other).max() > 0.1


# By hand


def test_one_peephole_step_equals_its_calculation_by_hand():
    """One sample, one input, one unit: every number below can be followed with a pocket calculator.

    The biases are chosen so that the gates come out as fractions: sigmoid(ln 3) = 3/4, sigmoid(-ln 3) = 1/4,
    tanh(ln 3) = (3 - 1/3) / (3 + 1/3) = 4/5 and tanh(ln 2) = (2 - 1/2) / (2 + 1/2) = 3/5.
    """
    ln2, ln3 = math.log(2), math.log(3)  # 0.6931, 1.0986
    x, h = 2.0, -1.0
    c = (ln2 - 1 / 5) / (3 / 4)  # 0.6575, so that c_t below is ln 2
    w_i, w_f, w_g, w_o = 1.0, 2.0, -1.0, 0.5  # from x
    u_i, u_f, u_g, u_o = 3.0, -1.0, 2.0, 1.0  # from h
    p_i, p_f, p_o = 3.0, -2.0, 2.0  # from the memory
    b_i = -ln3 - (w_i * x + u_i * h + p_i * c)  # -2.0712, which leaves a_i = -ln 3
    b_f = ln3 - (w_f * x + u_f * h + p_f * c)  # -2.5863, which leaves a_f = ln 3
    b_g = ln3 - (w_g * x + u_g * h)  # 5.0986, which leaves a_g = ln 3
    b_o = ln3 - (w_o * x + u_o * h + p_o * ln2)  # -0.2877, which leaves a_o = ln 3: o looks at c_t = ln 2

    # Forward: i = 1/4, f = 3/4, g = 4/5, o = 3/4
    c_t = 3 / 4 * c + 1 / 4 * 4 / 5  # (ln 2 - 1/5) + 1/5 = ln 2
    h_t = 3 / 4 * 3 / 5  # o tanh(c_t) = 9/20
    came_h, came_c, cache = lstm.lstm_peephole_step_forward(
        np.array([[x]]),
        np.array([[h]]),
        np.array([[c]]),
        np.array([[w_i, w_f, w_g, w_o]]),
        np.array([[u_i, u_f, u_g, u_o]]),
        np.array([b_i, b_f, b_g, b_o]),
        np.array([p_i]),
        np.array([p_f]),
        np.array([p_o]),
    )
    assert_close(came_c, [[ln2]])
    assert_close(came_c, [[c_t]])
    assert_close(came_h, [[h_t]])

    # Backward: 8 arrives at h_t, 9/25 at c_t
    dh, dc = 8.0, 9 / 25
    da_o = dh * 3 / 5 * 3 / 4 * 1 / 4  # dh tanh(c_t) o (1 - o) = 9/10
    from_h = dh * 3 / 4 * 16 / 25  # dh o (1 - tanh(c_t)^2) = 96/25, since 1 - 9/25 = 16/25
    dc = dc + from_h + da_o * p_o  # 9/25 + 96/25 + 45/25 = 6: o looked at c_t, so its gradient joins in
    da_i = dc * 4 / 5 * 1 / 4 * 3 / 4  # dc g i (1 - i) = 9/10
    da_f = dc * c * 3 / 4 * 1 / 4  # dc c f (1 - f) = 9/8 c = 0.7397
    da_g = dc * 1 / 4 * 9 / 25  # dc i (1 - g^2) = 27/50, since 1 - 16/25 = 9/25
    dc_prev = dc * 3 / 4 + da_i * p_i + da_f * p_f  # 9/2 + 27/10 - 9/4 c = 5.7206
    da = np.array([da_i, da_f, da_g, da_o])

    came = lstm.lstm_peephole_step_backward(np.array([[8.0]]), np.array([[9 / 25]]), cache)
    expected = [
        [[da_i * w_i + da_f * w_f + da_g * w_g + da_o * w_o]],  # 0.9 + 1.4794 - 0.54 + 0.45 = 2.2894
        [[da_i * u_i + da_f * u_f + da_g * u_g + da_o * u_o]],  # 2.7 - 0.7397 + 1.08 + 0.9 = 3.9403
        [[dc_prev]],
        [x * da],  # 1.8, 1.4794, 1.08, 1.8
        [h * da],  # -0.9, -0.7397, -0.54, -0.9
        da,
        [da_i * c],  # 0.5918: i looked at the old memory
        [da_f * c],  # 0.4864: so did f
        [da_o * ln2],  # 0.6238: o looked at the new one
    ]
    for ours, by_hand in zip(came, expected, strict=True):
        assert_close(ours, by_hand)


# What must hold whatever the numbers are


def test_zero_peepholes_make_the_plain_lstm(rng):
    inputs = draw(lstm.lstm_peephole_forward, rng)
    for p in ("p_i", "p_f", "p_o"):
        inputs[p] = np.zeros_like(inputs[p])
    *with_holes, cache = lstm.lstm_peephole_forward(**inputs)
    *without, plain_cache = lstm.lstm_forward(*list(inputs.values())[:6])
    upstream = upstream_of(without, rng)
    gradients = lstm.lstm_peephole_backward(*upstream, cache)[:6]
    plain_gradients = lstm.lstm_backward(*upstream, plain_cache)
    for ours, plain in zip([*with_holes, *gradients], [*without, *plain_gradients], strict=True):
        np.testing.assert_array_equal(ours, plain)


def test_a_saturated_forget_gate_carries_the_cell_and_its_gradient_unchanged(rng):
    """The constant error carousel: with f = 1 and i = 0, 300 steps change nothing, not even the last bit."""
    inputs = draw(lstm.lstm_forward, rng, sizes={"time": 300})
    d_h = inputs["h_0"].shape[1]
    inputs["b"][:d_h], inputs["b"][d_h : 2 * d_h] = -1000, 1000
    h, c_T, cache = lstm.lstm_forward(**inputs)
    np.testing.assert_array_equal(c_T, inputs["c_0"])
    dc_T = rng.standard_normal(c_T.shape)
    _, dh_0, dc_0, *_ = lstm.lstm_backward(np.zeros_like(h), dc_T, cache)
    np.testing.assert_array_equal(dc_0, dc_T)
    np.testing.assert_array_equal(dh_0, np.zeros_like(dh_0))


def test_a_closed_forget_gate_lets_no_gradient_reach_the_first_cell(rng):
    inputs = draw(lstm.lstm_forward, rng)
    d_h = inputs["h_0"].shape[1]
    inputs["b"][d_h : 2 * d_h] = -1000
    h, c_T, cache = lstm.lstm_forward(**inputs)
    dc_0 = lstm.lstm_backward(*upstream_of([h, c_T], rng), cache)[2]
    np.testing.assert_array_equal(dc_0, np.zeros_like(dc_0))


def test_a_sequence_cut_in_two_ends_where_the_whole_one_does(rng):
    x, h_0, c_0, *weights = draw(lstm.lstm_forward, rng, sizes={"time": 7}).values()
    h, c_T, _ = lstm.lstm_forward(x, h_0, c_0, *weights)
    first, c_3, _ = lstm.lstm_forward(x[:, :3], h_0, c_0, *weights)
    second, c_7, _ = lstm.lstm_forward(x[:, 3:], first[:, -1], c_3, *weights)
    assert_close(np.concatenate([first, second], axis=1), h)
    assert_close(c_7, c_T)


def test_each_sample_of_a_batch_is_on_its_own(rng):
    x, h_0, c_0, *weights = draw(lstm.lstm_forward, rng).values()
    h, c_T, _ = lstm.lstm_forward(x, h_0, c_0, *weights)
    for k in range(len(x)):
        alone_h, alone_c, _ = lstm.lstm_forward(x[k : k + 1], h_0[k : k + 1], c_0[k : k + 1], *weights)
        assert_close(alone_h[0], h[k])
        assert_close(alone_c[0], c_T[k])


def test_a_later_input_never_changes_an_earlier_state(rng):
    inputs = draw(lstm.stacked_lstm_forward, rng, sizes={"time": 7})
    h = lstm.stacked_lstm_forward(**inputs)[0]
    inputs["x"][:, 4:] += 1
    changed = lstm.stacked_lstm_forward(**inputs)[0]
    np.testing.assert_array_equal(changed[:, :4], h[:, :4])
    assert (np.abs(changed[:, 4:] - h[:, 4:]).max(axis=(0, 2)) > 0).all()


@pytest.mark.parametrize("size", [1e3, 1e6])
@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        (lstm.lstm_peephole_forward, lstm.lstm_peephole_backward),
        (lstm.stacked_lstm_forward, lstm.stacked_lstm_backward),
        (lstm.gru_forward, lstm.gru_backward),
    ],
)
def test_huge_inputs_saturate_the_gates_without_a_warning(forward, backward, size, rng):
    inputs = draw(forward, rng)
    inputs["x"] *= size
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        *outputs, cache = forward(**inputs)
        gradients = backward(*upstream_of(outputs, rng), cache)
    assert all(np.isfinite(array).all() for array in [*outputs, *gradients])


PAIRS = {
    lstm.lstm_step_forward: lstm.lstm_step_backward,
    lstm.lstm_peephole_step_forward: lstm.lstm_peephole_step_backward,
    lstm.gru_step_forward: lstm.gru_step_backward,
    lstm.lstm_forward: lstm.lstm_backward,
    lstm.lstm_peephole_forward: lstm.lstm_peephole_backward,
    lstm.stacked_lstm_forward: lstm.stacked_lstm_backward,
    lstm.gru_forward: lstm.gru_backward,
}


@pytest.mark.parametrize(("forward", "backward"), PAIRS.items())
def test_neither_forward_nor_backward_changes_what_it_is_given(forward, backward, rng):
    inputs = draw(forward, rng)
    before = [array.copy() for array in arrays_of(inputs)]
    *outputs, cache = forward(**inputs)
    upstream = upstream_of(outputs, rng)
    upstream_before = [d.copy() for d in upstream]
    outputs_before = [out.copy() for out in outputs]
    backward(*upstream, cache)
    after = [*arrays_of(inputs), *upstream, *outputs]
    for ours, copy in zip(after, [*before, *upstream_before, *outputs_before], strict=True):
        np.testing.assert_array_equal(ours, copy)


@pytest.mark.parametrize(
    ("forward", "name"),
    [(forward, name) for forward in PAIRS for name in inspect.signature(forward).parameters],
)
def test_an_argument_of_the_wrong_shape_or_kind_is_refused(forward, name, rng):
    inputs = draw(forward, rng)
    value = inputs[name]
    if isinstance(value, np.ndarray):
        one_too_many = np.concatenate([value, value[..., :1]], axis=-1)
        wrong = [one_too_many, value[None], value.astype(int), value.tolist()]
    else:
        wrong = ["sometimes", None]
    for instead in wrong:
        with pytest.raises(TypeCheckError):
            forward(**inputs | {name: instead})


# The way from torch's weights to ours


def torch_parameters(module):
    return [parameter.detach().numpy() for parameter in module.parameters()]


def test_loaded_torch_weights_run_as_torch_runs_them(rng):
    x, h_0, c_0, *_ = draw(lstm.lstm_forward, rng).values()
    torch.manual_seed(int(rng.integers(2**31)))
    module = torch.nn.LSTM(x.shape[2], h_0.shape[1], batch_first=True, dtype=torch.float64)
    h_, (_, c_T_) = module(torch.from_numpy(x), (torch.from_numpy(h_0[None]), torch.from_numpy(c_0[None])))
    weights = lstm_torch.load_torch_weights(*torch_parameters(module))
    h, c_T, _ = lstm.lstm_forward(x, h_0, c_0, *weights)
    assert_all_close([h, c_T], [h_, c_T_[0]])


def test_our_weights_survive_the_way_to_torch_and_back(rng):
    x, h_0, _, W_x, W_h, b = draw(lstm.lstm_forward, rng).values()
    module = torch.nn.LSTM(x.shape[2], h_0.shape[1], dtype=torch.float64)
    module_with_weights(module, [W_x, W_h, b, np.zeros_like(b)])
    weights = lstm_torch.load_torch_weights(*torch_parameters(module))
    for back, ours in zip(weights, [W_x, W_h, b], strict=True):
        np.testing.assert_array_equal(back, ours)


def test_loaded_weights_are_copies(rng):
    given = list(draw(lstm_torch.load_torch_weights, rng).values())
    for ours in lstm_torch.load_torch_weights(*given):
        assert not any(np.shares_memory(ours, theirs) for theirs in given)
