"""Low-rank changes of weights, from files of kohya's scripts or diffusers.

Hu et al. 2022, "LoRA: Low-Rank Adaptation of Large Language Models", section
4.1: a matrix becomes `W + scale * (alpha / rank) * up @ down`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import keras
import numpy as np

from diffusion.folder import Model
from diffusion.names import modern, slots_of
from diffusion.slots import Slot, to_numpy
from keras_multi.errors import DataError
from keras_multi.presets import read_safetensors, write_safetensors

# How names of files begin, and of which model they are.
PARTS = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "unet.": "unet",
    "text_encoder.": "text_encoder",
}
# How names end, and what the tensor is.
KINDS = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
}


@dataclass(frozen=True)
class LoRA:
    """The changes that a file holds.

    Attributes:
        changes: name of the model and of the layer, as in a diffusers folder
            with underscores, to `down`, `up` and perhaps `alpha`.
    """

    changes: Mapping[tuple[str, str], Mapping[str, np.ndarray]]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a safetensors file.

        Args:
            path: the file, of kohya's scripts or of `diffusers`.

        Raises:
            DataError: if it is missing or damaged, or holds something else.
        """
        changes: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        for name, array in read_safetensors(path).items():
            key, kind = _parse(name)
            if key is None:
                raise DataError(f"{path}: {name} is no part of a LoRA")
            changes.setdefault(key, {})[kind] = array
        for (part, layer), parts in changes.items():
            if not {"down", "up"} <= set(parts):
                raise DataError(
                    f"{path}: the change of {layer} of the {part} is incomplete"
                )
        return cls(changes)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes a safetensors file as kohya's scripts do.

        Args:
            path: the file.

        Raises:
            KerasMultiError: if it cannot be written.
        """
        starts = {"unet": "lora_unet_", "text_encoder": "lora_te_"}
        arrays = {}
        for (part, layer), parts in self.changes.items():
            start = starts[part] + layer
            arrays[f"{start}.lora_down.weight"] = parts["down"]
            arrays[f"{start}.lora_up.weight"] = parts["up"]
            alpha = parts.get("alpha", np.float32(len(parts["down"])))
            arrays[f"{start}.alpha"] = np.asarray(alpha)
        write_safetensors(path, arrays, {"format": "pt"})

    def merge(
        self, models: Mapping[str, Model], scale: float = 1.0
    ) -> "MergedLoRA":
        """Adds the changes to the weights of models.

        Args:
            models: models by name, `"unet"` and `"text_encoder"`. Changes of
                a model that is not given are left out.
            scale: what the changes are multiplied with.

        Returns:
            What takes them away again.

        Raises:
            DataError: if a model has no such layer, or a change another
                shape. The models are unchanged then.
        """
        additions = []
        layers = {
            (part, _flat(name.removesuffix(".weight"))): slot
            for part, model in models.items()
            for name, slot in slots_of(model).items()
            if name.endswith(".weight")
        }
        for (part, layer), parts in self.changes.items():
            if part not in models:
                continue
            if (part, layer) not in layers:
                raise DataError(f"the {part} has no layer {layer}")
            slot = layers[part, layer]
            try:
                delta = _product(parts).reshape(slot.shape)
            except ValueError as error:
                raise DataError(
                    f"the change of {layer} does not fit: {error}"
                ) from error
            additions.append((slot, scale * delta))
        merged = MergedLoRA()
        for slot, delta in additions:
            merged.add(slot, delta)
        return merged


@dataclass(frozen=True)
class MergedLoRA:
    """Weights as they were before a LoRA was merged into them."""

    _before: dict[int, tuple[keras.Variable, np.ndarray]] = field(
        default_factory=dict
    )

    def add(self, slot: Slot, delta: np.ndarray) -> None:
        """Adds to a weight, which is kept as it was."""
        value = to_numpy(slot.variable)
        self._before.setdefault(id(slot.variable), (slot.variable, value))
        value = value.copy()
        columns = slice(*(slot.columns or (None,)))
        value[..., columns] += slot.to_model(delta)
        slot.variable.assign(value)

    def remove(self) -> None:
        """Gives the weights their values from before.

        Where several were merged, the last one must be removed first.
        """
        for variable, value in self._before.values():
            variable.assign(value)


def _parse(name: str) -> tuple[tuple[str, str] | None, str]:
    """Tells model, layer and kind of a tensor."""
    for start, part in PARTS.items():
        if not name.startswith(start):
            continue
        for end, kind in KINDS.items():
            if name.endswith(end):
                layer = name.removeprefix(start).removesuffix(end)
                layer = layer.replace(".processor.", ".")
                if part == "text_encoder":
                    layer = modern(layer)
                # Old files of diffusers call the matrix after the heads so.
                layer = re.sub(r"to_out$", "to_out_0", layer)
                return (part, _flat(layer)), kind
    return None, ""


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _product(parts: Mapping[str, Any]) -> np.ndarray:
    """Gives `alpha / rank * up @ down`, in the layout of files."""
    down, up = (parts[kind].astype("float32") for kind in ("down", "up"))
    rank = len(down)
    alpha = float(parts.get("alpha", np.float32(rank)))
    product = up.reshape(len(up), -1) @ down.reshape(rank, -1)
    return product.reshape(len(up), *down.shape[1:]) * (alpha / rank)
