"""Pretrained weights as other libraries keep them."""

from keras_multi.presets.gguf import GGUF
from keras_multi.presets.safetensors_file import (
    read_safetensors,
    write_safetensors,
)
from keras_multi.presets.torch_file import read_torch_file

__all__ = ["GGUF", "read_safetensors", "read_torch_file", "write_safetensors"]
