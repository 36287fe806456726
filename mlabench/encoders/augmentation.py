"""Pictures as networks want them: scaled, normalised, and randomly cropped and mirrored while training.

All of it happens on whole batches, on the device, with torch's global random generator. The source of a crop is the
cached picture, already resized, whereas torchvision's ``RandomResizedCrop`` cuts from the original file: a small
crop is thus blurrier here, and its shape is drawn relative to a square. Bilinear interpolation near the border of
a crop also sees the pixels just outside it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

# Options of encoders of pictures.
Fit = Annotated[
    Literal["stretch", "contain", "cover"],
    Field(description="How a picture is made square: distorted, padded or cut."),
]
Augment = Annotated[bool, Field(description="Crop and mirror pictures at random while training; never where frozen.")]

#: Mean and standard deviation of ImageNet's pictures per channel, in [0, 1].
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: How often a box is drawn until it fits into the picture; then the whole picture is taken, as in torchvision.
_ATTEMPTS = 10


class PictureInput(nn.Module):
    """Makes uint8 pictures floats, augments them while training if asked to, and normalises each channel."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD, *, augment: bool
    ) -> None:
        super().__init__()
        self.augment = augment
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Float32 of the same shape as the uint8 ``pictures [..., 3, S, S]``; each is augmented on its own."""
        values = pictures.float() / 255
        if self.augment and self.training:
            flat = values.flatten(0, -4)
            boxes = random_boxes(len(flat), flat.device)
            mirrored = torch.rand(len(flat), device=flat.device) < 0.5
            values = crop(flat, boxes, mirrored).view_as(values)
        return (values - self.mean) / self.std


def random_boxes(
    count: int,
    device: torch.device,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Random parts of a unit square, after Szegedy et al. 2015 (GoogLeNet): left, top, width, height. ``[count, 4]``

    The area is drawn uniformly from ``scale``, width / height from ``ratio``, uniformly in its logarithm.
    """
    area = torch.empty(count, _ATTEMPTS, device=device).uniform_(*scale)
    low, high = torch.tensor(ratio).log().tolist()
    shape = torch.empty_like(area).uniform_(low, high).exp()
    sides = torch.stack([(area * shape).sqrt(), (area / shape).sqrt()], dim=-1)
    fits = (sides <= 1).all(dim=-1)
    first = fits.int().argmax(dim=1)
    chosen = sides[torch.arange(count, device=device), first]
    size = torch.where(fits.any(dim=1, keepdim=True), chosen, 1.0)
    corner = torch.rand(count, 2, device=device) * (1 - size)
    return torch.cat([corner, size], dim=1)


def crop(pictures: Tensor, boxes: Tensor, mirrored: Tensor) -> Tensor:
    """Cuts a box out of each of ``pictures [n, C, H, W]``, enlarges it bilinearly to the full size, and mirrors some.

    ``boxes [n, 4]`` are left, top, width and height as fractions of the picture; ``mirrored [n]`` is bool.
    """
    left, top, width, height = boxes.unbind(dim=1)
    zero = torch.zeros_like(left)
    rows = [
        torch.stack([torch.where(mirrored, -width, width), zero, 2 * left + width - 1], dim=1),
        torch.stack([zero, height, 2 * top + height - 1], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
