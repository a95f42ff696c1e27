"""`python -m recsys.retrieval`: the baselines on the test rows, as a table."""

from typing import Annotated

import typer

# The metric by which settings are chosen.
CHOSEN_BY = "top_100_excluding_seen"


def main(
    protocol: Annotated[
        str, typer.Option(help="random or leave-last-out.")
    ] = "random",
    data: str = "movielens-100k",
) -> None:
    """Tune the baselines on validation rows and measure them on test rows."""
    from rich.console import Console
    from rich.table import Table

    from recsys.retrieval.baselines import METHODS, tune
    from recsys.retrieval.data import PROTOCOLS

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"choose from {', '.join(PROTOCOLS)}")
    names = ["top_10", "top_100", "ndcg_10"]
    names += [f"{name}_excluding_seen" for name in names]
    table = Table("baseline", *names, "settings")
    for method in METHODS:
        result = tune(method, data, protocol, CHOSEN_BY)
        settings = [f"{k}={v}" for k, v in result["settings"].items()]
        figures = [f"{result['test'][name]:.4f}" for name in names]
        table.add_row(method, *figures, ", ".join(settings))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
