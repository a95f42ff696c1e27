"""Fine-tuning: from a preset and captioned pictures to a preset or a file."""

import dataclasses
import functools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from diffusion import captioned, concepts
from diffusion.adapters import Adapters
from diffusion.autoencoding import Autoencoding, encode
from diffusion.denoising import Denoising
from diffusion.fine_tuning import FineTuning
from diffusion.preset import find
from diffusion.stable_diffusion import StableDiffusion
from keras_multi import backend, files, optimizers, training
from keras_multi.errors import DataError, UsageError
from keras_multi.files import METRICS, prepare_folder, write_json
from keras_multi.precision import settled

MODEL, LORA, CONCEPT = "model", "lora.safetensors", "concept.safetensors"
RECIPE = "fine_tuning.json"


class Given(NamedTuple):
    """What a task is made of."""

    recipe: FineTuning
    pipeline: StableDiffusion
    pictures: np.ndarray  # uint8 (n, H, W, 3)
    captions: captioned.Captions


class Task(NamedTuple):
    """What is trained, and what becomes of it."""

    model: keras.Model  # gives the loss of each row
    inputs: Any  # arrays with the rows on the first axis
    save: Callable[[Path], None]


def fine_tune(
    recipe: FineTuning,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Fine-tunes a preset on a folder of captioned pictures.

    The output folder then holds `model`, a preset (with the methods `"unet"`
    and `"vae"`), `lora.safetensors` or `concept.safetensors`, which diffusers
    read, too; `fine_tuning.json`, `history.json` and, written last,
    `metrics.json`. While the training runs it holds a checkpoint: the same
    call after a crash goes on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `preset`,
        `seed`, `parameters` (those that were trained), `pictures`, `epochs`
        and `test`, the mean `loss` of the last epoch and that of the first
        one, both on the pictures themselves.

    Raises:
        UsageError: if there is no such preset, the pictures have no size that
            it can have, or a word does not fit.
        DataError: if a picture or a caption is missing.
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
    """
    directory = prepare_folder(output_dir)
    recipe = settled(
        recipe,
        lambda known: ready(known).model,
        lambda known: (ready(known).inputs,),
    )
    task = ready(recipe)
    history = training.fit(
        task.model,
        (task.inputs,),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=directory,
        progress=progress,
        description=recipe.method,
        settings=dataclasses.asdict(recipe),
    )
    losses = history.metrics["loss"]
    result = {
        "backend": backend.name(),
        "model": recipe.method,
        "data": recipe.data,
        "preset": recipe.preset,
        "seed": recipe.seed,
        "parameters": sum(
            int(np.prod(v.shape)) for v in task.model.trainable_variables
        ),
        "pictures": len(keras.tree.flatten(task.inputs)[0]),
        "epochs": history.epochs,
        "test": {"first_loss": losses[0], "loss": losses[-1]},
    }
    (directory / METRICS).unlink(missing_ok=True)
    task.save(directory)
    write_json(directory / RECIPE, dataclasses.asdict(recipe))
    write_json(directory / "history.json", dataclasses.asdict(history))
    write_json(directory / METRICS, result)
    training.remove_checkpoint(directory)
    return result


def ready(recipe: FineTuning) -> Task:
    """Loads the preset and the pictures, and compiles what is trained."""
    backend.seed(recipe.seed)
    pipeline = StableDiffusion.from_preset(
        recipe.preset, dtype=recipe.precision
    )
    pictures, captions = captioned.read(recipe.data, size(recipe, pipeline))
    task = TASKS[recipe.method](Given(recipe, pipeline, pictures, captions))
    task.model.build()
    steps = -(-len(pictures) // recipe.batch_size) * recipe.epochs
    task.model.compile(optimizer(recipe, steps))
    return task


def size(recipe: FineTuning, pipeline: StableDiffusion) -> tuple[int, int]:
    """Gives height and width of the pictures.

    Raises:
        UsageError: if the pipeline makes none of that size.
    """
    if recipe.side is None:
        return pipeline.image_size
    multiple = pipeline.downscale * pipeline.unet.size_multiple
    if recipe.side % multiple:
        raise UsageError(
            f"side must be a multiple of {multiple}. Received: {recipe.side}"
        )
    return recipe.side, recipe.side


def optimizer(recipe: FineTuning, steps: int) -> keras.optimizers.Optimizer:
    """Makes AdamW with a warm-up and a cosine.

    Args:
        recipe: its settings.
        steps: of the whole training.
    """
    warm = max(1, steps // 10)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / warm,
        max(1, steps - warm),
        alpha=0.1,
        warmup_target=recipe.rate,
        warmup_steps=warm,
    )
    return optimizers.AdamW(
        rate,
        recipe.weight_decay,
        global_clipnorm=recipe.clip,
        use_ema=recipe.ema > 0,
        ema_momentum=recipe.ema,
    )


def _unet(given: Given) -> Task:
    given.pipeline.text_encoder.trainable = given.recipe.text_encoder
    return Task(
        Denoising.of(given.pipeline, given.recipe),
        _inputs(given),
        functools.partial(_save, given),
    )


def _lora(given: Given) -> Task:
    recipe, pipeline = given.recipe, given.pipeline
    pipeline.text_encoder.trainable = False
    adapters = Adapters(pipeline.unet, recipe.rank)
    return Task(
        Denoising.of(given.pipeline, given.recipe),
        _inputs(given),
        lambda folder: adapters.changes().write(folder / LORA),
    )


def _concept(given: Given) -> Task:
    recipe, pipeline, _, captions = given
    encoder, tokenizer = pipeline.text_encoder, pipeline.tokenizer
    start = concepts.vector_of(encoder, tokenizer, recipe.like)
    tokenizer.add(recipe.word)
    missing = [
        text for own in captions for text in own if recipe.word not in text
    ]
    if missing:
        raise DataError(
            f"all captions must hold the new word {recipe.word}. "
            f"Received: {missing[0]!r}"
        )
    model = concepts.Inversion.of(pipeline, recipe, vector=start)

    def save(folder: Path) -> None:
        vector = keras.ops.convert_to_numpy(model.vector)
        concepts.write(folder / CONCEPT, {recipe.word: vector})

    return Task(model, _inputs(given), save)


def _vae(given: Given) -> Task:
    recipe = given.recipe
    return Task(
        Autoencoding(given.pipeline.vae, recipe.kl_weight, recipe.seed),
        given.pictures,
        functools.partial(_save, given),
    )


def _save(given: Given, folder: Path) -> None:
    given.pipeline.save_to_preset(folder / MODEL)
    # It tells how pictures of small presets are sampled.
    recipe = find(given.recipe.preset) / files.RECIPE
    if recipe.exists():
        shutil.copy(recipe, folder / MODEL)


TASKS = {"unet": _unet, "lora": _lora, "concept": _concept, "vae": _vae}


def _inputs(given: Given) -> dict[str, np.ndarray]:
    """Gives the inputs of `Denoising`: pictures encoded once, and tokens."""
    recipe, pipeline, pictures, captions = given
    vae = pipeline.vae
    most = max(map(len, captions))
    tokens = [
        pipeline.tokenizer([own[i % len(own)] for i in range(most)])
        for own in captions
    ]
    latents = encode(vae, pictures, recipe.batch_size) * vae.scaling_factor
    return {"latents": latents, "captions": np.stack(tokens)}
