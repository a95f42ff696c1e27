import keras
import numpy as np
import pytest
import torch
from keras import ops

from diffusion import folder
from diffusion.attention import Attention
from diffusion.names import slots_of
from diffusion.unet import UNet
from keras_multi import backend
from tests.diffusion.reference import (
    STYLES,
    channels_last,
    close,
    computed,
    unet,
)

RNG = np.random.default_rng(2)
LATENTS = RNG.normal(size=(2, 4, 4, 4)).astype("float32")
TIMES = np.array([981, 3], "int32")
TEXT = RNG.normal(size=(2, 5, 12)).astype("float32")


MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], bool)
# What makes no code that takes longer than the computation.
MODE = {"jax": "xla", "torch": "eager", "tensorflow": "graph"}


def theirs(model, mask=None):
    inputs = torch.tensor(LATENTS).permute(0, 3, 1, 2)
    mask = None if mask is None else torch.tensor(mask)
    return channels_last(
        model(
            inputs,
            torch.tensor(TIMES),
            torch.tensor(TEXT),
            encoder_attention_mask=mask,
        ).sample
    )


@pytest.mark.parametrize("style", STYLES)
def test_equals_diffusers(tmp_path, style):
    from diffusers import UNet2DConditionModel

    expected = unet(style)
    expected.save_pretrained(tmp_path / "unet")
    model = folder.read(tmp_path, "unet")
    ours = computed(model, LATENTS, TIMES, TEXT)
    close(ours, theirs(expected))

    folder.write(tmp_path / "again", "unet", model)
    again = UNet2DConditionModel.from_pretrained(tmp_path / "again" / "unet")
    for name, value in again.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


def test_a_mask_equals_diffusers_when_compiled(tmp_path):
    expected = unet("sd1")
    expected.save_pretrained(tmp_path / "unet")
    model = folder.read(tmp_path, "unet")
    compiled = backend.inference(
        lambda latents, times, text, mask: model(
            latents, times, text, context_mask=mask
        )
    )
    close(compiled(LATENTS, TIMES, TEXT, MASK), theirs(expected, MASK))


def test_gradients_equal_diffusers(tmp_path):
    expected = unet("sd1")
    expected.save_pretrained(tmp_path / "unet")
    model = folder.read(tmp_path, "unet")
    target = RNG.normal(size=LATENTS.shape).astype("float32")
    loss = ((theirs(expected) - torch.tensor(target)) ** 2).mean()
    loss.backward()
    slots = slots_of(model)
    variables = [slot.variable for slot in slots.values()]

    def loss_of(latents, times, text):
        return backend.value_and_gradients(
            lambda: ops.mean(
                ops.square(ops.subtract(model(latents, times, text), target))
            ),
            variables,
        )

    differentiate = backend.jit(loss_of, MODE[backend.name()])
    value, gradients = differentiate(
        *map(ops.convert_to_tensor, (LATENTS, TIMES, TEXT))
    )
    assert float(value) == pytest.approx(loss.item(), rel=1e-5)
    largest = max(p.grad.abs().max() for p in expected.parameters())
    for (name, slot), gradient in zip(slots.items(), gradients, strict=True):
        wanted = expected.get_parameter(name).grad.numpy()
        ours = ops.convert_to_numpy(gradient)
        difference = np.abs(ours - slot.to_model(wanted)).max()
        assert difference <= 1e-5 * float(largest), name


def test_low_precision_keeps_the_time(tmp_path):
    expected = unet("sd1")
    expected.save_pretrained(tmp_path / "unet")
    model = folder.read(tmp_path, "unet", dtype="mixed_bfloat16")
    ours = computed(model, LATENTS, TIMES.astype("float32"), TEXT)
    assert "float32" in str(ours.dtype)
    close(ours, theirs(expected), 0.05)


def test_channels_may_come_first():
    unet = UNet(
        channels=(8,),
        attention=(True,),
        layers_per_block=1,
        num_heads=2,
        context_dim=12,
        norm_groups=4,
    )
    unet.build()
    weights = [RNG.normal(0, 0.2, w.shape) for w in unet.get_weights()]
    unet.set_weights(weights)
    other = UNet.from_config(
        unet.get_config() | {"data_format": "channels_first"}
    )
    other.build()
    other.set_weights(weights)
    ours = other(np.moveaxis(LATENTS, -1, 1), TIMES, TEXT)
    theirs = ops.convert_to_numpy(unet(LATENTS, TIMES, TEXT))
    np.testing.assert_array_equal(
        ops.convert_to_numpy(ours), np.moveaxis(theirs, -1, 1)
    )
    assert theirs.std() > 0.1
    with pytest.raises(ValueError, match="data_format=NCHW"):
        UNet(data_format="NCHW")


def test_patches_and_configuration():
    unet = UNet(
        channels=(8, 16),
        attention=(False, True),
        num_heads=(2, 4),
        context_dim=12,
        norm_groups=4,
        patch_size=2,
    )
    assert unet.size_multiple == 4
    unet.build()
    outputs = computed(unet, LATENTS, TIMES, TEXT)
    assert not np.any(ops.convert_to_numpy(outputs))
    again = UNet.from_config(unet.get_config())
    assert again.get_config() == unet.get_config()
    with pytest.raises(ValueError, match=r"multiples of 4.* \(2, 6, 4, 4\)"):
        unet(np.ones((2, 6, 4, 4), "float32"), TIMES, TEXT)


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_groups": 3},
        {"attention": (True,)},
        {"num_heads": (2,)},
        {"channels": ()},
    ],
)
def test_says_which_argument_is_wrong(changes):
    arguments = {"channels": (8, 16), "attention": (True, False)}
    with pytest.raises(ValueError, match="Received: "):
        UNet(**(arguments | {"norm_groups": 4} | changes))


def test_gradients_of_attention_in_low_precision():
    """They are those of float32, whichever type the products have."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 5, 8)).astype("float32")
    results = []
    for policy in ("float32", "mixed_bfloat16"):
        layer = Attention(2, dtype=policy)
        layer.build(x.shape)
        shapes = [weight.shape for weight in layer.get_weights()]
        draws = np.random.default_rng(1)
        layer.set_weights([draws.standard_normal(s) for s in shapes])
        inputs = keras.Variable(x)
        _, gradients = backend.value_and_gradients(
            lambda layer=layer, inputs=inputs: ops.sum(
                ops.square(ops.cast(layer(inputs.value), "float32"))
            ),
            [inputs, *layer.trainable_variables],
        )
        assert layer(x).dtype == ops.zeros(1, layer.compute_dtype).dtype
        results.append(map(ops.convert_to_numpy, gradients))
    for expected, ours in zip(*results, strict=True):
        np.testing.assert_allclose(
            ours, expected, atol=0.05 * np.abs(expected).max()
        )
