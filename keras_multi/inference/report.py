"""What the optimization of a model did, and what it gained."""

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What `optimize_for_inference` did.

    Attributes:
        backend: of Keras.
        device: name of the processor or accelerator.
        batch_size: rows in a batch that was timed.
        program: `"rewritten"`, `"model"` (compiled as it is) or `"keras"`
            (nothing was faster, so that Keras runs the model as before).
        mode: how the program runs, one of `keras_multi.backend.modes()`;
            empty if Keras runs the model.
        merged: names of the batch normalizations that became part of the
            product before them.
        kernels: per layer with a kernel, the way that was found fastest:
            `"keras"`, `"packed"`, `"patches"`, `"product"`, `"shifts"` or
            `"transposed"`.
        before: seconds of `model.predict_on_batch`.
        after: seconds of the same call now.
        difference: of the outputs from the model's, as a share of the largest.
        refused: what was not done, each with its reason.
    """

    backend: str
    device: str
    batch_size: int
    program: str
    mode: str
    merged: tuple[str, ...]
    kernels: dict[str, str]
    before: float
    after: float
    difference: float
    refused: tuple[str, ...]

    @property
    def speedup(self) -> float:
        """How many times faster a call is than before."""
        return self.before / self.after

    def __str__(self) -> str:
        counts = Counter(self.kernels.values())
        kernels = ", ".join(f"{n} {way}" for way, n in counts.most_common())
        lines = [
            f"{self.backend} on {self.device}, batches of {self.batch_size}: "
            f"{1e3 * self.before:.2f} ms before, {1e3 * self.after:.2f} ms "
            f"now, {self.speedup:.2f} times as fast",
            f"program: {self.program} {self.mode}".rstrip(),
            f"batch normalizations merged: {len(self.merged)}",
            f"products: {kernels or 'as they were'}",
            f"largest difference of the outputs: {self.difference:.1e}",
            *(f"not done: {reason}" for reason in self.refused),
        ]
        return "\n".join(lines)
