import numpy as np
import pytest
from keras import ops

from diffusion.sampling import Kept, SamplingLoop
from diffusion.schedulers import by_name
from keras_multi import backend
from tests.diffusion.tiny import TinyUNet, built

SHAPE = (2, 3, 3, 3)
RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=SHAPE).astype("float32")
CONTEXT = RNG.normal(size=(4, 5, 6)).astype("float32")
GUIDANCE = 3.0


@pytest.fixture(scope="module")
def loop():
    return SamplingLoop(built(TinyUNet()))


def expected(plan, sample, noise, kept=None):
    """The same with NumPy in float64, without tables of five estimates."""
    past = []
    plain, prompted = CONTEXT.mean((1, 2)).reshape(2, 2, 1, 1, 1)
    for i in range(plan.num_steps):
        x = plan.input_scale[i] * sample
        both = [
            0.9 * x + 0.02 * words + 1e-5 * plan.timesteps[i]
            for words in (plain, prompted)
        ]
        output = both[0] + GUIDANCE * (both[1] - both[0])
        past.insert(
            0,
            plan.estimate_sample[i] * sample + plan.estimate_output[i] * output,
        )
        sample = plan.keep[i] * sample + plan.noise[i] * noise[i]
        for weight, estimate in zip(plan.estimates[i], past, strict=False):
            sample = sample + weight * estimate
        if kept is not None:
            clean, fixed, mask = kept
            level = plan.clean_level[i + 1] * clean
            level = level + plan.noise_level[i + 1] * fixed
            sample = np.where(mask > 0, sample, level)
    return sample


@pytest.mark.parametrize(
    ("name", "steps"),
    [("dpm_solver", 5), ("pndm", 7), ("euler_ancestral", 4)],
)
def test_the_loop_is_its_steps_one_after_the_other(loop, name, steps):
    plan = by_name(name).plan(steps)
    noise = RNG.normal(size=(plan.num_steps, *SHAPE)).astype("float32")
    start = plan.initial_noise_scale * NOISE
    draws = noise if plan.is_random else None
    result = loop(plan, start, CONTEXT, None, GUIDANCE, draws)
    np.testing.assert_allclose(
        ops.convert_to_numpy(result),
        expected(plan, start, noise),
        rtol=2e-4,
        atol=2e-4,
    )


def test_a_callback_sees_each_step_and_changes_nothing(loop):
    plan, seen = by_name("dpm_solver").plan(3), []
    whole = loop(plan, NOISE, CONTEXT, None, GUIDANCE)
    last = loop(
        plan, NOISE, CONTEXT, None, GUIDANCE,
        callback=lambda *args: seen.append(args),
    )  # fmt: skip
    assert [args[:2] for args in seen] == [(1, 3), (2, 3), (3, 3)]
    whole, last, third = map(ops.convert_to_numpy, (whole, last, seen[2][2]))
    np.testing.assert_array_equal(last, whole)
    np.testing.assert_array_equal(third, whole)


def test_what_is_kept_ends_as_it_was(loop):
    plan = by_name("ddim").plan(4)
    clean = RNG.normal(size=SHAPE).astype("float32")
    mask = np.zeros((*SHAPE[:3], 1), "float32")
    mask[:, 1:] = 1.0
    kept = Kept(clean, NOISE, mask)
    result = loop(plan, NOISE, CONTEXT, None, GUIDANCE, kept=kept)
    np.testing.assert_allclose(
        ops.convert_to_numpy(result),
        expected(plan, NOISE, np.zeros((4, *SHAPE)), kept),
        rtol=2e-4,
        atol=2e-4,
    )


def test_one_program_serves_all_schedulers_and_new_weights(loop):
    context = CONTEXT[:2]
    first = loop(by_name("euler").plan(3), NOISE, context)
    traces = loop.unet.traces
    loop(by_name("dpm_solver_karras").plan(9), NOISE, context)
    if backend.name() != "torch":  # where nothing is traced
        assert loop.unet.traces == traces
    before = ops.convert_to_numpy(loop.unet.factors)
    loop.unet.factors.assign(before * 0)
    zero = loop(by_name("euler").plan(3), NOISE, context)
    loop.unet.factors.assign(before)
    np.testing.assert_allclose(ops.convert_to_numpy(zero), NOISE, atol=1e-6)
    assert np.abs(ops.convert_to_numpy(first) - NOISE).max() > 0.1


def test_a_mask_leaves_tokens_out(loop):
    plan = by_name("ddim").plan(2)
    mask = np.arange(5) < np.array([5, 5, 2, 2])[:, None]
    masked = loop(plan, NOISE, CONTEXT, ops.convert_to_tensor(mask), GUIDANCE)
    zeroed = loop(plan, NOISE, CONTEXT * mask[..., None], None, GUIDANCE)
    np.testing.assert_allclose(
        ops.convert_to_numpy(masked), ops.convert_to_numpy(zeroed), atol=1e-5
    )
