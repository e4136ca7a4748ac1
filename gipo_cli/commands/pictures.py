"""What environments draw, as pictures of a film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gipo_cli.errors import RunFailed

_CHANNELS = (1, 3, 4)
SMALLEST_TEXT = 8
"""Pixels below which nobody can read."""


def picture_of(rendered: Any) -> np.ndarray:
    """Return what an environment drew as a picture ``[height, width, 3]`` of bytes.

    Raises:
        RunFailed: It is no picture, or not clear which.
    """
    if isinstance(rendered, list | tuple) and rendered:
        # Those drawn since the last call, of which the last is the present.
        rendered = rendered[-1]
    picture: Any = rendered if isinstance(rendered, np.ndarray) else np.empty(0)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim == 3 and picture.shape[0] in _CHANNELS and picture.shape[2] not in _CHANNELS:
        picture = picture.transpose(1, 2, 0)
    if picture.ndim != 3 or picture.shape[2] not in _CHANNELS or not picture.size:
        what = getattr(rendered, "shape", None)
        what = f"an array of shape {list(what)}" if what is not None else type(rendered).__name__
        raise RunFailed(f"the environment renders {what} instead of pictures [height, width, 3]")
    picture = np.broadcast_to(picture[..., :3] if picture.shape[2] > 1 else picture, (*picture.shape[:2], 3))
    if picture.dtype == np.uint8:
        return np.asarray(picture)
    if picture.dtype.kind not in "biuf" or not (picture.min() >= 0 and picture.max() <= 255):
        raise RunFailed(
            f"the environment renders {picture.dtype} from {picture.min()} to {picture.max()} instead of "
            "pictures with values from 0 to 255, or from 0 to 1"
        )
    unit = picture.dtype.kind == "b" or (picture.dtype.kind == "f" and picture.max() <= 1)
    return np.asarray(np.round(picture * 255.0 if unit else picture), np.uint8)


def scaled(picture: np.ndarray, height: int) -> np.ndarray:
    """The picture at another height, as wide as that makes it."""
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return resized(picture, (width, height), smooth=True)


def resized(picture: np.ndarray, size: tuple[int, int], *, smooth: bool = False) -> np.ndarray:
    """The picture at some width and height."""
    from PIL import Image

    if picture.shape[1::-1] == size:
        return picture
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(picture).resize(size, how))


def captioned(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text on top, if there is room for one."""
    from PIL import Image, ImageDraw, ImageFont

    height = picture.shape[0] // 20
    if height < SMALLEST_TEXT:
        return picture
    image = Image.fromarray(picture)
    drawing, font = ImageDraw.Draw(image, "RGBA"), ImageFont.load_default(height)
    drawing.rectangle((0, 0, image.width, 2 * height), fill=(0, 0, 0, 130))
    drawing.text((height // 2, height // 2), text, font=font, fill=(255, 255, 255))
    return np.asarray(image)


def tiled(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures side by side, more than three in a grid; all have the first one's size."""
    columns = len(pictures) if len(pictures) <= 3 else math.ceil(math.sqrt(len(pictures)))
    size = pictures[0].shape[1::-1]
    fitted = [resized(picture, size) for picture in pictures]
    fitted += [np.zeros_like(fitted[0])] * (-len(fitted) % columns)
    rows = (fitted[start : start + columns] for start in range(0, len(fitted), columns))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])
