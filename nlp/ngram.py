"""A model of bytes that counts, to compare with."""

import math
from collections import Counter
from collections.abc import Sequence


class ByteModel:
    """Predicts a byte from those before it by counting, interpolated.

    The probability after a context of `n` bytes is mixed with that after its
    last `n - 1`, with the weight of the number of different bytes seen after
    it (Witten and Bell 1991, "The zero-frequency problem", method C). Below
    all stands one 256th.

    Args:
        texts: texts to count in.
        order: length of the longest sequence counted, 5 for a 5-gram.

    Example:
        >>> round(ByteModel(["abab"], 2).bits_per_byte(["ab"]), 2)
        0.97
    """

    def __init__(self, texts: Sequence[str], order: int = 5) -> None:
        self.order = order
        self._pairs: Counter[bytes] = Counter()  # context and byte
        self._totals: Counter[bytes] = Counter()  # context
        self._kinds: Counter[bytes] = Counter()  # different bytes after it
        for text in texts:
            self._count(text.encode("utf-8"))

    def _count(self, data: bytes) -> None:
        for n in range(self.order):
            for i in range(n, len(data)):
                pair = data[i - n : i + 1]
                self._kinds[pair[:-1]] += pair not in self._pairs
                self._pairs[pair] += 1
                self._totals[pair[:-1]] += 1

    def probability(self, context: bytes, byte: int) -> float:
        """Gives the probability of a byte after a context of any length."""
        result = 1 / 256
        for n in range(min(self.order - 1, len(context)) + 1):
            suffix = context[len(context) - n :]
            total, kinds = self._totals[suffix], self._kinds[suffix]
            if not total:
                break
            count = self._pairs[suffix + bytes([byte])]
            result = (count + kinds * result) / (total + kinds)
        return result

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Mean negative binary logarithm of the probability of a byte."""
        bits, size = 0.0, 0
        for text in texts:
            data = text.encode("utf-8")
            size += len(data)
            for i, byte in enumerate(data):
                context = data[max(0, i - self.order + 1) : i]
                bits -= math.log2(self.probability(context, byte))
        return bits / size
