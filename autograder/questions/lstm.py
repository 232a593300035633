"""The questions about the LSTM and the GRU, each with the mistakes that are known by name.

A mistake is written as the slip that makes it: an edit of the reference's source. Only the walk back through time
needs a second way, since its slips lie in functions that `lstm_backward` calls.
"""

import inspect
from collections.abc import Mapping
from itertools import combinations
from types import FunctionType
from typing import Any

import numpy as np

from autograder.cases import alternating, draw
from autograder.question import (
    Draw,
    Function,
    Mistake,
    Question,
    backward_slip,
    from_signature,
    slip,
    variant,
    with_inputs,
)
from solutions.lstm import (
    _unroll_backward,
    gru_step_forward,
    lstm_backward,
    lstm_forward,
    lstm_peephole_step_backward,
    lstm_peephole_step_forward,
    lstm_step_backward,
    lstm_step_forward,
)
from solutions.lstm_torch import load_torch_weights

GATES = {"i": "input gate", "f": "forget gate", "g": "candidate", "o": "output gate"}
FIXED = {"batch": 5, "d_in": 3, "d_h": 7}  # where gates saturate: there a mistake shows or not by the sizes
TORCH = ("torch",)  # whose autograd, modules and functions would do a question's work
SATURATED = 1e3  # a bias that drives a gate to 0 or 1 whatever else it sees


def calling(function: Function, **others: Function) -> Function:
    """The function with others in place of those that it calls by these names; their edits are its own."""
    bare = inspect.unwrap(function)
    assert isinstance(bare, FunctionType)
    made = FunctionType(bare.__code__, {**bare.__globals__, **others}, bare.__name__, bare.__defaults__)
    made.edits = tuple(edit for other in others.values() for edit in getattr(other, "edits", ()))  # type: ignore[attr-defined]
    return made


def saturated(function: Function, bias: str) -> Draw:
    """Gates at 0 and 1 by way of the bias, of sizes that never change: a mistake costs the same whatever the seed."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(function, rng, sizes=FIXED)
        return {**inputs, bias: alternating(inputs[bias], SATURATED)}

    return make


def edges_of(step: Function) -> dict[str, Draw]:
    """The edge inputs of a step of the LSTM: one example, the first step of a sequence, gates at 0 and 1."""
    drawn = from_signature(step)
    return {
        "a batch of one": from_signature(step, sizes={"batch": 1}),
        "a state of zeros": with_inputs(drawn, h=0.0, c=0.0),
        "saturated gates": saturated(step, "b"),
    }


# --- the step ---------------------------------------------------------------------------------------------------

UNPACKED = "a_i, a_f, a_g, a_o = np.split"


def swapped_gates(message: str) -> dict[str, Mistake]:
    """Each pair of gates that trade their blocks of columns; the message may name `one` and `two` and the `order`."""
    return {f"{one} and {two} swapped": swapped(message, one, two) for one, two in combinations(GATES, 2)}


def swapped(message: str, one: str, two: str) -> Mistake:
    order = [{one: two, two: one}.get(gate, gate) for gate in GATES]
    text = message.format(one=f"{GATES[one]} {one}", two=f"{GATES[two]} {two}", order=", ".join(order))
    return slip(text, lstm_step_forward, (UNPACKED, ", ".join(f"a_{gate}" for gate in order) + " = np.split"))


STEP = Question(
    name="lstm_step_forward",
    reference=(lstm_step_forward,),
    outputs=("h", "c"),
    mistakes={
        **swapped_gates(
            "the {one} and the {two} have traded places: the four blocks of columns in W_x, W_h and b belong to "
            "i, f, g, o in this order; yours reads them as {order}"
        ),
        "order of ONNX": slip(
            "the blocks of columns are read in the order i, o, f, g, which is that of ONNX; here and in torch it is "
            "i, f, g, o",
            lstm_step_forward,
            (UNPACKED, "a_i, a_o, a_f, a_g = np.split"),
        ),
        "sigmoid for g": slip(
            "the candidate g goes through tanh, not through the sigmoid: it is what is written to the cell and must "
            "be able to lower it, so it lies between -1 and 1; only i, f and o are gates between 0 and 1",
            lstm_step_forward,
            ("np.tanh(a_g)", "sigmoid(a_g)"),
        ),
        "no tanh of c": slip(
            "h = o * tanh(c): yours lacks the tanh around the cell state, which is unbounded",
            lstm_step_forward,
            ("o * tanh_c\n", "o * c_t\n"),
        ),
        "h from the old cell": slip(
            "h shows the new cell state, o * tanh(c_t); yours shows the old one, c_{t-1}, so it is one step late",
            lstm_step_forward,
            ("np.tanh(c_t)", "np.tanh(c)"),
        ),
        "no bias": slip(
            "the bias b is not added to the pre-activations",
            lstm_step_forward,
            ("x @ W_x + h @ W_h + b", "x @ W_x + h @ W_h"),
        ),
        "c before h": slip(
            "the two outputs come back in the wrong order: first h, then c",
            lstm_step_forward,
            ("return h_t, c_t", "return c_t, h_t"),
        ),
    },
    edges=edges_of(lstm_step_forward),
    forbid=TORCH,
)

STEP_BACKWARD = Question(
    name="lstm_step_backward",
    reference=(lstm_step_forward, lstm_step_backward),
    outputs=("dx", "dh", "dc", "dW_x", "dW_h", "db"),
    mistakes={
        "dc of the next step": backward_slip(
            "the gradient dc that arrives from the next step is forgotten: the cell c_t is used by h_t and by step "
            "t + 1, so add dc to what comes through h_t",
            lstm_step_forward,
            lstm_step_backward,
            ("dc + dh * o", "dh * o"),
        ),
        "dc without dh": backward_slip(
            "the cell c_t is used by h_t = o * tanh(c_t) as well: add what comes through h_t, dh * o * "
            "(1 - tanh(c_t)**2), to the dc that arrived",
            lstm_step_forward,
            lstm_step_backward,
            ("dc + dh * o * (1 - tanh_c**2)", "dc"),
        ),
        "packed as i, f, o, g": backward_slip(
            "da is packed in the order i, f, o, g: the blocks of columns are i, f, g, o, as in the forward pass",
            lstm_step_forward,
            lstm_step_backward,
            ("[da_i, da_f, da_g, da_o]", "[da_i, da_f, da_o, da_g]"),
        ),
        "derivative of tanh": backward_slip(
            "on its way from h_t = o * tanh(c_t) to c_t the gradient passes the tanh: multiply dh * o by "
            "1 - tanh(c_t)**2 as well",
            lstm_step_forward,
            lstm_step_backward,
            ("dh * o * (1 - tanh_c**2)", "dh * o"),
        ),
        "incomplete dc to c": backward_slip(
            "dc of step t-1 is f times the complete dc, with the part that comes through h_t; yours multiplies only "
            "the dc that arrived",
            lstm_step_forward,
            lstm_step_backward,
            ("    dc = dc + dh", "    arrived = dc\n    dc = dc + dh"),
            ("dc * f, x.T", "arrived * f, x.T"),
        ),
        "new cell for f": Mistake(
            "f multiplied the old cell, so the gradient of its pre-activation has the factor c_{t-1}; yours has c_t",
            (
                variant(lstm_step_forward, ("(x, h, c, W_x", "(x, h, c_t, W_x")),
                lstm_step_backward,
            ),
        ),
        "sigmoid's derivative for g": backward_slip(
            "g comes from tanh, whose derivative is 1 - g**2; yours is g * (1 - g), that of the sigmoid",
            lstm_step_forward,
            lstm_step_backward,
            ("(1 - g**2)", "g * (1 - g)"),
        ),
        "mean over the batch": backward_slip(
            "dW_x, dW_h and db are sums over the batch, yours are means: whether to divide by the size of the batch "
            "is for the loss to say, and dh and dc have it in them already",
            lstm_step_forward,
            lstm_step_backward,
            (
                "x.T @ da, h.T @ da, da.sum(axis=0)",
                "x.T @ da / len(da), h.T @ da / len(da), da.mean(axis=0)",
            ),
        ),
    },
    edges=edges_of(lstm_step_forward),
    forbid=TORCH,
)

# --- peepholes --------------------------------------------------------------------------------------------------

PEEPHOLES = ("sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c)", "sigmoid(a_o + p_o * c_t)")


def other_peephole(message: str, i: str, f: str, o: str) -> Mistake:
    """A mistake in the three terms that the peepholes add to the pre-activations."""
    early, late = PEEPHOLES
    edits = (early, f"sigmoid(a_i + {i}), sigmoid(a_f + {f})"), (late, f"sigmoid(a_o + {o})")
    return slip(message, lstm_peephole_step_forward, *edits)


PEEPHOLE_STEP = Question(
    name="lstm_peephole_step_forward",
    reference=(lstm_peephole_step_forward,),
    outputs=("h", "c"),
    mistakes={
        "o looks at the old cell": other_peephole(
            "the output gate must look at the new cell state c_t; yours looks at c_{t-1}. That is why it is computed "
            "last",
            "p_i * c",
            "p_f * c",
            "p_o * c",
        ),
        "dot product": other_peephole(
            "a peephole multiplies elementwise, p * c: unit k looks at cell k only; yours takes the product over the "
            "units (c @ p), one number per example that all units share",
            "(c @ p_i)[:, None]",
            "(c @ p_f)[:, None]",
            "(c_t @ p_o)[:, None]",
        ),
        "full matrix": other_peephole(
            "a peephole is a diagonal matrix, written as the vector p: unit k looks at cell k only; with yours every "
            "unit looks at all cells, as through a full matrix with p in each row",
            "c @ np.tile(p_i, (len(p_i), 1))",
            "c @ np.tile(p_f, (len(p_f), 1))",
            "c_t @ np.tile(p_o, (len(p_o), 1))",
        ),
        "p_i and p_f swapped": other_peephole(
            "p_i belongs to the input gate and p_f to the forget gate; yours uses them the other way round",
            "p_f * c",
            "p_i * c",
            "p_o * c_t",
        ),
        "peepholes at h": other_peephole(
            "peepholes look at the cell state: p_i and p_f at c_{t-1}, p_o at c_t; yours look at the hidden state h",
            "p_i * h",
            "p_f * h",
            "p_o * h",
        ),
        "o looks at tanh of c": other_peephole(
            "the output gate looks at c_t itself; yours looks at tanh(c_t)",
            "p_i * c",
            "p_f * c",
            "p_o * np.tanh(c_t)",
        ),
        "o does not look": other_peephole(
            "the output gate has a peephole too: add p_o * c_t to its pre-activation",
            "p_i * c",
            "p_f * c",
            "0",
        ),
        "no peepholes": other_peephole(
            "this is the step without peepholes: p_i, p_f and p_o have no effect on your answer", "0", "0", "0"
        ),
    },
    edges=edges_of(lstm_peephole_step_forward),
    forbid=TORCH,
)


def peephole_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, lstm_peephole_step_forward, lstm_peephole_step_backward, *edits)


PEEPHOLE_STEP_BACKWARD = Question(
    name="lstm_peephole_step_backward",
    reference=(lstm_peephole_step_forward, lstm_peephole_step_backward),
    outputs=("dx", "dh", "dc", "dW_x", "dW_h", "db", "dp_i", "dp_f", "dp_o"),
    mistakes={
        "dc misses the peephole of o": peephole_backward_slip(
            "the output gate looks at c_t, so a gradient flows back through its peephole: dc misses the term "
            "p_o * da_o. Compute da_o first, then dc, then the rest",
            (" + da_o * p_o", ""),
        ),
        "dp_o from the old cell": peephole_backward_slip(
            "p_o multiplied c_t in the forward pass, so dp_o sums da_o * c_t over the batch; yours has c_{t-1}",
            ("(da_o * c_t)", "(da_o * c)"),
        ),
        "dc without the peepholes of i and f": peephole_backward_slip(
            "i and f look at c_{t-1}, so dc of step t-1 has three terms: dc * f + da_i * p_i + da_f * p_f; yours has "
            "the first one only",
            ("dc * f + da_i * p_i + da_f * p_f", "dc * f"),
        ),
        "peephole of o at the old cell": peephole_backward_slip(
            "the output gate looks at c_t, not at c_{t-1}: its term, da_o * p_o, belongs to the gradient of c_t and is "
            "no part of dc of step t-1",
            ("dc * f + da_i * p_i + da_f * p_f", "dc * f + da_i * p_i + da_f * p_f + da_o * p_o"),
        ),
        "dp_i and dp_f from the new cell": peephole_backward_slip(
            "p_i and p_f multiplied the old cell, so dp_i and dp_f sum da_i * c_{t-1} and da_f * c_{t-1} over the "
            "batch; yours have c_t",
            ("(da_i * c)", "(da_i * c_t)"),
            ("(da_f * c)", "(da_f * c_t)"),
        ),
        "dc of the next step": peephole_backward_slip(
            "the gradient dc that arrives from the next step is forgotten: add it to what comes through h_t and "
            "through the peephole of o",
            ("dc + dh * o", "dh * o"),
        ),
        "derivative of tanh": peephole_backward_slip(
            "between h_t = o * tanh(c_t) and c_t lies the tanh: multiply dh * o by 1 - tanh(c_t)**2 as well",
            ("dh * o * (1 - tanh_c**2)", "dh * o"),
        ),
    },
    edges=edges_of(lstm_peephole_step_forward),
    forbid=TORCH,
)

# --- the sequence -----------------------------------------------------------------------------------------------

STEP_CALL = "step_backward(dh[:, t] + dstate[0], *dstate[1:], caches[t])"
SUM_OVER_TIME = "[total + part for total, part in zip(dweights, step, strict=True)]"


def walk_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    """A mistake in the walk back through time."""
    walk = variant(_unroll_backward, *edits)
    return Mistake(message, (lstm_forward, calling(lstm_backward, _unroll_backward=walk)))


def step_call(dh: str, dc: str) -> tuple[str, str]:
    """The edit that gives the backward of the step these gradients."""
    return STEP_CALL, f"step_backward({dh}, {dc}, caches[t])"


def mistakes_of_the_step() -> dict[str, Mistake]:
    """A sequence whose steps, which the student wrote for an earlier question, make a known mistake.

    A step that forgets dc is left out: no answer can tell it from a walk that never passes dc on.
    """
    return {
        f"step: {name}": Mistake(
            f"the walk through time may be right, but lstm_step_backward is not, so mend that one first: "
            f"{mistake.message}",
            (
                calling(lstm_forward, lstm_step_forward=mistake.functions[0]),
                calling(lstm_backward, lstm_step_backward=mistake.functions[1]),
            ),
        )
        for name, mistake in STEP_BACKWARD.mistakes.items()
        if name != "dc of the next step"
    }


SEQUENCE_BACKWARD = Question(
    name="lstm_backward",
    reference=(lstm_forward, lstm_backward),
    outputs=("dx", "dh_0", "dc_0", "dW_x", "dW_h", "db"),
    mistakes={
        "dh not carried": walk_slip(
            "the gradient at h_t has two sources, the loss and step t + 1; yours takes dh[:, t] alone. Add the dh "
            "that the step after it handed back",
            step_call("dh[:, t]", "*dstate[1:]"),
        ),
        "dc not carried": walk_slip(
            "the gradient of the cell is not carried: dc_T enters the last step, but every earlier step gets zeros "
            "instead of the dc that the step after it handed back",
            step_call("dh[:, t] + dstate[0]", "(t == x_shape[1] - 1) * dstate[1]"),
        ),
        "dc always zero": walk_slip(
            "the gradient of the cell is not carried: every step gets dc = 0, or your lstm_step_backward makes nothing "
            "of its dc. Start with dc_T, then hand each step the dc that the step after it handed back",
            step_call("dh[:, t] + dstate[0]", "0 * dstate[1]"),
        ),
        "dc_T at every step": walk_slip(
            "dc_T belongs to the last step only; yours gives it to every step, in place of the dc that the step "
            "after it handed back",
            ("x_shape, caches = cache", "(x_shape, caches), dc_T = cache, dstate[1]"),
            step_call("dh[:, t] + dstate[0]", "dc_T"),
        ),
        "dc_T lost": walk_slip(
            "dc_T is lost: it is the gradient that arrives at the last cell state from beyond the sequence, so start "
            "the walk with it instead of zeros",
            step_call("dh[:, t] + dstate[0]", "(t < x_shape[1] - 1) * dstate[1]"),
        ),
        "neither carried": walk_slip(
            "nothing is carried from step to step: each one gets dh[:, t] and dc = 0. Add the dh that the step after "
            "it handed back, and pass its dc on, beginning with dc_T",
            step_call("dh[:, t]", "0 * dstate[1]"),
        ),
        "weights overwritten": walk_slip(
            "dW_x, dW_h and db are overwritten at every step, so only the first step of the sequence is left in "
            "them: the same weights served at all steps, so add the steps up",
            (SUM_OVER_TIME, "step"),
        ),
        "bias overwritten": walk_slip(
            "db is summed over the batch but not over time: add up db of all steps, as you do with dW_x and dW_h",
            (SUM_OVER_TIME, f"[*{SUM_OVER_TIME}[:-1], step[-1]]"),
        ),
        "dx in the order of the walk": walk_slip(
            "your dx is the wrong way round in time: the walk begins with the last step, whose dx belongs at the end",
            ("dx[:, t], *grads", "dx[:, x_shape[1] - 1 - t], *grads"),
        ),
        "forward in time": walk_slip(
            "the walk goes from the first step to the last; gradients go the other way: begin with the last step",
            ("reversed(range(x_shape[1]))", "range(x_shape[1])"),
        ),
        **mistakes_of_the_step(),
    },
    edges={
        "a sequence of one step": from_signature(lstm_forward, sizes={"time": 1}),
        "a batch of one": from_signature(lstm_forward, sizes={"batch": 1}),
        "a state of zeros": with_inputs(from_signature(lstm_forward), h_0=0.0, c_0=0.0),
        "saturated gates": saturated(lstm_forward, "b"),
    },
    forbid=TORCH,
)

# --- the gated recurrent unit -----------------------------------------------------------------------------------

CONVENTIONS = [(reset, z_means) for reset in ("after", "before") for z_means in ("keep", "update")]


def with_convention(make: Draw, reset: str, z_means: str) -> Draw:
    return with_inputs(make, reset=reset, z_means=z_means)


def one_convention(reset: str | None, z_means: str | None) -> Mistake:
    """The unit that ignores one of its two arguments, or both, and always does the same."""
    edits = {
        "after": ('after = reset == "after"', "after = True"),
        "before": ('after = reset == "after"', "after = False"),
        "keep": ('z if z_means == "keep" else 1 - z', "z"),
        "update": ('z if z_means == "keep" else 1 - z', "1 - z"),
    }
    does = [f"the reset gate acts {reset} the matrix product"] if reset else []
    does += [f"z = 1 means {z_means}"] if z_means else []
    ignored = [name for name, value in (("reset", reset), ("z_means", z_means)) if value]
    message = f"you wrote one convention for all calls: {' and '.join(does)}, whatever "
    message += f"{' and '.join(ignored)} say{'s' if len(ignored) == 1 else ''}"
    return slip(message, gru_step_forward, *(edits[word] for word in (reset, z_means) if word))


def conventions() -> dict[str, Mistake]:
    """Each convention that a student may have written in place of all four."""
    one_argument: list[tuple[str | None, str | None]]
    one_argument = [("after", None), ("before", None), (None, "keep"), (None, "update")]
    return {
        f"always {' and '.join(filter(None, choice))}": one_convention(*choice)
        for choice in [*CONVENTIONS, *one_argument]
    }


GRU_STEP = Question(
    name="gru_step_forward",
    reference=(gru_step_forward,),
    outputs=("h",),
    by_draw=True,
    draws={
        f"reset {reset}, z means {z_means}": with_convention(from_signature(gru_step_forward), reset, z_means)
        for reset, z_means in CONVENTIONS
    },
    mistakes={
        **conventions(),
        "reset the other way round": slip(
            'the two meanings of reset are exchanged: "after" is r * (h W_hn + b_hn), "before" is (r * h) W_hn + b_hn',
            gru_step_forward,
            ('after = reset == "after"', 'after = reset == "before"'),
        ),
        "z the other way round": slip(
            'the two meanings of z are exchanged: "keep" is z * h + (1 - z) * n, "update" is (1 - z) * h + z * n',
            gru_step_forward,
            ('if z_means == "keep" else', 'if z_means == "update" else'),
        ),
        "r and z swapped": slip(
            "the blocks of columns belong to r, z, n in this order, as in torch; yours reads them as z, r, n, which "
            "is the order of Keras",
            gru_step_forward,
            ("W_hr, W_hz, W_hn =", "W_hz, W_hr, W_hn ="),
            ("b_hr, b_hz, b_hn =", "b_hz, b_hr, b_hn ="),
            ("u_r, u_z, u_n =", "u_z, u_r, u_n ="),
        ),
        "b_hn outside": slip(
            'with reset "after", the bias b_hn is inside the product with r: r * (h W_hn + b_hn); yours adds it '
            "outside. That is why the GRU needs two biases",
            gru_step_forward,
            ("v_n = q @ W_hn + b_hn", "v_n = q @ W_hn"),
            ("np.tanh(u_n +", "np.tanh(b_hn + u_n +"),
        ),
        "no b_h": slip(
            "b_h has no effect on your answer: it is added to h W_h, as b_x is to x W_x",
            gru_step_forward,
            ("np.split(b_h, 3)", "np.split(0 * b_h, 3)"),
        ),
        "no b_hn before": slip(
            'with reset "before", the bias b_hn is missing: (r * h) W_hn + b_hn',
            gru_step_forward,
            ("q @ W_hn + b_hn", "q @ W_hn + (b_hn if after else 0)"),
        ),
        "sigmoid for n": slip(
            "the candidate n goes through tanh, not through the sigmoid: only r and z are gates",
            gru_step_forward,
            ("np.tanh(u_n", "sigmoid(u_n"),
        ),
    },
    edges={
        "a batch of one": with_convention(from_signature(gru_step_forward, sizes={"batch": 1}), "before", "update"),
        "a state of zeros": with_inputs(from_signature(gru_step_forward), h=0.0, reset="after", z_means="keep"),
        "saturated gates": with_convention(saturated(gru_step_forward, "b_x"), "before", "keep"),
    },
    forbid=TORCH,
)

# --- the weights of torch ---------------------------------------------------------------------------------------

TORCH_WEIGHTS = "weight_ih.T.copy(), weight_hh.T.copy(), bias_ih + bias_hh"


def layer(d_in: int, d_h: int) -> Draw:
    return from_signature(load_torch_weights, sizes={"d_in": d_in, "d_h": d_h, "gates": 4 * d_h})


def reordered(message: str, *order: int) -> Mistake:
    """The blocks of the gates taken in another order."""
    blocks = f"np.concatenate([np.split({{}}, 4, axis=-1)[k] for k in {order}], axis=-1)"
    arrays = (blocks.format(array) for array in ("weight_ih.T", "weight_hh.T", "bias_ih + bias_hh"))
    return slip(message, load_torch_weights, (TORCH_WEIGHTS, ", ".join(arrays)))


def other_weights(message: str, weights: str) -> Mistake:
    return slip(message, load_torch_weights, (TORCH_WEIGHTS, weights))


LOAD_TORCH_WEIGHTS = Question(
    name="load_torch_weights",
    reference=(load_torch_weights,),
    outputs=("W_x", "W_h", "b"),
    draws={
        "5 inputs, 3 hidden units": layer(5, 3),
        "3 inputs, 5 hidden units": layer(3, 5),
        "7 inputs, 6 hidden units": layer(7, 6),
    },
    mistakes={
        "order i, f, o, g": reordered(
            "your gates come out in the order i, f, o, g; torch packs i, f, g, o, which is this book's order too, so "
            "nothing has to change places",
            *(0, 1, 3, 2),
        ),
        "order of TensorFlow": reordered(
            "your gates come out in the order i, g, f, o, which is that of TensorFlow 1; torch packs i, f, g, o, which "
            "is this book's order too, so nothing has to change places",
            *(0, 2, 1, 3),
        ),
        "no bias_hh": other_weights(
            "bias_hh is missing: torch adds both biases to the pre-activations, so b is their sum; yours is bias_ih "
            "alone",
            "weight_ih.T, weight_hh.T, bias_ih",
        ),
        "no bias_ih": other_weights(
            "bias_ih is missing: torch adds both biases to the pre-activations, so b is their sum; yours is bias_hh "
            "alone",
            "weight_ih.T, weight_hh.T, bias_hh",
        ),
        "not transposed": other_weights(
            "torch keeps its weights as (4*d_h, d_in) and (4*d_h, d_h), one row per gate unit; here examples are "
            "rows and weights multiply from the right, so transpose both",
            "weight_ih, weight_hh, bias_ih + bias_hh",
        ),
        "reshaped": other_weights(
            "reshape gives the right shape but leaves the numbers in their old order, which scrambles the matrix: "
            "transpose it, weight_ih.T",
            "weight_ih.reshape(weight_ih.shape[::-1]), weight_hh.reshape(weight_hh.shape[::-1]), bias_ih + bias_hh",
        ),
    },
    edges={"one hidden unit": layer(3, 1), "a square weight_ih": layer(12, 3)},
)

# --- the kernel -------------------------------------------------------------------------------------------------

EXP_TANH = {
    "(e^2x - 1) / (e^2x + 1)": "(np.exp(2 * {x}) - 1) / (np.exp(2 * {x}) + 1)",
    "(1 - e^-2x) / (1 + e^-2x)": "(1 - np.exp(-2 * {x})) / (1 + np.exp(-2 * {x}))",
    "(e^x - e^-x) / (e^x + e^-x)": "(np.exp({x}) - np.exp(-{x})) / (np.exp({x}) + np.exp(-{x}))",
}
WHERE = ("above 44, where e^2x", "below -44, where e^-2x", "beyond 88 on either side, where one of the two")


def overflowing_tanh(form: str, where: str) -> Mistake:
    """tanh by a quotient that is infinity over infinity in float32, far from zero."""
    of_g, of_c = (EXP_TANH[form].format(x=f"np.float32({x})") for x in ("a_g", "c_t"))
    return slip(
        f"tanh overflows: your answer is NaN as {form} would be for x {where} is more than float32 can hold, and "
        "infinity / infinity is NaN. Build tanh on an exponential of something never above zero, as the given "
        "_tanh does",
        lstm_step_forward,
        ("np.tanh(a_g)", of_g),
        ("np.tanh(c_t)", of_c),
    )


def pre_activations_at(size: float) -> Draw:
    """Gates and cells far from zero on both sides, by way of the bias and the old cell."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = draw(lstm_step_forward, rng, scale=0.1, sizes=FIXED)
        return {**inputs, "b": alternating(inputs["b"], size), "c": alternating(inputs["c"], size)}

    return make


def bytes_of_step(inputs: Mapping[str, Any]) -> int:
    """What a tiled step loads and stores: weights once for each block of rows, x and h once for each of columns."""
    batch, d_in, d_h = map(int, (*inputs["x"].shape, inputs["h"].shape[1]))
    of_rows, of_columns = -(-batch // 64), -(-d_h // 16)  # the blocks of the given lstm_step
    weights = of_rows * 4 * d_h * (d_in + d_h + 1)
    return 4 * (weights + of_columns * batch * (d_in + d_h) + 3 * batch * d_h)


ROWS_APART = "rows of x, h and c that lie apart in memory"

KERNEL = Question(
    name="lstm_step_kernel",
    reference=(lstm_step_forward,),
    outputs=("h", "c"),
    calls=("lstm_step",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "all sizes smaller than a block": from_signature(lstm_step_forward),
        "more rows and inputs than a block": from_signature(
            lstm_step_forward, sizes={"batch": 67, "d_in": 33, "d_h": 9}
        ),
        "many units and few rows": from_signature(lstm_step_forward, sizes={"batch": 3, "d_in": 7, "d_h": 35}),
    },
    mistakes={
        **swapped_gates(
            "wrong gate offset, the {one} and the {two} have traded places: in W_x, W_h and b the columns of i begin "
            "at 0, those of f at d_h, of g at 2*d_h, of o at 3*d_h; your kernel reads the blocks as {order}"
        ),
        **{f"tanh as {form}": overflowing_tanh(form, where) for form, where in zip(EXP_TANH, WHERE, strict=True)},
        "first block only": slip(
            "only the first BLOCK_K = 32 features of x and h count: loop over d_in, and then over d_h, in steps of "
            "BLOCK_K and add up the products",
            lstm_step_forward,
            ("x @ W_x + h @ W_h", "x[:, :32] @ W_x[:32] + h[:, :32] @ W_h[:32]"),
        ),
        "first block of x only": slip(
            "only the first BLOCK_K = 32 features of x count: the loop over x goes to d_in, in steps of BLOCK_K",
            lstm_step_forward,
            ("x @ W_x + h @ W_h", "x[:, :32] @ W_x[:32] + h @ W_h"),
        ),
        "first block of h only": slip(
            "only the first BLOCK_K = 32 units of h count: the loop over h goes to d_h, not to d_in, in steps of "
            "BLOCK_K",
            lstm_step_forward,
            ("x @ W_x + h @ W_h", "x @ W_x + h[:, :32] @ W_h[:32]"),
        ),
        "no tanh of c": slip(
            "h_t = o * tanh(c_t): your kernel stores o * c_t",
            lstm_step_forward,
            ("o * tanh_c\n", "o * c_t\n"),
        ),
        "no bias": slip(
            "the kernel never adds b, which b_ptr points to",
            lstm_step_forward,
            ("x @ W_x + h @ W_h + b", "x @ W_x + h @ W_h"),
        ),
    },
    edges={
        "all of size one": from_signature(lstm_step_forward, sizes={"batch": 1, "d_in": 1, "d_h": 1}),
        "pre-activations and cells at ±50": pre_activations_at(50.0),
        "pre-activations and cells at ±1000": pre_activations_at(1000.0),
        ROWS_APART: from_signature(lstm_step_forward),
    },
    tells={"all of size one": (*swapped_gates(""), "no tanh of c", "no bias")},
    apart={ROWS_APART: ("x", "h", "c")},
    moves=bytes_of_step,
)

QUESTIONS = (
    STEP,
    PEEPHOLE_STEP,
    STEP_BACKWARD,
    GRU_STEP,
    LOAD_TORCH_WEIGHTS,
    PEEPHOLE_STEP_BACKWARD,
    SEQUENCE_BACKWARD,
    KERNEL,
)
