"""One model for several tasks: find the items of a user, and rate them."""
