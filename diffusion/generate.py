"""Pictures of prompts, in files that tell how to make them again."""

import dataclasses
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from keras import ops
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from diffusion import picture
from diffusion.options import Options
from diffusion.preset import find
from diffusion.sampling import Callback
from diffusion.stable_diffusion import StableDiffusion
from keras_multi import backend
from keras_multi.backend import AUTO, PRECISIONS
from keras_multi.errors import UsageError
from keras_multi.fields import checked, choose, require
from keras_multi.files import RECIPE
from keras_multi.precision import Trial, fastest, tell

# How what `diffusion.train` has made is sampled if nothing else is said; other
# presets as in `Options`.
SMALL: dict[str, Any] = {
    "num_steps": 20,
    "guidance_scale": 2.0,
    "scheduler": "ddim",
    "candidates": 4,
}
# Settings that a file without them was made with.
BEFORE = {"candidates": 1}


@dataclass(frozen=True)
class Settings:
    """All that a picture depends on.

    Attributes:
        prompt: what to show, one text or several.
        preset: name or folder of the pipeline.
        negative_prompt: what not to show.
        batch_size: number of pictures of each prompt.
        num_steps: see `Options`, as the next three; `None` for what suits
            the preset.
        guidance_scale: how much more than without the prompt.
        scheduler: name of the sampler.
        candidates: noises to choose that of each picture from.
        seed: of the noise; drawn if `None`.
        img_height: height in pixels; `None` for that of the preset.
        img_width: width in pixels; the same.
        image: file of a picture to change.
        mask: file of a mask, white where something new is to be.
        strength: how much of the picture to change.
        lora: files of low-rank changes, each perhaps with a scale, as in
            `style.safetensors:0.8`.
        concept: files with vectors of new words.
        precision: Keras dtype policy, or `"auto"` for the faster of float32
            and bfloat16.
        grid: whether all pictures are in one.
        number: which of the pictures, from 0; `None` for all.
    """

    prompt: tuple[str, ...]
    preset: str = "emoji"
    negative_prompt: str | None = None
    batch_size: int = 1
    num_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    candidates: int | None = None
    seed: int | None = None
    img_height: int | None = None
    img_width: int | None = None
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    lora: tuple[str, ...] = ()
    concept: tuple[str, ...] = ()
    precision: str = "float32"
    grid: bool = False
    number: int | None = None

    def __post_init__(self) -> None:
        choose("precision", self.precision, (*PRECISIONS, "float16", AUTO))
        require(self, "prompt", len(self.prompt) > 0, "not be empty")
        require(self, "batch_size", self.batch_size >= 1, "be at least 1")
        for name in ("mask", "strength"):
            useful = self.image is not None or getattr(self, name) is None
            require(self, name, useful, "be given with an image only")
        total = len(self.prompt) * self.batch_size
        inside = self.number is None or 0 <= self.number < total
        require(self, "number", inside, f"lie in [0, {total})")

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Settings":
        """Makes settings, with all that is not said filled in.

        Raises:
            UsageError: if a name is unknown, or a value has the wrong type or
                is out of range.
        """
        given = cls(**checked(cls, fields))
        known = vars(Options())
        if (find(given.preset) / RECIPE).exists():
            known = known | SMALL
        drawn = int(np.random.SeedSequence().generate_state(1)[0])
        known = known | {"seed": drawn}
        missing = {
            name: known[name]
            for name in (
                "num_steps",
                "guidance_scale",
                "scheduler",
                "candidates",
                "seed",
            )
            if getattr(given, name) is None
        }
        return dataclasses.replace(given, **missing)


def generate(
    settings: Settings,
    output: str | os.PathLike[str] | None = None,
    progress: bool = True,
    low_memory: bool = False,
) -> list[str]:
    """Makes pictures and writes them to PNG files with their settings.

    Args:
        settings: what to make, and how.
        output: PNG file; of several pictures each gets a number. By default
            it is named after the first prompt.
        progress: whether to show a progress bar on stderr.
        low_memory: whether never to have two models in memory.

    Returns:
        The files.

    Raises:
        UsageError: if a setting is out of range.
        DataError: if a file cannot be read.
        KerasMultiError: if a file cannot be written, or a model gives NaN.
    """
    path = Path(output or f"{slug(settings.prompt[0])}.png")
    if path.suffix.lower() != ".png":
        raise UsageError(
            f"the name of the output must end in .png. Received: {path}"
        )
    settings = settled(settings, low_memory)
    pictures = make(settings, progress, low_memory)
    kept = dataclasses.asdict(settings)
    if settings.grid:
        picture.save(path, grid(pictures, settings.batch_size), kept)
        return [str(path)]
    numbers = range(len(pictures))
    if settings.number is not None:
        numbers = range(settings.number, settings.number + 1)
    files = []
    for i in numbers:
        file = path
        if len(numbers) > 1:
            file = path.with_name(f"{path.stem}-{i + 1}.png")
        picture.save(file, pictures[i], kept | {"number": i})
        files.append(str(file))
    return files


def settled(settings: Settings, low_memory: bool = False) -> Settings:
    """Gives settings whose precision is no longer `"auto"`.

    A call of the UNet is timed in both precisions.

    Args:
        settings: what to make.
        low_memory: whether to load the UNets alone.
    """
    if settings.precision != AUTO:
        return settings
    pictures = len(settings.prompt) * settings.batch_size
    rows = 2 * pictures if settings.guidance_scale != 1 else pictures

    def trial(policy: str) -> Trial:
        pipeline = StableDiffusion.from_preset(
            settings.preset, dtype=policy, low_memory=low_memory
        )
        size = (
            settings.img_height or pipeline.image_size[0],
            settings.img_width or pipeline.image_size[1],
        )
        context = np.repeat(pipeline.encode_text(""), rows, axis=0)
        unet: Any = pipeline.unet
        latent = (side // pipeline.downscale for side in size)
        shape = rows, *latent, unet.in_channels
        rng = np.random.default_rng(0)
        inputs = [
            ops.convert_to_tensor(x)
            for x in (
                rng.standard_normal(shape, "float32"),
                np.full(rows, 500, "int32"),
                context,
            )
        ]
        step = backend.bind(unet, unet, static=True)
        noise = ops.convert_to_numpy(ops.cast(step(*inputs), "float32"))
        return Trial(noise, lambda: step(*inputs))

    size = settings.img_height, settings.img_width
    choice = fastest(trial, f"{settings.preset} {rows} {size}", "bfloat16")
    tell(choice)
    return dataclasses.replace(settings, precision=choice.precision)


def make(
    settings: Settings, progress: bool = True, low_memory: bool = False
) -> np.ndarray:
    """Makes the pictures of settings, uint8 `(n, H, W, 3)`."""
    pipeline = StableDiffusion.from_preset(
        settings.preset, dtype=settings.precision, low_memory=low_memory
    )
    for file in settings.concept:
        pipeline.add_concepts(file)
    for text in settings.lora:
        pipeline.merge_lora(*scaled(text))
    options: dict[str, Any] = {
        name: getattr(settings, name)
        for name in (
            "batch_size",
            "negative_prompt",
            "num_steps",
            "guidance_scale",
            "scheduler",
            "candidates",
            "seed",
        )
    }
    prompts = list(settings.prompt)
    with bar(settings.num_steps, progress) as callback:
        options["callback"] = callback
        if settings.image is None:
            return pipeline.text_to_image(
                prompts,
                img_height=settings.img_height,
                img_width=settings.img_width,
                **options,
            )
        image = read(settings.image, "RGB")
        images = np.repeat(image[None], len(prompts), axis=0)
        if settings.strength is not None:
            options["strength"] = settings.strength
        if settings.mask is None:
            return pipeline.image_to_image(images, prompts, **options)
        mask = read(settings.mask, "L")
        masks = np.repeat(mask[None], len(prompts), axis=0)
        return pipeline.inpaint(images, masks, prompts, **options)


def scaled(text: str) -> tuple[str, float]:
    """Parts a file name from the scale after it, which is 1 by default.

    Example:
        >>> scaled("style.safetensors:0.8")
        ('style.safetensors', 0.8)
    """
    name, _, scale = text.rpartition(":")
    try:
        return (name, float(scale)) if name else (text, 1.0)
    except ValueError:
        return text, 1.0


@contextmanager
def bar(steps: int | None, progress: bool) -> Iterator[Callback | None]:
    """Gives a callback that shows the steps, if stderr is a terminal."""
    if not progress or not sys.stderr.isatty():
        yield None  # The whole loop is one program then.
        return
    with tqdm(total=steps, desc="steps", leave=False) as shown:
        yield lambda done, total, latents: shown.update(done - shown.n)


def read(path: str, mode: str) -> np.ndarray:
    """Reads a picture file.

    Raises:
        UsageError: if it cannot be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except (OSError, UnidentifiedImageError) as error:
        raise UsageError(f"cannot read the picture {path}: {error}") from error


def grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Lays pictures out in rows.

    Args:
        pictures: uint8 `(rows * columns, H, W, 3)`.
        columns: how many to a row.

    Returns:
        uint8 `(rows * H, columns * W, 3)`.
    """
    count, height, width, _ = pictures.shape
    rows = count // columns
    cells = pictures.reshape(rows, columns, height, width, 3)
    return cells.swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def slug(prompt: str) -> str:
    """Gives a file name of a prompt.

    Example:
        >>> slug("A red apple!")
        'a-red-apple'
    """
    words = re.findall(r"\w+", prompt.lower())
    return "-".join(words)[:60] or "picture"
