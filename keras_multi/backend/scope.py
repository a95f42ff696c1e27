"""A scope in which Keras variables can be read, and keep their values."""

from typing import Any

import keras


class ReadOnlyScope(keras.StatelessScope):
    """A stateless scope that knows every variable.

    In `keras.StatelessScope` a variable outside the mapping has no current
    value, on which Keras's regularizers fail.
    """

    def get_current_value(self, variable: keras.Variable) -> Any:
        """The value that was assigned within the scope, or its own."""
        assigned = super().get_current_value(variable)
        return variable._value if assigned is None else assigned
