"""RandAugment, two operations on each image, to the nearest neighbor."""

from collections.abc import Mapping

import keras

from benchmarks import augment, torchvision_peer
from benchmarks.workload import Contender, Setting, Workload
from keras_multi.layers import RandAugment


class RandAugmentWorkload(Workload):
    """A step is a batch of images of 64x64 pixels."""

    batch_sizes = (32,)
    unit = "images"

    def steps(self, batch_size: int) -> int:
        """Few, since peers are slow."""
        return 2

    def _data(self, setting: Setting) -> list[augment.Batch]:
        return [
            {"images": batch["images"]}
            for batch in augment.batches(setting.batch_size)
        ]

    def build(self, setting: Setting) -> Contender:
        """The project's layer."""
        layer = RandAugment(magnitude=5, seed=1)
        return augment.LayerContender(
            [layer], self._data(setting), setting.mode
        )

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """Keras's layer; those of keras_cv and torchvision, if installed."""
        data = self._data(setting)
        theirs = keras.layers.RandAugment(interpolation="nearest", seed=1)
        peers = {"keras": augment.keras_peer([theirs], setting, data)}
        if torchvision_peer.is_there():
            peers["torchvision"] = torchvision_peer.TorchvisionContender(
                [torchvision_peer.rand_augment()], data
            )
        if augment.has_keras_cv():
            import keras_cv

            layer = keras_cv.layers.RandAugment(
                (0, 255), augmentations_per_image=2, seed=1
            )
            peers["keras-cv"] = augment.KerasCVContender(
                [layer], data, augment.compiled_mode(setting.mode)
            )
        return peers


WORKLOAD = RandAugmentWorkload()
