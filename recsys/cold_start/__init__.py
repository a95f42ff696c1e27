"""Cold start: items or users that training has not seen at all."""
