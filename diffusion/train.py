"""Training: from a recipe to a folder with a pipeline and its figures."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from diffusion import data, folder, judge, recolored
from diffusion.autoencoding import Autoencoding, Decoding, encode
from diffusion.clip import CLIPTextEncoder
from diffusion.denoising import Denoising
from diffusion.evaluate import SHEET, evaluate
from diffusion.preset import find
from diffusion.recipe import GROUPS, Recipe
from diffusion.schedulers import NoiseSchedule
from diffusion.stable_diffusion import StableDiffusion
from diffusion.tokenizer import CLIPTokenizer
from diffusion.unet import UNet
from diffusion.vae import VAE
from keras_multi import backend, training
from keras_multi.files import METRICS, RECIPE, prepare_folder, write_json
from keras_multi.optimizers import AdamW
from keras_multi.precision import settled

HISTORY = "history.json"
NO_DECAY = ("bias", "gamma", "beta", "embeddings")
# Where the autoencoder is shown each drawing, and whether mirrored.
VAE_PLACES = ((0, 0, False), (16, 0, False), (8, 0, True))
MAX_TOKENS = 8
SCHEDULE = NoiseSchedule(
    betas="cosine",
    prediction="v",
    spacing="trailing",
    steps_offset=0,
    final_alpha_is_one=True,
)
VAE_CHECKPOINT = "checkpoint-vae"
DECODER_CHECKPOINT = "checkpoint-decoder"
UNET_CHECKPOINT = "checkpoint-unet"
CAPTIONS = 6  # rows of captions: 1, 2 and 3 of them come equally often
WORD_DEVIATION = 0.02  # of the vectors of words in a new CLIP
ARTICLE = "a"  # before the last of them, so that unknown words say nothing


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains autoencoder, text encoder, UNet and judge, and saves them.

    The folder then is a preset that `StableDiffusion.from_preset` and
    diffusers read, with the weights in half precision; beside its own files
    it has `judge.safetensors`, `recipe.json`, `history.json`, `sheet.png` and,
    written last, `metrics.json`. While the training runs it holds checkpoints:
    the same call after a crash goes on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: what `diffusion.evaluate.evaluate` gives,
        without the failures; and `seed`, `parameters`, `epochs`, `pictures`,
        and the accuracy of the `judge` on renderings that it has not seen.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the font of the pictures is not installed.
    """
    directory = prepare_folder(output_dir)
    (directory / METRICS).unlink(missing_ok=True)
    pictures = data.load(recipe.pictures).train
    vae = train_vae(recipe, pictures, directory, progress)
    vae = train_decoder(recipe, pictures, vae, directory, progress)
    recipe = settled(
        recipe,
        lambda known: denoising(make_pipeline(known, pictures, vae), known, 1),
        lambda known: (
            _any_inputs(make_pipeline(known, pictures, vae), known),
        ),
    )
    pipeline, history = train_unet(recipe, pictures, vae, directory, progress)
    referee, accuracy = judge.train(
        recolored.load(), recipe.judge_epochs, recipe.seed, progress
    )
    judge.save(referee, directory)
    pipeline.save_to_preset(directory, "float16")
    write_json(directory / RECIPE, dataclasses.asdict(recipe))
    write_json(directory / HISTORY, dataclasses.asdict(history))
    result = evaluate(
        directory,
        pictures=recipe.pictures,
        sheet=directory / SHEET,
        progress=progress,
    )
    result.pop("failures")
    models = (pipeline.text_encoder, pipeline.unet, pipeline.vae)
    result |= {
        "seed": recipe.seed,
        "parameters": sum(model.count_params() for model in models),
        "epochs": history.epochs,
        "pictures": len(pictures),
        "judge": accuracy,
    }
    write_json(directory / METRICS, result)
    for stage in (VAE_CHECKPOINT, DECODER_CHECKPOINT, UNET_CHECKPOINT):
        shutil.rmtree(directory / stage, ignore_errors=True)
    return result


def train_vae(
    recipe: Recipe, pictures: data.Pictures, directory: Path, progress: bool
) -> VAE:
    """Trains the autoencoder, or reads it where there is one to go on from.

    Args:
        recipe: what to train.
        pictures: what to learn.
        directory: the folder of the run. The autoencoder is kept in full
            precision beside the checkpoint, for a run that is killed later.
        progress: whether to show a progress bar.
    """
    stage = directory / VAE_CHECKPOINT
    done = stage if recipe.start is None else find(recipe.start)
    if (done / "vae" / folder.CONFIG).exists():
        vae: VAE = folder.read(done, "vae")
        return vae
    backend.seed(recipe.seed)
    vae = VAE(
        recipe.latent_channels,
        recipe.vae_channels,
        layers_per_block=1,
        norm_groups=GROUPS,
        patch_size=2,
        middle_attention=False,
        dtype="float32",
    )
    model = Autoencoding(vae, recipe.kl_weight, recipe.seed)
    shown = vae_pictures(pictures)
    steps = -(-len(shown) // recipe.vae_batch_size) * recipe.vae_epochs
    model.build()
    model.compile(optimizer(recipe, recipe.vae_learning_rate, steps))
    training.fit(
        model,
        (shown,),
        epochs=recipe.vae_epochs,
        batch_size=recipe.vae_batch_size,
        seed=recipe.seed,
        checkpoint_dir=stage,
        progress=progress,
        description="autoencoder",
        settings=dataclasses.asdict(recipe),
    )
    vae.scaling_factor = float(1 / encode(vae, shown[::3]).std())
    folder.write(stage, "vae", vae)
    training.remove_checkpoint(stage)
    return vae


def train_decoder(
    recipe: Recipe,
    pictures: data.Pictures,
    vae: VAE,
    directory: Path,
    progress: bool,
) -> VAE:
    """Trains the decoder further, unless that is done already.

    Args:
        recipe: what to train.
        pictures: what to learn.
        vae: the trained autoencoder, whose encoder stays as it is.
        directory: the folder of the run.
        progress: whether to show a progress bar.
    """
    stage = directory / DECODER_CHECKPOINT
    if (stage / "vae" / folder.CONFIG).exists():
        done: VAE = folder.read(stage, "vae")
        return done
    backend.seed(recipe.seed)
    shown = vae_pictures(pictures)
    inputs = {
        "latents": encode(vae, shown) * vae.scaling_factor,
        "pictures": shown,
    }
    steps = -(-len(shown) // recipe.vae_batch_size) * recipe.decoder_epochs
    model = Decoding(vae, recipe.decoder_noise, recipe.seed)
    model.compile(optimizer(recipe, recipe.vae_learning_rate / 2, steps))
    training.fit(
        model,
        (inputs,),
        epochs=recipe.decoder_epochs,
        batch_size=recipe.vae_batch_size,
        seed=recipe.seed,
        checkpoint_dir=stage,
        progress=progress,
        description="decoder",
        settings=dataclasses.asdict(recipe),
    )
    folder.write(stage, "vae", vae)
    training.remove_checkpoint(stage)
    return vae


def vae_pictures(pictures: data.Pictures) -> np.ndarray:
    """Gives what the autoencoder is shown, uint8 `(n, SIZE, SIZE, 3)`."""
    drawings = pictures.drawings
    shown = np.stack([data.place(drawings, *p) for p in VAE_PLACES], axis=1)
    return shown.reshape(-1, *shown.shape[2:])


def train_unet(
    recipe: Recipe,
    pictures: data.Pictures,
    vae: VAE,
    directory: Path,
    progress: bool,
) -> tuple[StableDiffusion, training.History]:
    """Trains the UNet and the text encoder together, on latents.

    Args:
        recipe: what to train.
        pictures: what to learn.
        vae: the trained autoencoder.
        directory: the folder of the run, for the checkpoint.
        progress: whether to show a progress bar.

    Returns:
        The whole pipeline, and what happened.
    """
    start = make_pipeline(recipe, pictures, vae)
    inputs = {
        "latents": latents(vae, pictures),
        "captions": caption_tokens(start.tokenizer, pictures),
    }
    rows = len(inputs["latents"])
    steps = -(-rows // recipe.batch_size) * recipe.epochs
    model = denoising(start, recipe, steps)
    history = training.fit(
        model,
        (inputs,),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        checkpoint_dir=directory / UNET_CHECKPOINT,
        progress=progress,
        description="text to image",
        settings=dataclasses.asdict(recipe),
    )
    pipeline = StableDiffusion(
        model.text_encoder,
        model.unet,
        vae,
        start.tokenizer,
        start.schedule,
        (data.SIZE, data.SIZE),
    )
    return pipeline, history


def make_pipeline(
    recipe: Recipe, pictures: data.Pictures, vae: VAE
) -> StableDiffusion:
    """Makes or loads what the training of the UNet starts from, seeded."""
    backend.seed(recipe.seed)
    if recipe.start is not None:
        return StableDiffusion.from_preset(recipe.start, dtype=recipe.precision)
    tokenizer = CLIPTokenizer.from_words(pictures.words, MAX_TOKENS)
    return StableDiffusion(
        make_text_encoder(recipe, len(tokenizer)),
        make_unet(recipe),
        vae,
        tokenizer,
        SCHEDULE,
    )


def denoising(
    pipeline: StableDiffusion, recipe: Recipe, steps: int
) -> Denoising:
    """Makes a compiled model that trains UNet and text encoder.

    Args:
        pipeline: of both.
        recipe: the recipe.
        steps: of the whole training.
    """
    model = Denoising.of(pipeline, recipe)
    model.build()
    model.compile(optimizer(recipe, recipe.learning_rate, steps))
    return model


def _any_inputs(
    pipeline: StableDiffusion, recipe: Recipe
) -> dict[str, np.ndarray]:
    """Gives a batch in the shapes of one of the training."""
    rows, side = recipe.batch_size, data.SIZE // pipeline.downscale
    shape = rows, side, side, pipeline.unet.in_channels
    tokens = np.stack([pipeline.tokenizer([""] * CAPTIONS)] * rows)
    latents = np.random.default_rng(0).standard_normal(shape, "float32")
    return {"latents": latents, "captions": tokens}


def make_unet(recipe: Recipe) -> UNet:
    """Makes the UNet of a recipe."""
    return UNet(
        recipe.latent_channels,
        recipe.latent_channels,
        recipe.channels,
        recipe.attention,
        layers_per_block=1,
        num_heads=recipe.num_heads,
        context_dim=recipe.text_dim,
        norm_groups=GROUPS,
        patch_size=2,
        dtype=recipe.precision,
    )


def make_text_encoder(recipe: Recipe, vocabulary_size: int) -> CLIPTextEncoder:
    """Makes the text encoder of a recipe.

    The vectors of its words start at a standard deviation of 1. Adam changes
    every number by about the learning rate, and those of CLIP start so small
    that each step would make other words of them.
    """
    encoder = CLIPTextEncoder(
        vocabulary_size,
        recipe.text_layers,
        num_heads=4,
        hidden_dim=recipe.text_dim,
        intermediate_dim=2 * recipe.text_dim,
        max_length=MAX_TOKENS,
        activation="gelu",
        dtype=recipe.precision,
    )
    encoder.build()
    (words,) = encoder.tokens.trainable_variables
    words.assign(words / WORD_DEVIATION)
    return encoder


def latents(vae: VAE, pictures: data.Pictures) -> np.ndarray:
    """Encodes all variants of pictures, those of one picture side by side.

    Returns:
        float32 `(pictures * variants, h, w, C)`, scaled.
    """
    encoded = [
        encode(vae, data.variant(pictures.drawings, number))
        for number in range(data.NUM_VARIANTS)
    ]
    stacked = np.stack(encoded, axis=1) * vae.scaling_factor
    return stacked.reshape(-1, *stacked.shape[2:])


def caption_tokens(
    tokenizer: CLIPTokenizer, pictures: data.Pictures
) -> np.ndarray:
    """Gives the tokens of the captions in the order of `latents`.

    Returns:
        int32 `(pictures * variants, CAPTIONS, T)`.
    """
    rows = []
    for own in pictures.captions:
        texts = [own[i % len(own)] for i in range(CAPTIONS)]
        texts[-1] = f"{ARTICLE} {texts[-1]}"
        rows += [tokenizer(texts)] * data.NUM_VARIANTS
    return np.stack(rows)


def optimizer(recipe: Recipe, learning_rate: float, steps: int) -> AdamW:
    """Makes AdamW with a warm-up, a cosine, and a moving average of weights.

    Args:
        recipe: the rest of the settings.
        learning_rate: the highest.
        steps: of the whole training.
    """
    warm = max(1, steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        learning_rate / warm,
        max(1, steps - warm),
        alpha=0.02,
        warmup_target=learning_rate,
        warmup_steps=warm,
    )
    made = AdamW(
        rate,
        recipe.weight_decay,
        beta_2=0.98,
        global_clipnorm=recipe.clip,
        use_ema=True,
        ema_momentum=recipe.ema,
    )
    made.exclude_from_weight_decay(var_names=list(NO_DECAY))
    return made
