import keras
import numpy as np
import pytest
import torch
from keras import ops

from diffusion import folder
from diffusion.blocks import depth_to_space, space_to_depth
from diffusion.vae import VAE
from keras_multi import backend
from tests.diffusion.reference import channels_last, close, computed, vae

RNG = np.random.default_rng(3)
IMAGES = RNG.uniform(-1, 1, (1, 8, 6, 3)).astype("float32")
LATENTS = RNG.normal(size=(1, 4, 3, 4)).astype("float32")


def channels_first(array):
    return torch.tensor(array).permute(0, 3, 1, 2)


def test_equals_diffusers(tmp_path):
    from diffusers import AutoencoderKL

    expected = vae()
    expected.save_pretrained(tmp_path / "vae")
    model = folder.read(tmp_path, "vae")
    with torch.no_grad():
        posterior = expected.encode(channels_first(IMAGES)).latent_dist
        decoded = expected.decode(channels_first(LATENTS)).sample
    mean, log_variance = backend.inference(model.encode)(IMAGES)
    close(mean, channels_last(posterior.mean))
    close(log_variance, channels_last(posterior.logvar))
    close(backend.inference(model.decode)(LATENTS), channels_last(decoded))

    folder.write(tmp_path / "again", "vae", model)
    again = AutoencoderKL.from_pretrained(tmp_path / "again" / "vae")
    for name, value in again.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


@pytest.mark.slow
def test_channels_are_last_whatever_keras_is_set_to():
    model = VAE(channels=(8, 16), layers_per_block=1, norm_groups=4)
    expected = model(IMAGES)
    keras.config.set_image_data_format("channels_first")
    try:
        other = VAE.from_config(model.get_config())
        other.build()
    finally:
        keras.config.set_image_data_format("channels_last")
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        ops.convert_to_numpy(other(IMAGES)), ops.convert_to_numpy(expected)
    )


def test_channels_may_come_first():
    model = VAE(channels=(8, 16), layers_per_block=1, norm_groups=4)
    model.build()
    other = VAE.from_config(
        model.get_config() | {"data_format": "channels_first"}
    )
    other.build()
    other.set_weights(model.get_weights())
    images = np.moveaxis(IMAGES, -1, 1)
    for ours, theirs in (
        (other.encode(images)[0], model.encode(IMAGES)[0]),
        (other.encode(images)[1], model.encode(IMAGES)[1]),
        (other(images), model(IMAGES)),
    ):
        ours = np.moveaxis(ops.convert_to_numpy(ours), 1, -1)
        np.testing.assert_array_equal(ours, ops.convert_to_numpy(theirs))
    with pytest.raises(ValueError, match="data_format=NCHW"):
        VAE(data_format="NCHW")


@pytest.mark.slow
def test_reads_the_old_names_of_attention(tmp_path):
    from safetensors.torch import load_file, save_file

    vae().save_pretrained(tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    wanted = folder.read(tmp_path, "vae").get_weights()
    old = {"to_q": "query", "to_k": "key", "to_v": "value"}
    tensors = {}
    for name, tensor in load_file(path).items():
        for new, past in {**old, "to_out.0": "proj_attn"}.items():
            name = name.replace(new, past)
        tensors[name] = tensor
    save_file(tensors, path)
    for ours, weight in zip(
        folder.read(tmp_path, "vae").get_weights(), wanted, strict=True
    ):
        assert np.array_equal(ours, weight)


def test_patches_and_configuration():
    model = VAE(
        channels=(8, 16), norm_groups=4, patch_size=2, middle_attention=False
    )
    assert model.downscale == 4
    model.build()
    images = np.zeros((1, 8, 12, 3), "float32")
    mean, _ = computed(model.encode, images)
    assert tuple(mean.shape) == (1, 2, 3, 4)
    assert tuple(computed(model.decode, mean).shape) == images.shape
    again = VAE.from_config(model.get_config())
    assert again.get_config() == model.get_config()
    with pytest.raises(ValueError, match="multiples of 4"):
        model.encode(IMAGES)


def test_space_to_depth_takes_squares():
    x = np.arange(4 * 6).reshape(1, 4, 6, 1)
    folded = ops.convert_to_numpy(space_to_depth(ops.array(x), 2))
    assert folded.shape == (1, 2, 3, 4)
    assert folded[0, 1, 2].tolist() == x[0, 2:, 4:, 0].ravel().tolist()
    assert (ops.convert_to_numpy(depth_to_space(folded, 2)) == x).all()
    with pytest.raises(ValueError, match="multiples of 2"):
        space_to_depth(ops.ones((1, 3, 4, 1)), 2)


def test_says_which_argument_is_wrong():
    with pytest.raises(ValueError, match=r"`norm_groups`.* Received: "):
        VAE(channels=(8, 16), norm_groups=3)
