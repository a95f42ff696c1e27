"""Augmentation by torchvision, on the tensors that its own data loaders give.

Its RandAugment gives all images of a batch the same operations, so it goes
through them one by one; CutMix and MixUp draw once for a batch. They run in
PyTorch whatever the backend of Keras, eager, as they are meant to.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.augment import Batch, describe
from benchmarks.workload import Contender

# From images (batch, channels, height, width) and labels to the same.
Transform = Callable[[Any, Any], tuple[Any, Any]]


def is_there() -> bool:
    """Whether torchvision is installed and may be loaded.

    A PyTorch built for CUDA crashes where TensorFlow is there first. So with
    TensorFlow it takes part if a program began with `import torchvision`.
    """
    late = "tensorflow" in sys.modules and "torch" not in sys.modules
    return not late and importlib.util.find_spec("torchvision") is not None


def rand_augment(interpolation: str = "nearest") -> Transform:
    """Two operations at half strength, image by image."""
    v2 = importlib.import_module("torchvision.transforms.v2")
    mode = getattr(v2.InterpolationMode, interpolation.upper())
    transform = v2.RandAugment(2, 15, interpolation=mode)

    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        return [transform(image) for image in images], labels

    return run


def mixing(name: str) -> Transform:
    """`"CutMix"` or `"MixUp"` of a batch; MixUp needs floats."""
    v2 = importlib.import_module("torchvision.transforms.v2")
    transform = getattr(v2, name)()

    def run(images: Any, labels: Any) -> tuple[Any, Any]:
        if name == "MixUp" and not images.is_floating_point():
            images = images.float()
        mixed: tuple[Any, Any] = transform(images, labels)
        return mixed

    return run


class TorchvisionContender(Contender):
    """Transforms, each applied to each batch.

    Args:
        transforms: see `rand_augment` and `mixing`.
        data: the batches.
    """

    def __init__(
        self, transforms: Sequence[Transform], data: list[Batch]
    ) -> None:
        self.transforms = transforms
        self.labelled = "labels" in data[0]
        self.data = [self._tensors(batch) for batch in data]
        self.next = 0

    def _tensors(self, batch: Batch) -> tuple[Any, Any]:
        torch = importlib.import_module("torch")
        images = batch["images"].transpose(0, 3, 1, 2)
        labels = batch.get("labels", np.eye(len(images), dtype="float32"))
        return torch.tensor(images).contiguous(), torch.tensor(labels)

    def output(self) -> np.ndarray:
        """What augmentations of one image agree on, see `describe`."""
        images, labels = self.data[0]
        same = [x[:1].expand(x.shape).contiguous() for x in (images, labels)]
        outputs = []
        for transform in self.transforms:
            mixed, shares = transform(*same)
            # One by one, they are in a list.
            stacked = np.stack([image.numpy() for image in mixed])
            outputs.append({"images": stacked.transpose(0, 2, 3, 1)})
            if self.labelled:
                outputs[-1]["labels"] = shares.numpy()
        return describe(outputs)

    def run(self, steps: int) -> None:
        """Augments the next batches."""
        for _ in range(steps):
            batch = self.data[self.next % len(self.data)]
            self.next += 1
            for transform in self.transforms:
                transform(*batch)
