"""The layers of KerasCV, in small models that are put together as its own."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from benchmarks.stable_diffusion import with_weights_of
from diffusion.clip import CLIPTextEncoder
from diffusion.keras_cv import load
from diffusion.unet import UNet, sinusoids
from diffusion.vae import VAE
from keras_multi.errors import DataError

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)
TIMES = np.array([500.0, 20.0], "float32")
LATENTS = RNG.normal(size=(2, 4, 4, 4)).astype("float32")
TEXT = RNG.normal(size=(2, 5, 12)).astype("float32")
WIDTHS = (32, 64)


def random_unet(linear):
    """Two resolutions, attention at the finer one, one block at each."""
    from keras_cv.src.models.stable_diffusion import diffusion_model as theirs

    conv = theirs.PaddedConv2D
    context = keras.Input((5, 12))
    embedding = keras.Input((32,))
    latent = keras.Input((4, 4, 4))
    time = keras.layers.Dense(128)(embedding)
    time = keras.layers.Activation("swish")(time)
    time = keras.layers.Dense(128)(time)

    def attend(x, width):
        layer = theirs.SpatialTransformer(2, width // 2, linear)
        return layer([x, context])

    x = conv(32, kernel_size=3, padding=1)(latent)
    skips = [x]
    x = attend(theirs.ResBlock(32)([x, time]), 32)
    skips.append(x)
    x = conv(32, 3, strides=2, padding=1)(x)
    skips.append(x)
    x = theirs.ResBlock(64)([x, time])
    skips.append(x)
    x = attend(theirs.ResBlock(64)([x, time]), 64)
    x = theirs.ResBlock(64)([x, time])
    for _ in range(2):
        x = keras.layers.Concatenate()([x, skips.pop()])
        x = theirs.ResBlock(64)([x, time])
    x = theirs.Upsample(64)(x)
    for _ in range(2):
        x = keras.layers.Concatenate()([x, skips.pop()])
        x = attend(theirs.ResBlock(32)([x, time]), 32)
    x = keras.layers.GroupNormalization(epsilon=1e-5)(x)
    x = keras.layers.Activation("swish")(x)
    x = conv(4, kernel_size=3, padding=1)(x)
    return keras.Model([latent, embedding, context], x)


def random_vae():
    """Encoder and decoder of two resolutions, one block at each."""
    from keras_cv.src.models.stable_diffusion import decoder as theirs

    conv, resnet = theirs.PaddedConv2D, theirs.ResnetBlock
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            conv(32, 3, padding=1),
            resnet(32),
            conv(32, 3, padding=((0, 1), (0, 1)), strides=2),
            resnet(64),
            resnet(64),
            theirs.AttentionBlock(64),
            resnet(64),
            keras.layers.GroupNormalization(epsilon=1e-5),
            keras.layers.Activation("swish"),
            conv(8, 3, padding=1),
            conv(8, 1),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((4, 4, 4)),
            conv(4, 1),
            conv(64, 3, padding=1),
            resnet(64),
            theirs.AttentionBlock(64),
            resnet(64),
            resnet(64),
            resnet(64),
            keras.layers.UpSampling2D(2),
            conv(64, 3, padding=1),
            resnet(32),
            resnet(32),
            keras.layers.GroupNormalization(epsilon=1e-5),
            keras.layers.Activation("swish"),
            conv(3, 3, padding=1),
        ]
    )
    return encoder, decoder


def written(model, path):
    """Draws all weights and writes them as KerasCV's files are written."""
    for weight in model.weights:
        weight.assign(RNG.normal(0, 0.2, weight.shape))
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


def close(ours, expected, tolerance=1e-3):
    ours, expected = map(ops.convert_to_numpy, (ours, expected))
    assert np.abs(ours - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("linear", [False, True])
def test_unet(tmp_path, linear):
    theirs = random_unet(linear)
    path = written(theirs, tmp_path / "unet.h5")
    ours = UNet(
        channels=WIDTHS,
        attention=(True, False),
        layers_per_block=1,
        num_heads=2,
        context_dim=12,
        linear_projection=linear,
    )
    ours.build()
    load(path, ours)
    times = ops.convert_to_numpy(sinusoids(TIMES, 32))
    expected = theirs([LATENTS, times, TEXT])
    close(ours(LATENTS, TIMES, TEXT), expected)


def test_vae(tmp_path):
    encoder, decoder = random_vae()
    ours = VAE(channels=WIDTHS, layers_per_block=1)
    ours.build()
    load(written(encoder, tmp_path / "encoder.h5"), ours.encoder)
    load(written(decoder, tmp_path / "decoder.h5"), ours.decoder)
    images = RNG.normal(size=(2, 8, 8, 3)).astype("float32")
    close(ours.encoder(images), encoder(images))
    close(ours.decoder(LATENTS), decoder(LATENTS))
    expected = decoder.get_weights()
    decoder.set_weights([np.zeros_like(w) for w in expected])
    with_weights_of(ours.decoder, decoder)
    for weight, wanted in zip(decoder.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, wanted)


def test_text_encoder(tmp_path):
    from keras_cv.src.models.stable_diffusion import text_encoder as theirs

    tokens, positions = (keras.Input((6,), dtype="int32") for _ in range(2))
    x = theirs.CLIPEmbedding(20, 8, 6)([tokens, positions])
    for _ in range(2):
        x = theirs.CLIPEncoderLayer(8, 2, activation=theirs.quick_gelu)(x)
    x = keras.layers.LayerNormalization(epsilon=1e-5)(x)
    model = keras.Model([tokens, positions], x)
    path = written(model, tmp_path / "text.h5")
    ours = CLIPTextEncoder(20, 2, 2, 8, 32, max_length=6)
    ours.build()
    load(path, ours)
    ids = RNG.integers(0, 20, (2, 6)).astype("int32")
    places = np.broadcast_to(np.arange(6, dtype="int32"), (2, 6))
    close(ours(ids), model([ids, places]))


def test_files_that_do_not_fit(tmp_path):
    encoder, _ = random_vae()
    path = written(encoder, tmp_path / "encoder.h5")
    vae = VAE(channels=WIDTHS, layers_per_block=1)
    vae.build()
    with pytest.raises(DataError, match=r"holds .* weights and the model"):
        load(path, vae.decoder)
    vae = VAE(channels=(32, 96), layers_per_block=1)
    vae.build()
    with pytest.raises(DataError, match=r"has the shape \(3, 3, 32, 64\)"):
        load(path, vae.encoder)
    (tmp_path / "x.h5").write_bytes(b"not")
    with pytest.raises(DataError, match=r"x\.h5 cannot be read"):
        load(tmp_path / "x.h5", vae.encoder)
