"""What autoencoder and UNet are trained to do, against NumPy."""

import keras
import numpy as np
import pytest
from keras import ops

from diffusion.autoencoding import Autoencoding, Decoding, encode
from diffusion.denoising import Denoising
from diffusion.schedulers import NoiseSchedule
from diffusion.vae import VAE
from tests.diffusion.tiny import built


class StraightVAE(VAE):
    """Takes the pixels for the latents, of variance `exp(-40)` or `4`."""

    def __init__(self, log_variance):
        super().__init__(3, (4,), 1, norm_groups=2)
        self.log_variance = log_variance

    def encode(self, images):
        return images, ops.full_like(images, self.log_variance)

    def decode(self, latents):
        return latents * 0.5


def test_the_autoencoder_loses_by_error_and_divergence():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    x = pictures / 127.5 - 1
    error = np.abs(x / 2)
    expected = (error**2 + 0.3 * error).mean(axis=(1, 2, 3))
    model = Autoencoding(StraightVAE(-40.0), 0.0, seed=1)
    losses = ops.convert_to_numpy(model(pictures))
    np.testing.assert_allclose(losses, expected, rtol=1e-4)

    # Of two normal distributions, by the textbook.
    sure = Autoencoding(StraightVAE(-40.0), 1.0, seed=1)
    divergence = 0.5 * (x**2 + np.exp(-40) - 1 + 40).mean(axis=(1, 2, 3))
    losses = ops.convert_to_numpy(sure(pictures))
    np.testing.assert_allclose(losses, expected + divergence, rtol=1e-4)

    # With noise of standard deviation 2 the error grows by 2^2 * 0.5^2.
    big = np.repeat(pictures[:1], 200, axis=0)
    noisy = Autoencoding(StraightVAE(float(np.log(4))), 0.0, seed=1)
    losses = ops.convert_to_numpy(noisy(big))
    square = np.random.default_rng(1).normal(-x[0] / 2, 1, (500, 8, 8, 3))
    wanted = (square**2 + 0.3 * np.abs(square)).mean()
    assert losses.mean() == pytest.approx(wanted, rel=0.02)


def test_the_decoder_loses_by_the_squared_error():
    vae = StraightVAE(0.0)
    vae.decoder, vae.scaling_factor = keras.layers.Rescaling(0.5), 0.25
    pictures = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), "uint8")
    latents = np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    given = {"latents": latents.astype("float32"), "pictures": pictures}
    expected = (latents / 0.25 / 2 - (pictures / 127.5 - 1)) ** 2
    losses = ops.convert_to_numpy(Decoding(vae, 0.0, seed=1)(given))
    wanted = expected.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    # Noise of standard deviation 0.1 gives an error of (0.1 / 0.25 / 2)^2.
    many = {name: np.repeat(x, 200, axis=0) for name, x in given.items()}
    losses = ops.convert_to_numpy(Decoding(vae, 0.1, seed=1)(many))
    assert losses.mean() == pytest.approx(wanted.mean() + 0.04, abs=0.012)


def test_encodes_the_means():
    vae = built(VAE(2, (4, 4), 1, norm_groups=2, middle_attention=False))
    pictures = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), "uint8")
    expected = vae.encode(
        ops.convert_to_tensor(pictures / 127.5 - 1, "float32")
    )[0]
    np.testing.assert_allclose(
        encode(vae, pictures, 5), ops.convert_to_numpy(expected), atol=1e-5
    )


class Echo(keras.Model):
    """Predicts what it is told to, from what it is given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def build(self, *_):
        self.built = True

    def call(self, latents, timesteps, context):
        return self.answer(latents, timesteps, context)


class Tokens(keras.Model):
    """Gives the tokens themselves."""

    def build(self, *_):
        self.built = True

    def call(self, tokens):
        return ops.cast(tokens, "float32")[..., None]


SCHEDULE = NoiseSchedule(betas="cosine", prediction="v")


def denoising(answer, drop_caption=0.0, min_snr=5.0, schedule=SCHEDULE):
    empty = np.array([7, 7], "int32")
    return Denoising(
        Echo(answer), Tokens(), schedule, empty, min_snr, drop_caption, seed=3
    )


def inputs(rows):
    latents = np.random.default_rng(0).normal(size=(rows, 4, 4, 2))
    captions = np.tile([[[1, 1], [2, 2], [3, 3]]], (rows, 1, 1))
    return {
        "latents": latents.astype("float32"),
        "captions": captions.astype("int32"),
    }


def test_the_loss_is_that_of_v_weighted_by_min_snr():
    seen = {}

    def answer(latents, timesteps, context):
        seen["latents"] = ops.convert_to_numpy(latents)
        seen["timesteps"] = ops.convert_to_numpy(timesteps)
        return latents * 0.25

    given = inputs(300)
    losses = ops.convert_to_numpy(denoising(answer)(given))
    alphas = SCHEDULE.alphas[seen["timesteps"]][:, None, None, None]
    clean = given["latents"].astype("float64")
    noise = (seen["latents"] - np.sqrt(alphas) * clean) / np.sqrt(1 - alphas)
    v = np.sqrt(alphas) * noise - np.sqrt(1 - alphas) * clean
    error = ((v - 0.25 * seen["latents"]) ** 2).mean(axis=(1, 2, 3))
    snr = (alphas / (1 - alphas))[:, 0, 0, 0]
    expected = error * (np.minimum(snr, 5) / (snr + 1) + 0.1)
    usual = seen["timesteps"] > 20  # below, the noise is lost in rounding
    np.testing.assert_allclose(losses[usual], expected[usual], rtol=2e-3)
    steps = np.sort(seen["timesteps"])
    assert steps[0] >= 0
    assert steps[-1] < 1000
    gaps = np.diff([*steps, steps[0] + 1000])
    assert set(gaps) <= {3, 4}  # 300 of 1000
    assert abs(noise[usual].mean()) < 0.05
    assert noise[usual].std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("prediction", ["epsilon", "sample"])
def test_other_predictions_are_weighted_alike(prediction):
    """An error of the data counts the same, however it is told."""
    seen = {}

    def answer(latents, timesteps, context):
        seen["timesteps"] = ops.convert_to_numpy(timesteps)
        return 0.0 * latents

    given = inputs(300)
    schedule = NoiseSchedule(prediction=prediction)
    losses = denoising(answer, min_snr=2.0, schedule=schedule)(given)
    losses = ops.convert_to_numpy(losses)
    alphas = schedule.alphas[seen["timesteps"]]
    weights = np.minimum(alphas / (1 - alphas), 2.0)
    if prediction == "sample":
        error = (given["latents"].astype("float64") ** 2).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(losses, weights * error, rtol=1e-4)
        return
    # Noise n of which nothing is told moves the data by n / sqrt(snr).
    weights /= alphas / (1 - alphas)
    assert np.mean(losses / weights) == pytest.approx(1, abs=0.05)
    assert np.std(losses / weights) < 0.4


def test_captions_are_drawn_evenly_and_dropped_now_and_then():
    seen = []

    def answer(latents, timesteps, context):
        seen.append(ops.convert_to_numpy(context)[..., 0])
        return latents

    denoising(answer, drop_caption=0.25)(inputs(4000))
    (tokens,) = seen
    assert (tokens[:, 0] == tokens[:, 1]).all()
    shares = np.bincount(tokens[:, 0].astype(int), minlength=8) / 4000
    np.testing.assert_allclose(shares[[1, 2, 3, 7]], 0.25, atol=0.03)
    assert shares.sum() == pytest.approx(shares[[1, 2, 3, 7]].sum())
