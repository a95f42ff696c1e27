"""Samplers by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_multi.errors import UsageError
from nlp.generation.beam import Beam
from nlp.generation.contrastive import Contrastive
from nlp.generation.samplers import Greedy, Random
from nlp.generation.speculative import Speculative

Sampler = Greedy | Random | Beam | Contrastive | Speculative

SAMPLERS: dict[str, Sampler] = {
    "greedy": Greedy(),
    "random": Random(),
    "top_k": Random(top_k=50),
    "top_p": Random(top_p=0.9),
    "min_p": Random(min_p=0.05),
    "typical": Random(typical_p=0.95),
    "beam": Beam(),
    "contrastive": Contrastive(),
}


def find(sampler: Any) -> Sampler:
    """Gives the sampler of a name; a sampler itself as it is."""
    if isinstance(sampler, Sampler):
        return sampler
    if sampler not in SAMPLERS:
        raise UsageError(
            f"unknown sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}"
        )
    return SAMPLERS[sampler]


def with_settings(sampler: str, settings: Mapping[str, Any]) -> Sampler:
    """Changes the settings of a sampler.

    Args:
        sampler: its name.
        settings: arguments of `Random` or `Beam` by name.

    Raises:
        UsageError: if there is no such sampler, it has no such setting, or a
            value is out of range.
    """
    named = find(sampler)
    for name in settings:
        if not hasattr(named, name):
            raise UsageError(f"the sampler {sampler!r} has no {name}")
    return dataclasses.replace(named, **settings)
