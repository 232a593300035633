"""Torch twins of generalized IoU and YOLO's loss, and a small YOLO."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def giou_forward(
    a: Float[Tensor, "boxes 4"], b: Float[Tensor, "boxes 4"]
) -> Float[Tensor, " boxes"]:
    """Return the generalized IoU of each pair of boxes (eq. giou)."""
    meet = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    frame = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    inter, hull = meet.clamp(min=0).prod(dim=1), frame.prod(dim=1)
    area_a, area_b = (
        (a[:, 2:] - a[:, :2]).prod(dim=1),
        (b[:, 2:] - b[:, :2]).prod(dim=1),
    )
    union = area_a + area_b - inter
    return inter / union - (hull - union) / hull


def diou_forward(
    a: Float[Tensor, "boxes 4"], b: Float[Tensor, "boxes 4"]
) -> Float[Tensor, " boxes"]:
    """Return IoU minus the squared distance of the centers over the hull's diagonal's.

    Eq. diou.
    """
    meet = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    frame = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    inter = meet.clamp(min=0).prod(dim=1)
    area_a, area_b = (
        (a[:, 2:] - a[:, :2]).prod(dim=1),
        (b[:, 2:] - b[:, :2]).prod(dim=1),
    )
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    far = (apart**2).sum(dim=1) / (frame**2).sum(dim=1)
    return inter / (area_a + area_b - inter) - far


def yolo_loss_forward(
    pred: Float[Tensor, "cells predictors 5"],
    p: Float[Tensor, "cells classes"],
    target: Float[Tensor, "cells predictors 5"],
    y: Float[Tensor, "cells classes"],
    chosen: Bool[Tensor, "cells predictors"],
    coord: float = 5.0,
    empty: float = 0.5,
) -> Float[Tensor, ""]:
    """Return YOLO's sum of weighted squares (eq. yolo-loss)."""
    off = (pred - target) ** 2
    boxes = off[..., :4].sum(dim=2)[chosen].sum()
    found, missing = off[..., 4][chosen].sum(), off[..., 4][~chosen].sum()
    classes = ((p - y) ** 2)[chosen.any(dim=1)].sum()
    return coord * boxes + found + empty * missing + classes


class MiniYolo(nn.Module):
    """Predict boxes and a class in every cell of an image: four convolutions, one look.

    Each of the strided layers halves the image, so that an output sees the cell that it
    speaks for and its neighbors.
    """

    def __init__(self, classes: int = 10, predictors: int = 2, width: int = 16) -> None:
        super().__init__()
        self.predictors = predictors
        layers: list[nn.Module] = []
        for c_in, c_out in ((1, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(c_in, c_out, 3, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(c_out), nn.LeakyReLU(0.1)]
        layers += [nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(4 * width, 5 * predictors + classes, 1)

    def forward(
        self, x: Float[Tensor, "batch 1 height width"]
    ) -> tuple[
        Float[Tensor, "batch rows cols {self.predictors} 5"],
        Float[Tensor, "batch rows cols classes"],
    ]:
        """Return (pred, p): boxes with their objectness, and class probabilities."""
        out = self.head(self.body(x)).permute(0, 2, 3, 1)
        boxes, logits = out.tensor_split([5 * self.predictors], dim=3)
        pred = boxes.sigmoid().unflatten(3, (self.predictors, 5))
        return pred, logits.softmax(dim=3)
