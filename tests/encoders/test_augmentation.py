from __future__ import annotations

import numpy as np
import pytest
import torch

from mlabench.encoders.augmentation import IMAGENET_MEAN, IMAGENET_STD, PictureInput, crop, random_boxes

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
NO = torch.tensor([False])


def pictures(count=3, size=16, frames=()):
    torch.manual_seed(0)
    return torch.randint(0, 256, (count, *frames, 3, size, size), dtype=torch.uint8)


def bilinear(picture, x, y):
    """The value of ``picture [S, S]`` at the point (x, y), pixel centres lying at halves; edges go on outside."""
    size = len(picture)
    x, y = np.clip([x - 0.5, y - 0.5], 0, size - 1)
    left, top = min(int(x), size - 2), min(int(y), size - 2)
    across, down = x - left, y - top
    upper = (1 - across) * picture[top, left] + across * picture[top, left + 1]
    lower = (1 - across) * picture[top + 1, left] + across * picture[top + 1, left + 1]
    return (1 - down) * upper + down * lower


def test_whole_picture_is_the_picture():
    values = pictures(1).float()
    torch.testing.assert_close(crop(values, WHOLE, NO), values, rtol=0, atol=1e-3)


def test_mirrored_picture():
    values = pictures(1).float()
    torch.testing.assert_close(crop(values, WHOLE, ~NO), values.flip(-1), rtol=0, atol=1e-3)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("box", [(0.1, 0.3, 0.45, 0.6), (0.0, 0.0, 0.25, 0.3), (0.5, 0.75, 0.5, 0.25)])
def test_crop_by_hand(box, mirrored):
    values = pictures(1, size=12).double()
    result = crop(values, torch.tensor([box]).double(), torch.tensor([mirrored]))[0].numpy()
    left, top, width, height = (12 * number for number in box)
    expected = np.empty((3, 12, 12))
    for channel, picture in enumerate(values[0].numpy()):
        for row in range(12):
            for column in range(12):
                place = 11 - column if mirrored else column
                x, y = left + (place + 0.5) / 12 * width, top + (row + 0.5) / 12 * height
                expected[channel, row, column] = bilinear(picture, x, y)
    np.testing.assert_allclose(result, expected, atol=1e-4)


def test_every_picture_has_its_own_box():
    values = pictures(2).float()
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.2, 0.1, 0.5, 0.5]])
    both = crop(values, boxes, torch.tensor([True, False]))
    for row in range(2):
        alone = crop(values[[row]], boxes[[row]], torch.tensor([row == 0]))
        torch.testing.assert_close(both[[row]], alone)


def test_boxes_lie_inside_and_have_the_drawn_shapes():
    torch.manual_seed(0)
    left, top, width, height = random_boxes(20_000, torch.device("cpu")).double().numpy().T
    assert (left >= 0).all() and (top >= 0).all()
    assert (left + width <= 1 + 1e-6).all() and (top + height <= 1 + 1e-6).all()
    area, ratio = width * height, width / height
    assert area.min() >= 0.08 - 1e-6 and area.max() > 0.99
    assert ratio.min() >= 3 / 4 - 1e-6 and ratio.max() <= 4 / 3 + 1e-6
    # Below 3/4 every box fits, so the area is uniform there.
    small = area[area < 0.75]
    assert np.histogram(small, 5, (0.08, 0.75))[0] / len(small) == pytest.approx(np.full(5, 0.2), abs=0.015)
    assert np.log(ratio[area < 0.75]).mean() == pytest.approx(0, abs=0.01)
    # Corners are uniform over where they may lie.
    assert (left / np.maximum(1 - width, 1e-9)).mean() == pytest.approx(0.5, abs=0.02)


def test_area_agrees_with_drawing_one_by_one():
    """The rejection rule of GoogLeNet's sampling, box by box, in NumPy."""
    random = np.random.default_rng(0)
    areas = []
    for _ in range(20_000):
        for _ in range(10):
            area, ratio = random.uniform(0.08, 1), np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3)))
            if area * ratio <= 1 and area / ratio <= 1:
                break
        else:
            area = 1.0
        areas.append(area)
    torch.manual_seed(0)
    boxes = random_boxes(20_000, torch.device("cpu")).double().numpy()
    ours = boxes[:, 2] * boxes[:, 3]
    points = np.linspace(0.02, 0.98, 20)
    np.testing.assert_allclose(np.quantile(ours, points), np.quantile(areas, points), atol=0.02)


def test_a_box_that_never_fits_becomes_the_whole_picture():
    boxes = random_boxes(5, torch.device("cpu"), scale=(1.0, 1.0), ratio=(1.2, 1.3))
    assert torch.equal(boxes, WHOLE.expand(5, 4))


def test_scaling_without_augmentation():
    values = pictures()
    for module in (PictureInput(augment=False).train(), PictureInput(augment=True).eval()):
        mean, std = (np.reshape(numbers, (3, 1, 1)) for numbers in (IMAGENET_MEAN, IMAGENET_STD))
        np.testing.assert_allclose(module(values).numpy(), (values.numpy() / 255 - mean) / std, atol=1e-5)


def test_augmentation_follows_the_global_generator():
    module = PictureInput(augment=True).train()
    values = pictures()
    torch.manual_seed(3)
    first, second = module(values), module(values)
    torch.manual_seed(3)
    assert torch.equal(module(values), first)
    assert not torch.allclose(first, second)


def test_frames_are_augmented_one_by_one():
    module = PictureInput(augment=True).train()
    values = pictures(2, frames=(4,))
    values[:, 1:] = values[:, :1]
    torch.manual_seed(0)
    result = module(values)
    assert result.shape == values.shape
    assert not torch.allclose(result[:, 0], result[:, 1])
    torch.manual_seed(0)
    assert torch.equal(module(values.flatten(0, 1)), result.flatten(0, 1)), "frames are pictures in a row"


def test_half_of_the_pictures_are_mirrored():
    ramp = torch.arange(16, dtype=torch.uint8).mul(16).expand(2000, 3, 16, 16)
    torch.manual_seed(0)
    result = PictureInput(augment=True).train()(ramp)
    mirrored = (result[:, 0, 0, 0] > result[:, 0, 0, -1]).float().mean().item()
    assert mirrored == pytest.approx(0.5, abs=0.04)
