"""How well a pipeline makes the pictures that it was trained on, and others."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from diffusion import data, judge, recolored
from diffusion.stable_diffusion import StableDiffusion
from keras_multi import backend
from keras_multi.files import replacing

BATCH = 64
NUM_STEPS, GUIDANCE, SCHEDULER, CANDIDATES = 20, 2.0, "ddim", 4
VARIED, TIMES = 64, 3  # prompts of which so many pictures are compared
# Two pictures differ at first sight if the PSNR between them is less, in dB.
# Each of the drawings is below 17.5 to itself in another place.
VISIBLE = 20.0
SHEET, SHEET_COLUMNS, GAP = "sheet.png", 16, 4
RIGHT, WRONG = (255, 255, 255), (230, 0, 0)


@dataclass(frozen=True)
class Nearest:
    """The training picture that is nearest to each of some others.

    Attributes:
        drawings: number of the drawing, int `(n,)`.
        variants: number of its variant, see `data.variant`, int `(n,)`.
        psnr: peak signal-to-noise ratio to it in dB, `(n,)`.
    """

    drawings: np.ndarray
    variants: np.ndarray
    psnr: np.ndarray


def evaluate(
    folder: str | os.PathLike[str],
    num_steps: int = NUM_STEPS,
    guidance_scale: float = GUIDANCE,
    seed: int = 0,
    candidates: int = CANDIDATES,
    pictures: int | None = None,
    sheet: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures a pipeline trained by `diffusion.train.train`.

    Args:
        folder: of the pipeline, or its name.
        num_steps: see `Options`.
        guidance_scale: the same.
        seed: the same.
        candidates: the same, where a prompt has three pictures.
        pictures: number of drawings that it was trained on, if not all.
        sheet: PNG file for the pictures of the held-out pairs, with a red
            frame where the judge finds another color or thing, and of some
            training captions, among them all whose picture is nearest to one
            of another caption.
        progress: whether to show a progress bar.

    Returns:
        `backend`, `model`, `data`, `captions`, their number; `failures`,
        training captions with the first caption of what was made instead,
        and held-out captions with what the judge finds; and `test`:
        `nearest`, the share of the training captions for which the picture
        is nearest to one with that caption; `psnr`, the median in dB to that
        nearest picture; `color`, `thing` and `both`, the shares of the
        held-out pairs in which the judge finds them; and of some prompts'
        three pictures `differ`, the share of the pairs that differ at first
        sight (by `VISIBLE`), and `distinct`, the share of the prompts of
        which all three do.

    Raises:
        UsageError: if there is no such pipeline.
        DataError: if a file is missing or damaged, or the font is not
            installed.
    """
    from diffusion.preset import find

    path = find(folder)
    pipeline = StableDiffusion.from_preset(path)
    referee = judge.load(path)
    split = data.load(pictures)
    texts = sorted({text for own in split.train.captions for text in own})
    pairs = [own[0] for own in split.held_out.captions]
    varied = texts[:: max(1, len(texts) // VARIED)]
    made = generate(
        pipeline, texts + pairs, num_steps, guidance_scale, seed, progress
    )
    known, new = np.split(made, [len(texts)])
    thrice = generate(
        pipeline,
        varied,
        num_steps,
        guidance_scale,
        seed,
        progress,
        TIMES,
        candidates,
    )
    found = nearest(known, split.train.drawings)
    good = [
        text in split.train.captions[drawing]
        for text, drawing in zip(texts, found.drawings, strict=True)
    ]
    colors, things = judge.tell(referee, new)
    told = [
        f"{list(recolored.COLORS)[c]} {list(recolored.THINGS)[t]}"
        for c, t in zip(colors, things, strict=True)
    ]
    composed = [text == said for text, said in zip(pairs, told, strict=True)]
    if sheet is not None:
        some = range(0, len(texts), max(1, len(texts) // len(pairs)))
        shown = sorted({*some, *np.flatnonzero(~np.array(good))})
        write_sheet(
            sheet,
            np.concatenate([new, known[shown]]),
            composed + [good[i] for i in shown],
        )
    firsts = [split.train.captions[drawing][0] for drawing in found.drawings]
    thrice = thrice.reshape(-1, TIMES, *thrice.shape[1:])
    apart = far_apart(thrice.swapaxes(0, 1))
    return {
        "backend": backend.name(),
        "model": "emoji" if path.name == "emoji" else str(folder),
        "data": "emoji",
        "captions": len(texts),
        "pairs": len(pairs),
        "failures": {
            "training": _pairs_where(texts, firsts, good),
            "held_out": _pairs_where(pairs, told, composed),
        },
        "test": {
            "nearest": float(np.mean(good)),
            "psnr": float(np.median(found.psnr)),
            "color": _share(pairs, told, 0),
            "thing": _share(pairs, told, 1),
            "both": float(np.mean(composed)),
            "differ": float(apart.mean()),
            "distinct": float(apart.all(axis=0).mean()),
        },
    }


def _share(pairs: list[str], told: list[str], word: int) -> float:
    same = [
        a.split()[word] == b.split()[word]
        for a, b in zip(pairs, told, strict=True)
    ]
    return float(np.mean(same))


def _pairs_where(
    asked: list[str], got: list[str], good: list[bool]
) -> list[list[str]]:
    rows = zip(asked, got, good, strict=True)
    return [[a, g] for a, g, right in rows if not right]


def generate(
    pipeline: StableDiffusion,
    prompts: Sequence[str],
    num_steps: int,
    guidance_scale: float,
    seed: int,
    progress: bool = False,
    times: int = 1,
    candidates: int = 1,
) -> np.ndarray:
    """Makes pictures of each prompt, uint8 `(n * times, H, W, 3)`.

    Prompts are taken in batches of one size, each with a seed of its own.
    """
    made = []
    rows = min(BATCH // times, len(prompts))
    starts = range(0, len(prompts), rows)
    for number, first in enumerate(
        tqdm(starts, "pictures", disable=None if progress else True)
    ):
        some = list(prompts[first : first + rows])
        made.append(
            pipeline.text_to_image(
                some + [""] * (rows - len(some)),
                batch_size=times,
                num_steps=num_steps,
                guidance_scale=guidance_scale,
                seed=seed + number,
                scheduler=SCHEDULER,
                candidates=candidates,
            )[: len(some) * times]
        )
    return np.concatenate(made)


def nearest(pictures: np.ndarray, drawings: np.ndarray) -> Nearest:
    """Finds the nearest training picture of each picture, in pixel space.

    Args:
        pictures: uint8 `(n, data.SIZE, data.SIZE, 3)`.
        drawings: uint8 `(m, emoji.SIZE, emoji.SIZE, 3)`, of which all
            variants are looked at.
    """
    flat = pictures.reshape(len(pictures), -1).astype(np.float32) / 255
    norms = np.sum(flat**2, axis=1, keepdims=True)
    best = np.full(len(pictures), np.inf)
    drawing = np.zeros(len(pictures), np.int64)
    place = np.zeros(len(pictures), np.int64)
    for number in range(data.NUM_VARIANTS):
        shown = data.variant(drawings, number)
        others = shown.reshape(len(shown), -1).astype(np.float32) / 255
        squares = norms + np.sum(others**2, axis=1) - 2 * flat @ others.T
        first = squares.argmin(axis=1)
        errors = (flat - others[first]).astype(np.float64) ** 2
        least: np.ndarray = errors.mean(axis=1)
        better = least < best
        best[better] = least[better]
        drawing[better] = first[better]
        place[better] = number
    with np.errstate(divide="ignore"):
        psnr = -10 * np.log10(best)
    return Nearest(drawing, place, psnr)


def far_apart(pictures: np.ndarray) -> np.ndarray:
    """Tells which pictures of some prompts differ at first sight.

    Args:
        pictures: uint8 `(k, n, H, W, 3)`, of each of n prompts k.

    Returns:
        bool `(pairs, n)`, of all pairs of the k.
    """
    floats = pictures.astype(np.float32) / 255
    errors = [
        ((a - b) ** 2).mean(axis=(1, 2, 3)) for a, b in combinations(floats, 2)
    ]
    return np.stack(errors) > 10 ** (-VISIBLE / 10)


def write_sheet(
    path: str | os.PathLike[str], pictures: np.ndarray, good: Sequence[bool]
) -> None:
    """Writes pictures in rows, those that are not good in a red frame.

    Args:
        path: PNG file.
        pictures: uint8 `(n, H, W, 3)`.
        good: whether each is as it should be.

    Raises:
        KerasMultiError: if the file cannot be written.
    """
    count, height, width, _ = pictures.shape
    rows = -(-count // SHEET_COLUMNS)
    size = rows * (height + GAP), SHEET_COLUMNS * (width + GAP), 3
    sheet = np.full(size, 255, np.uint8)
    for i, (picture, right) in enumerate(zip(pictures, good, strict=True)):
        row, column = divmod(i, SHEET_COLUMNS)
        top, left = row * (height + GAP), column * (width + GAP)
        cell = sheet[top : top + height + GAP, left : left + width + GAP]
        cell[:] = RIGHT if right else WRONG
        half = GAP // 2
        cell[half : half + height, half : half + width] = picture
    with replacing(Path(path)) as temporary:
        image = Image.fromarray(sheet).quantize(128)
        image.save(temporary, "PNG", optimize=True)
