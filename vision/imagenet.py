"""The names of the 1,000 classes of ImageNet.

Russakovsky et al. 2015, "ImageNet large scale visual recognition challenge".
"""

import ast

from keras_multi.data import default_cache_dir
from keras_multi.data.info import FileSet
from keras_multi.data.sources import Wheel
from keras_multi.errors import DataError

NAMES = FileSet(
    name="imagenet-class-names",
    description="Names of the 1,000 classes of ImageNet.",
    licence="Apache 2.0.",
    homepage="https://github.com/keras-team/keras-hub",
    sources=(
        Wheel(
            requirement="keras-hub==0.32.0",
            sha256="c0a07ed19b894f5588188afd84165926"
            "3eb6d3732e21188c82e3e7d3b6de4268",
            members=("keras_hub/src/utils/imagenet/imagenet_utils.py",),
        ),
    ),
)


def class_names() -> tuple[str, ...]:
    """Gives the names in the order of the classes.

    They stand in a module of KerasHub, which is read and not run.

    Raises:
        DataError: if they cannot be fetched or are not there.

    Example:
        >>> class_names()[1]
        'goldfish'
    """
    (content,) = NAMES.files(default_cache_dir(), progress=True).values()
    for statement in ast.parse(content).body:
        match statement:
            case ast.Assign([ast.Name("IMAGENET_NAMES")], value=table):
                names = ast.literal_eval(table)
                return tuple(
                    names[i][1].replace("_", " ") for i in range(len(names))
                )
    raise DataError("the names of the classes of ImageNet are not in the file")
