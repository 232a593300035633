"""Style transfer in torch: losses, two feature extractors, and the optimized image."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d, pad

# --- losses -----------------------------------------------------------------------


def gram_forward(
    F: Float[Tensor, "batch channels positions"],
    normalize: Literal["positions", "all", "none"] = "positions",
) -> Float[Tensor, "batch channels channels"]:
    """Return the inner products of all pairs of channels of each image (eq. gram)."""
    _, channels, positions = F.shape
    divisors = {"positions": positions, "all": channels * positions, "none": 1}
    return F @ F.mT / divisors[normalize]


def style_loss_forward(
    F: Float[Tensor, "batch channels positions"],
    A: Float[Tensor, "channels channels"],
) -> Float[Tensor, ""]:
    """Return the squared distance of the Gram matrices to A (eq. style-loss)."""
    return ((gram_forward(F) - A) ** 2).sum() / (4 * len(A) ** 2)


def content_loss_forward(
    F: Float[Tensor, "batch channels positions"],
    P: Float[Tensor, "batch channels positions"],
) -> Float[Tensor, ""]:
    """Return half of the squared distance of features (eq. content-loss)."""
    return ((F - P) ** 2).sum() / 2


def tv_loss_forward(x: Float[Tensor, "batch channels height width"]) -> Tensor:
    """Return the squared differences of neighboring pixels (eq. tv-loss)."""
    return (x.diff(dim=2) ** 2).sum() + (x.diff(dim=3) ** 2).sum()


# --- feature extractors -----------------------------------------------------------


class RandomFilters(nn.Module):
    """The colors, and random filters of several sizes with ReLU.

    Ustyuzhaninov et al. 2016, whose filters see the colors themselves.
    """

    def __init__(
        self,
        generator: torch.Generator,
        sizes: Sequence[int] = (3, 5, 7, 11, 15),
        channels: int = 16,
    ) -> None:
        """Draw as many filters of each size, whose outputs are of one scale."""
        super().__init__()
        for size in sizes:
            W = torch.randn(channels, 3, size, size, generator=generator)
            W = W - W.mean(dim=(2, 3), keepdim=True)  # of edges, not of light
            self.register_buffer(f"W_{size}", W / (3 * size**2) ** 0.5)

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return the colors and the maps of all sizes (eq. random-filters)."""
        maps = [x]
        for W in self.buffers():
            margin = W.shape[-1] // 2
            mirrored = pad(x, [margin] * 4, mode="reflect")
            maps.append(conv2d(mirrored, W).relu())
        return torch.cat(maps, dim=1)


# The convolutions of VGG-19, by their number among all layers of torchvision's
# `features`, and how many times the width each gives; between the blocks, pooling.
VGG19_BLOCKS = (
    ((0, 1), (2, 1)),
    ((5, 2), (7, 2)),
    ((10, 4), (12, 4), (14, 4), (16, 4)),
    ((19, 8), (21, 8), (23, 8), (25, 8)),
    ((28, 8), (30, 8), (32, 8), (34, 8)),
)


def vgg19_shapes(width: int = 64) -> dict[str, tuple[int, ...]]:
    """Return the shape of each weight and bias by torchvision's name for it."""
    shapes: dict[str, tuple[int, ...]] = {}
    c_in = 3
    for number, times in (layer for block in VGG19_BLOCKS for layer in block):
        c_out = times * width
        shapes[f"features.{number}.weight"] = (c_out, c_in, 3, 3)
        shapes[f"features.{number}.bias"] = (c_out,)
        c_in = c_out
    return shapes


def load_vgg19(path: str | Path, width: int = 64) -> dict[str, Tensor]:
    """Read the convolutions of a VGG-19 from a file in torchvision's layout.

    The classifier, which style transfer does not need, may be there or not. Raises
    ValueError where the file holds no such weights, FileNotFoundError where it is not.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise ValueError(f"expected a dict of weights, got {type(state).__name__}")
    shapes = vgg19_shapes(width)
    if missing := [name for name in shapes if name not in state]:
        raise ValueError(
            f"expected the weights of a VGG-19, got none by the name {missing[0]} "
            f"({len(missing)} of {len(shapes)} are missing): is it another network?"
        )
    for name, shape in shapes.items():
        tensor = state[name]
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape:
            got = tuple(getattr(tensor, "shape", (type(tensor).__name__,)))
            raise ValueError(f"expected {name} of shape {shape}, got {got}")
        if not tensor.is_floating_point():
            raise ValueError(f"expected {name} of floats, got {tensor.dtype}")
    return {name: state[name].float() for name in shapes}


class VGG19(nn.Module):
    """The convolutions of VGG-19 with given weights (Simonyan & Zisserman 2015).

    Layers are named as in the papers on style: "conv4_2" is the second one of block 4,
    behind its ReLU.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        layers: Sequence[str],
        pool: Literal["max", "average"] = "average",
    ) -> None:
        """Keep the weights up to the last layer asked for."""
        super().__init__()
        blocks = enumerate(VGG19_BLOCKS, start=1)
        names = [f"conv{b}_{k + 1}" for b, block in blocks for k in range(len(block))]
        if unknown := [layer for layer in layers if layer not in names]:
            raise ValueError(f"expected layers conv1_1 to conv5_4, got {unknown}")
        self.layers = tuple(layers)
        self.pool = {"max": max_pool2d, "average": avg_pool2d}[pool]
        self.names = names[: 1 + max(names.index(layer) for layer in layers)]
        numbers = [number for block in VGG19_BLOCKS for number, _ in block]
        for name, number in zip(self.names, numbers, strict=False):
            for kind in ("weight", "bias"):
                self.register_buffer(
                    f"{name}_{kind}", weights[f"features.{number}.{kind}"]
                )
        for name, numbers_of in (
            ("mean", (0.485, 0.456, 0.406)),  # of the images it was trained on
            ("std", (0.229, 0.224, 0.225)),
        ):
            self.register_buffer(name, torch.tensor(numbers_of)[:, None, None])

    def forward(self, x: Float[Tensor, "batch 3 height width"]) -> list[Tensor]:
        """Return the maps of each layer asked for; pixels of x lie in 0..1."""
        x, found = (x - self.mean) / self.std, {}
        for k, name in enumerate(self.names):
            if k and name.endswith("_1"):
                x = self.pool(x, 2)
            weight, bias = (getattr(self, f"{name}_{s}") for s in ("weight", "bias"))
            x = conv2d(x, weight, bias, padding=1).relu()
            found[name] = x
        return [found[layer] for layer in self.layers]


# --- the image that is optimized --------------------------------------------------


def optimize_pixels(
    x: Float[Tensor, "batch 3 height width"],
    loss: Callable[[Tensor], Tensor],
    evaluations: int,
) -> tuple[Float[Tensor, "batch 3 height width"], list[float]]:
    """Change the pixels by L-BFGS until the loss was evaluated so many times.

    Eq. style-total; Liu & Nocedal 1989. Return the best image and the loss at each
    evaluation.
    """
    pixels = x.detach().contiguous().clone().requires_grad_()
    history: list[float] = []
    best: list[tuple[float, Tensor]] = []
    optimizer = torch.optim.LBFGS(
        [pixels],
        max_iter=evaluations,
        max_eval=evaluations,
        history_size=20,
        tolerance_grad=0,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(pixels)
        value.backward()
        history.append(value.item())
        if not best or history[-1] < best[0][0]:
            best[:] = [(history[-1], pixels.detach().clone())]
        return value

    optimizer.step(closure)
    return best[0][1], history
