"""The questions about the Elman network and its relatives, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over blocks below, which computes
what the kernel computes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.cases import alternating, draw
from autograder.question import Draw, Function, Mistake, Question, backward_slip, from_signature, slip, with_inputs
from autograder.questions.lstm import EXP_TANH, WHERE, calling
from solutions.rnn import (
    explain_lag_curves,
    gradient_norm_by_lag,
    many_to_many_backward,
    many_to_many_forward,
    rnn_backward,
    rnn_forward,
    rnn_step_backward,
    rnn_step_forward,
    sample_characters,
    tree_backward,
    tree_forward,
    truncated_bptt,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)  # whose autograd, modules and functions would do a question's work


def sized(function: Function, **sizes: int) -> Draw:
    return from_signature(function, sizes=sizes)


# --- the step ---------------------------------------------------------------------------------------------------

SQUARE = "as many inputs as units: "  # there weights that trade places, or are turned over, still give an answer
PRE_ACTIVATION = "x @ W_x + h @ W_h + b"


def saturated(step: Function) -> Draw:
    """States at -1 and 1, by way of the bias."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(step, rng, sizes={"batch": 5, "d_in": 3, "d_h": 7})
        return {**inputs, "b": alternating(inputs["b"], 1e3)}

    return make


def edges_of(step: Function) -> dict[str, Draw]:
    """The edge inputs of the step: one example, the first step of a sequence, other numbers of inputs, saturation."""
    return {
        "a batch of one": sized(step, batch=1, d_in=3, d_h=3),
        "a state of zeros": with_inputs(sized(step, batch=5, d_in=6, d_h=6), h=0.0),
        "fewer inputs than units": sized(step, batch=5, d_in=3, d_h=7),
        "more inputs than units": sized(step, batch=5, d_in=7, d_h=3),
        "saturated units": saturated(step),
    }


def step_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, rnn_step_forward, *edits)


def where_square(wrong: str) -> tuple[str, str]:
    """A product that NumPy takes only where W_x is square; elsewhere its author sees an error."""
    return PRE_ACTIVATION, f"({wrong} if W_x.shape == W_h.shape else {PRE_ACTIVATION})"


STEP = Question(
    name="rnn_step_forward",
    reference=(rnn_step_forward,),
    outputs=("h",),
    draws={
        SQUARE + "6": sized(rnn_step_forward, batch=3, d_in=6, d_h=6),
        SQUARE + "5": sized(rnn_step_forward, batch=7, d_in=5, d_h=5),
        SQUARE + "3": sized(rnn_step_forward, batch=5, d_in=3, d_h=3),
    },
    mistakes={
        "weights swapped": step_slip(
            "W_x and W_h have traded places: the index says what a matrix reads, so x meets W_x and h meets W_h. (One "
            "formula sheet writes U x + W s, another W x + U h)",
            where_square("x @ W_h + h @ W_x + b"),
        ),
        "weights transposed": step_slip(
            "both weight matrices are transposed: here examples are rows and weights multiply from the right, "
            "x @ W_x + h @ W_h",
            where_square("x @ W_x.T + h @ W_h.T + b"),
        ),
        "W_h transposed": step_slip(
            "W_h is transposed: it is square, so nothing complains, but h multiplies it from the left, h @ W_h",
            ("h @ W_h", "h @ W_h.T"),
        ),
        "no tanh": step_slip("the pre-activation is returned: h_t is its tanh", ("np.tanh(", "(")),
        "sigmoid": step_slip(
            "the state goes through tanh, not through the sigmoid: it must be able to be negative",
            ("np.tanh(x @ W_x + h @ W_h + b)", "1 / (1 + np.exp(-(x @ W_x + h @ W_h + b)))"),
        ),
        "no bias": step_slip("the bias b is not added", (PRE_ACTIVATION, "x @ W_x + h @ W_h")),
        "two biases": step_slip(
            "the bias is added twice, once for each product; here there is one b (torch has two, and adds them)",
            (PRE_ACTIVATION, "x @ W_x + h @ W_h + 2 * b"),
        ),
        "no state": step_slip(
            "the old state h has no effect on your answer: add h @ W_h, or nothing is remembered",
            (PRE_ACTIVATION, "x @ W_x + b"),
        ),
    },
    edges=edges_of(rnn_step_forward),
    forbid=TORCH,
)


def step_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, rnn_step_forward, rnn_step_backward, *edits)


STEP_BACKWARD = Question(
    name="rnn_step_backward",
    reference=(rnn_step_forward, rnn_step_backward),
    outputs=("dx", "dh", "dW_x", "dW_h", "db"),
    mistakes={
        "slope at the old state": step_backward_slip(
            "the slope 1 - h**2 is taken at the wrong step: tanh made h_t, so it is 1 - h_t**2; yours has h of t-1",
            ("(1 - h_t**2)", "(1 - h**2)"),
        ),
        "tanh twice": step_backward_slip(
            "h_t is the tanh already, so the slope is 1 - h_t**2; yours takes the tanh of it once more",
            ("(1 - h_t**2)", "(1 - np.tanh(h_t) ** 2)"),
        ),
        "no slope": step_backward_slip(
            "the gradient does not pass the tanh: multiply dh by 1 - h_t**2 before anything else",
            ("dh * (1 - h_t**2)", "dh"),
        ),
        "slope of the sigmoid": step_backward_slip(
            "h_t comes from tanh, whose slope is 1 - h_t**2; yours is h_t * (1 - h_t), that of the sigmoid",
            ("(1 - h_t**2)", "h_t * (1 - h_t)"),
        ),
        "W_h not transposed": step_backward_slip(
            "dh of step t-1 is da @ W_h.T; yours is da @ W_h, which has the right shape only because W_h is square",
            ("da @ W_h.T", "da @ W_h"),
        ),
        "dW_h transposed": step_backward_slip(
            "dW_h is h.T @ da; yours is its transpose, da.T @ h, which has the right shape only because W_h is square",
            ("h.T @ da", "da.T @ h"),
        ),
        "dW_h from the new state": step_backward_slip(
            "W_h multiplied the old state, so dW_h is h.T @ da with h of t-1; yours has h_t",
            ("h.T @ da", "h_t.T @ da"),
        ),
        "mean over the batch": step_backward_slip(
            "dW_x, dW_h and db are sums over the batch, yours are means: whether to divide by the size of the batch "
            "is for the loss to say, and dh has it in it already",
            ("x.T @ da, h.T @ da, da.sum(axis=0)", "x.T @ da / len(da), h.T @ da / len(da), da.mean(axis=0)"),
        ),
        "mean in db": step_backward_slip(
            "db is a mean over the batch: b was added to every row, so db is the sum of da over the rows, as the "
            "products sum for dW_x and dW_h",
            ("da.sum(axis=0)", "da.mean(axis=0)"),
        ),
    },
    edges={
        "a batch of one": sized(rnn_step_forward, batch=1, d_in=3, d_h=5),
        "a state of zeros": with_inputs(sized(rnn_step_forward, batch=5, d_in=3, d_h=7), h=0.0),
        "saturated units": saturated(rnn_step_forward),
    },
    forbid=TORCH,
)

# --- the sequence -----------------------------------------------------------------------------------------------


def sequence_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, rnn_forward, *edits)


STATE = "h, cache = rnn_step_forward(x[:, t], h, W_x, W_h, b)"

SEQUENCE = Question(
    name="rnn_forward",
    reference=(rnn_forward,),
    outputs=("h",),
    draws={
        "5 steps": sized(rnn_forward, batch=3, time=5, d_in=6, d_h=7),
        "6 steps": sized(rnn_forward, batch=5, time=6, d_in=7, d_h=3),
        "3 steps": sized(rnn_forward, batch=7, time=3, d_in=5, d_h=6),
    },
    mistakes={
        "one array for all steps": sequence_slip(
            "every step shows the last state: you put the same array into the list each time and overwrite it in "
            "place. Make a new array at each step (and leave h_0 as it was)",
            ("    return hidden, (x.shape", "    hidden[:] = h[:, None]\n    return hidden, (x.shape"),
        ),
        "pre-activations": sequence_slip(
            "what you store are the pre-activations: h_t is their tanh",
            ("hidden[:, t] = h\n", "hidden[:, t] = x[:, t] @ W_x + cache[1] @ W_h + b\n"),
        ),
        "state not carried": sequence_slip(
            "each step starts from h_0: hand it the state that the step before it made",
            (STATE, STATE.replace("h, W_x", "h_0, W_x")),
        ),
        "starts from zeros": sequence_slip(
            "the sequence starts from a state of zeros: start from h_0",
            ("[], h_0", "[], np.zeros_like(h_0)"),
        ),
        "one step late": sequence_slip(
            "your states are one step late: the first is h_0 and the last one is missing. Entry t is the state after "
            "input t",
            ("hidden[:, t] = h\n", "hidden[:, t] = cache[1]\n"),
        ),
        "backward in time": sequence_slip(
            "the sequence is read from its end: begin with x[:, 0]",
            ("in range(x.shape[1])", "in reversed(range(x.shape[1]))"),
        ),
    },
    edges={
        "a sequence of one step": sized(rnn_forward, batch=5, time=1, d_in=3, d_h=7),
        "a batch of one": sized(rnn_forward, batch=1, time=5, d_in=3, d_h=7),
        "a state of zeros": with_inputs(sized(rnn_forward, batch=6, time=5, d_in=3, d_h=7), h_0=0.0),
    },
    forbid=TORCH,
)


def bptt_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, rnn_forward, rnn_backward, *edits)


def mistakes_of_the_step() -> dict[str, Mistake]:
    """A sequence whose steps, which the student wrote for an earlier question, make a known mistake."""
    return {
        f"step: {name}": Mistake(
            f"the walk through time may be right, but rnn_step_backward is not, so mend that one first: "
            f"{mistake.message}",
            (rnn_forward, calling(rnn_backward, rnn_step_backward=mistake.functions[1])),
        )
        for name, mistake in STEP_BACKWARD.mistakes.items()
    }


SUMS = "dW_x, dW_h, db = dW_x + step[0], dW_h + step[1], db + step[2]"

BPTT = Question(
    name="rnn_backward",
    reference=(rnn_forward, rnn_backward),
    outputs=("dx", "dh_0", "dW_x", "dW_h", "db"),
    mistakes={
        "nothing carried": bptt_slip(
            "the gradient at h_t has two sources, the loss and step t + 1; yours takes dh[:, t] alone. Add the dh "
            "that the step after it handed back",
            ("dh[:, t] + carried", "dh[:, t]"),
        ),
        "dh of the loss lost": bptt_slip(
            "only the last step gets what the loss sends; every h_t may be used by the loss, so add dh[:, t] to what "
            "the step after it handed back",
            ("dh[:, t] + carried", "(t == x_shape[1] - 1) * dh[:, t] + carried"),
        ),
        "weights overwritten": bptt_slip(
            "dW_x, dW_h and db are overwritten at every step, so only the first step of the sequence is left in "
            "them: the same weights served at all steps, so add the steps up",
            (SUMS, "dW_x, dW_h, db = step"),
        ),
        "bias overwritten": bptt_slip(
            "db is summed over the batch but not over time: add up db of all steps, as you do with dW_x and dW_h",
            ("db + step[2]", "step[2]"),
        ),
        "mean over time": bptt_slip(
            "the gradients of the weights are sums over time, yours are means: the weights served at every step, and "
            "each use counts in full",
            (
                "return dx, carried, dW_x, dW_h, db",
                "return dx, carried, *(total / x_shape[1] for total in (dW_x, dW_h, db))",
            ),
        ),
        "forward in time": bptt_slip(
            "the walk goes from the first step to the last; gradients go the other way: begin with the last step",
            ("reversed(range(x_shape[1]))", "range(x_shape[1])"),
        ),
        "dx in the order of the walk": bptt_slip(
            "dx is turned around in time: the walk begins with the last step, so what you collect along it begins with "
            "the last step too; entry t belongs to input t",
            ("return dx, carried", "return dx[:, ::-1], carried"),
        ),
        **mistakes_of_the_step(),
    },
    edges={
        "a sequence of one step": sized(rnn_forward, batch=5, time=1, d_in=3, d_h=7),
        "a batch of one": sized(rnn_forward, batch=1, time=5, d_in=3, d_h=7),
        "a state of zeros": with_inputs(sized(rnn_forward, batch=6, time=5, d_in=3, d_h=7), h_0=0.0),
    },
    forbid=TORCH,
)

# --- what is read out -------------------------------------------------------------------------------------------


def read_out(batch: int, time: int) -> Draw:
    return sized(many_to_many_forward, batch=batch, time=time, d_in=3, d_h=7, d_out=6)


def read_out_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, many_to_many_forward, many_to_many_backward, *edits)


def mistakes_of_the_walk() -> dict[str, Mistake]:
    """What is read out is right, but the walk through time, of an earlier question, makes a known mistake."""
    return {
        f"walk: {name}": Mistake(
            f"W_y and b_y may be right, but rnn_backward is not, so mend that one first: {mistake.message}",
            (many_to_many_forward, calling(many_to_many_backward, rnn_backward=mistake.functions[1])),
        )
        for name, mistake in BPTT.mistakes.items()
        if name != "dh of the loss lost"  # gives what "many to one" gives
    }


PRODUCT = "np.tensordot(h, dlogits, axes=([0, 1], [0, 1]))"
SENT = "rnn_backward(dlogits @ W_y.T, cache)"

READ_OUT = Question(
    name="many_to_many_backward",
    reference=(many_to_many_forward, many_to_many_backward),
    outputs=("dx", "dh_0", "dW_x", "dW_h", "db", "dW_y", "db_y"),
    draws={"5 steps": read_out(3, 5), "4 steps": read_out(5, 4), "3 steps": read_out(4, 3)},
    mistakes={
        "last step only": read_out_slip(
            "dW_y and db_y are those of the last step: W_y and b_y read out every state, so sum over time as well",
            (PRODUCT, "h[:, -1].T @ dlogits[:, -1]"),
            ("dlogits.sum(axis=(0, 1))", "dlogits[:, -1].sum(axis=0)"),
        ),
        "dW_y of the last step": read_out_slip(
            "dW_y is that of the last step, while db_y is right: W_y read out every state, so add up "
            "h[:, t].T @ dlogits[:, t] over time as well",
            (PRODUCT, "h[:, -1].T @ dlogits[:, -1]"),
        ),
        "many to one": read_out_slip(
            "only the last state gets a gradient from the loss, as in a many-to-one network; here every step is read "
            "out, so every h_t gets its dlogits @ W_y.T. (If you send them all, rnn_backward loses them: check it)",
            (SENT, "rnn_backward(dlogits @ W_y.T * (np.arange(h.shape[1]) == h.shape[1] - 1)[:, None], cache)"),
        ),
        "states one step early": read_out_slip(
            "dW_y is one step off: the logits of step t are read out of h_t, and yours pairs their gradient with the "
            "state before it",
            (PRODUCT, "np.tensordot(h[:, :-1], dlogits[:, 1:], axes=([0, 1], [0, 1]))"),
        ),
        "mean over time": read_out_slip(
            "dW_y and db_y are sums over time, yours are means: whether to divide by the number of steps is for the "
            "loss to say, and dlogits has it in it already",
            (PRODUCT, f"{PRODUCT} / h.shape[1]"),
            ("dlogits.sum(axis=(0, 1))", "dlogits.sum(axis=0).mean(axis=0)"),
        ),
        "slope twice": read_out_slip(
            "logits are a plain linear function of h_t: no slope stands between dlogits @ W_y.T and h_t. The slope "
            "1 - h_t**2 comes after, inside of the step's way back",
            (SENT, "rnn_backward(dlogits @ W_y.T * (1 - h**2), cache)"),
        ),
        **mistakes_of_the_walk(),
    },
    edges={"a sequence of one step": read_out(5, 1), "a batch of one": read_out(1, 5)},
    forbid=TORCH,
)

# --- truncated --------------------------------------------------------------------------------------------------


def chunks(time: int, k: int, batch: int = 3) -> Draw:
    return with_inputs(sized(truncated_bptt, batch=batch, time=time, d_in=11, d_h=10), k=k)


def truncated_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, truncated_bptt, *edits)


LAST = "state = h[:, chunk][:, -1]"
CHUNKS = "range(0, x.shape[1], k)"
RETURN = "return h, dx, dstates[0], sum(dW_x), sum(dW_h), sum(db)"

TRUNCATED = Question(
    name="truncated_bptt",
    reference=(truncated_bptt,),
    outputs=("h", "dx", "dh_0", "dW_x", "dW_h", "db"),
    draws={
        "7 steps in chunks of 3": chunks(7, 3),
        "6 steps in chunks of 2": chunks(6, 2, batch=5),
        "9 steps in chunks of 5": chunks(9, 5),
    },
    mistakes={
        "state cut as well": truncated_slip(
            "the state is cut together with the gradient: each chunk starts from zeros. Truncation is about the way "
            "back only; the next chunk starts from the last state of the one before",
            (LAST, "state = np.zeros_like(h_0)"),
        ),
        "every chunk from h_0": truncated_slip(
            "every chunk starts from h_0; only the first one does, the others go on from the last state of the chunk "
            "before",
            (LAST, "state = h_0"),
        ),
        "nothing cut": truncated_slip(
            "this is the full gradient: it crosses the ends of the chunks. What a chunk hands back at its first state "
            "is dropped, except that of the first chunk",
            (CHUNKS, "(0,)"),
            ("slice(start, start + k)", "slice(None)"),
        ),
        "last chunk only": truncated_slip(
            "dW_x, dW_h and db are those of the last chunk: add up those of all chunks",
            ("sum(dW_x), sum(dW_h), sum(db)", "dW_x[-1], dW_h[-1], db[-1]"),
        ),
        "dh_0 of the last chunk": truncated_slip(
            "dh_0 is what the first chunk hands back, which starts from h_0; yours comes from the last chunk",
            ("dstates[0]", "dstates[-1]"),
        ),
        "dh_0 of all chunks": truncated_slip(
            "dh_0 adds up what all chunks hand back at their first states; only the first chunk starts from h_0",
            ("dstates[0]", "sum(dstates)"),
        ),
        "chunks one step too long": truncated_slip(
            "your chunks have k + 1 steps: the gradient is cut after every k",
            (CHUNKS, "range(0, x.shape[1], k + 1)"),
            ("start + k)", "start + k + 1)"),
        ),
    },
    edges={
        "a chunk longer than the sequence": chunks(5, 8),
        "a chunk as long as the sequence": chunks(5, 5),
        "chunks of one step": chunks(5, 1, batch=1),
    },
    forbid=TORCH,
)

# --- gradient against lag ---------------------------------------------------------------------------------------


def lag_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, gradient_norm_by_lag, *edits)


NORM = "norms.append(np.linalg.norm(dh))"
JACOBIAN = "dh = (dh * (1 - h[:, t] ** 2)) @ W_h.T"

LAGS = Question(
    name="gradient_norm_by_lag",
    reference=(gradient_norm_by_lag,),
    outputs=("norms",),
    draws={
        "6 steps": sized(gradient_norm_by_lag, batch=3, time=6, d_in=5, d_h=7),
        "5 steps": sized(gradient_norm_by_lag, batch=6, time=5, d_in=7, d_h=3),
        "7 steps": sized(gradient_norm_by_lag, batch=5, time=7, d_in=3, d_h=6),
    },
    mistakes={
        "gradient of the weights": lag_slip(
            "these are norms of what each step adds to dW_h; asked for is the gradient at the state h_{T-k} itself",
            (
                NORM,
                "norms.append(np.linalg.norm((h[:, t - 1] if t else h_0).T @ (dh * (1 - h[:, t] ** 2))))",
            ),
        ),
        "ordered by time": lag_slip(
            "your norms are in the order of time, so the last step comes last; entry k is for lag k, and lag 0 is the "
            "last step",
            ("np.array(norms)", "np.array(norms[::-1])"),
        ),
        "slope of the wrong step": lag_slip(
            "from h_t to h_{t-1} the gradient passes the tanh that made h_t, so the slope is 1 - h_t**2; yours is "
            "that of h_{t-1}",
            (JACOBIAN, JACOBIAN.replace("h[:, t]", "h[:, max(t - 1, 0)]")),
        ),
        "no slope": lag_slip(
            "the slope of tanh is missing: each step back multiplies by 1 - h_t**2, then by W_h.T",
            (JACOBIAN, "dh = dh @ W_h.T"),
        ),
        "W_h not transposed": lag_slip(
            "on the way back the gradient is multiplied by W_h.T; yours by W_h, which has the same shape",
            ("@ W_h.T", "@ W_h"),
        ),
        "squared": lag_slip(
            "these are squares: the norm is the square root of the sum of squares",
            (NORM, "norms.append((dh**2).sum())"),
        ),
        "one lag too far": lag_slip(
            "your entry k is for lag k + 1: the norm at lag 0 is that of dh_T itself, before any step back",
            (NORM, "pass"),
            (JACOBIAN, f"{JACOBIAN}\n        {NORM}"),
        ),
        "relative to lag 0": lag_slip(
            "your norms are divided by that at lag 0; asked for are the norms themselves",
            ("np.array(norms)", "np.array(norms) / norms[0]"),
        ),
    },
    edges={
        "one step": sized(gradient_norm_by_lag, batch=5, time=1, d_in=3, d_h=7),
        "a gradient of zeros": with_inputs(sized(gradient_norm_by_lag, batch=3, time=5, d_in=6, d_h=7), dh_T=0.0),
    },
    forbid=TORCH,
)

# --- characters -------------------------------------------------------------------------------------------------


def writers(temperature: float, batch: int = 5, time: int = 23) -> Draw:
    """A model that prefers every other character, and the uniform numbers that it draws with."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        sizes = {"batch": batch, "time": time, "vocabulary": 9, "d_h": 6}
        inputs = draw(sample_characters, rng, sizes=sizes)
        uniform = rng.random((batch, time))
        b_y = alternating(inputs["b_y"], 1.5)
        return {**inputs, "b_y": b_y, "uniform": uniform, "temperature": temperature}

    return make


def sample_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, sample_characters, *edits)


SCORES = "(h @ W_y + b_y) / temperature"

SAMPLE = Question(
    name="sample_characters",
    reference=(sample_characters,),
    outputs=("characters",),
    draws={f"temperature {value:g}": writers(value) for value in (0.5, 1.5, 2.5)},
    mistakes={
        "times the temperature": sample_slip(
            "the logits are multiplied by the temperature, so a low one makes the text wilder: divide by it",
            (SCORES, "(h @ W_y + b_y) * temperature"),
        ),
        "no temperature": sample_slip(
            "the temperature has no effect on what you draw: divide the logits by it before the softmax",
            (SCORES, "h @ W_y + b_y"),
        ),
        "probabilities over the temperature": sample_slip(
            "the temperature divides the probabilities; it belongs to the logits, before the softmax. (Dividing "
            "probabilities makes them sum to something other than 1)",
            (f"softmax_forward({SCORES})", "softmax_forward(h @ W_y + b_y)"),
            ("below = np.cumsum(p, axis=1)", "below = np.cumsum(p / temperature, axis=1)"),
        ),
        "bias not divided": sample_slip(
            "the logits are h @ W_y + b_y, and all of them are divided by the temperature; yours leaves the bias as it "
            "is",
            (SCORES, "h @ W_y / temperature + b_y"),
        ),
        "always the likeliest": sample_slip(
            "you always take the likeliest character: draw one, by comparing uniform[:, t] with the summed "
            "probabilities",
            ("character = np.minimum(below.sum(axis=1), p.shape[1] - 1)", "character = p.argmax(axis=1)"),
        ),
        "never read back": sample_slip(
            "the character that was drawn is never read: it is the input of the next step, yours stays `first`",
            ("one_hot[character]", "one_hot[first]"),
        ),
        "state forgotten": sample_slip(
            "every step starts from h_0: the state goes on from step to step",
            ("one_hot[character], h, W_x", "one_hot[character], h_0, W_x"),
        ),
        "one number for all steps": sample_slip(
            "the same uniform number decides every step: use column t in step t",
            ("uniform[:, t : t + 1]", "uniform[:, :1]"),
        ),
        "one character too early": sample_slip(
            "your characters are one too low: the number of sums that are not above uniform[:, t] is the index itself",
            (
                "character = np.minimum(below.sum(axis=1), p.shape[1] - 1)",
                "character = np.maximum(below.sum(axis=1) - 1, 0)",
            ),
        ),
        "what is read, not what is drawn": sample_slip(
            "your characters are one step late: the first column is `first` and the last draw is missing. Column t is "
            "what step t draws, not what it reads",
            ("return written", "return np.column_stack([first, written[:, :-1]])"),
        ),
    },
    edges={
        "a single text": writers(2.0, batch=1, time=61),
        "a temperature near zero": writers(1e-6),
        "a high temperature": writers(50.0),
    },
    tells={
        "a temperature near zero": ("bias not divided", "state forgotten", "never read back"),
        "a high temperature": ("never read back", "state forgotten"),
    },
    forbid=TORCH,
)

# --- trees ------------------------------------------------------------------------------------------------------


def tree(leaves: int, d_h: int, children: list[tuple[int, int]]) -> Draw:
    """A tree of a given form, with random vectors and weights."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(tree_forward, rng, sizes={"leaves": leaves, "inner": len(children), "d_h": d_h})
        return {**inputs, "children": np.array(children, dtype=int).reshape(-1, 2)}

    return make


def tree_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, tree_forward, tree_backward, *edits)


OF_NODE = "dh[leaves + j] * (1 - h[leaves + j] ** 2)"

TREE = Question(
    name="tree_backward",
    reference=(tree_forward, tree_backward),
    outputs=("dleaves", "dW", "db"),
    draws={
        "((0 1) (2 3)) 4": tree(5, 3, [(0, 1), (2, 3), (5, 6), (7, 4)]),
        "0 ((1 2) 3)": tree(4, 5, [(1, 2), (4, 3), (0, 5)]),
        "(0 1) ((2 3) (4 5))": tree(6, 7, [(4, 5), (2, 3), (0, 1), (7, 6), (8, 9)]),
    },
    mistakes={
        "from the leaves up": tree_slip(
            "you begin with the first inner node; its parent has not sent its gradient yet. Begin with the last node, "
            "the root",
            ("reversed(range(len(children)))", "range(len(children))"),
        ),
        "overwritten at the child": tree_slip(
            "what the loss sends to a child is lost: the gradient that its parent sends is to be added to it, yours "
            "overwrites it",
            ("dh[left] += dleft", "dh[left] = dleft"),
            ("dh[right] += dright", "dh[right] = dright"),
        ),
        "loss at the inner nodes lost": tree_slip(
            "of the inner nodes only the root gets what the loss sends; every node may be used by the loss, so add it "
            "to what the parent sends",
            ("    for j in", "    dh[leaves:-1] = 0\n    for j in"),
        ),
        "weights of the root only": tree_slip(
            "dW and db come from one node only: the same weights served at every inner node, so add them up",
            ("dW += ", "dW = "),
            ("db += da", "db = da"),
        ),
        "left and right exchanged": tree_slip(
            "the gradients of the two children have traded places: the first d_h rows of W read the left child",
            ("dleft, dright = np", "dright, dleft = np"),
        ),
        "children exchanged in dW": tree_slip(
            "in dW the children stand the other way round: the first d_h rows of W read the left child",
            ("np.concatenate([h[left], h[right]])", "np.concatenate([h[right], h[left]])"),
        ),
        "children exchanged throughout": tree_slip(
            "left and right have traded places, on the way to W and on the way back from it: children[j] is left, then "
            "right, and the first d_h rows of W read the left child",
            ("left, right = children[j]", "right, left = children[j]"),
        ),
        "added once": tree_slip(
            "where both children are the same node, only one of the two gradients arrives: dh[children[j]] += ... adds "
            "once for an index that occurs twice. Add to one child, then to the other, or use np.add.at",
            ("dh[left] += dleft", "dh[left] += dleft * (left != right)"),
        ),
        "no slope": tree_slip(
            "the gradient does not pass the tanh of its node: multiply by 1 - h**2 of the node",
            (OF_NODE, "dh[leaves + j]"),
        ),
        "slope of the child": tree_slip(
            "the slope is that of the node itself, 1 - h**2 of the parent; yours is taken at its left child",
            (OF_NODE, "dh[leaves + j] * (1 - h[left] ** 2)"),
        ),
    },
    edges={
        "a single node": tree(3, 5, [(2, 0)]),
        "a child that is used twice": tree(3, 5, [(0, 1), (3, 3), (4, 2)]),
        "leaves only": tree(3, 5, []),
    },
    forbid=TORCH,
)

# --- what lag curves tell ---------------------------------------------------------------------------------------

FATES = ("survives a peak", "survives a dip", "vanishes", "explodes", "is cut")
SWINGS = {"survives a peak": 6, "survives a dip": -6}  # in powers of ten, halfway
LONGEST = 41


def lag_curve(fate: str, rng: np.random.Generator) -> Array:
    """The norms of a gradient that fares so, clear of every border, at any scale."""
    lags, scale = np.arange(LONGEST), 10 ** rng.uniform(-4, 4)
    wobble = np.exp(0.2 * rng.standard_normal(LONGEST))
    ends = {"vanishes": (-9, -5), "explodes": (5, 9), "is cut": (-1, 5)}
    way = lags / (LONGEST - 1)
    powers = rng.uniform(*ends.get(fate, (-1.5, 1.5))) * way + SWINGS.get(fate, 0) * np.sin(np.pi * way)
    norms: Array = scale * wobble * 10**powers
    if fate == "is cut":
        norms[rng.integers(5, LONGEST - 5) :] = 0
    return norms


def curves(*fates: str) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"norms": np.array([lag_curve(fate, rng) for fate in rng.permutation(fates)])}

    return make


def extremes(rng: np.random.Generator) -> Mapping[str, object]:
    """A gradient that overflows, one that underflows after a long way down, one that is cut at once."""
    lags = np.arange(LONGEST)
    overflows = np.where(lags < 20, 2.0**lags, np.inf)
    underflows = np.where(lags < 30, 1e-20 ** (lags / 30), 0.0)
    return {"norms": rng.permutation(np.array([overflows, underflows, 1.0 * (lags == 0)]))}


def curve_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, explain_lag_curves, *edits)


SELECT = "[cut, last < 1e-3, ~(last <= 1e3)], [3, 1, 2], 0"

EXPLAIN = Question(
    name="explain_lag_curves",
    reference=(explain_lag_curves,),
    outputs=("causes",),
    draws={
        "7 runs": curves(*FATES, "is cut", "vanishes"),
        "6 runs": curves(*FATES, "is cut"),
        "5 runs": curves(*FATES),
    },
    mistakes={
        "a cut taken for vanishing": curve_slip(
            "you never answer 3. A gradient that vanishes shrinks step by step and is small long before it is 0; one "
            "that drops from an ordinary size to exactly 0 was cut, as truncation does it",
            ("[cut, last", "[cut & False, last"),
        ),
        "every zero taken for a cut": curve_slip(
            "a gradient that shrank to nothing ends at exactly 0 too, once it is too small for a floating-point "
            "number. It was cut only if it was not small just before",
            (" & (before >= 1e-3)", ""),
        ),
        "not relative": curve_slip(
            "you judge the norms as they are; judge them relative to lag 0, since the size of the gradient at the last "
            "state says nothing about its way back",
            ("norms / norms[:, :1]", "norms"),
        ),
        "infinity taken for survival": curve_slip(
            "a norm of infinity is no survival: the gradient has exploded",
            ("~(last <= 1e3)", "(last > 1e3) & (last < np.inf)"),
        ),
        "a peak taken for an explosion": curve_slip(
            "a gradient that rises above 1000 and comes back has not exploded: judge the last lag, not the largest "
            "norm",
            ("~(last <= 1e3)", "~(ratio <= 1e3).all(axis=1)"),
        ),
        "a dip taken for vanishing": curve_slip(
            "a gradient that falls below 1/1000 and comes back has not vanished: judge the last lag, not the smallest "
            "norm",
            ("last < 1e-3", "(ratio < 1e-3).any(axis=1)"),
        ),
        "vanishing and exploding exchanged": curve_slip(
            "1 and 2 have traded places: 1 means vanishing, 2 exploding", ("[3, 1, 2]", "[3, 2, 1]")
        ),
        "causes from 1": curve_slip(
            "the causes are numbered from 0; yours are one too high", (SELECT, f"{SELECT}) + (1")
        ),
    },
    edges={"overflow, underflow and a cut at once": extremes, "a single run": curves("is cut")},
    tells={"7 runs": ("not relative",), "a single run": ("not relative",)},
)

# --- the kernel -------------------------------------------------------------------------------------------------


def walk_over_blocks(x: Array, h: Array, W_x: Array, W_h: Array, b: Array) -> Array:
    """What the kernel computes: products that are summed in blocks of the inner axis, which are filled up."""
    a = np.zeros((len(x), len(b)))
    for left, W in ((x, W_x), (h, W_h)):
        inner, filled = len(W), -(-len(W) // 32) * 32
        left_tiles, W_tiles = np.zeros((len(x), filled)), np.zeros((filled, len(b)))
        left_tiles[:, :inner], W_tiles[:inner] = left, W
        for start in range(0, filled, 32):
            k = slice(start, start + 32)
            a = a + left_tiles[:, k] @ W_tiles[k]
    return np.tanh(a + b)


def draw_of_step(batch: int, d_in: int, d_h: int) -> Draw:
    return sized(rnn_step_forward, batch=batch, d_in=d_in, d_h=d_h)


def pre_activations_at(size: float) -> Draw:
    """Pre-activations far from zero on both sides, by way of the bias."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(rnn_step_forward, rng, scale=0.1, sizes={"batch": 5, "d_in": 3, "d_h": 7})
        return {**inputs, "b": alternating(inputs["b"], size)}

    return make


def bytes_of_step(inputs: Mapping[str, Any]) -> int:
    """What a tiled step loads and stores: weights once for each block of rows, x and h once for each of columns."""
    batch, d_in, d_h = map(int, (*inputs["x"].shape, inputs["h"].shape[1]))
    of_rows, of_columns = -(-batch // 64), -(-d_h // 32)  # the blocks of the given rnn_step
    weights = of_rows * d_h * (d_in + d_h + 1)
    return 4 * (weights + of_columns * batch * (d_in + d_h) + batch * d_h)


def kernel_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_blocks, *edits)


TILES = "np.zeros((len(x), filled)), np.zeros((filled, len(b)))"
ADDED = "a = a + left_tiles[:, k] @ W_tiles[k]"
OVERFLOWS = {
    f"tanh as {form}": kernel_slip(
        f"tanh overflows: your answer is NaN as {form} would be for x {where} is more than float32 can hold, and "
        "infinity / infinity is NaN. Use the given _tanh, which takes the exponential of nothing above zero",
        ("np.tanh(a + b)", EXP_TANH[form].format(x="np.float32(a + b)")),
    )
    for form, where in zip(EXP_TANH, WHERE, strict=True)
}
ROWS_APART = "rows of x and h that lie apart in memory"

KERNEL = Question(
    name="rnn_step_kernel",
    reference=(walk_over_blocks,),
    outputs=("h",),
    calls=("rnn_step",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "all sizes smaller than a block": draw_of_step(5, 3, 7),
        "more rows and inputs than a block": draw_of_step(67, 35, 9),
        "many units and few rows": draw_of_step(3, 7, 37),
    },
    mistakes={
        "inner axis unmasked": kernel_slip(
            "everything is NaN: the tiles of the weights have no mask along k, so where d_in or d_h is no multiple of "
            "BLOCK_K they reach past the last row of the matrix, and NaN * 0 is NaN. Mask k < d_in and k < d_h in both "
            "factors of each tl.dot",
            (TILES, TILES.replace("np.zeros((filled, len(b)))", "np.full((filled, len(b)), np.nan)")),
        ),
        "padding of ones": kernel_slip(
            "lanes past the end of the inner axis add to the sum: with other=1.0 in both factors each adds 1. Load "
            "with other=0.0, which adds nothing",
            (TILES, TILES.replace("zeros", "ones")),
        ),
        "bias in every block": kernel_slip(
            "the bias is added once for each block of k, inside of the loops: add it once, after both of them",
            (ADDED, f"{ADDED} + b"),
            ("np.tanh(a + b)", "np.tanh(a)"),
        ),
        "bias once more": kernel_slip(
            "the bias is added after the loops, and in every block of k as well: once is enough",
            (ADDED, f"{ADDED} + b"),
        ),
        "no bias": kernel_slip("the kernel never adds b, which b_ptr points to", ("np.tanh(a + b)", "np.tanh(a)")),
        "first block only": kernel_slip(
            "only the first BLOCK_K features of x and h count: loop over d_in, and then over d_h, in steps of BLOCK_K "
            "and add up the products",
            ("range(0, filled, 32)", "range(0, 1)"),
        ),
        "last block only": kernel_slip(
            "each product replaces the sum so far, so only the last block of h is left: pass the sum to tl.dot as its "
            "third argument, or add",
            (ADDED, ADDED.replace("a + ", "")),
        ),
        "no state": kernel_slip(
            "h and W_h have no effect: a second loop, over d_h, adds their product",
            ("((x, W_x), (h, W_h))", "((x, W_x),)"),
        ),
        "no tanh": kernel_slip("the kernel stores the pre-activations: h_t is their tanh", ("np.tanh(a + b)", "a + b")),
        "sigmoid": kernel_slip(
            "the state goes through _tanh, not through _sigmoid: it must be able to be negative",
            ("np.tanh(a + b)", "0.5 + 0.5 * np.tanh((a + b) / 2)"),
        ),
        **OVERFLOWS,
    },
    edges={
        "all of size one": draw_of_step(1, 1, 1),
        "pre-activations at ±50": pre_activations_at(50.0),
        "pre-activations at ±1000": pre_activations_at(1000.0),
        ROWS_APART: draw_of_step(5, 3, 7),
    },
    tells={
        "all of size one": (
            "padding of ones",
            "bias in every block",
            "bias once more",
            "no bias",
            "last block only",
            "no state",
            "no tanh",
        )
    },
    apart={ROWS_APART: ("x", "h")},
    moves=bytes_of_step,
)

QUESTIONS = (STEP, SEQUENCE, STEP_BACKWARD, BPTT, READ_OUT, TRUNCATED, LAGS, SAMPLE, TREE, EXPLAIN, KERNEL)
