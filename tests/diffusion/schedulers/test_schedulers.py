import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from diffusion.schedulers import (
    DDIM,
    DDPM,
    LCM,
    NAMES,
    PNDM,
    DPMSolver,
    Euler,
    EulerAncestral,
    NoiseSchedule,
    by_name,
)
from keras_multi import backend
from keras_multi.errors import UsageError

STEPS = 20
ROWS = 32
SHAPE = (1, 3, 4, 2)
SD1 = NoiseSchedule()
SD2 = NoiseSchedule(prediction="v", spacing="trailing", zero_terminal_snr=True)
COSINE = NoiseSchedule(
    betas="cosine", spacing="trailing", final_alpha_is_one=True
)
V = dataclasses.replace(SD1, prediction="v", spacing="leading")
SAMPLE = NoiseSchedule(
    beta_start=1e-4,
    beta_end=0.02,
    betas="linear",
    prediction="sample",
    spacing="leading",
    final_alpha_is_one=True,
)
LEADING = dataclasses.replace(SD1, spacing="leading")
LINSPACE = dataclasses.replace(SD1, spacing="linspace")


def assert_close(ours, theirs):
    """To 1e-5 of the largest number: diffusers' tables are in float32."""
    tolerance = 1e-5 * max(1.0, float(theirs.abs().max()))
    ours = ops.convert_to_numpy(ours)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


@functools.cache
def compiled():
    """One program for the steps of all schedulers."""

    def step(plan, history, output, sample, index, noise):
        scaled = plan.scale_input(sample, index)
        return scaled, *plan.step(history, output, sample, index, noise)

    return backend.inference(step)


def theirs(scheduler):
    """The same scheduler of diffusers."""
    import diffusers

    known, settings = {
        DDPM: (diffusers.DDPMScheduler, {}),
        DDIM: (diffusers.DDIMScheduler, {}),
        PNDM: (diffusers.PNDMScheduler, {}),
        Euler: (diffusers.EulerDiscreteScheduler, {}),
        EulerAncestral: (diffusers.EulerAncestralDiscreteScheduler, {}),
        DPMSolver: (diffusers.DPMSolverMultistepScheduler, {}),
        LCM: (diffusers.LCMScheduler, {}),
    }[type(scheduler)]
    if isinstance(scheduler, DPMSolver) and scheduler.sde:
        settings["algorithm_type"] = "sde-dpmsolver++"
    made = known.from_config(
        scheduler.schedule.to_config(),
        use_karras_sigmas=getattr(scheduler, "karras", False),
        **settings,
    )
    if isinstance(scheduler, DDIM):
        made.step = functools.partial(made.step, eta=scheduler.eta)
    made.set_timesteps(STEPS)
    if hasattr(made, "set_begin_index"):
        made.set_begin_index(0)
    return made


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPM(SD1),
        DDPM(COSINE),
        DDPM(LINSPACE),
        DDIM(SD1),
        DDIM(SD2, eta=0.7),
        DDIM(SAMPLE, eta=1.0),
        DDIM(COSINE),
        PNDM(SD1),
        PNDM(V),
        Euler(SD1),
        Euler(LEADING),
        Euler(SD2),
        Euler(SAMPLE),
        Euler(LINSPACE, karras=True),
        EulerAncestral(SD1),
        EulerAncestral(SD2),
        DPMSolver(SD1),
        DPMSolver(LEADING),
        DPMSolver(SD2),
        DPMSolver(LINSPACE, sde=True),
        DPMSolver(SD1, karras=True),
        DPMSolver(V, karras=True, sde=True),
        DPMSolver(SAMPLE),
        LCM(SD1),
        LCM(V),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_each_step_equals_diffusers(scheduler, monkeypatch):
    import torch

    rng = np.random.default_rng(0)
    plan = scheduler.plan(STEPS)
    draw = rng.normal(size=(plan.num_steps, *SHAPE)).astype("float32")
    outputs = rng.normal(size=draw.shape).astype("float32")
    fresh = iter(draw)
    oracle = theirs(scheduler)
    if plan.is_random:
        monkeypatch.setattr(
            f"{type(oracle).__module__}.randn_tensor",
            lambda *_, **__: torch.tensor(next(fresh)),
        )
    np.testing.assert_allclose(
        plan.timesteps, oracle.timesteps.numpy(), atol=2e-3
    )
    np.testing.assert_allclose(
        plan.initial_noise_scale, float(oracle.init_noise_sigma), rtol=1e-5
    )
    sample = plan.initial_noise_scale * rng.normal(size=SHAPE).astype("float32")
    step, tensors = compiled(), plan.padded(ROWS).tensors()
    ours = ops.convert_to_tensor(sample)
    history = tensors.empty_history(ours)
    expected = torch.tensor(sample)
    for i, timestep in enumerate(oracle.timesteps):
        scaled, ours, history = step(
            tensors,
            history,
            ops.convert_to_tensor(outputs[i]),
            ours,
            ops.convert_to_tensor(i, "int32"),
            ops.convert_to_tensor(draw[i]),
        )
        assert_close(scaled, oracle.scale_model_input(expected, timestep))
        expected = oracle.step(
            torch.tensor(outputs[i]), timestep, expected
        ).prev_sample
        assert_close(ours, expected)


@pytest.mark.parametrize("schedule", [SD1, SD2, COSINE, SAMPLE])
def test_training_targets_equal_diffusers(schedule):
    import diffusers
    import torch

    oracle = diffusers.DDPMScheduler.from_config(schedule.to_config())
    np.testing.assert_allclose(
        schedule.alphas, oracle.alphas_cumprod, atol=1e-6
    )
    rng = np.random.default_rng(1)
    clean, noise = rng.normal(size=(2, 3, 4, 4, 2)).astype("float32")
    timesteps = np.array([0, 500, 999])
    ours = [
        ops.convert_to_numpy(
            f(
                ops.convert_to_tensor(clean),
                ops.convert_to_tensor(noise),
                ops.convert_to_tensor(timesteps, "int32"),
            )
        )
        for f in (schedule.add_noise, schedule.target)
    ]
    tensors = map(torch.tensor, (clean, noise, timesteps))
    clean, noise, timesteps = tensors
    np.testing.assert_allclose(
        ours[0], oracle.add_noise(clean, noise, timesteps), atol=1e-5
    )
    expected = {
        "epsilon": noise,
        "v": oracle.get_velocity(clean, noise, timesteps),
        "sample": clean,
    }[schedule.prediction]
    np.testing.assert_allclose(ours[1], expected, atol=1e-5)


def test_signal_to_noise_is_the_ratio_of_variances():
    rng = np.random.default_rng(2)
    clean, noise = rng.normal(size=(2, 1, 100_000))
    zero = np.zeros_like(clean)
    timestep = ops.convert_to_tensor([300], "int32")
    levels = [
        ops.convert_to_numpy(SD1.add_noise(x, e, timestep)).var()
        for x, e in ((clean, zero), (zero, noise))
    ]
    ratio = ops.convert_to_numpy(SD1.signal_to_noise(timestep))[0]
    np.testing.assert_allclose(levels[0] / levels[1], ratio, rtol=0.03)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("start", [0, 7, STEPS - 1])
def test_a_model_that_knows_the_data_brings_it_back(name, start):
    """With the true noise as the output, every sampler ends at the data."""
    rng = np.random.default_rng(3)
    clean, noise = rng.normal(size=(2, *SHAPE))
    schedule = dataclasses.replace(SD1, final_alpha_is_one=True)
    plan = by_name(name, schedule).plan(STEPS, start)
    sample = plan.clean_level[0] * clean + plan.noise_level[0] * noise
    history = np.zeros((5, *SHAPE))
    for i in range(plan.num_steps):
        known = plan.clean_level[i] * clean
        output = (sample - known) / plan.noise_level[i]
        tables = [table[i] if table.ndim else table for table in plan]
        row = type(plan)(*tables)
        estimate = row.estimate_sample * sample + row.estimate_output * output
        history = np.concatenate([estimate[None], history[:-1]])
        sample = row.keep * sample + np.tensordot(row.estimates, history, 1)
        sample = sample + row.noise * rng.normal(size=SHAPE)
    np.testing.assert_allclose(sample, clean, atol=1e-4)


def test_padding_changes_nothing():
    plan = DPMSolver(SD1).plan(5)
    padded = plan.padded(8)
    assert padded.num_steps == 8
    for short, long in zip(plan, padded, strict=True):
        np.testing.assert_array_equal(
            long[: len(short)] if short.ndim else long, short
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseSchedule(betas="square"), "betas must be one of"),
        (lambda: NoiseSchedule(prediction="x"), "prediction must be one of"),
        (lambda: NoiseSchedule(spacing="odd"), "spacing must be one of"),
        (lambda: NoiseSchedule(beta_start=0.0), "between 0 and 1"),
        (lambda: NoiseSchedule(num_train_steps=0), "must be a timestep"),
        (lambda: NoiseSchedule(zero_terminal_snr=True), "learns nothing"),
        (
            lambda: NoiseSchedule.from_config({"beta_schedule": "laplace"}),
            "laplace",
        ),
        (lambda: DDIM(eta=2.0), r"eta must lie in \[0, 1\]"),
        (lambda: PNDM(SD2), "PNDM divides"),
        (lambda: LCM(trained_steps=0), "trained_steps"),
        (lambda: LCM().plan(51), r"in \[1, 50\]. Received: 51"),
        (lambda: DDIM().plan(0), r"in \[1, 1000\]. Received: 0"),
        (lambda: DPMSolver().plan(1000), r"in \[1, 999\]. Received: 1000"),
        (lambda: Euler().plan(5, start=5), "Received: 5 to leave out"),
        (lambda: by_name("heun"), "no scheduler 'heun'"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_a_configuration_comes_back():
    for schedule in (SD1, SD2, COSINE, SAMPLE):
        assert NoiseSchedule.from_config(schedule.to_config()) == schedule
