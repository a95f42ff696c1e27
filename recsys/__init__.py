"""DCN and recommenders."""

import importlib
from typing import Any

_HOMES = {
    "AnnIndex": "recsys.indexes.ann",
    "BruteForceIndex": "recsys.indexes.brute_force",
    "ContentFilter": "recsys.content",
    "DCN": "recsys.dcn",
    "FactorNetwork": "recsys.factors",
    "ListRanker": "recsys.ranking.list_ranker",
    "MultiTaskRanker": "recsys.multi_task",
    "StreamingIndex": "recsys.indexes.streaming",
    "TwoStageRecommender": "recsys.two_stage",
    "TwoTower": "recsys.two_tower",
}

__all__ = [
    "DCN",
    "AnnIndex",
    "BruteForceIndex",
    "ContentFilter",
    "FactorNetwork",
    "ListRanker",
    "MultiTaskRanker",
    "StreamingIndex",
    "TwoStageRecommender",
    "TwoTower",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
