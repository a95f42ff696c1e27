"""CutMix and MixUp, one after the other on the same images and labels."""

from collections.abc import Mapping

import keras

from benchmarks import augment, torchvision_peer
from benchmarks.workload import Contender, Setting, Workload
from keras_multi.layers import CutMix, MixUp


class CutMixMixUpWorkload(Workload):
    """A step is both layers on a batch of images of 64x64 pixels."""

    batch_sizes = (128,)
    unit = "images"

    def steps(self, batch_size: int) -> int:
        """Steps of one sample."""
        return 8

    def build(self, setting: Setting) -> Contender:
        """The project's layers."""
        return augment.LayerContender(
            [CutMix(seed=1), MixUp(seed=2)],
            augment.batches(setting.batch_size),
            setting.mode,
        )

    def peers(self, setting: Setting) -> Mapping[str, Contender]:
        """Keras's layers; those of keras_cv and torchvision, if installed."""
        data = augment.batches(setting.batch_size)
        theirs = [keras.layers.CutMix(seed=1), keras.layers.MixUp(seed=2)]
        peers = {"keras": augment.keras_peer(theirs, setting, data)}
        if torchvision_peer.is_there():
            peers["torchvision"] = torchvision_peer.TorchvisionContender(
                [torchvision_peer.mixing(name) for name in ("CutMix", "MixUp")],
                data,
            )
        if augment.has_keras_cv():
            import keras_cv

            layers = [
                keras_cv.layers.CutMix(seed=1),
                keras_cv.layers.MixUp(seed=2),
            ]
            peers["keras-cv"] = augment.KerasCVContender(
                layers, data, augment.compiled_mode(setting.mode)
            )
        return peers


WORKLOAD = CutMixMixUpWorkload()
