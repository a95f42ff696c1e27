"""Deals operations to the images of a batch, in groups of fixed sizes.

A compiler needs to know how many images undergo a kind of operation. So the
batch is put in a random order, and operation j of n goes to the images from
about j / n to (j + 1) / n of the way. The exact places of the cuts come from
one random offset (systematic sampling: Madow and Madow, "On the theory of
systematic sampling", Annals of Mathematical Statistics 15, 1944), by which
each operation is exactly equally probable for each image, whatever the batch
size. An image at a cut may fall to either side; it belongs to both groups.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

from keras_multi import backend

literal: Callable[..., Any] = backend.framework().literal

# Offsets between two places. To be fair, a multiple of the number of
# operations; small, so that 32 bits suffice for batches of 100,000 images.
OFFSETS_PER_OPERATION = 64


class Deal(NamedTuple):
    """Who undergoes what.

    Attributes:
        order: image at each place, int32 `(batch,)`.
        operations: operation at each place, rising, int32 `(batch,)`.
    """

    order: Any
    operations: Any

    def by_image(self, values: Any) -> Any:
        """Brings values by place into the order of the images."""
        return ops.take(values, ops.argsort(self.order), axis=0)


class Group(NamedTuple):
    """Operations that are computed together.

    Attributes:
        operations: the first one and the one after the last.
        compute: gives the new images of the group, of images and their
            places.
    """

    operations: tuple[int, int]
    compute: Callable[[Any, slice], Any]


def deal(noise: Any, offset: Any, num_operations: int) -> Deal:
    """Deals operations at random.

    Args:
        noise: independent draws from [0, 1), `(batch,)`.
        offset: a draw from [0, 1), a scalar.
        num_operations: how many there are.
    """
    batch = ops.shape(noise)[0]
    parts = num_operations * OFFSETS_PER_OPERATION
    place = ops.arange(batch, dtype="int32") * parts
    cut = ops.minimum(ops.cast(offset * parts, "int32"), parts - 1)
    operations = ((place + cut) * num_operations) // (batch * parts)
    return Deal(ops.cast(ops.argsort(noise), "int32"), operations)


def places(
    operations: tuple[int, int], num_operations: int, batch: Any
) -> slice:
    """All places to which some operations may have been dealt."""
    first, after = operations
    return slice(
        first * batch // num_operations,
        -(-after * batch // num_operations),
    )


def run(
    images: Any,
    dealt: Deal,
    groups: Sequence[Group],
    stage: Callable[..., Any],
) -> Any:
    """Computes each group, and puts the images back into their order.

    Args:
        images: `(batch, height, width, channels)`.
        dealt: operations of the images.
        groups: in rising order of their operations, of which they have all.
        stage: computes a function of no arguments apart, given the shape and
            dtype of its result.
    """
    batch, size = ops.shape(images)[0], images.shape[1:]
    num_operations = groups[-1].operations[1]
    results, shifts, computed = [], [], 0
    in_order = stage(
        lambda: ops.take(images, dealt.order, axis=0), (batch, *size)
    )
    for group in groups:
        slots = places(group.operations, num_operations, batch)
        results.append(group.compute(in_order[slots], slots))
        # A result of this group stands behind those of the groups before.
        first, after = group.operations
        shifts += [computed - slots.start] * (after - first)
        computed = computed + slots.stop - slots.start
    shift = literal(tuple(shifts), "int32", images)
    row = ops.arange(batch, dtype="int32")
    row = dealt.by_image(row + ops.take(shift, dealt.operations, axis=0))
    return stage(
        lambda: ops.take(ops.concatenate(results, axis=0), row, axis=0),
        (batch, *size),
    )
