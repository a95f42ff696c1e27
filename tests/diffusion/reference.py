"""Small random models of `diffusers` and `transformers`.

All their weights are drawn, biases and scales too, so that none of them can
be left out unnoticed.
"""

from typing import Any

import numpy as np

STYLES: dict[str, dict[str, Any]] = {
    "sd1": {"attention_head_dim": 2, "use_linear_projection": False},
    "sd2": {"attention_head_dim": (2, 4), "use_linear_projection": True},
}


def unet(style: str) -> Any:
    """A UNet of two resolutions, attention at the finer one."""
    from diffusers import UNet2DConditionModel

    model = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        norm_num_groups=4,
        **STYLES[style],
    )
    return drawn(model)


def vae() -> Any:
    """An autoencoder of two resolutions."""
    from diffusers import AutoencoderKL

    model = AutoencoderKL(
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    return drawn(model)


def clip(**config: Any) -> Any:
    """A text encoder of three layers."""
    from transformers import CLIPTextConfig, CLIPTextModel

    settings = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "max_position_embeddings": 9,
        "bos_token_id": 48,
        "eos_token_id": 49,
        **config,
    }
    return drawn(CLIPTextModel(CLIPTextConfig(**settings)))


def pipeline(prediction: str = "epsilon") -> Any:
    """A pipeline of the small models, with a vocabulary of letters."""
    import string

    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase[:22]
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    merges = [("r", "e"), ("re", "d</w>"), ("a", "n"), ("o", "f</w>")]
    tokens += ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(hidden_size=12),
        tokenizer=CLIPTokenizer(
            vocab={token: i for i, token in enumerate(tokens)},
            merges=merges,
            model_max_length=9,
        ),
        unet=unet("sd1"),
        scheduler=DDIMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def drawn(model: Any) -> Any:
    """Draws all weights of a PyTorch model; gives it."""
    import torch

    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in model.parameters():
            draws = rng.normal(0, 0.2, tuple(parameter.shape))
            parameter.copy_(torch.tensor(draws))
    return model.eval()


def computed(fn: Any, *inputs: Any, **options: Any) -> Any:
    """Calls a function of arrays once, in the way that costs least."""
    from keras_multi import backend

    if backend.name() == "jax":
        return backend.inference(lambda *x: fn(*x, **options))(*inputs)
    return fn(*inputs, **options)


def close(ours: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Asserts that arrays differ by a share of the largest value only."""
    import keras

    ours = keras.ops.convert_to_numpy(ours)
    expected = expected.detach().numpy()
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


def channels_last(x: Any) -> Any:
    """Turns a tensor of PyTorch from `(B, C, H, W)` into `(B, H, W, C)`."""
    return x.permute(0, 2, 3, 1)
