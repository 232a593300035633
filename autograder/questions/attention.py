"""The questions about attention, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over the keys below, which computes
what the kernel computes, in the same order.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.cases import draw
from autograder.question import Draw, Function, Mistake, Question, backward_slip, from_signature, slip
from solutions.attention import (
    additive_attention_backward,
    additive_attention_forward,
    attention_backward,
    attention_forward,
    attention_weights,
    masked_softmax_forward,
    merge_heads,
    multi_head_attention_forward,
    online_softmax_step,
    split_heads,
    which_attention,
    which_symmetry,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)


def sized(function: Function, **sizes: int) -> Draw:
    return from_signature(function, sizes=sizes)


# --- additive attention -----------------------------------------------------------------------------------------

SCORES = "u @ v, axis=1)"
SOFTMAX = "alpha, softmax_cache = softmax_forward(u @ v, axis=1)"


def huge_scores(rng: np.random.Generator) -> Mapping[str, object]:
    """Scores of hundreds on both sides of zero, by way of v, in pairs of equal ones, which W_a cannot tell apart."""
    inputs = draw(additive_attention_forward, rng, sizes={"batch": 25, "keys": 10, "d_h": 6, "d_a": 7, "d_e": 5})
    a, W_a, v = (np.asarray(inputs[name]).copy() for name in ("a", "W_a", "v"))
    a[:, 1::2] = a[:, ::2] + np.linalg.svd(W_a.T)[2][-1]
    return {**inputs, "a": a, "v": 1e3 * np.sign(v)}


def additive_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, additive_attention_forward, *edits)


ADDITIVE = Question(
    name="additive_attention_forward",
    reference=(additive_attention_forward,),
    outputs=("z", "alpha"),
    mistakes={
        "softmax over the features": additive_slip(
            "the softmax runs over the features of tanh(...), before v has made one score out of them: weights belong "
            "to keys, so multiply by v first, then take the softmax over the keys, axis 1",
            (SOFTMAX, f"{SOFTMAX}\n    alpha = softmax_forward(u, axis=2)[0] @ v"),
        ),
        "softmax over the batch": additive_slip(
            "the softmax runs over the batch, so that examples compete with each other: each row of alpha is to sum to "
            "1 over its keys, axis 1",
            (SCORES, "u @ v, axis=0)"),
        ),
        "no softmax": additive_slip(
            "your weights are the scores as they are: without the softmax they are neither positive nor do they sum to "
            "1 over the keys",
            (SOFTMAX, f"{SOFTMAX}\n    alpha = u @ v"),
        ),
        "no shift": additive_slip(
            "exp overflows at scores of hundreds: subtract the largest score of each row first, or use the given "
            "softmax_forward",
            (SOFTMAX, f"{SOFTMAX}\n    alpha = np.exp(u @ v) / np.exp(u @ v).sum(axis=1, keepdims=True)"),
        ),
        "no tanh": additive_slip(
            "tanh is missing: without it h adds the same number to the score of every key, softmax takes it out again, "
            "and where you look does not depend on h at all",
            ("np.tanh((h @ W_h)[:, None] + a @ W_a)", "(h @ W_h)[:, None] + a @ W_a"),
        ),
        "tanh of the score": additive_slip(
            "tanh is applied to the score, after v; it belongs inside, on each feature of h W_h + a_i W_a",
            ("np.tanh((h @ W_h)[:, None] + a @ W_a)", "(h @ W_h)[:, None] + a @ W_a"),
            (SCORES, "np.tanh(u @ v), axis=1)"),
        ),
        "a plain mean": additive_slip(
            "alpha is right, but z is the plain mean of the annotations: weight each with its alpha",
            ("z = (alpha[:, None] @ a)[:, 0]", "z = a.mean(axis=1)"),
        ),
        "only the best key": additive_slip(
            "alpha is right, but z is the annotation of the largest weight alone: that is hard attention, which has no "
            "gradient; here all annotations are mixed",
            ("z = (alpha[:, None] @ a)[:, 0]", "z = a[np.arange(len(a)), alpha.argmax(axis=1)]"),
        ),
        "state left out": additive_slip(
            "h has no effect: the decoder's state decides where to look, so h W_h is added to a_i W_a for every key",
            ("(h @ W_h)[:, None] + a @ W_a", "a @ W_a"),
        ),
    },
    edges={
        "a batch of one": sized(additive_attention_forward, batch=1),
        "scores of hundreds": huge_scores,
    },
    forbid=TORCH,
)


def additive_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, additive_attention_forward, additive_attention_backward, *edits)


THROUGH_SOFTMAX = "de = softmax_backward(dalpha, softmax_cache)"
BOTH_PATHS = "alpha[:, :, None] * dz[:, None] + ds @ W_a.T"

ADDITIVE_BACKWARD = Question(
    name="additive_attention_backward",
    reference=(additive_attention_forward, additive_attention_backward),
    outputs=("dh", "da", "dW_h", "dW_a", "dv"),
    mistakes={
        "no mean subtracted": additive_backward_slip(
            "on the way through the softmax, alpha * dalpha is not all: raising one weight lowers the others, so "
            "subtract the mean of dalpha under alpha first, alpha * (dalpha - sum(alpha * dalpha))",
            (THROUGH_SOFTMAX, "de = alpha * dalpha"),
        ),
        "softmax skipped": additive_backward_slip(
            "dalpha goes to the scores as it is: between them stands the softmax, "
            "de = alpha * (dalpha - sum(alpha * dalpha))",
            (THROUGH_SOFTMAX, "de = dalpha"),
        ),
        "diagonal of the Jacobian only": additive_backward_slip(
            "alpha * (1 - alpha) is the diagonal of the softmax's Jacobian only; its other entries, -alpha_i alpha_j, "
            "count as well",
            (THROUGH_SOFTMAX, "de = dalpha * alpha * (1 - alpha)"),
        ),
        "annotations as values only": additive_backward_slip(
            "an annotation is used twice, as a value in z and as a key in its score: your da has the first part only",
            (BOTH_PATHS, "alpha[:, :, None] * dz[:, None]"),
        ),
        "annotations as keys only": additive_backward_slip(
            "an annotation is used twice, as a key in its score and as a value in z: your da lacks the second part, "
            "alpha_i dz",
            (BOTH_PATHS, "ds @ W_a.T"),
        ),
        "dalpha ignored": additive_backward_slip(
            "the gradient that arrives at alpha itself, dalpha, does not enter: add to it what comes from z",
            ("dalpha = dalpha + (a @", "dalpha = (a @"),
        ),
        "dz does not reach alpha": additive_backward_slip(
            "the weights are used in z: their gradient is dalpha plus a_i . dz, and the second part is missing",
            ("dalpha = dalpha + (a @ dz[:, :, None])[:, :, 0]", "dalpha = dalpha + 0.0"),
        ),
        "no slope of tanh": additive_backward_slip(
            "tanh is passed without its slope: multiply by 1 - u**2", ("v * (1 - u**2)", "v * np.ones_like(u)")
        ),
        "slope in dv": additive_backward_slip(
            "v is multiplied by tanh(...), after it: the slope of tanh does not belong into dv",
            ("dv = np.tensordot(de, u,", "dv = np.tensordot(de, u * (1 - u**2),"),
        ),
        "averaged over the keys": additive_backward_slip(
            "h W_h was added to every key, so what comes back from the keys is summed for dh and dW_h; yours is "
            "averaged",
            ("ds_h = ds.sum(axis=1)", "ds_h = ds.mean(axis=1)"),
        ),
    },
    edges={"a batch of one": sized(additive_attention_forward, batch=1)},
    forbid=TORCH,
)

# --- scaled dot products ----------------------------------------------------------------------------------------


def heads_of(queries: int, keys: int, d_k: int, d_v: int, causal: bool, size: float = 1.0) -> Draw:
    """Two examples of three heads; queries and keys are `size` times as large as usual."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        shapes = (2, 3, queries, d_k), (2, 3, keys, d_k), (2, 3, keys, d_v)
        Q, K, V = (rng.standard_normal(shape) for shape in shapes)
        return {"Q": size * Q, "K": size * K, "V": V, "causal": causal}

    return make


def nearly_tied(size: float) -> Draw:
    """Causal heads with huge scores, in which the first two keys, all that query 1 sees, score about alike."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = heads_of(5, 6, 3, 7, True, size)(rng)
        K = np.asarray(inputs["K"])
        K[:, :, 1] = K[:, :, 0] + rng.standard_normal(K[:, :, 0].shape) / size
        return inputs

    return make


SCALED = "Q[head] / d_k**0.5"
FUTURE = "hidden = np.arange(keys) > np.arange(queries)[:, None]"
HIDES = "S[hidden] = -np.inf"
MIXES = "Z[head] = P @ V[head] / total"
PROBABILITIES = "P = np.exp(np.subtract(S, top, out=S), out=S)"


def attention_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, attention_forward, *edits)


ATTENTION = Question(
    name="attention_forward",
    reference=(attention_forward,),
    outputs=("Z",),
    by_draw=True,
    draws={
        "more queries than keys": heads_of(7, 5, 6, 3, False),
        "more keys than queries": heads_of(3, 6, 5, 7, False),
        "causal": heads_of(7, 7, 5, 6, True),
        "causal, more keys than queries": heads_of(5, 9, 3, 6, True),
    },
    mistakes={
        "not scaled": attention_slip(
            "the scores are not divided by sqrt(d_k): the larger d_k, the larger they get, and the nearer the softmax "
            "comes to a choice of one key, with no gradient",
            (SCALED, "Q[head]"),
        ),
        "divided by d_k": attention_slip(
            "the scores are divided by d_k; it is its square root, since the standard deviation of a sum of d_k "
            "products grows like that",
            (SCALED, "Q[head] / d_k"),
        ),
        "scaled by the values' width": attention_slip(
            "the scores are divided by sqrt(d_v), the width of the values; they are sums over the d_k features of "
            "queries and keys, so it is sqrt(d_k)",
            (SCALED, "Q[head] / V.shape[3]**0.5"),
        ),
        "scaled by the number of keys": attention_slip(
            "the scores are divided by the root of the number of keys; each is a sum over d_k features, so it is "
            "sqrt(d_k), however long the sequence is",
            (SCALED, "Q[head] / keys**0.5"),
        ),
        "softmax over the queries": attention_slip(
            "the softmax runs over the queries: each row of weights, one for a query, must sum to 1 over the keys, the "
            "last axis",
            ("S.max(axis=1", "S.max(axis=0"),
            ("P.sum(axis=1", "P.sum(axis=0"),
            (MIXES, "Z[head] = (P / total) @ V[head]"),
            ("(top + np.log(total))[:, 0]", "0.0"),
        ),
        "no mask": attention_slip(
            "causal has no effect: with it, query t sees keys 0 to t and none behind", (HIDES, "pass")
        ),
        "masked with 0": attention_slip(
            "future scores are set to 0, but exp(0) is 1: a key of score 0 gets a weight like others. Set them to "
            "minus infinity, whose exponential is 0",
            (HIDES, "S[hidden] = 0.0"),
        ),
        "masked after the softmax": attention_slip(
            "the weights of the future are set to 0 after the softmax: what is left of a row no longer sums to 1. Mask "
            "the scores, before the softmax",
            (HIDES, "pass"),
            (MIXES, "Z[head] = (P / total * ~(hidden & causal)) @ V[head]"),
        ),
        "does not see itself": attention_slip(
            "the diagonal is masked as well: query t sees keys 0 to t, itself included. In yours, the first query sees "
            "nothing, and 0/0 is NaN",
            (FUTURE, FUTURE.replace(">", ">=")),
        ),
        "sees one step ahead": attention_slip(
            "query t sees key t + 1 in yours: the mask begins one place too late, and a model that is trained so "
            "copies the answer from there",
            (FUTURE, FUTURE.replace("np.arange(queries)", "1 + np.arange(queries)")),
        ),
        "sees the future only": attention_slip(
            "the mask is turned over: in yours query t sees the keys from t on; it is to see those up to t",
            (FUTURE, FUTURE.replace(">", "<")),
        ),
        "aligned at the end": attention_slip(
            "your causal mask is aligned at the last query and the last key, as in another library; here, as in torch, "
            "the first query stands at the first key, so that query t sees keys 0 to t",
            (FUTURE, FUTURE.replace("np.arange(queries)", "keys - queries + np.arange(queries)")),
        ),
        "always causal": attention_slip("the future is masked even where causal is False", ("if causal:", "if True:")),
        "no shift": attention_slip(
            "exp overflows at scores of hundreds: subtract the largest score of each row before exp",
            (PROBABILITIES, "P = np.exp(S)"),
        ),
        "not divided by the sum": attention_slip(
            "the rows of your weights do not sum to 1: divide by the sum of the exponentials",
            (MIXES, "Z[head] = P @ V[head]"),
        ),
    },
    edges={
        "a single query": heads_of(1, 5, 6, 3, False),
        "a single key": heads_of(5, 1, 6, 3, True),
        "scores of thousands": nearly_tied(50.0),
    },
    forbid=TORCH,
)


def attention_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, attention_forward, attention_backward, *edits)


JACOBIAN = "dS = P * (dP - mean)"
DQ, DK = "dQ[head] = dS @ K[head] / d_k**0.5", "dK[head] = dS.T @ Q[head] / d_k**0.5"

ATTENTION_BACKWARD = Question(
    name="attention_backward",
    reference=(attention_forward, attention_backward),
    outputs=("dQ", "dK", "dV"),
    draws={
        "more queries than keys": heads_of(7, 5, 6, 3, False),
        "causal": heads_of(7, 7, 5, 6, True),
        "causal, more keys than queries": heads_of(5, 9, 3, 6, True),
    },
    mistakes={
        "no row sum": attention_backward_slip(
            "dS = P * dP is not all: subtract the row sum of P * dP from dP first, since a weight can only grow at the "
            "expense of the others of its row",
            (JACOBIAN, "dS = P * dP"),
        ),
        "softmax skipped": attention_backward_slip(
            "dP goes to the scores as it is: between them stands the softmax, dS = P * (dP - row sums of P * dP)",
            (JACOBIAN, "dS = dP"),
        ),
        "column sum": attention_backward_slip(
            "you subtract sums over the queries; the softmax ran over the keys, so the sum of P * dP is that of a row, "
            "over its keys",
            (JACOBIAN, "dS = P * (dP - (P * dP).sum(axis=0))"),
        ),
        "diagonal of the Jacobian only": attention_backward_slip(
            "dP * P * (1 - P) takes the diagonal of the softmax's Jacobian only: a weight of a row depends on all "
            "scores of it",
            (JACOBIAN, "dS = dP * P * (1 - P)"),
        ),
        "dQ not scaled": attention_backward_slip(
            "dK is right, and dQ is sqrt(d_k) times too large: the scores were divided by it, so both are",
            (DQ, DQ.replace(" / d_k**0.5", "")),
        ),
        "dK not scaled": attention_backward_slip(
            "dQ is right, and dK is sqrt(d_k) times too large: the scores were divided by it, so both are",
            (DK, DK.replace(" / d_k**0.5", "")),
        ),
        "neither scaled": attention_backward_slip(
            "dQ and dK are both sqrt(d_k) times too large: the scores were divided by it, and so are their gradients",
            (DQ, DQ.replace(" / d_k**0.5", "")),
            (DK, DK.replace(" / d_k**0.5", "")),
        ),
        "scaled twice": attention_backward_slip(
            "dQ and dK are divided by d_k; the scores were divided by its square root, once",
            (DQ, DQ.replace("**0.5", "")),
            (DK, DK.replace("**0.5", "")),
        ),
        "no mask on the way back": attention_backward_slip(
            "the weights that you make anew are not masked: keep the weights of the forward pass, or mask the scores "
            "on the way back too",
            (HIDES, "pass"),
        ),
        "dV through the softmax": attention_backward_slip(
            "dV = dS^T dZ is wrong: the values were multiplied by the weights P, not by the scores: dV = P^T dZ",
            ("dV[head] = P.T @ dZ[head]", "pass"),
            (DQ, f"dV[head] = dS.T @ dZ[head]\n        {DQ}"),
        ),
    },
    edges={
        "a single query": heads_of(1, 5, 6, 3, False),
        "scores of hundreds": nearly_tied(10.0),
    },
    forbid=TORCH,
)

# --- masks ------------------------------------------------------------------------------------------------------


def scores_of(lengths: tuple[int, ...], queries: int, keys: int, causal: bool) -> Draw:
    """Scores of sequences that are padded to one length."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        S = 2 * rng.standard_normal((len(lengths), queries, keys))
        return {"S": S, "lengths": np.array(lengths), "causal": causal}

    return make


def huge_padding(rng: np.random.Generator) -> Mapping[str, object]:
    """Scores of -1000 where a query may look, and of 1000 where it may not."""
    S = rng.standard_normal((3, 5, 7)) - 1e3
    S[:, :, 5:] = 1e3
    return {"S": S, "lengths": np.array([5, 3, 4]), "causal": False}


def weights_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, attention_weights, *edits)


PADDING = "place < lengths[:, None, None]"
PAST = "place <= np.arange(S.shape[1])[:, None]"
BLANKS = "np.where(seen, S, -np.inf)"
DIVIDES = "return e / np.where(total == 0.0, 1.0, total)"
STAND_IN = "np.where(top == -np.inf, 0.0, top)"

WEIGHTS = Question(
    name="attention_weights",
    reference=(attention_weights,),
    outputs=("P",),
    by_draw=True,
    draws={
        "padding": scores_of((5, 3, 7), 6, 7, False),
        "padding, more queries than keys": scores_of((5, 3), 9, 6, False),
        "padding and causal": scores_of((6, 3, 5), 6, 7, True),
        "causal, more queries than keys": scores_of((5, 5, 3), 7, 5, True),
    },
    mistakes={
        "masked after the softmax": weights_slip(
            "the weights are set to 0 after the softmax: what is left of a row no longer sums to 1. Mask the scores, "
            "before the softmax",
            (BLANKS, "S"),
            (DIVIDES, "return e / total * seen"),
        ),
        "masked with 0": weights_slip(
            "hidden scores are set to 0, but exp(0) is 1: such a key gets a weight like others. Set them to minus "
            "infinity, whose exponential is 0",
            (BLANKS, "np.where(seen, S, 0.0)"),
        ),
        "masked with a large negative number": weights_slip(
            "a row that sees nothing gets equal weights for everything that it must not see: where all scores are the "
            "same large negative number, softmax shares out evenly. Set them to minus infinity, and such a row to "
            "zeros",
            (BLANKS, "np.where(seen, S, -1e9)"),
        ),
        "NaN where nothing is seen": weights_slip(
            "a row that sees nothing is NaN: its maximum is minus infinity, and infinity minus infinity is no number. "
            "Give such rows zeros",
            (STAND_IN, "top"),
            (DIVIDES, "return e / total"),
        ),
        "does not see itself": weights_slip(
            "with causal, query t sees keys 0 to t, itself included; in yours the diagonal is masked as well, so the "
            "first query sees nothing",
            (PAST, PAST.replace("<=", "<")),
        ),
        "sees one step ahead": weights_slip(
            "with causal, query t sees key t + 1 in yours: the mask begins one place too late",
            (PAST, PAST.replace("np.arange(S", "1 + np.arange(S")),
        ),
        "sees the future only": weights_slip(
            "the causal mask is turned over: in yours query t sees the keys from t on; it is to see those up to t",
            (PAST, PAST.replace("<=", ">=")),
        ),
        "aligned at the end": weights_slip(
            "your causal mask is aligned at the last query and the last key, as in another library; here, as in torch, "
            "the first query stands at the first key, so that query t sees keys 0 to t",
            (PAST, PAST.replace("np.arange(S", "S.shape[2] - S.shape[1] + np.arange(S")),
        ),
        "one key too many": weights_slip(
            "keys are counted from 0, so a sequence of n has keys 0 to n - 1: yours sees the first key of the padding",
            (PADDING, PADDING.replace("<", "<=")),
        ),
        "padding seen": weights_slip(
            "lengths has no effect: keys from lengths[m] on are padding, and get no weight",
            (PADDING, "place < S.shape[2] + 0 * lengths[:, None, None]"),
        ),
        "padding only": weights_slip(
            "the padding mask is turned over: the keys that count are those in front of lengths[m]",
            (PADDING, PADDING.replace("<", ">=")),
        ),
        "queries hidden": weights_slip(
            "you hide the rows of late queries; padding is about keys, which are the last axis",
            (PADDING, "np.arange(S.shape[1])[:, None] < lengths[:, None, None]"),
        ),
        "no mask": weights_slip("causal has no effect: with it, query t sees keys 0 to t", ("if causal:", "if False:")),
        "causal in place of padding": weights_slip(
            "where causal is True, padding gets weight: the causal mask comes on top of that of the padding, not in "
            "its place",
            ("seen = seen & (", "seen = np.broadcast_to("),
            (PAST + ")", PAST + ", S.shape)"),
        ),
        "queries of padding blinded": weights_slip(
            "rows from lengths[m] on are zeros: padding is about keys. A row is zeros only where it may look at "
            "nothing; whoever uses the weights leaves out the rows that are padding",
            (DIVIDES, f"{DIVIDES} * (np.arange(S.shape[1])[:, None] < lengths[:, None, None])"),
        ),
        "one or the other": weights_slip(
            "padding and future are both hidden where either mask says so: a key is seen where *both* allow it, so "
            "join them with &, not |",
            ("seen & (", "seen | ("),
        ),
        "maximum over hidden scores": weights_slip(
            "the maximum that you subtract is taken over hidden scores too: where one of them is far above the rest, "
            "every exponential that counts is 0. Mask first, then take the maximum",
            ("top = scores.max", "top = S.max"),
        ),
    },
    edges={
        "a sequence of no keys": scores_of((0, 5, 3), 6, 5, False),
        "hidden scores far above the others": huge_padding,
        "one key": scores_of((1, 1), 3, 1, True),
    },
    forbid=TORCH,
)

# --- heads ------------------------------------------------------------------------------------------------------


def rows_to_split(heads: int, d_head: int) -> Draw:
    return lambda rng: {"x": rng.standard_normal((5, 7, heads * d_head)), "heads": heads}


SPLIT = Question(
    name="split_heads",
    reference=(split_heads,),
    outputs=("heads",),
    by_draw=True,
    draws={"3 heads": rows_to_split(3, 6), "6 heads": rows_to_split(6, 3), "5 heads": rows_to_split(5, 9)},
    mistakes={
        "reshape without transposing": slip(
            "the shape is right, the numbers are not: a reshape cannot move an axis. Cut the features in two, (batch, "
            "time, heads, d_head), then swap time and heads",
            split_heads,
            ("x.reshape(batch, time, heads, d_model // heads).swapaxes(1, 2)", "x.reshape(batch, heads, time, -1)"),
        ),
        "interleaved": slip(
            "head n takes features n, n + heads, n + 2 heads, ... in yours; it is to take d_head neighboring ones: "
            "reshape to (batch, time, heads, d_head), heads first",
            split_heads,
            (
                "x.reshape(batch, time, heads, d_model // heads).swapaxes(1, 2)",
                "x.reshape(batch, time, d_model // heads, heads).transpose(0, 3, 1, 2)",
            ),
        ),
        "heads behind time": slip(
            "time comes before the heads in yours: swap the two, so that each head is a sequence of its own, (batch, "
            "heads, time, d_head)",
            split_heads,
            (".swapaxes(1, 2)", ""),
        ),
    },
    edges={"one head": rows_to_split(1, 6), "one feature for each head": rows_to_split(6, 1)},
)

MERGE = Question(
    name="merge_heads",
    reference=(merge_heads,),
    outputs=("x",),
    mistakes={
        "reshape without transposing": slip(
            "the shape is right, the numbers are not: a reshape cannot move an axis. Swap heads and time first, then "
            "join the last two axes",
            merge_heads,
            ("x.swapaxes(1, 2).reshape", "x.reshape"),
        ),
        "interleaved": slip(
            "the heads are shuffled into each other, feature by feature; each is to keep its d_head features side by "
            "side: (batch, time, heads, d_head) before you join the last two",
            merge_heads,
            ("x.swapaxes(1, 2)", "x.transpose(0, 2, 3, 1)"),
        ),
        "heads added up": slip(
            "the heads are added up; they are to stand side by side, heads * d_head features in a row",
            merge_heads,
            ("return x.swapaxes(1, 2).reshape(batch, time, heads * d_head)", "return x.sum(axis=1)"),
        ),
    },
    edges={"one head": sized(merge_heads, heads=1), "one feature for each head": sized(merge_heads, d_head=1)},
)


def several_heads(lengths: tuple[int, ...], queries: int, keys: int, blind: bool = False) -> Draw:
    """Three heads that look at padded sequences; if blind, the first query may look nowhere."""
    sizes = {"batch": len(lengths), "queries": queries, "keys": keys, "heads": 3, "d_k": 5, "d_v": 7, "d_out": 6}

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(multi_head_attention_forward, rng, sizes=sizes | {"d_model": 12, "d_memory": 12})
        mask = np.repeat((np.arange(keys) < np.array(lengths)[:, None])[:, None], queries, axis=1)
        mask[:, 0] &= not blind
        scaled = {name: np.asarray(array) / 2 for name, array in inputs.items() if name.startswith("W")}
        return {**inputs, **scaled, "mask": mask}

    return make


def heads_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, multi_head_attention_forward, *edits)


SCALE_OF_HEADS = "W_q.shape[2] ** 0.5"
MASKED = "P, (P,) = masked_softmax_forward(S, np.broadcast_to(mask[:, None], S.shape))"
OWN_SOFTMAX = "P = np.exp(S - S.max(axis=3, keepdims=True))\n    P = P / P.sum(axis=3, keepdims=True)"

HEADS = Question(
    name="multi_head_attention_forward",
    reference=(multi_head_attention_forward,),
    outputs=("y",),
    by_draw=True,
    draws={
        "more queries than keys": several_heads((5, 3), 7, 5),
        "more keys than queries": several_heads((9, 6, 3), 5, 9),
        "no padding": several_heads((6, 6), 5, 6),
    },
    mistakes={
        "scaled by the model's width": heads_slip(
            "the scores are divided by sqrt(d_model); each head has scores of its own, sums over its d_k features, so "
            "it is sqrt(d_k)",
            (SCALE_OF_HEADS, "x.shape[2] ** 0.5"),
        ),
        "scaled by all heads": heads_slip(
            "the scores are divided by sqrt(heads * d_k); a score is a sum over the d_k features of one head",
            (SCALE_OF_HEADS, "(W_q.shape[0] * W_q.shape[2]) ** 0.5"),
        ),
        "not scaled": heads_slip("the scores are not divided by sqrt(d_k)", (f" / {SCALE_OF_HEADS}", "")),
        "W_q and W_k exchanged": heads_slip(
            "W_q and W_k have traded places: W_q makes the queries out of x, W_k the keys out of m",
            ("x[:, None] @ W_q, m[:, None] @ W_k", "x[:, None] @ W_k, m[:, None] @ W_q"),
        ),
        "mean over the heads": heads_slip(
            "the heads are averaged; what they bring through W_o is added up, which is the same as one product with "
            "the heads side by side",
            ("(Z @ W_o).sum(axis=1)", "(Z @ W_o).mean(axis=1)"),
        ),
        "one head": heads_slip(
            "only the first head counts: add up what all of them bring", ("(Z @ W_o).sum(axis=1)", "(Z @ W_o)[:, 0]")
        ),
        "mask ignored": heads_slip(
            "mask has no effect: where it is False, a query must not look",
            (MASKED, "P, (P,) = masked_softmax_forward(S, np.ones_like(S, dtype=bool))"),
        ),
        "mask turned over": heads_slip(
            "the mask is turned over: here True means that a query may look there; in torch's key_padding_mask it "
            "means the opposite",
            (MASKED, MASKED.replace("mask[:", "~mask[:")),
        ),
        "masked with a large negative number": heads_slip(
            "a query that may look nowhere gets equal weights for everything that it must not see, where hidden scores "
            "are one large negative number; the given masked_softmax_forward gives it zeros",
            (MASKED, f"S = np.where(mask[:, None], S, -1e9)\n    {OWN_SOFTMAX}"),
        ),
        "NaN where nothing is seen": heads_slip(
            "a query that may look nowhere is NaN: infinity minus infinity is no number. The given "
            "masked_softmax_forward gives such a row zeros",
            (MASKED, f"S = np.where(mask[:, None], S, -np.inf)\n    {OWN_SOFTMAX}"),
        ),
        "masked after the softmax": heads_slip(
            "the weights are masked after the softmax: mask the scores, so that what is left sums to 1",
            (MASKED, "P, (P,) = masked_softmax_forward(S, np.ones_like(S, dtype=bool))\n    P = P * mask[:, None]"),
        ),
        "softmax over the queries": heads_slip(
            "the softmax runs over the queries; the weights of one query sum to 1 over the keys, the last axis",
            (
                MASKED,
                "P = masked_softmax_forward("
                "S.swapaxes(2, 3), np.broadcast_to(mask[:, None], S.shape).swapaxes(2, 3))[0].swapaxes(2, 3)",
            ),
        ),
    },
    edges={
        "one example": several_heads((3,), 7, 5),
        "a query that may look nowhere": several_heads((5, 3), 7, 5, blind=True),
    },
    forbid=TORCH,
)

# --- symmetry ---------------------------------------------------------------------------------------------------


def in_another_order(kind: str, time: int = 7) -> Draw:
    """Rows of a sequence, odd in number, and an order that is neither the old one nor its own inverse."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        drawn = draw(which_symmetry, rng, sizes={"time": time, "d_in": 5, "d_k": 6, "d_v": 3})
        return {**drawn, "order": np.roll(np.arange(time), int(rng.integers(1, time))), "kind": kind}

    return make


def symmetry_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, which_symmetry, *edits)


AFTER = "after = attention_layer(x[order], x[order], *weights)"
ANSWER = "return np.array(0 if same else 2)"

SYMMETRY = Question(
    name="which_symmetry",
    reference=(which_symmetry,),
    outputs=("symmetry",),
    by_draw=True,
    draws={
        "plain self-attention": in_another_order("plain"),
        "pooled over time": in_another_order("pooled"),
        "positions added": in_another_order("positions"),
        "positions on the keys only": in_another_order("placed keys"),
        "causal": in_another_order("causal"),
    },
    mistakes={
        "only the queries permuted": symmetry_slip(
            "you permute the queries only: in self-attention keys and values come from the same rows, so x stands "
            "twice among the arguments, and both are permuted. With positions on the keys it makes a difference",
            (AFTER, AFTER.replace("x[order], x[order]", "x[order], x")),
        ),
        "only the memory permuted": symmetry_slip(
            "you permute the memory only, from which keys and values come: in self-attention the queries come from "
            "the same rows, so both arguments are permuted",
            (AFTER, AFTER.replace("x[order], x[order]", "x, x[order]")),
        ),
        "equivariant and invariant exchanged": symmetry_slip(
            "0 and 1 have traded places: equivariant, 0, means that the output comes in the new order too; invariant, "
            "1, that it does not change at all",
            ("return np.array(1)", "return np.array(0)"),
            (ANSWER, "return np.array(1 if same else 2)"),
        ),
        "positions that travel along": symmetry_slip(
            "you permute the positions along with the rows: a position belongs to a place, not to the row that stands "
            "there. That is just how it breaks the symmetry",
            (AFTER, "after = attention_layer(x[order], x[order], W_q, W_k, W_v, positions[order], kind)"),
        ),
        "the inverse order": symmetry_slip(
            "you never answer 0. Either you undo the order on the wrong side: what is compared is f(x[order]) with "
            "f(x)[order]; f(x[order])[order] is in neither order. Or you compare with ==, and the last digits differ: "
            "use np.allclose",
            ("np.allclose(after, before[order])", "np.allclose(after[order], before)"),
        ),
        "never invariant": symmetry_slip(
            "you never answer 1: a layer whose output does not change when its rows are permuted is invariant; compare "
            "before and after as they are",
            ("np.allclose(after, before)", "False"),
        ),
        "everything equivariant": symmetry_slip(
            "you answer 0 for every layer that is not invariant: compare the numbers, since positions and masks know "
            "about places",
            (ANSWER, "return np.array(0)"),
        ),
        "counted from 1": symmetry_slip(
            "the answers are 0, 1 and 2; yours are one too high",
            ("return np.array(1)", "return np.array(2)"),
            (ANSWER, "return np.array(1 if same else 3)"),
        ),
    },
    edges={"three rows": in_another_order("plain", 3), "three rows, pooled": in_another_order("pooled", 3)},
    tells={"three rows": ("only the memory permuted", "the inverse order")},
)

# --- online softmax ---------------------------------------------------------------------------------------------


def some_block(around: float = 0.0, spread: float = 1.0) -> Draw:
    """A block of scores after others, whose maximum lies above some of the new ones and below some."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        drawn = draw(online_softmax_step, rng, sizes={"queries": 6, "block": 3, "d_v": 5})
        S = around + spread * np.asarray(drawn["S"])
        top = S.max(axis=1) + spread * np.tile([-2.0, 1.0], 3)
        return {**drawn, "S": S, "top": top, "total": 1 + rng.random(6)}

    return make


def first_block(masked: bool) -> Draw:
    """The first block of all, after -inf, 0 and 0; if masked, with rows that see none of its keys."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        drawn = draw(online_softmax_step, rng, sizes={"queries": 6, "block": 3, "d_v": 5})
        S = np.asarray(drawn["S"]).copy()
        S[: 3 if masked else 0] = -np.inf
        return {**drawn, "S": S, "top": np.full(6, -np.inf), "total": np.zeros(6), "Z": np.zeros((6, 5))}

    return make


def online_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, online_softmax_step, *edits)


NEW_TOTAL, NEW_Z = "total * rescale + E.sum(axis=1)", "Z * rescale[:, None] + E @ V"

ONLINE = Question(
    name="online_softmax_step",
    reference=(online_softmax_step,),
    outputs=("top", "total", "Z"),
    draws={
        "a block after others": some_block(),
        "scores far apart": some_block(spread=5.0),
        "scores around -50": some_block(around=-50.0),
    },
    mistakes={
        "accumulator not rescaled": online_slip(
            "Z, the sum of values so far, is still relative to the old maximum: when the maximum rises, multiply it by "
            "exp(old - new), just as the total",
            (NEW_Z, "Z + E @ V"),
        ),
        "total not rescaled": online_slip(
            "total is still relative to the old maximum: multiply it by exp(old - new) before you add the block, just "
            "as Z",
            (NEW_TOTAL, "total + E.sum(axis=1)"),
        ),
        "nothing rescaled": online_slip(
            "neither total nor Z is rescaled: both are relative to the old maximum, so multiply both by "
            "exp(old - new) before you add the block",
            (NEW_TOTAL, "total + E.sum(axis=1)"),
            (NEW_Z, "Z + E @ V"),
        ),
        "rescaled the wrong way": online_slip(
            "you rescale by exp(new - old), which is at least 1: when the maximum rises, what was summed before "
            "becomes smaller, exp(old - new)",
            ("np.exp(top - reference)", "np.exp(reference - top)"),
        ),
        "maximum of the block": online_slip(
            "the new maximum is that of this block only: it is never to fall, so take the larger of it and the one so "
            "far",
            ("np.maximum(top, S.max(axis=1))", "S.max(axis=1)"),
        ),
        "relative to the block": online_slip(
            "the exponentials of the block are relative to the block's own maximum: use the running maximum, as for "
            "everything else",
            ("np.exp(S - reference[:, None])", "np.exp(S - S.max(axis=1, keepdims=True))"),
        ),
        "divided too early": online_slip(
            "Z is divided by the total already: then the next block cannot be added to it. Divide once, after the last "
            "block",
            (NEW_Z, f"({NEW_Z}) / new_total[:, None]"),
        ),
        "what came before is lost": online_slip(
            "only this block is left in total and Z: add it to what there was",
            (NEW_TOTAL, "E.sum(axis=1)"),
            (NEW_Z, "E @ V"),
        ),
        "relative to nothing": online_slip(
            "your exponentials are those of the scores themselves, which overflow where these are large: take them "
            "relative to the new maximum, exp(S - top), and rescale what was summed before",
            ("np.exp(S - reference[:, None])", "np.exp(S)"),
            (NEW_TOTAL, "total + E.sum(axis=1)"),
            (NEW_Z, "Z + E @ V"),
        ),
        "infinity minus infinity": online_slip(
            "rows whose keys were all masked so far are NaN: their maximum is minus infinity, and infinity minus "
            "infinity is no number. Subtract 0 there",
            ("np.where(new_top == -np.inf, 0.0, new_top)", "new_top"),
        ),
    },
    edges={
        "the first block": first_block(masked=False),
        "rows whose first block is masked": first_block(masked=True),
        "scores around 1000": some_block(around=1e3),
    },
)

# --- other people's mistakes ------------------------------------------------------------------------------------

SLIPS = 5


def answers_of(time: int, d_k: int, d_v: int) -> Draw:
    """Two answers of each slip, in random order, from which a little of the digits was lost."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        Q, K, V = (rng.standard_normal((time, width)) for width in (d_k, d_k, d_v))
        Q *= 1.5
        S, seen = Q @ K.T / d_k**0.5, np.tri(time, dtype=bool)
        every = np.ones_like(seen)

        def softmax(scores: Array, mask: Array) -> Array:
            weights: Array = masked_softmax_forward(scores, mask)[0]
            return weights

        kinds = [
            softmax(S, seen),
            softmax(S * d_k**0.5, seen),
            softmax(S, every),
            softmax(S.T, seen.T).T,
            softmax(S, every) * seen,
        ]
        Z = np.array([P @ V for P in kinds])[rng.permutation(np.tile(np.arange(SLIPS), 2))]
        return {"Q": Q, "K": K, "V": V, "Z": Z + 1e-4 * rng.uniform(-1, 1, Z.shape)}

    return make


def which_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, which_attention, *edits)


AFTER_SOFTMAX = "masked_softmax_forward(S, everything)[0] * seen"
OTHER_CANDIDATES = ("3 without the mask", "2 without the scale")

WHICH = Question(
    name="which_attention",
    reference=(which_attention,),
    outputs=("slip",),
    draws={
        "7 rows": answers_of(7, 5, 3),
        "5 rows": answers_of(5, 9, 6),
        "11 rows": answers_of(11, 6, 7),
    },
    mistakes={
        "counted from 1": which_slip(
            "the slips are numbered from 0, which is none; yours are one too high",
            ("argmin(axis=1)", "argmin(axis=1) + 1"),
        ),
        "no missing scale": which_slip(
            "you never find slip 1: without the division, the scores are sqrt(d_k) times larger, and the softmax of "
            "Q K^T itself is what such an answer holds",
            ("masked_softmax_forward(Q @ K.T, seen)", "masked_softmax_forward(S, seen)"),
        ),
        "1 and 2 exchanged": which_slip(
            "1 and 2 have traded places: 1 is not divided by sqrt(d_k), 2 has no mask",
            ("return gaps", "gaps = gaps[:, [0, 2, 1, 3, 4]]\n    return gaps"),
        ),
        "2 and 4 exchanged": which_slip(
            "2 and 4 have traded places: 2 has no mask at all, so its rows see the future; 4 is masked after the "
            "softmax, so its rows are too small",
            ("return gaps", "gaps = gaps[:, [0, 1, 4, 3, 2]]\n    return gaps"),
        ),
        "3 without the mask": which_slip(
            "your candidate for slip 3 lacks the mask: it is the softmax over the queries of the *masked* scores, so "
            "each column of weights sums to 1 over the queries that see its key",
            ("masked_softmax_forward(S.T, seen.T)", "masked_softmax_forward(S.T, everything)"),
        ),
        "2 without the scale": which_slip(
            "your candidate for slip 2 lacks the scale: each answer has one slip only, so the scores without a mask "
            "are divided by sqrt(d_k)",
            ("masked_softmax_forward(S, everything)[0],", "masked_softmax_forward(Q @ K.T, everything)[0],"),
        ),
        "renormalized": which_slip(
            "slip 4 keeps the weights as they are after masking; you divide its rows by their sum again, which makes "
            "them right: masked and renormalized is the same as masked before the softmax",
            (
                AFTER_SOFTMAX,
                f"{AFTER_SOFTMAX} / (masked_softmax_forward(S, everything)[0] * seen).sum(1, keepdims=True)",
            ),
        ),
    },
    edges={"three rows": answers_of(3, 7, 5)},
    tells={
        "7 rows": OTHER_CANDIDATES,
        "5 rows": OTHER_CANDIDATES,
        "11 rows": OTHER_CANDIDATES,
        "three rows": ("renormalized", *OTHER_CANDIDATES),
    },
)

# --- the kernel -------------------------------------------------------------------------------------------------


def walk_over_keys(Q: Array, K: Array, V: Array, causal: bool) -> Array:
    """What the kernel computes: for each block of queries one walk over the keys, whose last block is filled up."""
    (*heads, queries, d_k), (keys, d_v), block = Q.shape, V.shape[2:], 32
    K_tiles, V_tiles = np.zeros((*heads, keys + block, d_k)), np.zeros((*heads, keys + block, d_v))
    K_tiles[:, :, :keys], V_tiles[:, :, :keys] = K, V
    results = []
    for first in range(0, queries, 64):
        rows = np.arange(first, min(first + 64, queries))[:, None]
        top, total = np.full((*heads, len(rows), 1), -3e38), np.zeros((*heads, len(rows), 1))
        Z = np.zeros((*heads, len(rows), d_v))
        end = min(keys, first + 64) if causal else keys
        for start in range(0, end, block):
            at = np.arange(start, start + block)
            S = Q[:, :, rows[:, 0]] @ K_tiles[:, :, at].swapaxes(2, 3) / d_k**0.5
            seen = (at < keys) & ((at <= rows) | (not causal))
            S = np.where(seen, S, -np.inf)
            new_top = np.maximum(top, S.max(axis=3, keepdims=True))
            P, rescale = np.exp(S - new_top), np.exp(top - new_top)
            total = total * rescale + P.sum(axis=3, keepdims=True)
            Z = Z * rescale + P @ V_tiles[:, :, at]
            top = new_top
        results.append(Z / total)
    return np.concatenate(results, axis=2)


def bytes_of_walk(inputs: Mapping[str, Any]) -> int:
    """What flash attention loads and stores: queries and results once, keys and values once for each block of queries.

    If causal, a block of queries walks no further than its last one.
    """
    (batch, heads, queries, d_k), (keys, d_v) = map(int, inputs["Q"].shape), map(int, inputs["V"].shape[2:])
    ends = [min(keys, first + 64) if inputs["causal"] else keys for first in range(0, queries, 64)]
    return 4 * batch * heads * (d_k + d_v) * (queries + sum(ends))


def kernel_draw(queries: int, keys: int, d_k: int, d_v: int, causal: bool) -> Draw:
    """One example of two heads, with keys whose scores rise along the sequence, so that the maximum moves."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        Q, K, V = (rng.standard_normal((1, 2, *shape)) for shape in ((queries, d_k), (keys, d_k), (keys, d_v)))
        K[..., 0], Q[..., 0] = np.linspace(-1, 1, keys), 3 + np.abs(Q[..., 0])
        return {"Q": Q, "K": K, "V": V, "causal": causal}

    return make


def huge_scores_of_heads(rng: np.random.Generator) -> Mapping[str, object]:
    """Scores of thousands on both sides, two of them the largest: whole numbers, which float32 holds exactly."""
    Q, K = (10.0 * rng.integers(-3, 4, (1, 2, rows, 4)) for rows in (5, 37))
    Q[..., 0], K[..., 0] = 30.0, np.where(np.arange(37) % 2, -80.0, 80.0)
    K[:, :, [4, 35]] = np.array([200.0, 0.0, 0.0, 0.0])
    return {"Q": Q, "K": K, "V": rng.standard_normal((1, 2, 37, 5)), "causal": False}


def kernel_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_keys, *edits)


KERNEL = Question(
    name="attention_kernel",
    reference=(walk_over_keys,),
    outputs=("Z",),
    calls=("attention",),
    tensors=True,
    tolerance=1e-4,
    by_draw=True,
    draws={
        "fewer rows than a block": kernel_draw(5, 7, 3, 6, False),
        "more keys than a block": kernel_draw(9, 45, 5, 3, False),
        "more queries than a block": kernel_draw(67, 37, 5, 7, False),
        "causal": kernel_draw(70, 150, 3, 5, True),
    },
    mistakes={
        "padding of zeros": kernel_slip(
            "lanes past the last key count: a key of zeros has the score 0, and exp(0 - top) is added to the sum. Set "
            "the scores of those lanes to minus infinity",
            ("(at < keys) & ((", "(("),
        ),
        "not scaled": kernel_slip("the scores are not multiplied by scale, 1 / sqrt(d_k)", (" / d_k**0.5", "")),
        "scaled twice": kernel_slip(
            "the scores are divided by d_k: scale is 1 / sqrt(d_k) already", (" / d_k**0.5", " / d_k")
        ),
        "no mask": kernel_slip(
            "CAUSAL has no effect: with it, only keys at <= rows count",
            ("| (not causal)", "| True"),
            ("end = min(keys, first + 64) if causal else keys", "end = keys"),
        ),
        "blocks masked, lanes not": kernel_slip(
            "where CAUSAL, your program stops at the last key that one of its queries may see, and that is right; but "
            "each of its rows sees all keys up to there. Mask at <= rows as well",
            ("| (not causal)", "| True"),
        ),
        "a row of minus infinity": kernel_slip(
            "the first row is NaN: with at < rows, query 0 sees no key, its scores are all minus infinity, its sum is "
            "0, and 0/0 is NaN. A query sees itself: at <= rows",
            ("at <= rows", "at < rows"),
        ),
        "masked by multiplying": kernel_slip(
            "everything is NaN, where scores are masked by a product with minus infinity: 0 * -inf is no number. "
            "Choose with tl.where(seen, S, float('-inf'))",
            ("np.where(seen, S, -np.inf)", "S + ~seen * -np.inf"),
        ),
        "masked with 0": kernel_slip(
            "hidden scores are set to 0, whose exponential counts: set them to minus infinity",
            ("np.where(seen, S, -np.inf)", "np.where(seen, S, 0.0)"),
        ),
        "accumulator not rescaled": kernel_slip(
            "the sum of values so far is still relative to the old maximum: multiply it by exp(top - new_top), as the "
            "total",
            ("Z * rescale + P @", "Z + P @"),
        ),
        "total not rescaled": kernel_slip(
            "the total so far is still relative to the old maximum: multiply it by exp(top - new_top), as the sum of "
            "values",
            ("total * rescale + P", "total + P"),
        ),
        "nothing rescaled": kernel_slip(
            "when a later block raises the maximum, neither the total nor the sum of values is rescaled: multiply both "
            "by exp(top - new_top)",
            ("Z * rescale + P @", "Z + P @"),
            ("total * rescale + P", "total + P"),
        ),
        "no maximum": kernel_slip(
            "exponentials overflow: subtract the running maximum before exp",
            ("np.maximum(top, S.max(axis=3, keepdims=True))", "0 * top"),
        ),
        "not divided": kernel_slip(
            "what is stored is not divided by the total: the weights must sum to 1", ("append(Z / total)", "append(Z)")
        ),
        "first block only": kernel_slip(
            "only the first BLOCK_T keys count: walk over all keys in steps of BLOCK_T",
            ("range(0, end, block)", "range(0, 1)"),
        ),
        "last block only": kernel_slip(
            "only the last block of keys is left: add each block to what there is",
            ("Z * rescale + P @", "P @"),
            ("total * rescale + P", "P"),
        ),
    },
    edges={
        "all of size one": kernel_draw(1, 1, 1, 1, False),
        "one query and many keys": kernel_draw(1, 70, 3, 5, False),
        "scores of thousands": huge_scores_of_heads,
    },
    moves=bytes_of_walk,
)

QUESTIONS = (
    ADDITIVE,
    ADDITIVE_BACKWARD,
    ATTENTION,
    ATTENTION_BACKWARD,
    WEIGHTS,
    SPLIT,
    MERGE,
    HEADS,
    SYMMETRY,
    ONLINE,
    WHICH,
    KERNEL,
)
