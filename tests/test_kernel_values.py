"""Every kernel against its NumPy twin in float64, found by name; its gradients; its memory."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED, checker
from tests import kernel_twins
from tests.kernel_guards import guarded_outputs
from tests.tolerances import assert_close

TWINS = kernel_twins.twins()
DTYPES = {"float32": torch.float32, "float16": torch.float16}


def cases(differentiable: bool = False) -> list:
    """Each twin with each of its settings and sizes."""
    return [
        pytest.param(twin, setting, lengths, id=" ".join([name, *map(str, setting.values()), label]))
        for name, twin in TWINS.items()
        if twin.backward or not differentiable
        for setting in kernel_twins.settings(twin.forward)
        for label, lengths in kernel_twins.sizes(twin.forward).items()
    ]


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Outputs lie between guards, and no launch of a test reaches out of bounds or races."""
    with guarded_outputs(), checker.watch() if INTERPRETED else pytest.MonkeyPatch.context() as launches:
        yield
    if INTERPRETED:
        assert [finding.message for launch in launches for finding in launch.findings] == []


def assert_kernel_close(came: torch.Tensor, expected: np.ndarray) -> None:
    """Compare as closely as the dtype allows; on a GPU the products keep ten bits, like float16."""
    numbers = came.detach().cpu().numpy()
    rough = numbers.dtype.kind == "f" and not INTERPRETED
    assert_close(numbers.astype(np.float16) if rough else numbers, np.asarray(expected))


def apart(tensor: torch.Tensor, gap: int) -> torch.Tensor:
    """The same numbers in rows that lie apart in memory, with NaN between them."""
    if not isinstance(tensor, torch.Tensor) or tensor.ndim < 2 or not tensor.is_floating_point():
        return tensor
    wide = torch.full((*tensor.shape[:-1], tensor.shape[-1] + gap), torch.nan, dtype=tensor.dtype, device=tensor.device)
    wide[..., gap // 2 : gap // 2 + tensor.shape[-1]] = tensor
    return wide[..., gap // 2 : gap // 2 + tensor.shape[-1]]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize(("twin", "setting", "lengths"), cases())
def test_a_kernel_equals_its_numpy_twin(twin, setting, lengths, dtype, rng):
    arguments = kernel_twins.draw(twin.forward, rng, lengths, setting, dtype)
    came = kernel_twins.outputs(twin.host(*arguments.values()))
    expected = kernel_twins.expected(twin, arguments)
    assert len(came) == len(expected)
    for output, right in zip(came, expected, strict=True):
        assert_kernel_close(output, right)


@pytest.mark.parametrize("name", [name for name, twin in TWINS.items() if twin.forward.__name__ == name])
def test_a_kernel_takes_rows_that_lie_apart(name, rng):
    twin = TWINS[name]
    for setting in kernel_twins.settings(twin.forward):
        arguments = kernel_twins.draw(twin.forward, rng, kernel_twins.sizes(twin.forward)["small"], setting)
        spread = [apart(value, 3 + 2 * k) for k, value in enumerate(arguments.values())]
        came = kernel_twins.outputs(twin.host(*spread))
        for output, right in zip(came, kernel_twins.expected(twin, arguments), strict=True):
            assert_kernel_close(output, right)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES.keys())
@pytest.mark.parametrize(("twin", "setting", "lengths"), cases(differentiable=True))
def test_autograd_gives_the_gradients_of_the_numpy_twin(twin, setting, lengths, dtype, rng):
    arguments = kernel_twins.draw(twin.forward, rng, lengths, setting, dtype)
    floats = [value.requires_grad_() for value in arguments.values() if kernel_twins.has_gradient(value)]
    came = kernel_twins.outputs(twin.host(*arguments.values()))
    upstream = [torch.tensor(rng.standard_normal(tuple(output.shape))).to(output) for output in came]
    gradients = torch.autograd.grad(came, floats, upstream, allow_unused=True, materialize_grads=True)
    expected = kernel_twins.expected_gradients(twin, arguments, upstream)
    if max(lengths.values()) == 1:  # terms may cancel in a single number: the largest gradient sets the scale
        gradients = [torch.cat([gradient.flatten() for gradient in gradients])]
        expected = [np.concatenate([np.ravel(right) for right in expected])]
    for gradient, right in zip(gradients, expected, strict=True):
        assert_kernel_close(gradient, right)


@pytest.mark.parametrize("name", TWINS)
def test_a_kernel_leaves_its_arguments_as_they_were(name, rng):
    twin = TWINS[name]
    for setting in kernel_twins.settings(twin.forward):
        arguments = kernel_twins.draw(twin.forward, rng, kernel_twins.sizes(twin.forward)["small"], setting)
        before = [value.clone() if isinstance(value, torch.Tensor) else value for value in arguments.values()]
        twin.host(*arguments.values())
        for name_of, old in zip(arguments, before, strict=True):
            assert torch.equal(arguments[name_of], old) if isinstance(old, torch.Tensor) else True, name_of
