import json
from dataclasses import asdict

import pytest

from keras_multi.errors import UsageError
from vision.recipe import DEFAULTS, FOLDER, Recipe, kind_of


@pytest.mark.parametrize("data", [*DEFAULTS, "photographs/mine"])
def test_defaults_are_valid_and_survive_json(data):
    recipe = Recipe.of(data)
    fields = json.loads(json.dumps(asdict(recipe)))
    assert Recipe.of(**fields) == recipe
    assert recipe.pretrained == (recipe.model != "resnet")


def test_the_model_decides_what_else_is_right():
    scratch = Recipe.of("emoji", model="resnet")
    assert not scratch.pretrained
    assert (scratch.optimizer, scratch.frozen_epochs) == ("sgd", 0)
    assert scratch.image_size == DEFAULTS["emoji"]["image_size"]
    tuned = Recipe.of("mnist-5k", model=FOLDER["model"])
    assert tuned.pretrained
    assert tuned.optimizer == "adamw"
    random = Recipe.of("emoji", pretrained=False)
    assert (random.frozen_epochs, random.first_layer_rate) == (0, 1.0)
    assert random.learning_rate == Recipe.of("emoji").learning_rate


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"epochs": 2, "warmup_epochs": 2},
        {"optimizer": "lion"},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"label_smoothing": 1.0},
        {"accumulation": 0},
        {"patience": 0},
        {"patience": 2, "ema": 0.9},
        {"first_layer_rate": 0.1, "ema": 0.9},
        {"first_layer_rate": 0.0},
        {"precision": "float8"},
        {"seed": 2**32},
        {"depths": ()},
        {"depths": (1, 0, 1)},
        {"widths": (8, 8)},
        {"pretrained": True},
        {"augment": ("cutmix", "blur")},
        {"augment": ("randaugment", "rand-m9-n2")},
        {"speed": 3},
        {"epochs": "many"},
    ],
)
def test_wrong_fields_are_refused(change):
    with pytest.raises(UsageError):
        Recipe.of("mnist-5k", **change)


def test_options_stand_for_rand_augment():
    assert kind_of("rand-m9-n2-mstd0.5") == "randaugment"
    assert kind_of("cutmix") == "cutmix"
