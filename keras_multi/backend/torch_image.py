"""Work on images in PyTorch's own operations (see `image`).

Images are mixed some at a time, so that what is computed in between stays in
the cache. `torch.where` takes a nanosecond or more for each value, so pixels
are chosen by their bits.
"""

from collections.abc import Iterator
from functools import cache
from math import prod
from typing import Any

import torch

from keras_multi.backend import image

PART = 2**19  # values; as floats they are 2 MB
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def blend(images: Any, partner: Any, weight: Any) -> Any:
    """As `image.blend`."""
    if images.requires_grad:
        return image.blend(images, partner, weight)
    mixed = torch.empty_like(images)
    weight = weight.expand(len(images), *weight.shape[1:])
    for part, own, chosen, share in _parts(mixed, images, partner, weight):
        others = torch.index_select(images, 0, chosen)
        if images.dtype == torch.float32:
            torch.lerp(others, own, share, out=part)
            continue
        blended = others.float().lerp_(own.float(), share)
        # A byte drops the fraction of what is copied to it.
        rounds = images.dtype == torch.uint8
        part.copy_(blended.add_(0.5) if rounds else blended)
    return mixed


def paste(own: Any, images: Any, partner: Any, rows: Any, columns: Any) -> Any:
    """As `image.paste`."""
    if own.requires_grad:
        return image.paste(own, images, partner, rows, columns)
    batch, height, width, channels = own.shape
    bits = BITS[own.element_size()]
    lines, source = (
        x.reshape(batch, height, width * channels).view(bits)
        for x in (own, images)
    )
    # All bits of a number are 1 where it is 0 - 1.
    inside_y = (0 - rows.to(bits)).expand(batch, height)
    inside_x = 0 - columns.repeat_interleave(channels, 1).to(bits)
    inside_x = inside_x.expand(batch, width * channels)
    mixed = torch.empty_like(lines)
    for part, kept, chosen, y, x in _parts(
        mixed, lines, partner, inside_y, inside_x
    ):
        others = torch.index_select(source, 0, chosen).bitwise_xor_(kept)
        others.bitwise_and_(y[:, :, None] & x[:, None, :])
        part.copy_(others.bitwise_xor_(kept))
    return mixed.view(own.dtype).reshape(own.shape)


def _parts(*tensors: Any) -> Iterator[tuple[Any, ...]]:
    """Splits along the first axis, by the size of the first tensor."""
    images = max(PART // max(prod(tensors[0].shape[1:]), 1), 1)
    return zip(*(x.split(images) for x in tensors), strict=True)


def literal(values: Any, dtype: str, like: Any) -> Any:
    """As `image.literal`; eager, the same tensor each time."""
    return _literal(values, getattr(torch, dtype), like.device)


@cache
def _literal(values: Any, dtype: torch.dtype, device: torch.device) -> Any:
    return torch.tensor(values, dtype=dtype, device=device)


def clip(x: Any, low: float, high: float) -> Any:
    """As `image.clip`; Keras's compares with tensors, at a seventh the rate."""
    return torch.clamp(x, low, high)


def floor_to_bytes(x: Any) -> Any:
    """As `image.floor_to_bytes`, three times as fast by way of int16."""
    return x.clamp(0.0, 255.0).to(torch.int16).to(torch.uint8)


def pack(images: Any) -> Any:
    """As `image.pack`; four pixels are three words."""
    height, width = images.shape[-3:-1]
    if height * width % 4:
        red, green, blue = (images[..., i].int() for i in range(3))
        return red | (green << 8) | (blue << 16)
    words = images.reshape(-1, 12).view(torch.int32)
    first, second, third = words.unbind(1)
    pixels = words.new_empty((len(words), 4))
    pixels[:, 0] = first
    pixels[:, 1] = (second << 8).bitwise_or_((first >> 24).bitwise_and_(0xFF))
    pixels[:, 2] = (third << 16).bitwise_or_(
        (second >> 16).bitwise_and_(0xFFFF)
    )
    pixels[:, 3] = third >> 8
    return pixels.reshape(images.shape[:-1])


def unpack(packed: Any) -> Any:
    """As `image.unpack`; four pixels are three words."""
    height, width = packed.shape[-2:]
    if height * width % 4:
        channels = (packed, packed >> 8, packed >> 16)
        return torch.stack([c.to(torch.uint8) for c in channels], -1)
    first, second, third, fourth = packed.reshape(-1, 4).unbind(1)
    words = packed.new_empty((len(first), 3))
    words[:, 0] = (second << 24).bitwise_or_(first & 0xFFFFFF)
    words[:, 1] = (third << 16).bitwise_or_((second >> 8).bitwise_and_(0xFFFF))
    words[:, 2] = (fourth << 8).bitwise_or_((third >> 16).bitwise_and_(0xFF))
    return words.view(torch.uint8).reshape(*packed.shape, 3)


def histogram(numbers: Any, size: int) -> Any:
    """As `image.histogram`."""
    counts = torch.zeros(size, dtype=torch.int32, device=numbers.device)
    return counts.scatter_add_(0, numbers.long(), torch.ones_like(numbers))
