"""Ranking the items of a user: losses of single ratings, pairs and lists."""
