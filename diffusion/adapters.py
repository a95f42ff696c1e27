"""Trains low-rank changes of a UNet, to be kept in a file of their own."""

from collections.abc import Iterator

import keras

from diffusion.attention import Attention
from diffusion.lora import LoRA
from diffusion.names import slots_of
from diffusion.slots import to_numpy
from diffusion.unet import UNet


class Adapters:
    """Low-rank changes of the matrices of all attention of a UNet.

    Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models",
    section 4.1: to each matrix the product of two thin ones is added, the
    second of which starts at zero. All other weights are frozen.

    Args:
        unet: the model, which is changed.
        rank: width of the thin matrices, at least 1.
    """

    def __init__(self, unet: UNet, rank: int) -> None:
        names = {id(s.variable): name for name, s in slots_of(unet).items()}
        self._matrices = {
            names[id(dense.variables[0])].removesuffix(".weight"): dense
            for dense in _matrices(unet)
        }
        for variable in unet.trainable_variables:
            variable.trainable = False
        for dense in self._matrices.values():
            dense.enable_lora(rank)

    def changes(self) -> LoRA:
        """Gives the changes as they are now."""
        return LoRA(
            {
                ("unet", name.replace(".", "_")): {
                    "down": to_numpy(dense.lora_kernel_a).T,
                    "up": to_numpy(dense.lora_kernel_b).T,
                }
                for name, dense in self._matrices.items()
            }
        )


def _matrices(unet: UNet) -> Iterator[keras.layers.Dense]:
    for layer in unet._flatten_layers():
        if isinstance(layer, Attention):
            yield from (layer.query, layer.key, layer.value)
            yield layer.output_dense
