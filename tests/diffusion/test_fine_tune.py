import json

import numpy as np
import pytest
from keras import ops
from PIL import Image
from typer.testing import CliRunner

from diffusion import StableDiffusion, captioned
from diffusion.cli import app
from diffusion.fine_tune import fine_tune
from diffusion.fine_tuning import FineTuning
from diffusion.names import slots_of
from diffusion.picture import settings_of
from keras_multi.errors import DataError, UsageError
from keras_multi.presets import read_safetensors
from tests import precision_case
from tests.diffusion import fine_tune_case
from tests.diffusion.fine_tune_case import WORDS


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    path = tmp_path_factory.mktemp("preset")
    fine_tune_case.write_preset(path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    fine_tune_case.write_pictures(path)
    return path


def recipe(preset, pictures, method, **fields):
    fields = {"epochs": 3, "learning_rate": 0.01, "seed": 1, **fields}
    return FineTuning.of(
        data=str(pictures), preset=str(preset), method=method, **fields
    )


def predicted(model):
    """What the UNet predicts for a prompt."""
    latents = np.random.default_rng(2).normal(size=(1, 8, 8, 4))
    context = model.encode_text("a red bar")
    return ops.convert_to_numpy(
        model.unet(latents.astype("float32"), np.array([500]), context)
    )


def weights(model, part):
    slots = slots_of(getattr(model, part))
    return {name: slot.read() for name, slot in slots.items()}


def changed(before, after):
    return {name for name in before if np.any(before[name] != after[name])}


@pytest.mark.slow
@pytest.mark.parametrize("text_encoder", [False, True])
def test_the_unet_is_trained(preset, pictures, tmp_path, text_encoder):
    run = recipe(
        preset, pictures, "unet", text_encoder=text_encoder, ema=0.5, epochs=8
    )
    result = fine_tune(run, tmp_path, progress=False)
    assert result["test"]["loss"] < result["test"]["first_loss"]
    assert (result["pictures"], result["epochs"]) == (3, 8)
    old = StableDiffusion.from_preset(preset)
    new = StableDiffusion.from_preset(tmp_path / "model")
    moved = {
        part: changed(weights(old, part), weights(new, part))
        for part in ("unet", "text_encoder", "vae")
    }
    assert len(moved["unet"]) > 40
    assert bool(moved["text_encoder"]) == text_encoder
    assert not moved["vae"]
    models = (old.unet, old.text_encoder)[: 1 + text_encoder]
    assert result["parameters"] == sum(m.count_params() for m in models)
    assert not list(tmp_path.glob("checkpoint*"))
    assert (tmp_path / "model" / "recipe.json").exists()


@pytest.mark.slow
def test_low_rank_changes_are_trained(preset, pictures, tmp_path):
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from safetensors.torch import load_file

    run = recipe(preset, pictures, "lora", rank=2)
    result = fine_tune(run, tmp_path, progress=False)
    file = tmp_path / "lora.safetensors"
    old, new = (StableDiffusion.from_preset(preset) for _ in range(2))
    new.merge_lora(file, 0.5)
    before, after = weights(old, "unet"), weights(new, "unet")
    # As diffusers reads the file, which then calls them as it did once.
    theirs, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
        load_file(file)
    )
    assert set(alphas.values()) == {2.0}
    pairs = {}
    for name, tensor in theirs.items():
        layer, _, kind = name.partition("_lora.")
        layer = layer.removeprefix("unet.").replace(".processor", "")
        layer = layer.replace("to_out", "to_out.0") + ".weight"
        pairs.setdefault(layer, {})[kind] = tensor.numpy()
    assert changed(before, after) == set(pairs)
    assert len(pairs) == 4 * 2 * 4  # matrices, attentions, transformers
    for name, pair in pairs.items():
        change = 0.5 * pair["up.weight"] @ pair["down.weight"]
        assert np.abs(change).max() > 1e-4
        np.testing.assert_allclose(
            after[name] - before[name], change, atol=1e-6
        )
    assert result["parameters"] == sum(x.numel() for x in theirs.values())
    frugal = StableDiffusion.from_preset(preset, low_memory=True)
    frugal.merge_lora(file, 0.5)
    np.testing.assert_array_equal(predicted(frugal), predicted(new))
    assert np.any(predicted(new) != predicted(old))


@pytest.mark.slow
def test_a_word_is_learned(preset, pictures, tmp_path):
    run = recipe(
        preset, pictures, "concept", word="<toy>", like="block", epochs=8
    )
    result = fine_tune(run, tmp_path, progress=False)
    assert result["parameters"] == 8
    file = tmp_path / "concept.safetensors"
    vector = read_safetensors(file)["<toy>"]
    assert vector.shape == (1, 8)  # as diffusers writes it
    old = StableDiffusion.from_preset(preset)
    table = weights(old, "text_encoder")
    table = table["text_model.embeddings.token_embedding.weight"]
    assert 1e-3 < np.abs(vector - table[WORDS.index("block") + 3]).max() < 1
    for low_memory in (False, True):
        new = StableDiffusion.from_preset(preset, low_memory=low_memory)
        new.add_concepts(file)
        ids = new.tokenizer("a <toy> bar")[0]
        assert ids.tolist() == [1, 3, len(table), 5, 2, 2]
        with pytest.raises(UsageError, match="token already"):
            new.tokenizer.add("<toy>")
        context = ops.convert_to_numpy(new.encode_text("a <toy> bar"))
        # The same vector in the place of a word that there is.
        other = StableDiffusion.from_preset(preset)
        table[6] = vector
        other.text_encoder.tokens.embeddings.assign(table)
        expected = other.encode_text("a pole bar")
        np.testing.assert_allclose(context, expected, atol=1e-6)
    new.save_to_preset(tmp_path / "saved")
    again = StableDiffusion.from_preset(tmp_path / "saved")
    np.testing.assert_allclose(
        again.encode_text("a <toy> bar"), context, atol=1e-6
    )


@pytest.mark.slow
def test_the_autoencoder_is_trained(preset, pictures, tmp_path):
    run = recipe(preset, pictures, "vae", epochs=5)
    result = fine_tune(run, tmp_path, progress=False)
    assert result["test"]["loss"] < result["test"]["first_loss"]
    old = StableDiffusion.from_preset(preset)
    new = StableDiffusion.from_preset(tmp_path / "model")
    assert changed(weights(old, "vae"), weights(new, "vae"))
    assert not changed(weights(old, "unet"), weights(new, "unet"))
    assert new.vae.scaling_factor == old.vae.scaling_factor


@pytest.mark.slow
def test_commands(preset, pictures, tmp_path):
    def run(*arguments):
        arguments = [str(argument) for argument in arguments]
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    start = ("train", "--data", pictures, "--preset", preset, "--json")
    start += ("--set", "epochs=1", "--output", tmp_path)
    result = run(*start, "--method", "lora")
    assert result["model"] == "lora"
    run(*start, "--method", "concept", "--set", "word=<toy>", "--set", "like=a")
    made = run(
        *("generate", "a <toy>", "--preset", preset, "--steps", "1"),
        *("--seed", "1", "--output", tmp_path / "x.png", "--low-memory"),
        *("--lora", f"{tmp_path / 'lora.safetensors'}:0.5", "--json"),
        *("--concept", tmp_path / "concept.safetensors"),
        *("--precision", "float16"),
    )
    assert made["settings"]["lora"] == [f"{tmp_path / 'lora.safetensors'}:0.5"]
    with pytest.raises(UsageError, match="give their folder with --data"):
        run("train", "--method", "lora")


@pytest.mark.slow
def test_the_precision_is_chosen(preset, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTI_CACHE", str(tmp_path / "cache"))
    precision_case.use(monkeypatch, 0.5)
    wanted = recipe(preset, pictures, "lora", precision="auto", epochs=1)
    fine_tune(wanted, tmp_path / "run", progress=False)
    saved = json.loads((tmp_path / "run" / "fine_tuning.json").read_text())
    assert saved["precision"] == "mixed_bfloat16"
    arguments = ["generate", "a bar", "--preset", str(preset), "--json"]
    arguments += ["--precision", "auto", "--steps", "1"]
    arguments += ["--output", str(tmp_path / "made.png")]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "precision bfloat16: " in result.stderr
    settings = json.loads(result.stdout)["settings"]
    assert settings["precision"] == "bfloat16"
    assert settings_of(tmp_path / "made.png")["precision"] == "bfloat16"


def test_pictures_are_cut_to_size(pictures):
    read, captions = captioned.read(pictures, (24, 24))
    assert read.shape == (3, 24, 24, 3)
    assert captions[0] == ("a red <toy> bar", "a <toy> bar")
    # From 48x60 to 24x30, of which 3 columns are cut off at each side.
    red = read[1][..., 1] < 128
    rows, columns = np.nonzero(red)  # of the block, 8:40 of each
    assert (rows.min(), rows.max() + 1) == (4, 20)
    assert (columns.min(), columns.max() + 1) == (1, 17)


def test_an_index_of_captions(pictures, tmp_path):
    for file in pictures.glob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    index = tmp_path / "metadata.jsonl"
    rows = [("pole", "a pole"), ("bar", "a bar"), ("bar", " the bar ")]
    index.write_text(
        "\n".join(
            json.dumps({"file_name": f"{name}.png", "text": text})
            for name, text in rows
        )
    )
    read, captions = captioned.read(tmp_path, (48, 60))
    assert captions == (("a bar", "the bar"), ("a pole",))
    with Image.open(pictures / "bar.png") as image:
        np.testing.assert_array_equal(read[0], np.asarray(image))


def test_bad_folders_are_refused(pictures, tmp_path):
    def fails(message):
        with pytest.raises(DataError, match=message):
            captioned.read(tmp_path, (8, 8))

    fails("holds no pictures")
    (tmp_path / "a.png").write_bytes((pictures / "bar.png").read_bytes())
    fails("cannot read the captions of .*a.png")
    (tmp_path / "a.txt").write_text("\n")
    fails("a.png has no caption")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "a.png").write_text("no picture")
    fails("cannot read the picture .*a.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png"}')
    fails("metadata.jsonl is damaged")
    with pytest.raises(DataError, match="no folder"):
        captioned.read(tmp_path / "none", (8, 8))


@pytest.mark.slow
def test_what_does_not_fit_is_refused(preset, pictures, tmp_path):
    def run(method, **fields):
        made = recipe(preset, pictures, method, **fields)
        fine_tune(made, tmp_path, progress=False)

    def fails(message, method, error=UsageError, **fields):
        with pytest.raises(error, match=message):
            run(method, **fields)

    fails("side must be a multiple of 2", "unet", side=15)
    fails("one token of the preset", "concept", like="red bar")
    fails("token already", "concept", word="red", like="bar")
    fails("must hold the new word", "concept", DataError, like="bar")
    fails("like must name a word", "concept")
    fails("word must be one word", "concept", word="a b", like="bar")
    fails("unknown method 'all'", "all")
    fails("learning_rate must be more", "unet", learning_rate=0.0)
