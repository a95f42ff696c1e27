"""How much noise there is at each timestep, and what a model predicts."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from keras import ops

from keras_multi.errors import UsageError

BETAS = ("linear", "scaled_linear", "cosine")
PREDICTIONS = ("epsilon", "v", "sample")
SPACINGS = ("leading", "trailing", "linspace", None)

# Names in the configurations of diffusers.
_BETA_NAMES = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
}
_PREDICTION_NAMES = {
    "epsilon": "epsilon",
    "v_prediction": "v",
    "sample": "sample",
}


@dataclass(frozen=True)
class NoiseSchedule:
    """The forward process, which adds noise to data.

    At timestep t the data `x` with noise `e` is `sqrt(a) x + sqrt(1 - a) e`,
    where `a` is the product of `1 - beta` over the timesteps up to t (Ho et
    al. 2020, "Denoising Diffusion Probabilistic Models", equation 4). The
    defaults are those of Stable Diffusion 1.

    Args:
        num_train_steps: number T of timesteps.
        beta_start: beta of the first timestep.
        beta_end: beta of the last one.
        betas: `"linear"` between them; `"scaled_linear"`, whose roots are
            linear (Rombach et al. 2022, "High-Resolution Image Synthesis
            with Latent Diffusion Models"); or `"cosine"`, which needs
            neither (Nichol and Dhariwal 2021, "Improved Denoising Diffusion
            Probabilistic Models", equation 17).
        prediction: what the model predicts: `"epsilon"`, the noise; `"v"`,
            that is `sqrt(a) e - sqrt(1 - a) x` (Salimans and Ho 2022,
            "Progressive Distillation", section 4); or `"sample"`, the data.
        spacing: which timesteps a sampler visits: `"leading"`, `"trailing"`
            or `"linspace"` (Lin et al. 2024, "Common Diffusion Noise
            Schedules and Sample Steps are Flawed", table 2). `None` is for
            what is usual: `"linspace"` for Euler and DPM-Solver++, else
            `"leading"`.
        steps_offset: added to the timesteps of `"leading"`.
        final_alpha_is_one: whether samplers end at data without noise,
            rather than at the noise of the first timestep. Samplers that
            count in sigmas, DDPM and LCM always end without noise.
        zero_terminal_snr: whether the last timestep is made pure noise (Lin
            et al. 2024, algorithm 1).

    Raises:
        UsageError: if an argument is out of range or unknown, or the noise
            is to be predicted where there is nothing else.

    Example:
        >>> schedule = NoiseSchedule()
        >>> schedule.alphas[[0, 999]].round(4).tolist()
        [0.9991, 0.0047]
    """

    num_train_steps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    betas: str = "scaled_linear"
    prediction: str = "epsilon"
    spacing: str | None = None
    steps_offset: int = 1
    final_alpha_is_one: bool = False
    zero_terminal_snr: bool = False

    def __post_init__(self) -> None:
        for name, known in (
            ("betas", BETAS),
            ("prediction", PREDICTIONS),
            ("spacing", SPACINGS),
        ):
            if getattr(self, name) not in known:
                raise UsageError(
                    f"{name} must be one of {', '.join(map(str, known))}. "
                    f"Received: {getattr(self, name)!r}"
                )
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise UsageError(
                "betas must lie between 0 and 1 and must not fall. "
                f"Received: {self.beta_start} to {self.beta_end}"
            )
        if not 0 <= self.steps_offset < self.num_train_steps:
            raise UsageError(
                "there must be a timestep, and the offset must be one. "
                f"Received: num_train_steps={self.num_train_steps}, "
                f"steps_offset={self.steps_offset}"
            )
        if self.zero_terminal_snr and self.prediction == "epsilon":
            raise UsageError(
                "a model that predicts the noise learns nothing at a "
                "timestep of pure noise; predict v or the sample, or leave "
                "zero_terminal_snr out"
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Reads the `scheduler_config.json` of diffusers.

        Raises:
            UsageError: if it asks for something that is not here.
        """
        betas = config.get("beta_schedule", "linear")
        prediction = config.get("prediction_type", "epsilon")
        if betas not in _BETA_NAMES or prediction not in _PREDICTION_NAMES:
            raise UsageError(
                f"no schedule has beta_schedule {betas!r} and "
                f"prediction_type {prediction!r}"
            )
        return cls(
            config.get("num_train_timesteps", 1000),
            config.get("beta_start", 0.0001),
            config.get("beta_end", 0.02),
            _BETA_NAMES[betas],
            _PREDICTION_NAMES[prediction],
            config.get("timestep_spacing"),
            config.get("steps_offset", 0),
            config.get("set_alpha_to_one", True),
            config.get("rescale_betas_zero_snr", False),
        )

    def to_config(self) -> dict[str, Any]:
        """Gives the content of a `scheduler_config.json` of diffusers."""
        betas = {ours: theirs for theirs, ours in _BETA_NAMES.items()}
        predictions = {ours: name for name, ours in _PREDICTION_NAMES.items()}
        spacing = {"timestep_spacing": self.spacing} if self.spacing else {}
        return {
            "num_train_timesteps": self.num_train_steps,
            "beta_start": self.beta_start,
            "beta_end": self.beta_end,
            "beta_schedule": betas[self.betas],
            "prediction_type": predictions[self.prediction],
            **spacing,
            "steps_offset": self.steps_offset,
            "set_alpha_to_one": self.final_alpha_is_one,
            "rescale_betas_zero_snr": self.zero_terminal_snr,
            "clip_sample": False,
            "skip_prk_steps": True,
        }

    @functools.cached_property
    def alphas(self) -> np.ndarray:
        """Share of the variance that is data, float64 `(T,)`."""
        alphas = np.cumprod(1.0 - self._beta_values())
        if self.zero_terminal_snr:
            roots = np.sqrt(alphas)
            first, last = roots[0], roots[-1]
            alphas = ((roots - last) * first / (first - last)) ** 2
        return alphas

    @property
    def final_alpha(self) -> float:
        """Share of the variance that is data when a sampler ends."""
        return 1.0 if self.final_alpha_is_one else float(self.alphas[0])

    def _beta_values(self) -> np.ndarray:
        steps = self.num_train_steps
        if self.betas == "linear":
            return np.linspace(self.beta_start, self.beta_end, steps)
        if self.betas == "scaled_linear":
            first, last = np.sqrt([self.beta_start, self.beta_end])
            return np.linspace(first, last, steps) ** 2
        times = np.arange(steps + 1) / steps
        alphas = np.cos((times + 0.008) / 1.008 * np.pi / 2) ** 2
        return np.minimum(1 - alphas[1:] / alphas[:-1], 0.999)

    def clean_estimate(
        self, alphas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gives p and q such that `p * sample + q * output` estimates data.

        Args:
            alphas: of the timesteps.
        """
        signal, noise = np.sqrt(alphas), np.sqrt(1 - alphas)
        if self.prediction == "epsilon":
            return 1 / signal, -noise / signal
        if self.prediction == "v":
            return signal, -noise
        return np.zeros_like(signal), np.ones_like(signal)

    def noise_estimate(
        self, alphas: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gives p and q such that `p * sample + q * output` estimates noise.

        Args:
            alphas: of the timesteps.
        """
        signal, noise = np.sqrt(alphas), np.sqrt(1 - alphas)
        if self.prediction == "epsilon":
            return np.zeros_like(signal), np.ones_like(signal)
        if self.prediction == "v":
            return noise, signal
        return 1 / noise, -signal / noise

    def add_noise(self, clean: Any, noise: Any, timesteps: Any) -> Any:
        """Adds noise to data, as much as there is at some timesteps.

        Args:
            clean: float `(B, ...)`.
            noise: standard normal, of the same shape.
            timesteps: int `(B,)`.

        Returns:
            float32, of the same shape.
        """
        signal, spread = self._levels(timesteps, len(clean.shape))
        return signal * clean + spread * noise

    def target(self, clean: Any, noise: Any, timesteps: Any) -> Any:
        """Gives what a model is to predict from data with noise.

        Args:
            clean: float `(B, ...)`.
            noise: standard normal, of the same shape.
            timesteps: int `(B,)`.

        Returns:
            A tensor of the same shape.
        """
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        signal, spread = self._levels(timesteps, len(clean.shape))
        return signal * noise - spread * clean

    def signal_to_noise(self, timesteps: Any) -> Any:
        """Variance of the data over that of the noise, float32 `(B,)`."""
        ratios = (self.alphas / (1 - self.alphas)).astype("float32")
        return ops.take(ops.convert_to_tensor(ratios), timesteps)

    def _levels(self, timesteps: Any, rank: int) -> tuple[Any, Any]:
        levels = []
        for values in (self.alphas, 1 - self.alphas):
            table = ops.convert_to_tensor(np.sqrt(values).astype("float32"))
            level = ops.take(table, timesteps)
            levels.append(ops.reshape(level, (-1, *(1,) * (rank - 1))))
        return levels[0], levels[1]
