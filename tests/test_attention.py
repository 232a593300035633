"""Attention in NumPy against torch, and what it must do at its edges."""

import numpy as np
import pytest
import torch

from solutions import attention, attention_torch
from solutions.activations import softmax_forward
from solutions.attention import (
    additive_attention_backward,
    additive_attention_forward,
    attention_backward,
    attention_forward,
    attention_layer,
    attention_weights,
    general_scores_forward,
    image_regions,
    masked_softmax_backward,
    masked_softmax_forward,
    merge_heads,
    multi_head_attention_backward,
    multi_head_attention_forward,
    online_attention,
    online_softmax_step,
    split_heads,
    which_attention,
    which_symmetry,
)
from tests.tolerances import assert_close

KINDS = ("plain", "pooled", "positions", "placed keys", "causal")


def normal(rng, *shapes):
    return [rng.standard_normal(shape) for shape in shapes]


def tensors(*arrays):
    return [torch.tensor(array, requires_grad=array.dtype == np.float64) for array in arrays]


def assert_gradients(outputs, inputs, upstream, gradients):
    """Hold gradients to those that autograd finds on the way back; the largest of them sets the scale."""
    expected = torch.autograd.grad(outputs, inputs, [torch.tensor(d) for d in upstream])
    assert [came.shape for came in gradients] == [right.shape for right in expected]
    assert_close(*(np.concatenate([np.ravel(part) for part in parts]) for parts in (gradients, expected)))


# --- additive attention, and other scores -----------------------------------------------------------------------


def test_additive_attention_and_its_gradients_equal_those_of_torch(rng):
    arrays = normal(rng, (3, 5), (3, 7, 6), (5, 9), (6, 9), 9)
    z, alpha, cache = additive_attention_forward(*arrays)
    inputs = tensors(*arrays)
    outputs = attention_torch.additive_attention_forward(*inputs)
    for came, right in zip((z, alpha), outputs, strict=True):
        assert_close(came, right.detach().numpy())
    upstream = normal(rng, z.shape, alpha.shape)
    assert_gradients(outputs, inputs, upstream, additive_attention_backward(*upstream, cache))


def test_a_context_vector_is_a_mean_of_the_annotations(rng):
    h, a, *weights = normal(rng, (3, 5), (3, 7, 6), (5, 9), (6, 9), 9)
    z, alpha, _ = additive_attention_forward(h, a, *weights)
    assert_close(alpha.sum(axis=1), np.ones(3))
    assert (alpha > 0).all()
    assert ((a.min(axis=1) < z) & (z < a.max(axis=1))).all()


def test_annotations_that_are_all_alike_get_equal_weights(rng):
    h, one, *weights = normal(rng, (3, 5), (3, 1, 6), (5, 9), (6, 9), 9)
    z, alpha, _ = additive_attention_forward(h, np.repeat(one, 7, axis=1), *weights)
    assert_close(alpha, np.full((3, 7), 1 / 7))
    assert_close(z, one[:, 0])


def test_additive_attention_stays_finite_where_its_scores_are_huge(rng):
    h, a, W_h, W_a, v = normal(rng, (3, 5), (3, 7, 6), (5, 9), (6, 9), 9)
    z, alpha, cache = additive_attention_forward(h, a, W_h, W_a, 1e3 * v)
    gradients = additive_attention_backward(*normal(rng, z.shape, alpha.shape), cache)
    assert all(np.isfinite(array).all() for array in (z, alpha, *gradients))


def test_general_scores_are_bilinear_and_dot_products_where_the_weights_are_the_identity(rng):
    h, a, W = normal(rng, (3, 5), (3, 7, 6), (5, 6))
    e, _ = general_scores_forward(h, a, W)
    right = torch.nn.functional.bilinear(
        torch.tensor(np.repeat(h[:, None], 7, axis=1)), torch.tensor(a), torch.tensor(W[None])
    )
    assert_close(e, right[:, :, 0].numpy())
    h, a = normal(rng, (3, 6), (3, 7, 6))
    e, _ = general_scores_forward(h, a, np.eye(6))
    assert_close(e, np.einsum("bd,bkd->bk", h, a))


def test_the_regions_of_an_image_are_its_places_with_a_row_of_channels_each(rng):
    (features,) = normal(rng, (2, 5, 3, 4))
    regions = image_regions(features)
    assert regions.shape == (2, 12, 5)
    for row in range(3):
        for col in range(4):
            np.testing.assert_array_equal(regions[:, 4 * row + col], features[:, :, row, col])


# --- masks ------------------------------------------------------------------------------------------------------


def mask_of(lengths, queries, keys, causal):
    """Which keys each query may look at, one by one."""
    seen = [[[j < n and (j <= t or not causal) for j in range(keys)] for t in range(queries)] for n in lengths]
    return np.array(seen)


@pytest.mark.parametrize("causal", [False, True])
def test_each_query_sees_what_is_neither_padding_nor_future(causal, rng):
    (S,), lengths = normal(rng, (3, 6, 7)), np.array([5, 3, 7])
    mask = mask_of(lengths, 6, 7, causal)
    P = attention_weights(S, lengths, causal)
    right = torch.tensor(S).masked_fill(torch.tensor(~mask), -torch.inf).softmax(dim=2)
    assert_close(P, right.numpy())
    assert_close(P, masked_softmax_forward(S, mask)[0])
    assert (P[~mask] == 0).all()


def test_the_first_query_of_a_causal_mask_sees_itself_alone(rng):
    P = attention_weights(*normal(rng, (1, 5, 5)), np.array([5]), True)
    assert P[0, 0].tolist() == [1, 0, 0, 0, 0]
    assert (P[0, 4] > 0).all()


def test_a_sequence_without_keys_gets_no_weights(rng):
    P = attention_weights(*normal(rng, (2, 5, 6)), np.array([0, 4]), True)
    assert not P[0].any()
    assert_close(P[1].sum(axis=1), np.ones(5))


def test_a_masked_softmax_equals_that_of_torch_where_something_is_left(rng):
    (S,) = normal(rng, (3, 5, 7))
    mask = rng.random(S.shape) < 0.5
    mask[:, :, 2] = True
    P, cache = masked_softmax_forward(S, mask)
    (scores,) = tensors(S)
    right = scores.masked_fill(torch.tensor(~mask), -torch.inf).softmax(dim=2)
    assert_close(P, right.detach().numpy())
    assert (P[~mask] == 0).all()
    (dP,) = normal(rng, S.shape)
    assert_gradients(right, [scores], [dP], [masked_softmax_backward(dP, cache)])


def test_a_row_that_is_masked_all_over_gets_zeros_and_sends_nothing_back(rng):
    S, dP = normal(rng, (3, 5), (3, 5))
    mask = np.array([[True] * 5, [False] * 5, [False, True, False, False, True]])
    P, cache = masked_softmax_forward(S, mask)
    assert P[1].tolist() == [0] * 5
    assert_close(P[[0, 2]].sum(axis=1), np.ones(2))
    dS = masked_softmax_backward(dP, cache)
    assert dS[1].tolist() == [0] * 5
    assert np.isfinite(dS).all()


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_what_is_masked_does_not_matter_however_large_it_is(size, rng):
    (S,) = normal(rng, (3, 5))
    mask = np.arange(5) != 3
    huge = np.where(mask, S, size)
    P, _ = masked_softmax_forward(huge, np.broadcast_to(mask, S.shape))
    right, _ = softmax_forward(S[:, mask], axis=1)
    assert_close(P[:, mask], right)


# --- scaled dot products ----------------------------------------------------------------------------------------


def sdpa(Q, K, V, causal):
    """torch's own attention."""
    return torch.nn.functional.scaled_dot_product_attention(Q, K, V, is_causal=causal)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(7, 6), (5, 9), (1, 6), (6, 1)])
@pytest.mark.parametrize("twin", [attention_torch.attention_forward, sdpa], ids=["primitives", "torch's own"])
def test_attention_and_its_gradients_equal_those_of_torch(twin, queries, keys, causal, rng):
    arrays = normal(rng, (2, 3, queries, 5), (2, 3, keys, 5), (2, 3, keys, 11))
    Z, cache = attention_forward(*arrays, causal)
    inputs = tensors(*arrays)
    right = twin(*inputs, causal)
    assert_close(Z, right.detach().numpy())
    (dZ,) = normal(rng, Z.shape)
    assert_gradients(right, inputs, [dZ], attention_backward(dZ, cache))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_stays_exact_where_its_scores_are_huge(causal, rng):
    Q, K, V, dZ = normal(rng, (1, 2, 7, 5), (1, 2, 7, 5), (1, 2, 7, 3), (1, 2, 7, 3))
    Z, cache = attention_forward(1e3 * Q, 1e3 * K, V, causal)
    S = np.einsum("bhqd,bhkd->bhqk", Q, K)
    S[..., np.triu(np.ones((7, 7), dtype=bool), 1) & causal] = -np.inf
    assert_close(Z, np.take_along_axis(V, S.argmax(axis=3)[..., None], axis=2))
    assert all(np.isfinite(gradient).all() for gradient in attention_backward(dZ, cache))


def test_float32_stays_float32(rng):
    arrays = [array.astype(np.float32) for array in normal(rng, (1, 2, 7, 5), (1, 2, 6, 5), (1, 2, 6, 3))]
    assert attention_forward(*arrays)[0].dtype == np.float32


def test_the_way_back_needs_no_matrix_of_weights(rng):
    arrays = normal(rng, (1, 2, 70, 5), (1, 2, 60, 5), (1, 2, 60, 3))
    _, cache = attention_forward(*arrays)
    assert max(np.size(part) for part in cache) < 70 * 60


def test_no_key_is_refused(rng):
    with pytest.raises(ValueError, match=r"expected at least one key, got K of shape \(1, 2, 0, 5\)"):
        attention_forward(*normal(rng, (1, 2, 7, 5), (1, 2, 0, 5), (1, 2, 0, 3)))


def test_the_mean_that_softmax_subtracts_is_the_product_of_output_and_its_gradient(rng):
    P, (V, dZ) = softmax_forward(*normal(rng, (7, 6)), axis=1)[0], normal(rng, (6, 5), (7, 5))
    dP = dZ @ V.T
    assert_close((dP * P).sum(axis=1), (dZ * (P @ V)).sum(axis=1))


# --- heads ------------------------------------------------------------------------------------------------------


def test_heads_are_cut_from_the_features_and_merged_again(rng):
    (x,) = normal(rng, (3, 5, 12))
    heads = split_heads(x, 4)
    assert heads.shape == (3, 4, 5, 3)
    for head in range(4):
        np.testing.assert_array_equal(heads[:, head], x[:, :, 3 * head : 3 * head + 3])
    np.testing.assert_array_equal(merge_heads(heads), x)


@pytest.mark.parametrize("heads", [0, 5])
def test_features_that_cannot_be_shared_out_are_refused(heads, rng):
    with pytest.raises(ValueError, match=f"expected heads that divide d_model 12, got {heads}"):
        split_heads(*normal(rng, (3, 5, 12)), heads)


def multi_head_inputs(rng):
    shapes = (2, 7, 6), (2, 5, 9), (3, 6, 4), (3, 9, 4), (3, 9, 11), (3, 11, 10)
    mask = rng.random((2, 7, 5)) < 0.5
    mask[:, 1:, 3] = True
    mask[0, 0] = False
    return [*normal(rng, *shapes), mask]


def test_several_heads_and_their_gradients_equal_those_of_their_torch_twin(rng):
    arrays = multi_head_inputs(rng)
    y, cache = multi_head_attention_forward(*arrays)
    inputs = tensors(*arrays)
    right = attention_torch.multi_head_attention_forward(*inputs)
    assert_close(y, right.detach().numpy())
    (dy,) = normal(rng, y.shape)
    assert_gradients(right, inputs[:-1], [dy], multi_head_attention_backward(dy, cache))


def test_a_query_that_may_look_nowhere_gets_zeros(rng):
    y, _ = multi_head_attention_forward(*multi_head_inputs(rng))
    assert y[0, 0].tolist() == [0] * 10
    assert (y[0, 1:] != 0).all()


def test_several_heads_equal_torch_multihead_attention_with_its_weights_cut_into_heads(rng):
    heads, d_model = 3, 12
    net = torch.nn.MultiheadAttention(d_model, heads, bias=False, batch_first=True).double()
    packed = net.in_proj_weight.detach().numpy()
    W_q, W_k, W_v = (split_heads(W.T[None], heads)[0] for W in np.split(packed, 3))
    W_o = net.out_proj.weight.detach().numpy().T.reshape(heads, d_model // heads, d_model)
    x, m = normal(rng, (2, 7, d_model), (2, 5, d_model))
    mask = mask_of([5, 3], 7, 5, False)
    y, _ = multi_head_attention_forward(x, m, W_q, W_k, W_v, W_o, mask)
    right, _ = net(*(torch.tensor(array) for array in (x, m, m)), key_padding_mask=torch.tensor(~mask[:, 0]))
    assert_close(y, right.detach().numpy())


# --- one walk over the keys -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", [1, 3, 5, 11, 50])
@pytest.mark.parametrize("order", ["as drawn", "rising", "falling"])
def test_one_walk_over_the_keys_gives_what_two_do(block, order, rng):
    Q, K, V = normal(rng, (7, 5), (11, 5), (11, 3))
    if order != "as drawn":
        K = K[np.argsort(K @ Q[0])[:: 1 if order == "rising" else -1]] * 30
    right = attention_forward(*(array[None, None] for array in (Q, K, V)))[0][0, 0]
    assert_close(online_attention(Q, K, V, block), right)


def test_a_block_that_is_masked_all_over_changes_nothing(rng):
    S, V, Z = normal(rng, (5, 3), (3, 4), (5, 4))
    top, total = rng.standard_normal(5), rng.random(5)
    came = online_softmax_step(np.full_like(S, -np.inf), V, top, total, Z)
    for after, before in zip(came, (top, total, Z), strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_masked_block_may_come_first(rng):
    S, V = normal(rng, (5, 3), (3, 4))
    start = np.full(5, -np.inf), np.zeros(5), np.zeros((5, 4))
    came = online_softmax_step(np.full_like(S, -np.inf), V, *start)
    for after, before in zip(came, start, strict=True):
        np.testing.assert_array_equal(after, before)
    top, total, Z = online_softmax_step(S, V, *came)
    assert_close(Z / total[:, None], softmax_forward(S, axis=1)[0] @ V)
    np.testing.assert_array_equal(top, S.max(axis=1))


# --- symmetry, and other people's mistakes ----------------------------------------------------------------------

SYMMETRIES = {"plain": 0, "pooled": 1, "positions": 2, "placed keys": 2, "causal": 2}


def layer_inputs(rng, time=7):
    return normal(rng, (time, 5), (5, 4), (5, 4), (5, 3), (time + 2, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_has_the_symmetry_that_its_kind_has(kind, rng):
    x, *weights = layer_inputs(rng)
    positions = weights.pop()[:7]
    order = np.roll(np.arange(7), 3)
    assert which_symmetry(x, *weights, positions, order, kind) == SYMMETRIES[kind]


def test_the_output_of_attention_follows_the_queries_and_ignores_the_order_of_the_keys(rng):
    Q, K, V = normal(rng, (2, 3, 7, 5), (2, 3, 6, 5), (2, 3, 6, 4))
    Z, _ = attention_forward(Q, K, V)
    rows, places = rng.permutation(7), rng.permutation(6)
    assert_close(attention_forward(Q[:, :, rows], K[:, :, places], V[:, :, places])[0], Z[:, :, rows])
    with pytest.raises(AssertionError):
        assert_close(attention_forward(Q, K[:, :, np.roll(places, 1)], V[:, :, places])[0], Z)


def test_positions_on_the_keys_alone_leave_the_queries_free_to_move(rng):
    x, *weights = layer_inputs(rng)
    order = rng.permutation(7)
    y = attention_layer(x, x, *weights, "placed keys")
    assert_close(attention_layer(x[order], x, *weights, "placed keys"), y[order])


def test_each_slip_is_found_in_the_answer_that_it_made(rng):
    Q, K, V = normal(rng, (7, 5), (7, 5), (7, 3))
    S = Q @ K.T / 5**0.5
    seen = np.arange(7) <= np.arange(7)[:, None]

    def softmax(scores, axis=1):
        return softmax_forward(scores, axis=axis)[0]

    answers = [
        softmax(np.where(seen, S, -np.inf)) @ V,
        softmax(np.where(seen, 5**0.5 * S, -np.inf)) @ V,
        softmax(S) @ V,
        softmax(np.where(seen, S, -np.inf), axis=0) @ V,
        np.where(seen, softmax(S), 0.0) @ V,
    ]
    order = rng.permutation(5)
    noise = 1e-3 * rng.standard_normal((5, 7, 3))
    assert which_attention(Q, K, V, np.array(answers)[order] + noise).tolist() == order.tolist()


# --- the model --------------------------------------------------------------------------------------------------


def test_a_model_that_writes_on_its_own_is_told_what_it_chose_itself():
    torch.manual_seed(0)
    net = attention_torch.Seq2Seq(7, 10)
    source = torch.randint(7, (3, 5))
    logits, weights = net(source)
    assert (logits.shape, weights.shape) == ((3, 5, 7), (3, 5, 5))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 5))
    told, _ = net(source, logits.argmax(dim=2))
    torch.testing.assert_close(told, logits)


def test_a_model_needs_as_many_states_in_both_directions():
    with pytest.raises(ValueError, match="expected an even d_h, half a direction, got 7"):
        attention_torch.Seq2Seq(5, 7)


def test_a_model_learns_to_turn_sequences_around_and_looks_where_it_reads():
    torch.manual_seed(0)
    net = attention_torch.Seq2Seq(5, 24)
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(150):
        source = torch.randint(5, (64, 4))
        logits, _ = net(source, source.flip(1))
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), source.flip(1).flatten())
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
    source = torch.randint(5, (200, 4))
    logits, weights = net(source)
    assert (logits.argmax(dim=2) == source.flip(1)).double().mean() > 0.9
    map_of_weights = weights.mean(dim=0).detach().flip(1)
    assert map_of_weights.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_a_captioner_looks_at_each_region_of_its_images_with_weights_that_sum_to_one():
    torch.manual_seed(0)
    net = attention_torch.Captioner(5, 6, 7, 10)
    logits, weights = net(torch.rand(3, 7, 10), 2)
    assert (logits.shape, weights.shape) == ((3, 2, 5), (3, 2, 20))
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 2))


def test_every_layer_leaves_its_inputs_as_they_were(rng):
    calls = [
        (additive_attention_forward, normal(rng, (3, 5), (3, 7, 6), (5, 9), (6, 9), 9)),
        (attention_forward, normal(rng, (1, 2, 7, 5), (1, 2, 6, 5), (1, 2, 6, 3))),
        (multi_head_attention_forward, multi_head_inputs(rng)),
        (attention.masked_softmax_forward, [*normal(rng, (3, 5)), rng.random((3, 5)) < 0.5]),
        (online_softmax_step, normal(rng, (5, 3), (3, 4), 5, 5, (5, 4))),
    ]
    for function, arrays in calls:
        before = [array.copy() for array in arrays]
        function(*arrays)
        for array, old in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, old)
