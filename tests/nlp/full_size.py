"""GPT-2 with 124 million parameters against that of transformers.

No test: it takes a gigabyte. `python -m tests.nlp.full_size write DIR` draws
a random model, its logits for 40 tokens and 64 tokens that it writes greedily;
`... compare DIR` reads it on the backend of `KERAS_BACKEND`, and prints the
largest difference of the logits as a share of the largest, and whether the
tokens are the same.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

PROMPT, NEW = 16, 64
# So large that the text does not repeat one token, as with smaller ones.
SCALE = 0.05


def token_ids() -> np.ndarray:
    """Two random texts of 40 tokens."""
    return np.random.default_rng(0).integers(0, 50257, (2, 40))


def write(folder: Path) -> dict[str, Any]:
    """Draws and writes the model of transformers, and what it computes."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(bos_token_id=None, eos_token_id=None))
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for name, parameter in model.named_parameters():
            is_scale = ".ln_" in name and name.endswith("weight")
            parameter.normal_(float(is_scale), SCALE, generator=generator)
        model.eval().save_pretrained(folder)
        ids = torch.from_numpy(token_ids())
        np.save(folder / "logits.npy", model(ids).logits.numpy())
        prompts = ids[:, :PROMPT]
        texts = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        ).numpy()
    np.save(folder / "texts.npy", texts)
    different = [len(set(text[PROMPT:].tolist())) for text in texts]
    return {"model": "transformers", "different_tokens": different}


def compare(folder: Path) -> dict[str, Any]:
    """Reads the model and compares its outputs."""
    from keras import ops

    from keras_multi import backend
    from nlp import GPT2

    model = GPT2.from_preset(folder)
    ids = token_ids().astype("int32")
    compiled = backend.inference(lambda ids: model(ids))
    ours = ops.convert_to_numpy(compiled(ops.convert_to_tensor(ids)))
    expected = np.load(folder / "logits.npy")
    texts = model.generate(ids[:, :PROMPT], max_new_tokens=NEW)
    return {
        "model": backend.name(),
        "parameters": model.count_params(),
        "difference": float(
            np.abs(ours - expected).max() / np.abs(expected).max()
        ),
        "same_texts": bool((texts == np.load(folder / "texts.npy")).all()),
    }


if __name__ == "__main__":
    action = {"write": write, "compare": compare}[sys.argv[1]]
    print(json.dumps(action(Path(sys.argv[2]))))
