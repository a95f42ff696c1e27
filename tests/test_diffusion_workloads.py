"""The contenders of the workloads of diffusion do the same work."""

import numpy as np
import pytest

from benchmarks import workload
from benchmarks.worker import relative_error
from benchmarks.workload import Setting
from benchmarks.workloads.sd_text_to_image import TextToImage
from benchmarks.workloads.sd_unet_step import UNetStep
from benchmarks.workloads.sd_vae_decode import Decoding
from keras_multi import backend

UNET = UNetStep(
    32,
    (2,),
    channels=(8,),
    attention=(True,),
    layers_per_block=1,
    num_heads=2,
    context_dim=12,
    norm_groups=4,
)
VAE = Decoding(
    32,
    (2,),
    channels=(8,),
    layers_per_block=0,
    norm_groups=4,
    middle_attention=False,
)
PIXELS = TextToImage((8, 16), 2, (2,))


@pytest.mark.parametrize(
    ("work", "precision", "tolerance"),
    [
        (UNET, "float32", UNET.tolerance),
        (VAE, "float32", VAE.tolerance),
        (VAE, "bfloat16", 5e-2),
        pytest.param(UNET, "bfloat16", 5e-2, marks=pytest.mark.slow),
        pytest.param(
            PIXELS, "float32", PIXELS.tolerance, marks=pytest.mark.slow
        ),
    ],
)
def test_the_model_agrees_with_that_of_diffusers(work, precision, tolerance):
    setting = Setting(2, precision, backend.modes()[0])
    ours = work.build(setting)
    output = ours.output()
    assert np.ptp(output) > 0.1
    peers = work.peers(setting)
    assert set(peers) == {"diffusers"}
    assert relative_error(peers["diffusers"].output(), output) < tolerance
    ours.run(2)


def test_the_model_agrees_with_the_native_one():
    # One resolution with many places to convolve, one with few.
    work = UNetStep(
        96,
        (2,),
        channels=(8, 16),
        attention=(True, False),
        layers_per_block=1,
        num_heads=(2, 4),
        context_dim=12,
        norm_groups=4,
    )
    setting = Setting(2, "float32", backend.modes()[0])
    output = work.build(setting).output()
    native = work.native(setting)
    assert relative_error(native.output(), output) < 1e-5
    native.run(2)
    assert work.native(Setting(2, "bfloat16", setting.mode)) is None


def test_a_call_is_counted():
    # Two operations for each place, tap and pair of channels: projection,
    # entrance, three blocks of the decoder, and the way to colors.
    pairs = 4 * 4 + 9 * 4 * 8 + 3 * 2 * 9 * 8 * 8 + 9 * 8 * 3
    cost = VAE.cost(2)
    assert cost.operations == 2 * 2 * 4 * 4 * pairs
    assert workload.load("sd_unet_step_256").batch_sizes == (1, 2)
