"""Training: from a recipe to a folder with a classifier and its figures."""

import dataclasses
import os
import time
from typing import Any

from keras_multi import backend, training
from keras_multi.errors import UsageError
from keras_multi.files import (
    METRICS,
    RECIPE,
    prepare_folder,
    write_json,
    write_model,
)
from vision.backbones import ResNet
from vision.classifier import Classifier
from vision.data import load
from vision.evaluate import (
    CONFUSION,
    CURVES,
    HISTORY,
    MODEL,
    confusion,
    metrics,
    predict,
)
from vision.fitting import fit, remove_checkpoints, settle
from vision.plot import plot_confusion, plot_curves
from vision.recipe import Recipe


def train(
    recipe: Recipe,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a classifier and saves it with all that belongs to it.

    The folder then holds `model.keras`, `recipe.json`, `history.json`,
    `curves.png`, `confusion.png` and, written last, `metrics.json`. While
    the training runs it holds a checkpoint: the same call after a crash goes
    on from the last full epoch.

    Args:
        recipe: what to train.
        output_dir: folder to write to, made if it is not there.
        progress: whether to show a progress bar on stderr.

    Returns:
        What `metrics.json` holds: `backend`, `model`, `data`, `seed`,
        `augment`, `parameters`, `epochs`, `stopped_early`, `images` of each
        part, `seconds` that this call took to train, and `test`.

    Raises:
        KerasMultiError: if the folder cannot be written, the loss is not
            finite, or a checkpoint in the folder belongs to another run.
        DataError: if the data cannot be fetched or used.
    """
    folder = prepare_folder(output_dir)
    split = load(
        recipe.data,
        recipe.image_size,
        recipe.skip_damaged,
        validation=recipe.patience is not None,
    )
    recipe = settle(
        recipe, lambda known: build(known, split.class_names), split
    )
    model = build(recipe, split.class_names)
    start = time.perf_counter()
    history = fit(model, recipe, split, folder, progress)
    seconds = time.perf_counter() - start
    logits = predict(model, split.test, recipe.batch_size)
    result = {
        "backend": backend.name(),
        "model": recipe.model,
        "data": recipe.data,
        "seed": recipe.seed,
        "augment": list(recipe.augment),
        "parameters": model.count_params(),
        "epochs": history.epochs,
        "stopped_early": history.stopped_early,
        "images": {
            name: len(part)
            for name in ("train", "validation", "test")
            if (part := getattr(split, name)) is not None
        },
        "seconds": round(seconds, 1),
        "test": metrics(split.test.labels, logits),
    }
    (folder / METRICS).unlink(missing_ok=True)
    write_model(folder / MODEL, model)
    write_json(folder / RECIPE, dataclasses.asdict(recipe))
    write_json(folder / HISTORY, dataclasses.asdict(history))
    plot_curves(history, folder / CURVES)
    counts = confusion(split.test.labels, logits)
    plot_confusion(counts, split.class_names, folder / CONFUSION)
    write_json(folder / METRICS, result)
    remove_checkpoints(folder)
    return result


def train_seeds(
    recipe: Recipe,
    count: int,
    output_dir: str | os.PathLike[str],
    progress: bool = True,
) -> dict[str, Any]:
    """Trains a recipe with several seeds: see `training.repeat`."""
    return training.repeat(
        train, recipe, count, output_dir, progress, ("augment",)
    )


def build(recipe: Recipe, class_names: tuple[str, ...]) -> Classifier:
    """Makes the classifier of a recipe, seeded.

    Args:
        recipe: the recipe.
        class_names: name of each class.

    Returns:
        The classifier, not compiled. The backbone of a pretrained one is
        frozen.

    Raises:
        UsageError: if there is no model of this name.
        DataError: if its weights cannot be fetched.
    """
    backend.seed(recipe.seed)
    if recipe.model == "resnet":
        backbone = ResNet(recipe.depths, recipe.widths, dtype=recipe.precision)
        return Classifier(
            backbone,
            len(class_names),
            class_names,
            recipe.image_size,
            recipe.dropout,
        )
    model = Classifier.from_preset(
        recipe.model,
        len(class_names),
        class_names=class_names,
        dropout=recipe.dropout,
        load_weights=recipe.pretrained,
        dtype=recipe.precision,
    )
    size = model.backbone.input_shape[1]
    if size not in (None, recipe.image_size):
        raise UsageError(
            f"{recipe.model} takes images of {size} x {size} pixels. "
            f"Received: image_size={recipe.image_size}"
        )
    model.image_size = recipe.image_size
    return model
