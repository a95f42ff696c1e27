"""Contact sheet: what augmentation makes of images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from keras import ops
from PIL import Image

from keras_multi.errors import UsageError
from keras_multi.files import replacing
from vision.augment import pipeline
from vision.images import find_images, prepare, read_image
from vision.recipe import check_augmentations

GAP = 4


def augment(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    names: Sequence[str],
    images: int = 8,
    columns: int = 8,
    size: int = 128,
    seed: int = 0,
) -> dict[str, object]:
    """Writes a sheet of images and what augmentation makes of them.

    Each row begins with an image as it is, of which as many variants follow.
    The images are spread evenly over the folder, so that those of all
    classes are among them.

    Args:
        folder: folder of images, searched with all that is in it.
        out: PNG file to write.
        names: augmentations, see `vision.augment.pipeline`.
        images: number of images, at most; rows of the sheet.
        columns: variants of each.
        size: height and width of an image in pixels.
        seed: of the augmentation.

    Returns:
        `output`, the file; `images`, their files; `augment`, the names; and
        `size`, width and height of the sheet.

    Raises:
        UsageError: if an argument is out of range, a name is unknown, or the
            folder holds no image.
        DataError: if a file is no image.
        KerasMultiError: if the sheet cannot be written.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import mkdtemp
        >>> folder = Path(mkdtemp())
        >>> Image.new("RGB", (40, 30), "red").save(folder / "red.png")
        >>> augment(folder, folder / "sheet.png", ["flip"], size=32)["size"]
        [320, 32]
    """
    check_augmentations(names)
    counts = {"images": images, "columns": columns, "size": size}
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"{name} must be at least 1. Received: {value}")
    files = find_images([folder])
    count = min(images, len(files))
    chosen = [files[i * len(files) // count] for i in range(count)]
    originals = np.stack([prepare(read_image(file), size) for file in chosen])
    layer = pipeline(names, size, len(chosen), seed)
    batch = {"images": originals, "labels": np.arange(len(chosen))}
    variants = [
        ops.convert_to_numpy(layer(batch, training=True)["images"])
        for _ in range(columns)
    ]
    sheet = tile([originals, *variants])
    with replacing(out) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
    return {
        "output": str(Path(out)),
        "images": chosen,
        "augment": list(names),
        "size": [sheet.shape[1], sheet.shape[0]],
    }


def tile(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Lays images out in columns, on white.

    Args:
        columns: uint8, each `(rows, size, size, 3)`.

    Returns:
        uint8 `(height, width, 3)`, with gaps of `GAP` pixels between images.
    """
    rows, size = columns[0].shape[:2]
    step = size + GAP
    sheet = np.full(
        (rows * step - GAP, len(columns) * step - GAP, 3), 255, np.uint8
    )
    for j, column in enumerate(columns):
        for i, image in enumerate(column):
            sheet[i * step :, j * step :][:size, :size] = image
    return sheet
