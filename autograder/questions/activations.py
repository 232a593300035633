"""The questions about activation functions, each with the mistakes that are known by name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autograder.cases import alternating
from autograder.question import Draw, Function, Mistake, Question, backward_slip, from_signature, slip, with_inputs
from solutions.activations import (
    bias_gelu_forward,
    elu_backward,
    elu_forward,
    gelu_backward,
    gelu_forward,
    leaky_relu_backward,
    leaky_relu_forward,
    sigmoid,
    softmax_backward,
    softmax_forward,
    softplus_forward,
    tanh_backward,
    tanh_forward,
    which_slip,
)

LIBRARIES = ("torch", "scipy")  # whose functions would do a question's work
SQUARES = {"shape_0": 5, "shape_1": 5}


def far(function: Function, size: float = 1000.0) -> Draw:
    """Numbers at size and -size in turn, in arrays whose shape never changes."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = from_signature(function, sizes={"shape_0": 5, "shape_1": 7})(rng)
        return {**inputs, "x": alternating(inputs["x"], size)}

    return make


def edges_of(function: Function, **values: object) -> dict[str, Draw]:
    """Zeros, and numbers far away on both sides; further arguments are fixed."""
    return {
        "zeros": with_inputs(from_signature(function), x=0.0, **values),
        "±1000": with_inputs(far(function), **values),
    }


# --- functions of one number --------------------------------------------------------------------------------------

SIGMOID = Question(
    name="sigmoid",
    reference=(sigmoid,),
    outputs=("out",),
    mistakes={
        "e^x / (1 + e^x)": slip(
            "exp(x) overflows for x above 709, and infinity / infinity is NaN: use that form for x < 0 only, and "
            "1 / (1 + exp(-x)) for the rest, or build both on exp(-|x|), which never exceeds one",
            sigmoid,
            ("np.exp(-np.abs(x))", "np.exp(x)"),
            ("np.where(x >= 0, 1.0, e)", "e"),
        ),
        "no branch on the sign": slip(
            "yours is the sigmoid of |x|, never below one half: for x < 0 the numerator is exp(x), not 1",
            sigmoid,
            ("np.where(x >= 0, 1.0, e)", "1.0"),
        ),
        "sign of the exponent": slip(
            "yours is the sigmoid of -x, which falls where it should rise: the sign of the exponent is wrong",
            sigmoid,
            ("x >= 0", "x < 0"),
        ),
        "tanh(x / 2)": slip(
            "yours is tanh(x / 2), between -1 and 1; the sigmoid is that plus 1, divided by 2",
            sigmoid,
            ("np.where(x >= 0, 1.0, e) / (1.0 + e)", "np.tanh(x / 2)"),
        ),
    },
    edges=edges_of(sigmoid),
    forbid=LIBRARIES,
)

TANH_BACKWARD = Question(
    name="tanh_backward",
    reference=(tanh_forward, tanh_backward),
    outputs=("dx",),
    mistakes={
        "takes out for x": backward_slip(
            "the cache holds out = tanh(x), not x; yours takes tanh of it once more. The slope is 1 - out**2",
            tanh_forward,
            tanh_backward,
            ("out * out", "np.tanh(out) ** 2"),
        ),
        "dout left out": backward_slip(
            "yours is the slope alone: the chain rule multiplies it by dout, the gradient that arrives",
            tanh_forward,
            tanh_backward,
            ("dout * (1 - out * out)", "1 - out * out"),
        ),
        "slope of the sigmoid": backward_slip(
            "out * (1 - out) is the slope of the sigmoid; that of tanh is 1 - out**2",
            tanh_forward,
            tanh_backward,
            ("(1 - out * out)", "out * (1 - out)"),
        ),
        "not squared": backward_slip(
            "the slope of tanh is 1 - out**2; yours is 1 - out",
            tanh_forward,
            tanh_backward,
            ("1 - out * out", "1 - out"),
        ),
    },
    edges=edges_of(tanh_forward),
    forbid=LIBRARIES,
)

LEAKY_SLOPE = "np.where(x > 0, 1.0, slope)"


def leaky_slip(message: str, slope: str) -> Mistake:
    """Another array in place of the slopes of the leaky ReLU."""
    return backward_slip(message, leaky_relu_forward, leaky_relu_backward, (LEAKY_SLOPE, slope))


def leaky(slope: float) -> Draw:
    return with_inputs(from_signature(leaky_relu_forward), slope=slope)


LEAKY_RELU_BACKWARD = Question(
    name="leaky_relu_backward",
    reference=(leaky_relu_forward, leaky_relu_backward),
    outputs=("dx",),
    draws={"slope 0.2": leaky(0.2), "slope 0.01": leaky(0.01), "slope 0, which is ReLU": leaky(0.0)},
    mistakes={
        "slope 1 at zero": leaky_slip(
            "at x = 0 your slope is 1; this book follows torch, where x = 0 belongs to the left side: "
            "test x > 0, not x >= 0",
            "np.where(x >= 0, 1.0, slope)",
        ),
        "dout left out": backward_slip(
            "yours is the slope alone: the chain rule multiplies it by dout, the gradient that arrives",
            leaky_relu_forward,
            leaky_relu_backward,
            (f"dout * {LEAKY_SLOPE}", LEAKY_SLOPE),
        ),
        "plain ReLU": leaky_slip(
            "yours blocks the gradient where x is negative, as ReLU does: there it is multiplied by slope", "(x > 0)"
        ),
        "slope always 0.01": leaky_slip(
            "your slope is 0.01 whatever the caller chose: the forward pass left it in the cache",
            "np.where(x > 0, 1.0, 0.01)",
        ),
        "mask of dout": leaky_slip(
            "the side is that of the input, x > 0; yours asks for the sign of the gradient that arrives",
            "np.where(dout > 0, 1.0, slope)",
        ),
        "sides exchanged": leaky_slip(
            "the two sides are exchanged: 1 where x > 0, slope elsewhere", "np.where(x > 0, slope, 1.0)"
        ),
    },
    edges=edges_of(leaky_relu_forward, slope=0.2),
    forbid=LIBRARIES,
)


def recorded(inputs: int, answers: int) -> Draw:
    """Gradients as five backward passes of ReLU give them, each of the five at least once."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        x, dout = rng.standard_normal((2, inputs))
        x[:5] = np.abs(x[:5]) * [0, 1, 1, -1, -1]  # a zero, and every pair of signs
        dout[1:5] = np.abs(dout[1:5]) * [1, -1, 1, -1]
        passes = np.array([dout * (x > 0), dout * (x >= 0), 1.0 * (x > 0), dout * (dout > 0), dout])
        made_by = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, answers - 5)]))
        order = rng.permutation(inputs)
        return {"x": x[order], "dout": dout[order], "dx": passes[made_by][:, order]}

    return make


RIGHT, AT_ZERO = "dout * (x > 0)", "dout * (x >= 0)"
SAME = "np.isclose(dx[:, None, :], np.array(slips)).all(axis=2)"

WHICH_SLIP = Question(
    name="which_slip",
    reference=(which_slip,),
    outputs=("slip",),
    draws={
        "11 inputs, 6 answers": recorded(11, 6),
        "13 inputs, 9 answers": recorded(13, 9),
        "7 inputs": recorded(7, 5),
    },
    mistakes={
        "slope at zero": slip(
            "you take a slope of 1 at x = 0 for right, and the right one for the slip: in this book and in torch it "
            "is 0 there",
            which_slip,
            (f"{RIGHT},\n        {AT_ZERO},", f"{AT_ZERO},\n        {RIGHT},"),
        ),
        "counts from one": slip(
            "your numbers begin at 1: 0 stands for no slip",
            which_slip,
            ("same.argmax(axis=1)", "same.argmax(axis=1) + 1"),
        ),
        "compares zeros only": slip(
            "you compare only where a gradient is zero, so that a missing dout goes unseen: compare the numbers",
            which_slip,
            (SAME, "((dx[:, None, :] != 0) == (np.array(slips) != 0)).all(axis=2)"),
        ),
        "one number is enough": slip(
            "you are content when a single number agrees: a slip is found only if all of them do",
            which_slip,
            (SAME, SAME.replace("all", "any")),
        ),
    },
    edges={"each slip once": recorded(9, 5)},
)

SOFTPLUS = "np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))"


def softplus_slip(message: str, formula: str) -> Mistake:
    return slip(message, softplus_forward, (SOFTPLUS, formula))


SOFTPLUS_FORWARD = Question(
    name="softplus_forward",
    reference=(softplus_forward,),
    outputs=("out",),
    mistakes={
        "log(1 + e^x)": softplus_slip(
            "exp(x) overflows for x above 709, so log(1 + exp(x)) is infinity where it should be x; take x out first: "
            "max(x, 0) + log1p(exp(-|x|))",
            "np.log(1 + np.exp(x))",
        ),
        "x + log(1 + e^-x)": softplus_slip(
            "x + log(1 + exp(-x)) overflows on the other side, for x below -709: it takes max(x, 0) and exp(-|x|)",
            "x + np.log(1 + np.exp(-x))",
        ),
        "ReLU": softplus_slip(
            "yours is ReLU: near 0 softplus is larger, by log1p(exp(-|x|)), which is log 2 at 0", "np.maximum(x, 0.0)"
        ),
        "softplus of -x": softplus_slip(
            "yours is softplus of -x, which falls where it should rise: the sign of the exponent is wrong",
            "np.maximum(-x, 0.0) + np.log1p(np.exp(-np.abs(x)))",
        ),
    },
    edges=edges_of(softplus_forward),
    forbid=LIBRARIES,
)

# --- ELU ----------------------------------------------------------------------------------------------------------

ELU_FORWARD_LINE = "np.where(x > 0, x, alpha * np.expm1(low))"
ELU_SLOPE = "np.where(x > 0, 1.0, alpha * np.exp(low))"


def elu_draws() -> dict[str, Draw]:
    drawn = from_signature(elu_forward)
    return {f"alpha {alpha}": with_inputs(drawn, alpha=alpha) for alpha in (0.7, 1.0, 1.6)}


ELU_FORWARD = Question(
    name="elu_forward",
    reference=(elu_forward,),
    outputs=("out",),
    draws=elu_draws(),
    mistakes={
        "zero times infinity": slip(
            "far to the right exp(x) is infinite, and a mask of 0 times infinity is NaN: give exp a number that is "
            "never positive, min(x, 0), or choose by np.where instead of multiplying",
            elu_forward,
            (ELU_FORWARD_LINE, "(x > 0) * x + (x <= 0) * alpha * (np.exp(x) - 1)"),
        ),
        "alpha ignored": slip(
            "alpha has no effect on your answer: the left side is alpha * (exp(x) - 1)",
            elu_forward,
            ("alpha * np.expm1(low)", "np.expm1(low)"),
        ),
        "no minus one": slip(
            "your left side is alpha * exp(x), which jumps at 0: subtract 1 from the exponential",
            elu_forward,
            ("alpha * np.expm1(low)", "alpha * np.exp(low)"),
        ),
        "alpha on both sides": slip(
            "alpha scales your right side as well; there ELU is x itself",
            elu_forward,
            ("x > 0, x,", "x > 0, alpha * x,"),
        ),
    },
    edges=edges_of(elu_forward, alpha=0.7),
    forbid=LIBRARIES,
)


def elu_slip(message: str, slope: str) -> Mistake:
    return backward_slip(message, elu_forward, elu_backward, (ELU_SLOPE, slope))


ELU_BACKWARD = Question(
    name="elu_backward",
    reference=(elu_forward, elu_backward),
    outputs=("dx",),
    draws=elu_draws(),
    mistakes={
        "zero times infinity": elu_slip(
            "far to the right exp(x) is infinite, and a mask of 0 times infinity is NaN: the side that is not taken "
            "must be finite too, so use exp(min(x, 0))",
            "((x > 0) + (x <= 0) * alpha * np.exp(x))",
        ),
        "alpha ignored": elu_slip(
            "alpha is missing in your slope: on the left it is alpha * exp(x)", "np.where(x > 0, 1.0, np.exp(low))"
        ),
        "value for slope": elu_slip(
            "on the left you multiply by ELU itself, alpha * (exp(x) - 1), in place of its slope, alpha * exp(x)",
            "np.where(x > 0, 1.0, alpha * np.expm1(low))",
        ),
        "out plus one": elu_slip(
            "out + 1 is the slope on the left only where alpha is 1; in general it is out + alpha",
            "np.where(x > 0, 1.0, alpha * np.expm1(low) + 1)",
        ),
        "dout left out": backward_slip(
            "yours is the slope alone: the chain rule multiplies it by dout, the gradient that arrives",
            elu_forward,
            elu_backward,
            (f"dout * {ELU_SLOPE}", ELU_SLOPE),
        ),
    },
    edges=edges_of(elu_forward, alpha=0.7),
    forbid=LIBRARIES,
)

# --- softmax ------------------------------------------------------------------------------------------------------

MAXIMUM, TOTAL = "x.max(axis=axis, keepdims=True)", "e.sum(axis=axis, keepdims=True)"


def cube(axis: int) -> Draw:
    return lambda rng: {"x": rng.standard_normal((3, 3, 3)), "axis": axis}


def square(axis: int, rows: float = 0.0, size: float = 0.0) -> Draw:
    """A square of scores, its rows moved far apart, or its columns far up and down in turn.

    All axes are equally long: then a missing keepdims is no crash, but a wrong answer that can be named.
    """

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        x = rng.standard_normal((5, 5))
        x += rows * np.arange(-2, 3)[:, None] + (alternating(x, size) if size else 0.0)
        return {"x": x, "axis": axis}

    return make


def softmax_draws() -> dict[str, Draw]:
    return {"along the last axis": square(-1), "along the first axis": square(0), "along the middle of three": cube(1)}


SOFTMAX_EDGES = {
    "scores of ±1000": square(-1, size=1000.0),
    "rows a thousand apart": square(1, rows=1000.0),
    "a single score": lambda rng: {"x": rng.standard_normal((1, 1)), "axis": 0},
}

SOFTMAX_FORWARD = Question(
    name="softmax_forward",
    reference=(softmax_forward,),
    outputs=("p",),
    by_draw=True,
    draws=softmax_draws(),
    mistakes={
        "no maximum": slip(
            "exp overflows for scores above 709, and below -745 a row is 0 / 0: subtract the maximum along the axis "
            "first, which changes nothing else",
            softmax_forward,
            (f"x - {MAXIMUM}", "x"),
        ),
        "one maximum for all": slip(
            "you subtract the maximum of the whole array, so that a row far below it becomes 0 / 0: each row needs "
            "its own, np.max(..., axis=axis, keepdims=True)",
            softmax_forward,
            (MAXIMUM, "x.max()"),
        ),
        "no keepdims": slip(
            "keepdims=True is missing: without it the axis is gone from the maximum and the sum, and NumPy lines "
            "them up with another axis",
            softmax_forward,
            (MAXIMUM, "x.max(axis=axis)"),
            (TOTAL, "e.sum(axis=axis)"),
        ),
        "always the last axis": slip(
            "your softmax runs along the last axis whatever the caller chose",
            softmax_forward,
            (MAXIMUM, MAXIMUM.replace("=axis", "=-1")),
            (TOTAL, TOTAL.replace("=axis", "=-1")),
        ),
        "one sum for all": slip(
            "you divide by the sum over the whole array: along the axis, every row must sum to 1 by itself",
            softmax_forward,
            (TOTAL, "e.sum()"),
        ),
        "not normalized": slip(
            "your numbers do not sum to 1 along the axis: divide by their sum", softmax_forward, (f"e / {TOTAL}", "e")
        ),
    },
    edges=SOFTMAX_EDGES,
    forbid=LIBRARIES,
)

SOFTMAX_SLOPE = "p * (dout - (dout * p).sum(axis=axis, keepdims=True))"
JACOBIAN = "q[..., :, None] * (np.eye(q.shape[-1]) - q[..., None, :])"


def softmax_backward_slip(message: str, formula: str) -> Mistake:
    return backward_slip(message, softmax_forward, softmax_backward, (f"return {SOFTMAX_SLOPE}", formula))


SOFTMAX_BACKWARD = Question(
    name="softmax_backward",
    reference=(softmax_forward, softmax_backward),
    outputs=("dx",),
    draws=softmax_draws(),
    mistakes={
        "diagonal only": softmax_backward_slip(
            "dout * p * (1 - p) is the diagonal of the Jacobian only: every output depends on every score of its row, "
            "so subtract p times the row's sum of dout * p",
            "return dout * p * (1 - p)",
        ),
        "the Jacobian itself": softmax_backward_slip(
            "this is the whole Jacobian, one matrix for each row: wanted is its product with dout, which has the "
            "shape of x and needs no matrix",
            f"q = np.moveaxis(p, axis, -1)\n    return {JACOBIAN}",
        ),
        "zeros": softmax_backward_slip(
            "zeros: you probably tested with dout = 1. The outputs of a row always sum to 1, so their plain sum has no "
            "gradient; try a random dout",
            "return np.zeros_like(p)",
        ),
        "sum without p": softmax_backward_slip(
            "inside the bracket you subtract the sum of dout; it is the sum of dout * p, the mean of dout under p",
            "return p * (dout - dout.sum(axis=axis, keepdims=True))",
        ),
        "no factor p": softmax_backward_slip(
            "the factor p in front is missing: dx = p * (dout - the row's sum of dout * p)",
            "return dout - (dout * p).sum(axis=axis, keepdims=True)",
        ),
        "no keepdims": softmax_backward_slip(
            "keepdims=True is missing in your sum: without it the axis is gone, and NumPy lines the sums up with "
            "another axis",
            "return p * (dout - (dout * p).sum(axis=axis))",
        ),
        "always the last axis": softmax_backward_slip(
            "your sum runs along the last axis; the forward pass left the caller's axis in the cache",
            "return p * (dout - (dout * p).sum(axis=-1, keepdims=True))",
        ),
    },
    edges=SOFTMAX_EDGES,
    forbid=LIBRARIES,
)

# --- GELU ---------------------------------------------------------------------------------------------------------

IS_TANH = 'if approximate == "tanh"'


def gelu_draw(approximate: str, scale: float = 2.0) -> Draw:
    return with_inputs(from_signature(gelu_forward, scale=scale), approximate=approximate)


def gelu_draws() -> dict[str, Draw]:
    return {"the exact form": gelu_draw("none"), "the tanh form": gelu_draw("tanh")}


def gelu_edges() -> dict[str, Draw]:
    return {
        "zeros, exact": with_inputs(gelu_draw("none"), x=0.0),
        "±1000, exact": with_inputs(far(gelu_forward), approximate="none"),
        "±1000, tanh": with_inputs(far(gelu_forward), approximate="tanh"),
    }


def tanh_form(message: str, formula: str) -> Mistake:
    """Another formula in place of the tanh form."""
    return slip(message, gelu_forward, ("_gelu_tanh(x)", formula))


GELU_FORWARD = Question(
    name="gelu_forward",
    reference=(gelu_forward,),
    outputs=("out",),
    by_draw=True,
    draws=gelu_draws(),
    mistakes={
        "always exact": slip(
            'your answer is the exact form for both: with approximate="tanh" the tanh form is asked for, which '
            "differs by up to 5e-4",
            gelu_forward,
            (IS_TANH, "if False"),
        ),
        "always tanh": slip(
            'your answer is the tanh form for both: with approximate="none" the exact form is asked for, with erf',
            gelu_forward,
            (IS_TANH, "if True"),
        ),
        "forms exchanged": slip(
            'the two forms are exchanged: "none" means no approximation, so that is the one with erf',
            gelu_forward,
            (IS_TANH, 'if approximate == "none"'),
        ),
        "sigmoid(1.702 x)": tanh_form(
            "x * sigmoid(1.702 x) is a third form, from the same paper and forty times coarser; asked for is the one "
            "with tanh",
            "x * sigmoid(1.702 * x)",
        ),
        "x squared": tanh_form(
            "inside the tanh it is 0.044715 x**3; yours has x**2, which makes the bracket no odd function",
            "0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**2)))",
        ),
        "0.044715 cubed": tanh_form(
            "only x is cubed, 0.044715 * x**3; yours cubes the product, (0.044715 * x)**3",
            "0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + (0.044715 * x) ** 3)))",
        ),
        "root on x only": tanh_form(
            "sqrt(2 / pi) multiplies the whole bracket, x + 0.044715 x**3; yours multiplies x only",
            "0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * x + 0.044715 * x**3))",
        ),
        "erf(x)": slip(
            "Phi(x) = (1 + erf(x / sqrt(2))) / 2; yours has erf(x), without the sqrt(2)",
            gelu_forward,
            ("erf(x / np.sqrt(2))", "erf(x)"),
        ),
        "no half": slip(
            "in the exact form the factor 1/2 is missing: Phi(x) = (1 + erf(x / sqrt(2))) / 2 lies between 0 and 1",
            gelu_forward,
            ("x * 0.5 *", "x *"),
        ),
    },
    edges=gelu_edges(),
    forbid=LIBRARIES,
)


def gelu_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, gelu_forward, gelu_backward, *edits)


GELU_BACKWARD = Question(
    name="gelu_backward",
    reference=(gelu_forward, gelu_backward),
    outputs=("dx",),
    by_draw=True,
    draws=gelu_draws(),
    mistakes={
        "exact slope for both": gelu_backward_slip(
            "the forms are mixed: after a forward pass with tanh your slope is still Phi(x) + x phi(x), that of the "
            "exact form",
            (IS_TANH, "if False"),
        ),
        "tanh slope for both": gelu_backward_slip(
            "the forms are mixed: after an exact forward pass your slope is that of the tanh form", (IS_TANH, "if True")
        ),
        "density without 1/sqrt(2 pi)": gelu_backward_slip(
            "phi(x) is a density, exp(-x**2 / 2) / sqrt(2 pi); yours lacks the 1 / sqrt(2 pi)",
            (" / np.sqrt(2 * np.pi)", ""),
        ),
        "no x phi": gelu_backward_slip(
            "by the product rule x Phi(x) has two terms, Phi(x) + x phi(x); yours has the first only",
            ("Phi + x * phi", "Phi"),
        ),
        "density of another width": gelu_backward_slip(
            "phi(x) has exp(-x**2 / 2); yours has exp(-x**2)", ("-x * x / 2", "-x * x")
        ),
        "no inner slope": gelu_backward_slip(
            "in the tanh form the chain rule has one more factor: multiply 1 - t**2 by the slope of what stands inside "
            "the tanh",
            ("(1 - t * t) * du", "(1 - t * t)"),
        ),
        "no three": gelu_backward_slip(
            "inside the tanh, the slope of 0.044715 x**3 is 3 * 0.044715 x**2; yours lacks the 3",
            ("1 + 3 * 0.044715", "1 + 0.044715"),
        ),
        "dout left out": gelu_backward_slip(
            "yours is the slope alone: the chain rule multiplies it by dout, the gradient that arrives",
            ("dout * (0.5 * (1 + t)", "(0.5 * (1 + t)"),
            ("dout * (Phi + x * phi)", "(Phi + x * phi)"),
        ),
    },
    edges=gelu_edges(),
    forbid=LIBRARIES,
)

# --- the kernels --------------------------------------------------------------------------------------------------

FLOAT = 4  # bytes
BLOCK_B = 8  # rows of a block of bias_gelu

BIAS_GELU_CALL = "return gelu_forward(x + b, approximate)"
ROOT = float(np.sqrt(2 / np.pi))
FORMS = {  # tanh as a quotient of exponentials, and where it fails
    "(e^2u - 1) / (e^2u + 1)": ("(np.exp(2 * u) - 1) / (np.exp(2 * u) + 1)", "where x + b is large"),
    "(1 - e^-2u) / (1 + e^-2u)": ("(1 - np.exp(-2 * u)) / (1 + np.exp(-2 * u))", "where x + b is far below zero"),
    "(e^u - e^-u) / (e^u + e^-u)": (
        "(np.exp(u) - np.exp(-u)) / (np.exp(u) + np.exp(-u))",
        "where x + b is far from zero on either side",
    ),
}


def bias_gelu_slip(message: str, *lines: str) -> Mistake:
    return slip(message, bias_gelu_forward, (BIAS_GELU_CALL, "\n    ".join(lines)))


def quotient(form: str) -> Mistake:
    """The tanh form with a tanh that is infinity over infinity in float32."""
    formula, where = FORMS[form]
    return bias_gelu_slip(
        f"tanh overflows: {where}, {form} is infinity / infinity in float32, which is NaN. (1 + tanh(u)) / 2 is the "
        "sigmoid of 2 u, and the given _sigmoid never overflows",
        'if approximate == "none":',
        "    return gelu_forward(x + b, approximate)",
        "a = np.float32(x + b)",
        f"u = np.float32({ROOT}) * a * (1 + np.float32(0.044715) * a * a)",
        f"return np.float64(0.5 * a * (1 + {formula})), ()",
    )


def biased(batch: int, d_h: int, approximate: str, change: Callable[[Any], Any] = lambda x: x) -> Draw:
    """Inputs of these sizes, with a change made to x."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = from_signature(bias_gelu_forward, sizes={"batch": batch, "d_h": d_h})(rng)
        return {"x": change(inputs["x"]), "b": inputs["b"], "approximate": approximate}

    return make


def where_the_forms_differ(batch: int, d_h: int, approximate: str) -> Draw:
    """Pre-activations near -2.7: no number is large there, so that a difference of 5e-4 counts."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        x, b = rng.standard_normal((batch, d_h)), rng.standard_normal(d_h)
        return {"x": 0.1 * x - 2.7 - b, "b": b, "approximate": approximate}

    return make


def moved_by_bias_gelu(inputs: Mapping[str, Any]) -> int:
    """Bytes: x and out once, b once for each block of rows."""
    batch, d_h = map(int, inputs["x"].shape)
    return FLOAT * (2 * batch * d_h + -(-batch // BLOCK_B) * d_h)


APART = "rows of x that lie apart in memory"

BIAS_GELU_KERNEL = Question(
    name="bias_gelu_kernel",
    reference=(bias_gelu_forward,),
    outputs=("out",),
    calls=("bias_gelu",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "smaller than a block, tanh": where_the_forms_differ(3, 5, "tanh"),
        "more rows than a block, exact": where_the_forms_differ(11, 7, "none"),
        "more columns than a block, tanh": biased(3, 261, "tanh"),
    },
    mistakes={
        "always exact": slip(
            "your kernel computes the exact form for both: where TANH is true, the tanh form is asked for",
            bias_gelu_forward,
            ("x + b, approximate", 'x + b, "none"'),
        ),
        "always tanh": slip(
            "your kernel computes the tanh form for both: where TANH is false, the exact form is asked for, with erf",
            bias_gelu_forward,
            ("x + b, approximate", 'x + b, "tanh"'),
        ),
        "no bias": slip(
            "the kernel never adds b, which b_ptr points to",
            bias_gelu_forward,
            ("x + b, approximate", "x, approximate"),
        ),
        "bias behind": bias_gelu_slip(
            "the bias is added before GELU, GELU(x + b); yours is GELU(x) + b",
            "out, cache = gelu_forward(x, approximate)",
            "return out + b, cache",
        ),
        "the gate alone": bias_gelu_slip(
            "your kernel stores Phi(x + b), between 0 and 1: multiply it by x + b",
            "out, cache = gelu_forward(x + b, approximate)",
            "return out / (x + b), cache",
        ),
        "times x": bias_gelu_slip(
            "your kernel multiplies the gate by x alone: GELU(a) = a Phi(a) with a = x + b in both places",
            "out, cache = gelu_forward(x + b, approximate)",
            "return out / (x + b) * x, cache",
        ),
        **{form: quotient(form) for form in FORMS},
    },
    edges={
        "all of size one": where_the_forms_differ(1, 1, "tanh"),
        "37 rows of 3": where_the_forms_differ(37, 3, "none"),
        "pre-activations at ±50": biased(5, 7, "tanh", lambda x: alternating(x, 50.0)),
        "pre-activations at ±1000": biased(5, 7, "tanh", lambda x: alternating(x, 1000.0)),
        APART: where_the_forms_differ(5, 7, "none"),
    },
    apart={APART: ("x",)},
    tells={"all of size one": ("times x", "no bias")},
    moves=moved_by_bias_gelu,
)

SOFTMAX_EXP = f"np.exp(x - {MAXIMUM})"
PADDING = "2 ** int(np.ceil(np.log2(x.shape[axis]))) - x.shape[axis]"


def scores(batch: int, d: int, offset: float = 0.0) -> Draw:
    return lambda rng: {"x": rng.standard_normal((batch, d)) + offset, "axis": -1}


def moved_by_softmax(inputs: Mapping[str, Any]) -> int:
    """Bytes: x and p once."""
    return int(FLOAT * 2 * inputs["x"].size)


SOFTMAX_KERNEL = Question(
    name="softmax_kernel",
    reference=(softmax_forward,),
    outputs=("p",),
    calls=("softmax",),
    tensors=True,
    tolerance=1e-4,
    draws={"3 rows of 5": scores(3, 5), "7 rows of 37": scores(7, 37), "2 rows of 1000": scores(2, 1000)},
    mistakes={
        "padding of zeros": slip(
            "the lanes behind the end of the row count as scores of 0, so that they get a share of the probability: "
            'load them with other=float("-inf"), whose exponential is 0',
            softmax_forward,
            (SOFTMAX_EXP, "np.exp(x - np.maximum(x.max(axis=axis, keepdims=True), 0.0))"),
            (
                f"e / {TOTAL}",
                f"e / ({TOTAL} + ({PADDING}) * np.exp(-np.maximum(x.max(axis=axis, keepdims=True), 0.0)))",
            ),
        ),
        "maximum over zeros": slip(
            "the maximum is taken over the padding too: the lanes behind the end of the row were loaded as 0, so that "
            'a row far below 0 becomes 0 / 0. Load them with other=float("-inf")',
            softmax_forward,
            (SOFTMAX_EXP, f"np.exp(np.float32(x - np.maximum({MAXIMUM}, 0.0))).astype(float)"),
        ),
        "no maximum": slip(
            "exp overflows in float32 for scores above 88, and below -104 a row is 0 / 0: subtract the maximum of the "
            "row first",
            softmax_forward,
            (SOFTMAX_EXP, "np.exp(np.float32(x)).astype(float)"),
        ),
        "not normalized": slip(
            "your rows do not sum to 1: divide by tl.sum of the exponentials", softmax_forward, (f"e / {TOTAL}", "e")
        ),
    },
    edges={
        "a single score": scores(3, 1),
        "rows near 1000": scores(3, 7, 1000.0),
        "rows near -1000": scores(3, 7, -1000.0),
        APART: scores(5, 7),
    },
    apart={APART: ("x",)},
    moves=moved_by_softmax,
)

QUESTIONS = (
    SIGMOID,
    TANH_BACKWARD,
    LEAKY_RELU_BACKWARD,
    WHICH_SLIP,
    SOFTPLUS_FORWARD,
    ELU_FORWARD,
    ELU_BACKWARD,
    SOFTMAX_FORWARD,
    SOFTMAX_BACKWARD,
    GELU_FORWARD,
    GELU_BACKWARD,
    BIAS_GELU_KERNEL,
    SOFTMAX_KERNEL,
)
