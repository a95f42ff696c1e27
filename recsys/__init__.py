"""DCN and recommenders."""
