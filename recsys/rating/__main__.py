"""`python -m recsys.rating`: all models on the same folds, as one table."""

from pathlib import Path
from typing import Annotated

import typer

NO_TIME = "factor-network-no-time"
NAMES = ("dcn", "dnn", "factors", "svd-pp", NO_TIME, "factor-network")


def main(
    output: Annotated[Path, typer.Option(help="Folder of the results.")] = Path(
        "runs/rating"
    ),
    model: Annotated[
        list[str] | None,
        typer.Option(help="Model to run; may be repeated.", show_default="all"),
    ] = None,
    folds: int = 5,
    seeds: int = 5,
    only_fold: Annotated[
        list[int] | None,
        typer.Option(help="Fold to run; may be repeated.", show_default="all"),
    ] = None,
) -> None:
    """Cross-validate the rating models on MovieLens 100K.

    The backend is that of KERAS_BACKEND or keras.json.
    """
    from rich.console import Console
    from rich.table import Table

    from recsys.rating.cross_validation import AnyRecipe, cross_validate
    from recsys.rating.recipe import RatingRecipe
    from recsys.recipe import Recipe

    recipes: dict[str, AnyRecipe] = {
        "dcn": Recipe.of("movielens-100k", "dcn"),
        "dnn": Recipe.of("movielens-100k", "dnn"),
        "factors": RatingRecipe.of("factors"),
        "svd-pp": RatingRecipe.of("svd-pp"),
        NO_TIME: RatingRecipe.of("factor-network", time=False),
        "factor-network": RatingRecipe.of("factor-network"),
    }
    names = model or list(NAMES)
    for name in names:
        if name not in recipes:
            raise typer.BadParameter(f"choose from {', '.join(NAMES)}")
    table = Table("model", "RMSE", "folds ±", "seeds ±", "MAE", "s a run")
    for name in names:
        result = cross_validate(
            recipes[name], output / name, folds, seeds, only_fold or None
        )
        spread = [
            f"{result[kind]['rmse']:.4f}" if kind in result else "-"
            for kind in ("fold_std", "seed_std")
        ]
        runs = result["runs"]
        table.add_row(
            name,
            f"{result['test']['rmse']:.4f}",
            *spread,
            f"{result['test']['mae']:.4f}",
            f"{sum(run['seconds'] for run in runs) / len(runs):.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
