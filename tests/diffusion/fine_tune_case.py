"""A random preset, and pictures to fine-tune it with."""

from pathlib import Path

import numpy as np
from PIL import Image

from diffusion import VAE, CLIPTextEncoder, StableDiffusion, UNet
from diffusion.names import slots_of
from diffusion.tokenizer import CLIPTokenizer
from tests.diffusion.picture_case import SHAPES

WORDS = ["a", "red", "bar", "pole", "block"]
SIDE = 16


def write_preset(path: Path) -> None:
    """Writes a preset for pictures of 16x16 pixels."""
    tokenizer = CLIPTokenizer.from_words(WORDS, 6)
    model = StableDiffusion(
        CLIPTextEncoder(len(tokenizer), 1, 2, 8, 16, max_length=6),
        UNet(
            channels=(8,),
            attention=(True,),
            layers_per_block=1,
            num_heads=2,
            context_dim=8,
            norm_groups=4,
        ),
        VAE(4, (8, 8), 1, norm_groups=4, middle_attention=False),
        tokenizer,
        image_size=(SIDE, SIDE),
    )
    # What starts at zero would keep some changes from showing.
    rng = np.random.default_rng(0)
    for slot in slots_of(model.unet).values():
        slot.variable.assign(rng.normal(0, 0.2, slot.variable.shape))
    model.save_to_preset(path)
    (path / "recipe.json").write_text("{}")


def write_pictures(path: Path) -> None:
    """Writes three shapes, each with its captions beside it."""
    for name, place in SHAPES.items():
        picture = np.full((48, 60, 3), 255, "uint8")
        picture[place] = (220, 30, 40)
        Image.fromarray(picture).save(path / f"{name}.png")
        text = f"a red <toy> {name}\n\na <toy> {name}\n"
        (path / f"{name}.txt").write_text(text)
