"""Whole pipelines: from a folder of diffusers, and into one."""

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from diffusion import folder, single_file
from diffusion.components import SafetyChecker
from diffusion.schedulers import NoiseSchedule
from diffusion.stable_diffusion import StableDiffusion
from diffusion.tokenizer import CLIPTokenizer
from keras_multi.errors import DataError, UsageError
from keras_multi.files import prepare_folder, read_json, write_json
from keras_multi.presets import read_safetensors

INDEX = "model_index.json"
SCHEDULER = Path("scheduler") / "scheduler_config.json"
UNET = Path("unet") / folder.CONFIG
EMBEDDED = Path(__file__).with_name("presets")
HUB_FILES = [
    "model_index.json",
    "*/*.json",
    "tokenizer/merges.txt",
    "unet/diffusion_pytorch_model*.safetensors",
    "vae/diffusion_pytorch_model*.safetensors",
    "text_encoder/model*.safetensors",
]
CLASSES = {
    "scheduler": ("diffusers", "DDIMScheduler"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "feature_extractor": (None, None),
    "safety_checker": (None, None),
}


def load(
    preset: str | os.PathLike[str],
    low_memory: bool = False,
    dtype: str | None = None,
    vae_dtype: str | None = None,
    prediction: str | None = None,
    safety_checker: SafetyChecker | None = None,
) -> StableDiffusion:
    """Loads a pipeline.

    Args:
        preset: the path of a folder that diffusers or `save` has written, or
            of a safetensors file of Stable Diffusion 1 or 2 with the original
            names; the name of a folder in `diffusion/presets`; or
            `"hf://ORGANISATION/NAME"` on the Hugging Face hub.
        low_memory: whether to load text encoder, UNet and VAE for each use
            and free them after it, so that never two are in memory.
        dtype: policy of the models, such as `"bfloat16"`; that of Keras by
            default.
        vae_dtype: the same for the VAE, which is the first to overflow in
            float16; `dtype` by default.
        prediction: what the UNet predicts, see `NoiseSchedule`; that of the
            folder by default. A single file does not tell: Stable Diffusion
            2 for pictures of 768 pixels predicts `"v"`, all others
            `"epsilon"`.
        safety_checker: see `Components`.

    Raises:
        UsageError: if there is no such preset, or a package that it needs is
            not installed.
        DataError: if its files cannot be fetched, are missing or damaged, or
            do not fit together.
    """
    path = find(preset)
    read, arguments = (_of_folder if path.is_dir() else _of_file)(path)
    loaders = {}
    for part in ("text_encoder", "unet", "vae"):
        chosen = vae_dtype or dtype if part == "vae" else dtype
        changes = {} if chosen is None else {"dtype": chosen}
        loaders[part] = functools.partial(read, path, part, **changes)
    parts: dict[str, Any] = dict(loaders)
    if not low_memory:
        parts = {part: loader() for part, loader in loaders.items()}
    if prediction is not None:
        schedule = arguments["schedule"]
        arguments["schedule"] = replace(schedule, prediction=prediction)
    return StableDiffusion(**parts, **arguments, safety_checker=safety_checker)


def _of_folder(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Gives what reads a model, and the other arguments of a pipeline."""
    configs = [Path(part) / folder.CONFIG for part in folder.WEIGHTS]
    for needed in (Path(INDEX), SCHEDULER, *configs):
        if not (path / needed).is_file():
            raise DataError(
                f"there is no {path / needed}; give the folder of a diffusers "
                "pipeline"
            )
    config = read_json(path / "vae" / folder.CONFIG)
    halvings = len(config.get("block_out_channels", "1")) - 1
    downscale = config.get("patch_size", 1) * 2**halvings
    side = read_json(path / UNET).get("sample_size") or 64
    sides = side if isinstance(side, list) else [side, side]
    return folder.read, {
        "tokenizer": CLIPTokenizer.from_folder(path / "tokenizer"),
        "schedule": NoiseSchedule.from_config(read_json(path / SCHEDULER)),
        "image_size": (sides[0] * downscale, sides[1] * downscale),
        "downscale": downscale,
    }


def _of_file(path: Path) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Gives what reads a model, and the other arguments of a pipeline."""
    is_version_2 = path.suffix == ".safetensors" and single_file.is_version_2(
        read_safetensors(path)
    )
    return single_file.read, {
        "tokenizer": CLIPTokenizer.clip("!" if is_version_2 else None),
        "schedule": NoiseSchedule(),
    }


def save(
    path: str | os.PathLike[str],
    pipeline: StableDiffusion,
    dtype: str = "float32",
) -> None:
    """Writes a pipeline as a folder that `load` and diffusers read.

    Args:
        path: of the folder; made if it is not there.
        pipeline: what to write.
        dtype: of the weights, `"float32"` or `"float16"`.

    Raises:
        KerasMultiError: if it cannot be written.
    """
    path = prepare_folder(Path(path))
    (path / INDEX).unlink(missing_ok=True)
    folder.write(path, "text_encoder", pipeline.text_encoder, dtype)
    folder.write(path, "unet", pipeline.unet, dtype)
    folder.write(path, "vae", pipeline.vae, dtype)
    sides = [side // pipeline.downscale for side in pipeline.image_size]
    config = {**read_json(path / UNET), "sample_size": sides}
    write_json(path / UNET, config)
    pipeline.tokenizer.save(path / "tokenizer")
    prepare_folder((path / SCHEDULER).parent)
    config = pipeline.schedule.to_config()
    write_json(path / SCHEDULER, {"_class_name": "DDIMScheduler", **config})
    index: dict[str, Any] = {"_class_name": "StableDiffusionPipeline"}
    index |= {**CLASSES, "requires_safety_checker": False}
    # The index comes last: it says that the folder is complete.
    write_json(path / INDEX, index)


def find(preset: str | os.PathLike[str]) -> Path:
    """Gives the folder of a preset; see `load`."""
    name = os.fspath(preset)
    if name.startswith("hf://"):
        return _fetch(name.removeprefix("hf://"))
    if name.isidentifier() and (EMBEDDED / name).is_dir():
        return EMBEDDED / name
    if not Path(name).exists():
        known = sorted(p.name for p in EMBEDDED.glob("*") if p.is_dir())
        raise UsageError(
            f"there is no {name!r}; give the folder of a diffusers pipeline, "
            "a safetensors file, hf://ORGANISATION/NAME, or one of "
            f"{', '.join(known)}"
        )
    return Path(name)


def _fetch(name: str) -> Path:
    """Downloads a pipeline of the Hugging Face hub into its own cache."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise UsageError(
            "hf:// needs the package huggingface_hub; run: "
            "pip install 'keras-multi[text]'"
        ) from error
    try:
        path = huggingface_hub.snapshot_download(name, allow_patterns=HUB_FILES)
    except Exception as error:  # Of httpx, the hub or the file system.
        reason = str(error).splitlines()[0] if str(error) else repr(error)
        raise DataError(f"cannot fetch hf://{name}: {reason}") from error
    return Path(path)
