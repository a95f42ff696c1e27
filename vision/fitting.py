"""Fits a classifier: the head first if it is pretrained, then all of it."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from keras_multi import training
from keras_multi.precision import settled
from vision import optimizers
from vision.augment import pipeline
from vision.augmented import Augmented
from vision.classifier import Classifier
from vision.data import Examples, Split
from vision.recipe import Recipe

HEAD = "head"  # folder of the checkpoint of the first phase


def fit(
    model: Classifier,
    recipe: Recipe,
    split: Split,
    folder: Path,
    progress: bool = True,
) -> training.History:
    """Fits a classifier in one phase, or in two if it is pretrained.

    Each phase has a checkpoint of its own in the folder. The same call after
    a crash goes on from there.

    Args:
        model: as `vision.train.build` makes it.
        recipe: the recipe.
        split: the images.
        folder: for checkpoints.
        progress: whether to show a progress bar on stderr.

    Returns:
        The history of both phases, one after the other.
    """
    augmented = _augmented(model, recipe, split)
    frozen = recipe.frozen_epochs if recipe.pretrained else 0
    histories = []
    if frozen:
        histories.append(
            _phase(augmented, recipe, split, folder / HEAD, frozen, progress)
        )
    if recipe.pretrained:
        model.unfreeze()
    rest = recipe.epochs - frozen
    histories.append(_phase(augmented, recipe, split, folder, rest, progress))
    return _join(histories)


def settle(
    recipe: Recipe, build: Callable[[Recipe], Classifier], split: Split
) -> Recipe:
    """Gives a recipe whose precision is no longer `"auto"`.

    Args:
        recipe: the recipe.
        build: gives the classifier of a recipe.
        split: the images.

    Returns:
        The recipe with the faster precision for steps that train all layers.
    """

    def ready(recipe: Recipe) -> keras.Model:
        model = build(recipe)
        if recipe.pretrained:
            model.unfreeze()
        augmented = _augmented(model, recipe, split)
        _compile(augmented, recipe, len(split.train), recipe.epochs)
        return augmented

    return settled(recipe, ready, lambda _: _inputs(split.train))


def remove_checkpoints(folder: Path) -> None:
    """Removes the checkpoints of a finished run."""
    training.remove_checkpoint(folder)
    if (head := folder / HEAD).is_dir():
        training.remove_checkpoint(head)
        head.rmdir()


def make_optimizer(
    recipe: Recipe, model: Classifier, images: int, epochs: int
) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a phase.

    The learning rate rises from 0 along a line and falls along half a cosine
    (Loshchilov and Hutter 2017, "SGDR: stochastic gradient descent with warm
    restarts", equation 5, without restarts). Weight decay is decoupled from
    the gradient (Loshchilov and Hutter 2019, "Decoupled weight decay
    regularization", algorithms 1 and 2). Variables with one axis have none:
    biases, and scales and shifts of normalizations.

    Args:
        recipe: the recipe.
        model: what it is for.
        images: number of training images.
        epochs: number of epochs of the phase.

    Returns:
        The optimizer, not yet built.
    """
    steps = math.ceil(images / recipe.batch_size)
    warmup = min(recipe.warmup_epochs, epochs - 1)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else recipe.learning_rate,
        steps * (epochs - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=steps * warmup,
    )
    options: dict[str, Any] = {
        "learning_rate": rate,
        "weight_decay": recipe.weight_decay,
        "use_ema": recipe.ema > 0,
        "ema_momentum": recipe.ema,
        "gradient_accumulation_steps": (
            recipe.accumulation if recipe.accumulation > 1 else None
        ),
    }
    home: Any = keras.optimizers
    rates = {}
    if recipe.first_layer_rate < 1:
        rates = model.layer_rates(recipe.first_layer_rate)
    if rates:
        home, options["layer_rates"] = optimizers, rates
    if recipe.optimizer == "sgd":
        options |= {"momentum": recipe.momentum, "nesterov": True}
        optimizer = home.SGD(**options)
    else:
        optimizer = home.AdamW(**options)
    optimizer.exclude_from_weight_decay(
        [v for v in model.trainable_variables if len(v.shape) < 2]
    )
    return optimizer


def _augmented(model: Classifier, recipe: Recipe, split: Split) -> Augmented:
    classes = len(split.class_names)
    augment = pipeline(recipe.augment, recipe.image_size, classes, recipe.seed)
    return Augmented(model, augment, classes, dtype=recipe.precision)


def _compile(
    augmented: Augmented, recipe: Recipe, images: int, epochs: int
) -> None:
    augmented.compile(
        make_optimizer(recipe, augmented.classifier, images, epochs),
        keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=recipe.label_smoothing
        ),
        metrics=[keras.metrics.CategoricalAccuracy("accuracy")],
    )


def _phase(
    augmented: Augmented,
    recipe: Recipe,
    split: Split,
    folder: Path,
    epochs: int,
    progress: bool,
) -> training.History:
    _compile(augmented, recipe, len(split.train), epochs)
    validation = split.validation
    return training.fit(
        augmented,
        _inputs(split.train),
        None if validation is None else _inputs(validation),
        epochs=epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        patience=recipe.patience,
        monitor="val_accuracy",
        checkpoint_dir=folder,
        progress=progress,
        description=f"{recipe.model}, seed {recipe.seed}",
        settings=dataclasses.asdict(recipe),
    )


def _inputs(examples: Examples) -> tuple[dict[str, Any]]:
    """Labels are an input, as augmentation changes them."""
    return ({"images": examples.images, "labels": examples.labels},)


def _join(histories: list[training.History]) -> training.History:
    metrics = {
        name: [value for one in histories for value in one.metrics[name]]
        for name in histories[0].metrics
    }
    before = sum(one.epochs for one in histories[:-1])
    last = histories[-1]
    return training.History(
        metrics, before + last.best_epoch, last.stopped_early
    )
