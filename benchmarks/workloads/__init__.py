"""One workload a file; a file that is here is a workload that runs."""
