"""The recommender as an HTTP service; needs the extra `serve`."""
