"""A machine where bfloat16 takes a given share of the time of float32."""

from keras_multi import precision


def use(monkeypatch, share):
    """Makes up the times; models are built and run once all the same.

    Args:
        monkeypatch: of the test.
        share: time in bfloat16 over that in float32.
    """

    def turns(runs, seconds, rounds):
        for run in runs.values():
            run()
        return {precision.FLOAT32: [1.0] * 3, "low": [share] * 3}

    monkeypatch.setattr(precision, "turns", turns)
    monkeypatch.setattr(precision, "_slow_product", lambda candidate: None)
    monkeypatch.setattr(precision, "LOST_RUN", float("inf"))
    monkeypatch.setattr(precision, "TOLERANCE", 0.5)
