"""The Elman network in NumPy: against torch's modules, against autograd, by hand, and what must hold anyway."""

import inspect
import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from autograder.cases import draw
from solutions import rnn, rnn_torch
from solutions.activations import softmax_forward
from tests.tolerances import assert_close

LENGTHS = pytest.mark.parametrize(
    "sizes", [{"time": 5}, {"time": 1}, {"time": 5, "batch": 1}, {"time": 1, "batch": 1}], ids=str
)
TREE = np.array([[0, 1], [2, 3], [5, 6], [7, 4]])  # of five leaves: ((0 1) (2 3)) 4


def leaves(arrays):
    """The arrays as tensors that ask for their gradient."""
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def assert_all_close(came, expected):
    for ours, theirs in zip(came, expected, strict=True):
        assert ours.dtype == np.float64
        assert_close(ours, theirs.detach().numpy())


def autograd(outputs, arguments, upstream):
    """The gradients of sum(upstream * outputs) at the arguments."""
    return torch.autograd.grad(list(outputs), list(arguments), [torch.from_numpy(d) for d in upstream])


def torch_rnn(W_x, W_h, b):
    """torch.nn.RNN with our weights; its second bias is zero."""
    module = torch.nn.RNN(*W_x.shape, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), [W_x.T, W_h.T, b, np.zeros_like(b)], strict=True):
            parameter.copy_(torch.from_numpy(weight))
    return module


# Against torch


@LENGTHS
def test_rnn_equals_that_of_torch(sizes, rng):
    x, h_0, W_x, W_h, b = draw(rnn.rnn_forward, rng, sizes=sizes).values()
    module = torch_rnn(W_x, W_h, b)
    x_, h_0_ = leaves([x, h_0])
    h_, _ = module(x_, h_0_[None])
    h, cache = rnn.rnn_forward(x, h_0, W_x, W_h, b)
    assert_all_close([h], [h_])

    dh = rng.standard_normal(h.shape)
    dx, dh_0, dW_x, dW_h, db, _ = autograd([h_], [x_, h_0_, *module.parameters()], [dh])
    assert_all_close(rnn.rnn_backward(dh, cache), [dx, dh_0, dW_x.T, dW_h.T, db])


def test_rnn_step_equals_its_torch_twin(rng):
    arguments = list(draw(rnn.rnn_step_forward, rng).values())
    tensors = leaves(arguments)
    expected = rnn_torch.rnn_step_forward(*tensors)
    h, cache = rnn.rnn_step_forward(*arguments)
    assert_all_close([h], [expected])
    dh = rng.standard_normal(h.shape)
    assert_all_close(rnn.rnn_step_backward(dh, cache), autograd([expected], tensors, [dh]))


@pytest.mark.parametrize("which", ["many_to_many", "many_to_one"])
@LENGTHS
def test_what_is_read_out_equals_that_of_torch(which, sizes, rng):
    forward, backward = getattr(rnn, f"{which}_forward"), getattr(rnn, f"{which}_backward")
    arguments = list(draw(forward, rng, sizes=sizes).values())
    *recurrent, W_y, b_y = tensors = leaves(arguments)
    h = rnn_torch.rnn_forward(*recurrent)
    expected = (h if which == "many_to_many" else h[:, -1]) @ W_y + b_y
    logits, cache = forward(*arguments)
    assert_all_close([logits], [expected])
    dlogits = rng.standard_normal(logits.shape)
    assert_all_close(backward(dlogits, cache), autograd([expected], tensors, [dlogits]))


@pytest.mark.parametrize("k", [1, 2, 3, 5, 6, 7, 100])
def test_truncated_bptt_equals_autograd_through_a_detached_state(k, rng):
    *arguments, dh, _ = draw(rnn.truncated_bptt, rng, sizes={"time": 7}).values()
    tensors = leaves(arguments)
    h_ = rnn_torch.rnn_forward(*tensors, k)
    h, *gradients = rnn.truncated_bptt(*arguments, dh, k)
    assert_all_close([h], [h_])
    assert_all_close(gradients, autograd([h_], tensors, [dh]))


@pytest.mark.parametrize(
    "children",
    [TREE, TREE[:1], TREE[:0], np.array([[0, 1], [5, 2], [6, 3], [7, 4]]), np.array([[4, 4], [5, 0]])],
    ids=["balanced", "one node", "leaves only", "a chain", "a child that is used twice"],
)
def test_the_tree_equals_its_torch_twin(children, rng):
    vectors, W, b = (rng.standard_normal(shape) for shape in [(5, 3), (6, 3), (3,)])
    tensors = leaves([vectors, W, b])
    h_ = rnn_torch.tree_forward(tensors[0], torch.from_numpy(children), *tensors[1:])
    h, cache = rnn.tree_forward(vectors, children, W, b)
    assert_all_close([h], [h_])
    dh = rng.standard_normal(h.shape)
    expected = torch.autograd.grad(h_, tensors, torch.from_numpy(dh), allow_unused=True, materialize_grads=True)
    assert_all_close(rnn.tree_backward(dh, cache), expected)


def test_gradient_norms_by_lag_are_those_of_autograd(rng):
    *arguments, dh_T = draw(rnn.gradient_norm_by_lag, rng, sizes={"time": 6}).values()
    x, h, W_x, W_h, b = leaves(arguments)
    states = []
    for x_t in x.unbind(dim=1):
        h = rnn_torch.rnn_step_forward(x_t, h, W_x, W_h, b)
        h.retain_grad()
        states.append(h)
    h.backward(torch.from_numpy(dh_T))
    expected = [state.grad.norm() for state in reversed(states)]
    assert_all_close([rnn.gradient_norm_by_lag(*arguments, dh_T)], [torch.stack(expected)])


@pytest.mark.parametrize("largest", [0.1, 3.0, 1e6])
def test_clipping_equals_that_of_torch(largest, rng):
    gradients = [rng.standard_normal(shape) for shape in [(3, 5), (7,), (2, 3, 5)]]
    before = [gradient.copy() for gradient in gradients]
    parameters = leaves(gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    norm_ = torch.nn.utils.clip_grad_norm_(parameters, largest)
    clipped, norm = rnn.clip_by_global_norm(gradients, largest)
    assert_close(norm, norm_.item())
    for ours, parameter in zip(clipped, parameters, strict=True):
        np.testing.assert_allclose(ours, parameter.grad.numpy(), rtol=1e-5)  # torch divides by norm + 1e-6
    for given, copy in zip(gradients, before, strict=True):
        np.testing.assert_array_equal(given, copy)


# By hand


def test_two_steps_equal_their_calculation_by_hand():
    """One unit, one input. tanh(ln 2) = 3/5 and tanh(ln 3) = 4/5."""
    ln2, ln3 = math.log(2), math.log(3)
    w_x, w_h, b = 1.0, 2.0, 0.5
    x_1, x_2 = ln2 - 0.5, ln3 - 0.5 - 2 * 3 / 5  # so that a_1 = ln 2 and a_2 = ln 3
    h, cache = rnn.rnn_forward(
        np.array([[[x_1], [x_2]]]), np.zeros((1, 1)), np.array([[w_x]]), np.array([[w_h]]), np.array([b])
    )
    assert_close(h, [[[3 / 5], [4 / 5]]])
    da_2 = 1 * (1 - 16 / 25)  # 9/25
    da_1 = (0.5 + da_2 * w_h) * (1 - 9 / 25)  # (1/2 + 18/25) 16/25 = 61/50 * 16/25
    dx, dh_0, dW_x, dW_h, db = rnn.rnn_backward(np.array([[[0.5], [1.0]]]), cache)
    assert_close(dx, [[[da_1 * w_x], [da_2 * w_x]]])
    assert_close(dh_0, [[da_1 * w_h]])
    assert_close(dW_x, [[x_1 * da_1 + x_2 * da_2]])
    assert_close(dW_h, [[3 / 5 * da_2]])
    assert_close(db, [da_1 + da_2])


# What must hold whatever the numbers are


def test_the_gradient_never_exceeds_the_product_of_its_bounds(rng):
    x, h_0, W_x, W_h, b, dh_T = draw(rnn.gradient_norm_by_lag, rng, sizes={"time": 13}).values()
    h, _ = rnn.rnn_forward(x, h_0, W_x, W_h, b)
    norms = rnn.gradient_norm_by_lag(x, h_0, W_x, W_h, b, dh_T)
    slopes = (1 - h**2).max(axis=(0, 2))[::-1]
    sigma = np.linalg.norm(W_h, 2)
    bounds = norms[0] * np.concatenate([[1.0], np.cumprod(sigma * slopes[:-1])])
    assert (norms <= bounds * (1 + 1e-12)).all()
    assert norms[-1] > 0


def test_an_orthogonal_matrix_and_small_states_keep_the_norm(rng):
    x, h_0, W_x, W_h, b, dh_T = draw(rnn.gradient_norm_by_lag, rng, sizes={"time": 9}).values()
    W_h, _ = np.linalg.qr(W_h)
    norms = rnn.gradient_norm_by_lag(0 * x, 0 * h_0, W_x, W_h, 0 * b, dh_T)
    assert_close(norms, np.full(9, np.linalg.norm(dh_T)))


def test_a_sequence_cut_in_two_ends_where_the_whole_one_does(rng):
    x, h_0, *weights = draw(rnn.rnn_forward, rng, sizes={"time": 7}).values()
    h, _ = rnn.rnn_forward(x, h_0, *weights)
    first, _ = rnn.rnn_forward(x[:, :3], h_0, *weights)
    second, _ = rnn.rnn_forward(x[:, 3:], first[:, -1], *weights)
    assert_close(np.concatenate([first, second], axis=1), h)


def test_a_later_input_never_changes_an_earlier_state(rng):
    inputs = draw(rnn.rnn_forward, rng, sizes={"time": 7})
    h, _ = rnn.rnn_forward(**inputs)
    inputs["x"][:, 4:] += 1
    changed, _ = rnn.rnn_forward(**inputs)
    np.testing.assert_array_equal(changed[:, :4], h[:, :4])
    assert (np.abs(changed[:, 4:] - h[:, 4:]).max(axis=(0, 2)) > 0).all()


def test_the_last_logits_of_many_to_many_are_those_of_many_to_one(rng):
    arguments = list(draw(rnn.many_to_many_forward, rng).values())
    many, _ = rnn.many_to_many_forward(*arguments)
    one, _ = rnn.many_to_one_forward(*arguments)
    assert_close(many[:, -1], one)


def test_a_chain_is_a_tree(rng):
    """The network over a sequence is that over a tree whose left child is always the state so far."""
    x, h_0, _, W_h, b = draw(rnn.rnn_forward, rng, sizes={"batch": 1, "time": 4, "d_in": 3, "d_h": 3}).values()
    W_x = rng.standard_normal((3, 3))
    h, _ = rnn.rnn_forward(x, h_0, W_x, W_h, b)
    vectors = np.concatenate([h_0, x[0]])
    children = np.array([[0, 1], [5, 2], [6, 3], [7, 4]])
    nodes, _ = rnn.tree_forward(vectors, children, np.concatenate([W_h, W_x]), b)
    assert_close(nodes[5:], h[0])


def test_huge_inputs_saturate_without_a_warning(rng):
    inputs = draw(rnn.rnn_forward, rng)
    inputs["x"] *= 1e6
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        h, cache = rnn.rnn_forward(**inputs)
        gradients = rnn.rnn_backward(rng.standard_normal(h.shape), cache)
    assert all(np.isfinite(array).all() for array in [h, *gradients])


def test_clipped_gradients_keep_their_direction_and_get_the_norm(rng):
    gradients = [rng.standard_normal((3, 5)), rng.standard_normal(7)]
    clipped, norm = rnn.clip_by_global_norm(gradients, norm_wanted := 0.3)
    assert_close(math.sqrt(sum((part**2).sum() for part in clipped)), norm_wanted)
    for part, gradient in zip(clipped, gradients, strict=True):
        assert_close(part, gradient * norm_wanted / norm)


def test_gradients_of_zero_are_left_alone():
    clipped, norm = rnn.clip_by_global_norm([np.zeros((3, 5))], 1.0)
    assert norm == 0
    np.testing.assert_array_equal(clipped[0], np.zeros((3, 5)))


# What is written


def writers(rng, batch, time):
    inputs = draw(rnn.sample_characters, rng, sizes={"batch": batch, "time": time})
    return inputs | {"uniform": rng.random((batch, time))}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_characters_are_drawn_from_the_softmax_of_the_logits_over_the_temperature(temperature, rng):
    inputs = writers(rng, 20_001, 2)
    inputs["first"], inputs["h_0"] = inputs["first"] * 0 + 1, np.tile(inputs["h_0"][:1], (20_001, 1))
    written = rnn.sample_characters(**inputs | {"temperature": temperature})
    h, character, rows = inputs["h_0"][:1], 1, np.ones(len(written), bool)
    for t in range(2):
        x = np.eye(len(inputs["W_x"]))[[character]]
        h, _ = rnn.rnn_step_forward(x, h, inputs["W_x"], inputs["W_h"], inputs["b"])
        p, _ = softmax_forward((h @ inputs["W_y"] + inputs["b_y"]) / temperature)
        shares = np.bincount(written[rows, t], minlength=p.shape[1]) / rows.sum()
        assert (np.abs(shares - p[0]) < 5 * np.sqrt(0.25 / rows.sum())).all()
        character = shares.argmax()
        rows &= written[:, t] == character


def test_at_a_temperature_near_zero_the_likeliest_character_is_written(rng):
    inputs = writers(rng, 3, 6)
    written = rnn.sample_characters(**inputs | {"temperature": 1e-6})
    again = rnn.sample_characters(**inputs | {"temperature": 1e-6, "uniform": rng.random((3, 6))})
    np.testing.assert_array_equal(written, again)


def test_a_uniform_number_of_almost_one_still_names_a_character(rng):
    inputs = writers(rng, 3, 6)
    inputs["uniform"][:] = np.nextafter(1.0, 0)
    written = rnn.sample_characters(**inputs)
    assert written.max() <= len(inputs["b_y"]) - 1


# Lag curves

LAGS = np.arange(40)


@pytest.mark.parametrize(
    ("norms", "cause"),
    [
        (0.95**LAGS, 0),
        (1.05**LAGS, 0),
        (0.5**LAGS, 1),
        (np.where(LAGS < 30, 1e-20 ** (LAGS / 30), 0), 1),  # underflow after a long way down is no cut
        (2.0**LAGS, 2),
        (np.where(LAGS < 20, 2.0**LAGS, np.inf), 2),
        (np.where(LAGS < 8, 0.95**LAGS, 0), 3),
        (np.where(LAGS < 1, 1.0, 0), 3),
        (np.where(LAGS < 8, 2.0**LAGS, 0), 3),
    ],
)
@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_lag_curve_is_explained_whatever_the_size_of_the_gradient(norms, cause, scale):
    assert rnn.explain_lag_curves(np.array([scale * norms, scale * 0.99**LAGS])).tolist() == [cause, 0]


# What is refused, and what is left alone

PAIRS = {
    rnn.rnn_step_forward: rnn.rnn_step_backward,
    rnn.rnn_forward: rnn.rnn_backward,
    rnn.many_to_many_forward: rnn.many_to_many_backward,
    rnn.many_to_one_forward: rnn.many_to_one_backward,
    rnn.tree_forward: rnn.tree_backward,
}
ALONE = [rnn.truncated_bptt, rnn.gradient_norm_by_lag, rnn.explain_lag_curves, rnn.sample_characters]


@pytest.mark.parametrize(("forward", "backward"), PAIRS.items())
def test_neither_forward_nor_backward_changes_what_it_is_given(forward, backward, rng):
    inputs = draw(forward, rng)
    before = [array.copy() for array in inputs.values()]
    output, cache = forward(**inputs)
    upstream = rng.standard_normal(output.shape)
    kept = [*before, upstream.copy(), output.copy()]
    backward(upstream, cache)
    for ours, copy in zip([*inputs.values(), upstream, output], kept, strict=True):
        np.testing.assert_array_equal(ours, copy)


@pytest.mark.parametrize("function", ALONE)
def test_a_function_without_a_backward_leaves_its_inputs_as_they_were(function, rng):
    inputs = draw(function, rng)
    before = {name: np.copy(value) for name, value in inputs.items()}
    function(**inputs)
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (function, name)
        for function in [*PAIRS, *ALONE]
        for name in inspect.signature(function).parameters
        if name not in ("k", "temperature", "norms", "children")
    ],
)
def test_an_argument_of_the_wrong_shape_or_kind_is_refused(function, name, rng):
    inputs = draw(function, rng)
    value = inputs[name]
    for instead in [value[None], value.astype(complex), value.tolist()]:
        with pytest.raises(TypeCheckError):
            function(**inputs | {name: instead})


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (rnn.rnn_forward, {"x": np.zeros((3, 0, 5)), "h_0": np.zeros((3, 7))}, r"at least one step, got x of shape"),
        (rnn.truncated_bptt, {"k": 0}, r"chunks of at least 1 step, got k = 0"),
        (rnn.sample_characters, {"temperature": 0.0}, r"temperature above 0, got 0.0"),
        (rnn.sample_characters, {"temperature": float("nan")}, r"temperature above 0, got nan"),
    ],
)
def test_what_makes_no_sense_is_refused(function, changes, message, rng):
    inputs = draw(function, rng, sizes={"batch": 3, "d_in": 5, "d_h": 7} if "x" in changes else None)
    with pytest.raises(ValueError, match=message):
        function(**inputs | changes)


@pytest.mark.parametrize("children", [[[0, 3]], [[0, -1]], [[0, 1], [4, 2]]])
def test_a_child_that_does_not_come_before_its_parent_is_refused(children):
    with pytest.raises(ValueError, match=r"each child to come before its parent, got children \[\[0, "):
        rnn.tree_forward(np.zeros((3, 5)), np.array(children), np.zeros((10, 5)), np.zeros(5))


@pytest.mark.parametrize("largest", [0.0, -1.0, float("nan")])
def test_clipping_to_nothing_is_refused(largest):
    with pytest.raises(ValueError, match=f"largest norm above 0, got {largest}"):
        rnn.clip_by_global_norm([np.ones(3)], largest)
