"""TensorFlow: what the facade offers, in TensorFlow's own terms."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_multi.backend import image
from keras_multi.backend.image import clip as clip
from keras_multi.backend.image import floor_to_bytes as floor_to_bytes
from keras_multi.backend.image import histogram as histogram
from keras_multi.backend.image import literal as literal
from keras_multi.backend.image import pack as pack
from keras_multi.backend.image import unpack as unpack
from keras_multi.backend.steps import repeated
from keras_multi.backend.tensorflow_graph import UnknownError, count
from keras_multi.backend.tensorflow_linear import ONE_LAYOUT as ONE_LAYOUT
from keras_multi.backend.tensorflow_linear import int8_linear as int8_linear
from keras_multi.backend.tensorflow_linear import linear as linear
from keras_multi.backend.tensorflow_linear import packed as packed
from keras_multi.backend.tensorflow_linear import packed_int8 as packed_int8
from keras_multi.backend.tensorflow_linear import rows_of as rows_of
from keras_multi.backend.threefry import threefry

MODES = ("xla", "graph")
COMPILED = "xla"
FLASH_ATTENTION = None  # Keras decides
GRADIENTS_REPLACE = False  # see `rows_that_train`
alone = None  # a layer is computed when it is called
# Most places for which `layers.Conv2D` multiplies patches, see there: in
# float32 as XLA is fastest, in bfloat16 as a graph. In milliseconds on one
# core, patches against Keras's convolution with XLA in float32: 2.9 and 70 at
# 4 places (1280 to 1280 channels), but 4.7 and 3.0 at 16 (the same), and 2.9
# and 2.1 at 64 (640 to 640). In bfloat16 as a graph: 7.7 and 47 at 16 (2560
# to 1280), 1.3 and 2.0 at 64 (640 to 640), 4.5 and 4.5 at 256 (the same), but
# 4.8 and 4.0 at 1024 (320 to 320).
MAX_PATCHES = {"float32": 8, "bfloat16": 256}
to_attend = None  # the type of attention is as good as any
has_layer_normalization = False  # in one operation
group_normalize = None  # XLA makes one program of what Keras does

# As a graph, since one by one its operations take milliseconds.
_threefry = tf.function(threefry, autograph=False, reduce_retracing=True)

# Compiled, as a graph goes through the images once for each operation. In
# milliseconds on one core, 64 images of 128x128 pixels, with XLA and as a
# graph: 0.6 and 2.9 to blend bytes, 1.3 and 2.1 floats; 1.0 and 9.7 to paste
# bytes, 1.6 and 9.0 floats.
blend = tf.function(image.blend, jit_compile=True, autograph=False)
paste = tf.function(image.paste, jit_compile=True, autograph=False)


def device() -> tuple[str, str, int]:
    """Kind, name and memory in bytes of the default device."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu", "", 0
    details = tf.config.experimental.get_device_details(gpus[0])
    return "gpu", details.get("device_name", gpus[0].name), 0


def synchronize(x: Any) -> None:
    """Waits for the devices' queues; CPU results are there when returned."""
    tf.test.experimental.sync_devices()


def jit(fn: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """Traces to a graph, and compiles it with XLA if the mode is `"xla"`."""
    compiled: Callable[..., Any] = tf.function(fn, jit_compile=mode == "xla")
    return compiled


def inference(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Traces to a graph."""
    compiled: Callable[..., Any] = tf.function(fn, autograph=False)
    return compiled


def loop(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles a function that loops inside with XLA."""
    compiled: Callable[..., Any] = tf.function(
        fn, jit_compile=True, autograph=False
    )
    return compiled


token_loop = loop  # one token of each text in a turn


def bind(
    model: Any, fn: Callable[..., Any], mode: str | None, static: bool
) -> Callable[..., Any]:
    """Traces to a graph that reads the variables at each call.

    XLA on a CPU computes bfloat16 in float32, so that such a model is left
    to oneDNN: 317 milliseconds and 555 on one core for the UNet of Stable
    Diffusion 1.4 at 16x16 places.
    """
    if mode is None:
        narrow = getattr(model, "compute_dtype", None) == "bfloat16"
        mode = "graph" if narrow and device()[0] == "cpu" else "xla"
    return loop(fn) if mode == "xla" else inference(fn)


def bind_loop(model: Any, step: Callable[..., Any]) -> Callable[..., Any]:
    """Makes one program of the loop."""
    return bind(model, repeated(step), None, static=True)


def constant(x: Any) -> Any:
    """Copies the value of a tensor or variable."""
    return tf.identity(x)


attend = None  # XLA joins the parts of an attention


def compiled_step(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the function: the loop around it is compiled."""
    return fn


def record_steps(model: Any) -> None:
    """Does nothing: the steps of `Model.fit` are compiled."""


def packed_kernel() -> None:
    """Gives nothing: kernels are laid out as the compiler wants them."""


def write(buffer: Any, update: Any, start: Sequence[Any]) -> Any:
    """Gives the buffer with a part replaced; in place inside a loop."""
    return keras.ops.slice_update(buffer, start, update)


def stable_top_k(x: Any, k: int) -> tuple[Any, Any]:
    """Top k of the last axis; `tf.math.top_k` puts the lower index first."""
    values, positions = tf.math.top_k(x, k)
    return values, positions


def maxima_of_products(queries: Any, chunks: Sequence[Any]) -> Any:
    """Elementwise maximum of the products with some matrices of one shape.

    Eigen is fastest with the long side first; for a single query XLA is.
    """
    if queries.shape[0] == 1:
        return _maxima_for_one(queries, chunks)
    products = (
        tf.matmul(tf.cast(chunk, "float32"), queries, transpose_b=True)
        for chunk in chunks
    )
    return tf.transpose(functools.reduce(tf.maximum, products))


@functools.partial(tf.function, autograph=False, jit_compile=True)
def _maxima_for_one(queries: Any, chunks: Sequence[Any]) -> Any:
    products = (
        tf.matmul(queries, tf.cast(chunk, "float32"), transpose_b=True)
        for chunk in chunks
    )
    return functools.reduce(tf.maximum, products)


def value_and_gradients(
    fn: Callable[[], Any], variables: list[Any]
) -> tuple[Any, list[Any]]:
    """Differentiates with a tape; sparse gradients are made dense."""
    with tf.GradientTape() as tape:
        value = fn()
    gradients = tape.gradient(
        value,
        [v.value for v in variables],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return value, [tf.convert_to_tensor(g) for g in gradients]


@tf.custom_gradient
def _densify(x: Any) -> Any:
    return tf.identity(x), tf.convert_to_tensor


def with_dense_gradient(x: Any) -> Any:
    """Sums the slices of a gradient into a tensor on the way back."""
    return _densify(tf.convert_to_tensor(x))


def rows_that_train(
    anchor: Any,
    state: Sequence[Any],
    ids: Any,
    changes: Callable[..., Any] | None,
) -> Any:
    """Gives rows of a table, whose gradient changes them in place.

    Args:
        anchor: a trainable scalar, that a gradient may pass.
        state: Keras variables, the table and its accumulator.
        ids: integers `(n,)`.
        changes: from the ids and the gradients of the rows to rows, what is
            to be added to the accumulator, and a function from its rows that
            results to what is to be added to the table; `None` if nothing
            changes.
    """
    table, accumulator = (variable.value for variable in state)

    if changes is None:
        return tf.gather(table, ids)

    @tf.custom_gradient
    def lookup(anchor: Any) -> Any:
        def train(gradients: Any) -> Any:
            rows, addend, step = changes(ids, gradients)
            accumulator.scatter_add(tf.IndexedSlices(addend, rows))
            result = step(tf.gather(accumulator, rows))
            table.scatter_add(tf.IndexedSlices(result, rows))
            return tf.zeros_like(anchor)

        return tf.gather(table, ids), train

    return lookup(tf.convert_to_tensor(anchor.value))


def stage(
    gate: Any, fn: Callable[[], Any], shape: Sequence[Any], dtype: str
) -> Any:
    """Computes `fn()` apart where a graph may be compiled (see JAX's)."""
    if tf.executing_eagerly():
        return fn()
    return tf.cond(gate, fn, lambda: tf.zeros(shape, dtype))


def uniform(shape: Sequence[Any], seed: Any) -> Any:
    """Draws float32 from [0, 1), the same eager, as a graph and under XLA.

    The generators of TensorFlow, which `keras.random` takes, give other
    numbers under XLA.

    Args:
        shape: integers, or scalar tensors where they are not known yet.
        seed: a `keras.random.SeedGenerator`.
    """
    key, draw = tf.unstack(seed.next())
    high = tf.bitwise.right_shift(key, tf.constant(32, key.dtype))
    numbers = tf.cast(tf.range(tf.reduce_prod(shape)), tf.uint32)
    draws = tf.fill(tf.shape(numbers), tf.cast(draw, tf.uint32))
    words, _ = _threefry(
        (tf.cast(key, tf.uint32), tf.cast(high, tf.uint32)), (numbers, draws)
    )
    drawn = tf.cast(tf.bitwise.right_shift(words, np.uint32(8)), tf.float32)
    return tf.reshape(drawn / 2**24, shape)


def gather(x: Any, index: Any) -> Any:
    """Gives `x[index]` for indices that are known to be in range."""
    return tf.gather(x, index)


def fuses(variables: Sequence[Any]) -> bool:
    """Tells whether this module updates such weights faster than Keras."""
    return False


def feed(batches: Any) -> Any:
    """Makes a pipeline of a data set, that does not tune itself.

    A pipeline ends when the thread that tunes it wakes, whose sleep doubles
    each time.
    """

    def every() -> Any:
        for i in range(len(batches)):
            yield batches[i]

    def describe(array: Any) -> Any:
        return tf.TensorSpec((None, *array.shape[1:]), array.dtype)

    options = tf.data.Options()
    options.autotune.enabled = False
    return (
        tf.data.Dataset.from_generator(
            every,
            output_signature=keras.tree.map_structure(describe, batches[0]),
        )
        .apply(tf.data.experimental.assert_cardinality(len(batches)))
        .prefetch(1)
        .with_options(options)
    )


def run_litert(path: Any, inputs: dict[str, Any]) -> Any:
    """Gives the output of a LiteRT file that has one.

    Args:
        path: of the file.
        inputs: array for each name.
    """
    interpreter = tf.lite.Interpreter(str(path))
    (output,) = interpreter.get_signature_runner()(**inputs).values()
    return output


def device_peak_memory() -> int | None:
    """Peak bytes allocated on the accelerator, None on a CPU."""
    if tf.config.list_physical_devices("GPU"):
        return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])
    return None


def set_matmul_precision(precision: str) -> None:
    """Sets the precision of products and convolutions in float32."""
    tf.config.experimental.enable_tensor_float_32_execution(
        precision == "tensorfloat32"
    )


def operations(fn: Callable[[], Any]) -> float | None:
    """Walks the graph back from its outputs; None at what has no size."""
    graph = tf.function(fn, autograph=False).get_concrete_function().graph
    try:
        return float(count(graph, graph.outputs))
    except UnknownError:
        return None
