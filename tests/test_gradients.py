"""Every layer's backward against central differences of its forward.

The layers are found by name: a pair `<layer>_forward`, `<layer>_backward` in `solutions/` is tested by
existing. The inputs come from the annotations, the gradients that arrive are random, and every index of every
gradient is checked, with every combination of the layer's Literal parameters.
"""

import importlib
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float

import solutions
from autograder import cases
from solutions import losses
from solutions.activations import sigmoid
from tests import boxes, windows
from tests.tolerances import GRADIENT_ERROR, relative_error

Array = np.ndarray

LOOPED = {"layers": 3, "time": 5}  # axes that the reference walks along in Python: each step costs time

# Arguments of a layer that must lie between 0 and 1: there the sigmoid of what is drawn takes its place.
BETWEEN_0_AND_1 = {
    losses.bce_forward: ("p", "y"),
    losses.bce_with_logits_forward: ("y",),
    losses.categorical_cross_entropy_forward: ("p",),
}


class Layer(NamedTuple):
    forward: Callable
    backward: Callable


def halves(suffix: str) -> dict[str, Callable]:
    """Every public function of the NumPy reference whose name ends in the suffix, by what precedes it."""
    names = [module.name for module in pkgutil.iter_modules(solutions.__path__)]
    modules = [importlib.import_module(f"solutions.{name}") for name in names if not name.endswith("_torch")]
    return {
        f"{module.__name__.removeprefix('solutions.')}.{name.removesuffix(suffix)}": function
        for module in modules
        for name, function in vars(module).items()
        if name.endswith(suffix) and not name.startswith("_") and function.__module__ == module.__name__
    }


FORWARD, BACKWARD = halves("_forward"), halves("_backward")
LAYERS = {name: Layer(FORWARD[name], BACKWARD[name]) for name in FORWARD if name in BACKWARD}


def settings(function: Callable) -> list[dict[str, object]]:
    """Every combination of the choices of the function's Literal parameters, or the settings of its window."""
    if function.__name__ in windows.SETTINGS:
        return list(windows.SETTINGS[function.__name__])
    choices = cases.literals(function)
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def drawn(function: Callable, rng: np.random.Generator, **options) -> dict[str, object]:
    """Inputs from the annotations, where the layer takes them."""
    axes = " ".join(cases.shapes(function).values()).split()
    known = windows.SMALL if function.__name__ in windows.SETTINGS else {}
    fixed = {axis: size for axis, size in known.items() if axis in axes}
    inputs = cases.draw(function, rng, sizes=fixed | options.get("sizes", {}))
    inputs |= {name: sigmoid(inputs[name]) for name in BETWEEN_0_AND_1.get(function, ())}
    return boxes.in_order(function, inputs)


def small_inputs(function: Callable, rng: np.random.Generator) -> dict[str, object]:
    """The smallest of many draws: a central difference costs two forward passes per number."""
    axes = " ".join(cases.shapes(function).values()).split()
    sizes = {axis: size for axis, size in LOOPED.items() if axis in axes}

    def numbers(inputs: dict[str, object]) -> int:
        return sum(np.size(value) for value in inputs.values())

    return min((drawn(function, rng, sizes=sizes) for _ in range(40)), key=numbers)


def freeze(*arrays: object) -> None:
    """Make any attempt to write to the arrays raise."""
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)


@contextmanager
def unchecked() -> Iterator[None]:
    """Leave out the shape checks, which one call has passed already, from the thousands of the same kind."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def numerical_gradient(function: Callable[[Array], tuple], x: Array, upstream: list[Array]) -> Array:
    """Central differences of sum(upstream * outputs) at every index of x, with h = 1e-6 max(1, |x|)."""
    gradient, above, below = np.empty_like(x), x.copy(), x.copy()
    for index in np.ndindex(x.shape):
        h = 1e-6 * max(1.0, abs(x[index]))
        above[index] += h
        below[index] -= h
        outputs = zip(upstream, function(above), function(below), strict=True)
        change = sum(np.sum(d * (up - down)) for d, up, down in outputs)
        gradient[index] = change / (above[index] - below[index])
        above[index] = below[index] = x[index]
    return gradient


def outputs_at(forward: Callable, inputs: dict[str, object], name: str) -> Callable[[Array], tuple]:
    """The outputs as a function of one argument, with the others fixed."""
    return lambda value: forward(**inputs | {name: value})[:-1]


def gradient_errors(layer: Layer, inputs: dict[str, object], rng: np.random.Generator) -> dict[str, float]:
    """The relative error of the gradient of every Float argument, by name."""
    freeze(*inputs.values())
    *outputs, cache = layer.forward(**inputs)
    upstream = [np.asarray(rng.standard_normal(np.shape(out))) for out in outputs]
    freeze(*upstream)
    gradients = layer.backward(*upstream, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    arguments = {name: x for name, x in inputs.items() if getattr(x, "dtype", None) == np.float64}
    errors = {}
    with unchecked():
        for (name, x), gradient in zip(arguments.items(), gradients, strict=True):
            assert gradient.shape == x.shape, f"{name} has shape {x.shape}, its gradient {gradient.shape}"
            function = outputs_at(layer.forward, inputs, name)
            errors[name] = relative_error(gradient, numerical_gradient(function, x, upstream))
    return errors


def cases_of_every_layer() -> list:
    return [
        pytest.param(layer, setting, id="-".join([name, *map(str, setting.values())]))
        for name, layer in LAYERS.items()
        for setting in settings(layer.forward)
    ]


@pytest.mark.parametrize(("layer", "setting"), cases_of_every_layer())
def test_backward_equals_the_central_differences_of_forward(layer, setting, rng):
    errors = gradient_errors(layer, small_inputs(layer.forward, rng) | setting, rng)
    assert {name: error for name, error in errors.items() if error > GRADIENT_ERROR} == {}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_backward_gives_the_same_gradients_when_it_is_called_again(layer, rng):
    *outputs, cache = layer.forward(**drawn(layer.forward, rng))
    upstream = [rng.standard_normal(np.shape(out)) for out in outputs]
    first, second = layer.backward(*upstream, cache), layer.backward(*upstream, cache)
    for once, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(once, again)


def test_every_forward_has_its_backward():
    assert FORWARD.keys() == BACKWARD.keys()


def test_there_are_layers_to_check():
    assert LAYERS


# The rest proves that the check itself can fail, on a layer so simple that one sees what is wrong with it.


def scale_forward(
    x: Float[Array, "batch d"], w: Float[Array, " d"], sign: Literal["plus", "minus"] = "plus"
) -> tuple[Float[Array, "batch d"], tuple]:
    factor = 1 if sign == "plus" else -1
    return factor * x * w, (x, w, factor)


def scale_backward(dout, cache):
    x, w, factor = cache
    return factor * dout * w, factor * (dout * x).sum(axis=0)


def forgets_the_sign(dout, cache):
    x, w, _ = cache
    return scale_backward(dout, (x, w, 1))


def ignores_what_arrives(dout, cache):
    return scale_backward(np.ones_like(dout), cache)


def sums_the_weight_over_one_sample_too_few(dout, cache):
    dx, _ = scale_backward(dout, cache)
    return dx, scale_backward(dout[1:], (cache[0][1:], *cache[1:]))[1]


def is_off_in_one_entry_by_a_hundred_thousandth(dout, cache):
    dx, dw = scale_backward(dout, cache)
    dx[np.unravel_index(np.abs(dx).argmax(), dx.shape)] *= 1 + 1e-5
    return dx, dw


def worst_error(backward: Callable, sign: str, rng: np.random.Generator) -> float:
    inputs = small_inputs(scale_forward, rng) | {"sign": sign}
    return max(gradient_errors(Layer(scale_forward, backward), inputs, rng).values())


@pytest.mark.parametrize("sign", ["plus", "minus"])
def test_the_check_passes_a_right_backward(sign, rng):
    assert worst_error(scale_backward, sign, rng) <= GRADIENT_ERROR


@pytest.mark.parametrize(
    "backward",
    [
        forgets_the_sign,
        ignores_what_arrives,
        sums_the_weight_over_one_sample_too_few,
        is_off_in_one_entry_by_a_hundred_thousandth,
    ],
)
def test_the_check_fails_a_wrong_backward(backward, rng):
    assert worst_error(backward, "minus", rng) > GRADIENT_ERROR


def test_the_check_fails_a_missing_gradient(rng):
    with pytest.raises(ValueError, match="shorter"):
        worst_error(lambda dout, cache: scale_backward(dout, cache)[:1], "plus", rng)


def test_the_check_fails_a_gradient_of_the_wrong_shape(rng):
    with pytest.raises(AssertionError, match="its gradient"):
        worst_error(lambda dout, cache: scale_backward(dout, cache)[::-1], "plus", rng)


def test_the_check_fails_a_backward_that_writes_to_its_input(rng):
    def overwrites_what_arrives(dout, cache):
        dout *= cache[1]
        return dout, (dout * cache[0]).sum(axis=0)

    with pytest.raises(ValueError, match="read-only"):
        worst_error(overwrites_what_arrives, "plus", rng)
