"""One workload a file: a module here with a `WORKLOAD` is found and run.

`native` holds the hand-written baselines, one module a framework.
"""
