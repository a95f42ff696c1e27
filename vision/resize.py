"""Square images of one size."""

import numpy as np
from PIL import Image


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes whole images, unless they have the size already.

    Args:
        images: uint8 `(n, height, width, 3)`.
        size: height and width of the result.

    Returns:
        uint8 `(n, size, size, 3)`.
    """
    if images.shape[1:3] == (size, size):
        return images
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image).resize(
                    (size, size), Image.Resampling.BILINEAR
                )
            )
            for image in images
        ]
    )
