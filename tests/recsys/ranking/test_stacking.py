import numpy as np
import pytest

from recsys.evaluate import predict
from recsys.ranking.evidence import parts_of_users
from recsys.ranking.stacking import NAME, Networks
from recsys.rating import train as rating
from recsys.rating.recipe import RatingRecipe
from tests.recsys.ranking.tiny import train_test

KNOWN, TEST = train_test("")
PARTS = parts_of_users(KNOWN["user_id"], 2, seed=0)


@pytest.fixture(scope="module")
def networks():
    return Networks.fit(KNOWN, PARTS, count=1, seed=3)


@pytest.mark.slow
def test_known_ratings_see_the_network_without_them(networks):
    own = networks.add_own(KNOWN, PARTS)[NAME]
    alone, _ = rating.fit(
        RatingRecipe.of(seed=4), KNOWN.take(PARTS == 0), None, progress=False
    )
    rows = KNOWN.take(PARTS == 1)
    np.testing.assert_allclose(own[PARTS == 1], alone.predict(rows), rtol=1e-4)


@pytest.mark.slow
def test_other_ratings_see_the_mean(networks):
    each = [
        np.clip(predict(run.model, run.inputs.transform(TEST)), 1, 5)
        for run in networks.runs
    ]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    found = networks.add(TEST)[NAME]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)


@pytest.mark.slow
def test_loaded_ones_predict_the_same(networks, tmp_path):
    networks.save(tmp_path)
    loaded = Networks.load(tmp_path, KNOWN, PARTS, count=1, seed=3)
    np.testing.assert_array_equal(
        loaded.add(TEST)[NAME], networks.add(TEST)[NAME]
    )
