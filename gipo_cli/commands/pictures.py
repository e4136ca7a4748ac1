"""What environments draw, as pictures of a film."""

from __future__ import annotations

from typing import Any

import numpy as np

from gipo_cli.errors import RunFailed

_CHANNELS = (1, 3, 4)


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
