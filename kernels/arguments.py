"""Arguments of host functions: does a kernel take them, and will autograd ask for gradients?"""

import torch

from kernels import INTERPRETED

# The interpreter computes wrong numbers in bfloat16.
DTYPES = (torch.float32, torch.float16) if INTERPRETED else (torch.float32, torch.float16, torch.bfloat16)


def _expected_shape(axes, sizes):
    """Write down a shape as far as it is known: (3, 28) for "batch 4*d_h", batch 3 and d_h 7."""
    known = []
    for axis in axes:
        times, _, name = axis.rpartition("*")
        known.append(str(int(times or 1) * sizes[name]) if name in sizes else axis)
    return f"({', '.join(known)}{',' * (len(known) == 1)})"


def check_tensors(**expected):
    """Raise ValueError unless the tensors fit together: `x=(x, "batch d_in")` names one and its axes.

    An axis gets its size where it is first named; "4*d_h" is four times that of d_h. Dtype and device are those of
    the first tensor, which has to be one that the kernels can take.
    """
    for name, (tensor, _) in expected.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(f"expected {name} to be a torch tensor, got {type(tensor).__name__}")
    first, (model, _) = next(iter(expected.items()))
    if not INTERPRETED and not model.is_cuda:
        raise ValueError(f"expected tensors on a CUDA device (or TRITON_INTERPRET=1), got {first} on {model.device}")
    if model.dtype not in DTYPES:
        raise ValueError(f"expected {first} of dtype {' or '.join(map(str, DTYPES))}, got {model.dtype}")
    sizes = {}
    for name, (tensor, text) in expected.items():
        axes = text.split()
        if tensor.ndim == len(axes):
            sizes = dict(zip(axes, tensor.shape, strict=True)) | sizes
        wanted = f"{_expected_shape(axes, sizes)} {model.dtype} on {model.device}"
        got = f"{tuple(tensor.shape)} {tensor.dtype} on {tensor.device}"
        if got != wanted:
            raise ValueError(f"expected {name} of {wanted}, got {got}")


def check_labels(labels, count, device):
    """Raise ValueError unless labels is a vector of integers from 0 to count - 1 on the device.

    On a GPU their range is not looked at, since the answer would have to be waited for.
    """
    if not isinstance(labels, torch.Tensor):
        raise ValueError(f"expected labels to be a torch tensor, got {type(labels).__name__}")
    if labels.ndim != 1 or labels.dtype not in (torch.int32, torch.int64) or labels.device != device:
        got = f"{tuple(labels.shape)} {labels.dtype} on {labels.device}"
        raise ValueError(f"expected labels of one axis, torch.int32 or torch.int64, on {device}, got {got}")
    if not labels.is_cuda and len(labels) and not 0 <= labels.min() <= labels.max() < count:
        raise ValueError(f"expected labels in 0..{count - 1}, got {labels.min()} to {labels.max()}")


def whole_rows(*tensors):
    """Copy those matrices whose rows are scattered in memory; rows that lie apart from each other may stay."""
    return [tensor if tensor.stride(1) == 1 else tensor.contiguous() for tensor in tensors]


def want_gradients(*tensors):
    """Say whether autograd will ask for the gradient at one of the tensors."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
