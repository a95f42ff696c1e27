"""Turns the answers of all backends to one stage into a verdict."""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_multi.portability import compare
from keras_multi.portability.child import Answer
from keras_multi.portability.compare import first_parting, largest_error
from keras_multi.portability.report import (
    FAILED,
    NOT_JUDGED,
    NOTE,
    OK,
    Check,
    Finding,
)

Answers = Mapping[str, Answer]

_ALONE = "one backend has nothing to compare with"


def fault(stage: str, backend: str, answer: Answer) -> Finding:
    """The finding for a backend that could not answer."""
    file, line = answer.place or (None, None)
    return Finding(
        "error" if answer.kind == "usage" else answer.kind,
        f"{stage} on {backend}: {answer.failure}",
        (backend,),
        file=file,
        line=line,
    )


class Judge:
    """Compares with the reference backend.

    Args:
        reference: its name.
        model: what it told of the model.

    Attributes:
        random: whether the model draws at random in inference, so that
            nothing can be compared.
    """

    def __init__(self, reference: str, model: dict[str, Any]) -> None:
        self.reference, self.model = reference, model
        self.random = False
        self._outputs: dict[str, compare.Arrays] = {}
        self._outputs_ok = self._gradients_ok = False

    def outputs(self, answers: Answers) -> Check:
        """Outputs of the whole model in inference."""
        self._outputs = _arrays(answers)
        self.random = any(a.values.get("random") for a in answers.values())
        if self.random:
            return _check(
                "outputs",
                answers,
                NOT_JUDGED,
                "the model draws at random in inference",
            )
        check = self._compared("outputs", answers, compare.MODEL)
        self._outputs_ok = check.status == OK
        return check

    def layers(self, answers: Answers) -> Check:
        """Each layer's own output, on the inputs of the reference."""
        if bad := _faults("layers", answers):
            return _check("layers", answers, FAILED, "", bad)
        if len(answers) < 2:
            return _check("layers", answers, NOT_JUDGED, _ALONE)
        arrays = _arrays(answers)
        calls = answers[self.reference].values["calls"]
        names = list(arrays[self.reference])
        for key, path, kind in calls:
            given = [n for n in names if n.startswith(f"in|{key}|")]
            made = [n for n in names if n.startswith(f"out|{key}|")]
            parted = first_parting(arrays, self.reference, given, compare.MODEL)
            text = f"what reaches the layer {path} ({kind})"
            if not parted:
                parted = first_parting(
                    arrays, self.reference, made, compare.LAYER
                )
                text = f"the output of the layer {path} ({kind})"
            if parted:
                finding = self._parting("layer", text, parted, path)
                serious = not (
                    self._outputs_ok and parted.error <= compare.MODEL
                )
                status = FAILED if serious else NOTE
                return _check("layers", answers, status, path, [finding])
        worst = largest_error(
            arrays, self.reference, [n for n in names if n.startswith("out|")]
        )
        text = f"{len(calls)} calls, largest error {worst:.1e}"
        return _check("layers", answers, OK, text)

    def gradients(self, answers: Answers) -> Check:
        """The loss, and its gradient by each weight.

        An error spreads backward from where it arises, so the last weight
        that differs is the first one on that way.
        """
        if reason := _random(answers):
            return _check("gradients", answers, NOT_JUDGED, reason)
        if bad := _faults("gradients", answers):
            return _check("gradients", answers, FAILED, "", bad)
        if len(answers) < 2:
            return _check("gradients", answers, NOT_JUDGED, _ALONE)
        arrays = _arrays(answers)
        weights = answers[self.reference].values["weights"]
        names = [f"g{i}" for i in range(len(weights))]
        loss = first_parting(arrays, self.reference, ["loss"], compare.MODEL)
        if loss:
            finding = self._parting("loss", "the loss", loss, None)
            return _check("gradients", answers, FAILED, "loss", [finding])
        scale = compare.gradient_scale(
            [arrays[self.reference][name] for name in names]
        )
        parted = first_parting(
            arrays, self.reference, names[::-1], compare.MODEL, scale
        )
        if parted:
            path = weights[int(parted.name[1:])]
            text = f"the gradient of the weight {path}"
            finding = self._parting("gradient", text, parted, path)
            return _check("gradients", answers, FAILED, path, [finding])
        self._gradients_ok = True
        return _check(
            "gradients", answers, OK, f"loss and {len(names)} weights"
        )

    def training(self, answers: Answers) -> Check:
        """Losses of the first training steps."""
        skipped = (
            answers[self.reference].values.get("skipped")
            if (self.reference in answers)
            else None
        )
        if reason := skipped or _random(answers):
            return _check("training", answers, NOT_JUDGED, reason)
        check = self._compared("training", answers, compare.TRAINING)
        odd = {b for f in check.findings for b in f.backends}
        embeddings = self.model["embeddings"]
        if (
            check.status == FAILED
            and all(f.kind == "training" for f in check.findings)
            and self._gradients_ok
            and embeddings
            and "tensorflow" in odd
            and len(odd) == 1
        ):
            text = (
                "Keras's optimizers on TensorFlow treat rows that repeat in "
                f"keras.layers.Embedding ({embeddings[0]}) in their own way; "
                "gradients agree. keras_multi.layers.Embedding avoids it"
            )
            finding = Finding("embedding", text, tuple(odd), embeddings[0])
            return _check("training", answers, NOTE, check.detail, [finding])
        return check

    def saving(self, answers: Answers) -> Check:
        """A file of the reference, loaded on each backend."""
        bad = _faults("saving", answers)
        if any(self.reference in finding.backends for finding in bad):
            text = "cannot be saved and loaded on one backend either"
            return _check("saving", answers, NOTE, text, bad[:1])
        return self._own("saving", answers, compare.LAYER, bad)

    def batch(self, answers: Answers) -> Check:
        """The first row alone against the first row of the batch."""
        return self._own(
            "batch", answers, compare.MODEL, _faults("batch", answers), rows=1
        )

    def policy(self, answers: Answers) -> Check:
        """Outputs in mixed bfloat16 against those in float32."""
        return self._own(
            "mixed_bfloat16",
            answers,
            compare.BFLOAT16,
            _faults("mixed_bfloat16", answers),
            alike=False,
        )

    def jit(self, answers: Answers) -> Check:
        """Compiled against eager outputs."""
        bad = _faults("jit", answers)
        torch = answers.get("torch")
        if torch is not None and torch.failure:
            reason = ""
            if torch.kind == "hang":
                reason = "torch.compile took longer than the time limit"
            elif not _has_compiler():
                reason = "torch.compile needs a C++ compiler, such as g++"
            rest = [f for f in bad if "torch" not in f.backends]
            if reason and not rest:
                return _check("jit", answers, NOT_JUDGED, reason)
            bad = rest if reason else bad
        return self._own("jit", answers, compare.MODEL, bad, alike=False)

    def _compared(self, name: str, answers: Answers, tolerance: float) -> Check:
        """Compares all arrays of the answers with the reference's."""
        findings = _faults(name, answers)
        arrays = _arrays(answers)
        if self.reference not in arrays:
            return _check(name, answers, FAILED, "", findings)
        if len(answers) < 2:
            return _check(name, answers, NOT_JUDGED, _ALONE)
        names = list(arrays[self.reference])
        parted = first_parting(arrays, self.reference, names, tolerance)
        if parted:
            text = f"the array {parted.name!r} of the model"
            findings.append(self._parting(name, text, parted, None))
        worst = largest_error(arrays, self.reference, names)
        return _check(
            name,
            answers,
            FAILED if findings else OK,
            f"largest error {worst:.1e}, tolerance {tolerance:g}",
            findings,
        )

    def _own(
        self,
        name: str,
        answers: Answers,
        tolerance: float,
        bad: list[Finding],
        rows: int | None = None,
        alike: bool = True,
    ) -> Check:
        """Compares each backend with its own outputs.

        What is wrong on all of them in the same way is a property of the
        model: a note, if `alike` says so for errors too.
        """
        findings = list(bad)
        worst = 0.0
        for backend, arrays in _arrays(answers).items():
            before = {
                key: value[:rows] if value.ndim else value
                for key, value in self._outputs.get(backend, {}).items()
            }
            error = max(
                (
                    compare.relative_error(arrays[key], value)
                    if key in arrays
                    else float("inf")
                    for key, value in before.items()
                ),
                default=0.0,
            )
            worst = max(worst, error)
            if not error <= tolerance:
                text = f"{name} on {backend}: outputs change by {error:.1e}"
                findings.append(Finding(name, text, (backend,), error=error))
        detail = f"largest error {worst:.1e}, tolerance {tolerance:g}"
        if not findings:
            return _check(name, answers, OK, detail)
        everywhere = len({b for f in findings for b in f.backends}) == len(
            answers
        )
        finite = np.isfinite(worst)
        status = (
            NOTE if everywhere and (alike or not bad) and finite else FAILED
        )
        return _check(name, answers, status, detail, findings)

    def _parting(
        self,
        kind: str,
        text: str,
        parted: compare.Parting,
        layer: str | None,
    ) -> Finding:
        names = " and ".join(parted.backends)
        rest = (
            "the others"
            if parted.backends == (self.reference,)
            else self.reference
        )
        amount = (
            f"by {parted.error:.1e} of the largest value"
            if np.isfinite(parted.error)
            else "in its shape, or is not finite"
        )
        return Finding(
            kind,
            f"on {names}, {text} differs from that on {rest} {amount}",
            parted.backends,
            layer,
            parted.error,
        )


def _arrays(answers: Answers) -> dict[str, compare.Arrays]:
    return {
        name: answer.arrays()
        for name, answer in answers.items()
        if not answer.failure
    }


def _faults(stage: str, answers: Answers) -> list[Finding]:
    return [
        fault(stage, name, answer)
        for name, answer in answers.items()
        if answer.failure
    ]


def _random(answers: Answers) -> str:
    """Why training cannot be compared, if a layer draws at random."""
    names: dict[str, None] = {}
    for answer in answers.values():
        names |= dict.fromkeys(answer.values.get("random") or [])
    return f"random in training: {', '.join(names)}" if names else ""


def _check(
    name: str,
    answers: Answers,
    status: str,
    detail: str,
    findings: Sequence[Finding] = (),
) -> Check:
    seconds = [a.values.get("seconds", 0.0) for a in answers.values()]
    return Check(
        name, status, detail, tuple(findings), round(max(seconds, default=0), 2)
    )


def _has_compiler() -> bool:
    candidates = (os.environ.get("CXX", "g++"), "g++", "clang++", "c++")
    return any(shutil.which(name) for name in candidates)
