"""The benchmark harness: workloads, runner, statistics and report."""
