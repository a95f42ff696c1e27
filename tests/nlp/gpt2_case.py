"""A tiny GPT-2 of the `transformers` library, and ours with its weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = 61


def reference(folder: Path | None = None, **config: Any) -> Any:
    """Makes a random GPT2LMHeadModel; writes it if a folder is given.

    All its weights are drawn, biases too, so that none of them can be left
    out unnoticed.
    """
    import torch
    import transformers

    settings = {
        "vocab_size": VOCABULARY,
        "n_positions": 64,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "bos_token_id": None,
        "eos_token_id": None,
        **config,
    }
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))
    rng = np.random.default_rng(settings["n_embd"])
    with torch.no_grad():
        for parameter in model.parameters():
            draws = rng.normal(0, 0.2, tuple(parameter.shape))
            parameter.copy_(torch.tensor(draws))
    if folder is not None:
        model.save_pretrained(folder)
    return model.eval()


def theirs(model: Any, token_ids: np.ndarray, **inputs: Any) -> np.ndarray:
    """Logits of the reference."""
    import torch

    tensors = {k: torch.tensor(np.asarray(v)) for k, v in inputs.items()}
    with torch.no_grad():
        output = model(torch.tensor(token_ids.astype("int64")), **tensors)
    return output.logits.numpy()


def with_padding(
    model: Any, token_ids: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks of three rows padded on either side, and the logits with them."""
    lengths = np.array([[11], [4], [7]])
    for mask in (np.arange(11) < lengths, np.arange(10, -1, -1) < lengths):
        yield (
            mask,
            theirs(
                model,
                token_ids,
                attention_mask=mask.astype("int64"),
                position_ids=np.maximum(mask.cumsum(1) - 1, 0),
            ),
        )
