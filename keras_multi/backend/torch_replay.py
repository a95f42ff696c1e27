"""Calls on PyTorch that do again what they did before, without Keras."""

import operator
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from keras.src.backend.common.stateless_scope import in_stateless_scope
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import TensorWeakRef

aten = torch.ops.aten
TELL_VALUES = (
    aten._local_scalar_dense.default,
    aten.allclose.default,
    aten.equal.default,
    aten.is_nonzero.default,
    aten.item.default,
)
TAKE_VALUES = (  # which are no operations
    torch.Tensor.numpy,
    torch.Tensor.tolist,
    torch.Tensor.__array__,
)
VALUE_DECIDES = "what is done must not depend on a value"
PROGRAMS = 8  # the last ones used of a function are kept


class Program(NamedTuple):
    """What a function did with arguments of some shapes."""

    run: Callable[..., Any]  # of the tensors among the arguments, and these:
    constants: list[Any]
    outputs: Any  # structure of what it gives


class Replay:
    """A function of tensors that records its operations and repeats them.

    A call of a Keras layer takes about 80 microseconds on PyTorch before
    anything is computed: of the 22 milliseconds on one core of a small UNet
    with 147 layers (16x16 places, 72 to 104 channels) 13 are spent so. The
    operations alone are the same, in the same order, on the same tensors.

    What depends on nothing but weights, such as their copies in other layouts
    and types, is computed once. Everything is recorded anew for other shapes,
    and after a weight has changed.

    Args:
        model: what has `variables`.
        fn: a function of tensors and nested structures of them. What it does
            may depend on their shapes, but not on their values, and it draws
            no random numbers.
    """

    def __init__(self, model: Any, fn: Callable[..., Any]) -> None:
        self._model, self._fn = model, fn
        self._programs: dict[Any, Program] = {}
        self._weights: list[Any] = []
        self._versions: list[int] = []

    def __call__(self, *args: Any) -> Any:
        """Calls the function."""
        return self._call(args, self._can_repeat())

    def loop(self, state: Any, count: int, *args: Any) -> Any:
        """Calls `state = fn(state, *args)` some times, and gives the last."""
        repeats = self._can_repeat()
        for _ in range(count):
            state = self._call((state, *args), repeats)
        return state

    def _can_repeat(self) -> bool:
        """Drops what was recorded if it is no longer what would be done."""
        if torch.compiler.is_compiling() or in_stateless_scope():
            return False
        weights = [variable._value for variable in self._model.variables]
        if any(weight.is_inference() for weight in weights):
            return False  # PyTorch does not tell when these change.
        versions = [weight._version for weight in weights]
        same = len(weights) == len(self._weights) and all(
            map(operator.is_, weights, self._weights)
        )
        if not same or versions != self._versions:
            self._programs.clear()
            self._weights, self._versions = weights, versions
        return True

    def _call(self, args: Any, repeats: bool) -> Any:
        if not repeats:
            return self._fn(*args)
        leaves, structure = pytree.tree_flatten(args)
        tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
        key = (structure, *map(kind, leaves))
        program = self._programs.pop(key, None)
        if program is None:
            program, outputs = _record(self._fn, args, tensors)
        else:
            outputs = pytree.tree_unflatten(
                program.run(*tensors, *program.constants), program.outputs
            )
        self._programs[key] = program  # the last of them
        if len(self._programs) > PROGRAMS:
            del self._programs[next(iter(self._programs))]
        return outputs


def kind(x: Any) -> Any:
    """All of an argument that the operations may depend on."""
    if isinstance(x, torch.Tensor):
        return x.shape, x.stride(), x.dtype, x.device
    return x


def _record(
    fn: Callable[..., Any], args: Any, tensors: list[Any]
) -> tuple[Program, Any]:
    """Calls a function, and keeps what it did."""
    recorder = Recorder(tensors)
    with recorder:
        outputs = fn(*args)
    if recorder.refused:
        raise RuntimeError(recorder.refused)
    return recorder.program(outputs), outputs


class Recorder(TorchDispatchMode):
    """Notes what is done with some tensors as a graph.

    Tensors are known by their identity, through weak references: nothing
    stays in memory for longer than without a recorder.

    Attributes:
        graph: of all that depends on the inputs, which come first in it, and
            on the constants, which come next.
        refused: why what was done cannot be repeated, or nothing.
    """

    def __init__(self, inputs: list[Any]) -> None:
        super().__init__()
        self.graph = torch.fx.Graph()
        self.refused = ""
        self._constants: list[Any] = []
        self._constant_nodes: dict[int, Any] = {}
        self._known: dict[int, tuple[TensorWeakRef, Any]] = {}
        for place, x in enumerate(inputs):
            self._know(x, self.graph.placeholder(f"input{place}"))
        self._last_input: Any = next(reversed(self.graph.nodes), None)

    def __enter__(self) -> "Recorder":
        with ExitStack() as stack:
            stack.enter_context(_Watch(self))
            super().__enter__()
            self._watch = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._watch.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        given = [
            x
            for x in pytree.tree_leaves((args, kwargs))
            if isinstance(x, torch.Tensor)
        ]
        if given and not any(self._find(x) for x in given):
            return outputs  # It comes from constants alone: it is one.
        if func in TELL_VALUES:
            self.refused = VALUE_DECIDES
            return outputs
        if isinstance(outputs, int):
            return outputs  # a size
        if func._schema.is_mutable and not self._find(given[0]):
            self.refused = "what is not an argument must not change"
            return outputs
        node = self.graph.call_function(
            func,
            *pytree.tree_map_only(torch.Tensor, self.node_of, (args, kwargs)),
        )
        if isinstance(outputs, torch.Tensor):
            self._know(outputs, node)
        else:
            for place, x in enumerate(outputs or ()):
                if isinstance(x, torch.Tensor):
                    part = (node, place)
                    self._know(
                        x, self.graph.call_function(operator.getitem, part)
                    )
        return outputs

    def program(self, outputs: Any) -> Program:
        """All that was noted, down to these outputs."""
        leaves, structure = pytree.tree_flatten(outputs)
        self.graph.output([self.node_of(x) for x in leaves])
        self.graph.eliminate_dead_code()
        run = torch.fx.GraphModule({}, self.graph).forward
        return Program(run, self._constants, structure)

    def node_of(self, x: Any) -> Any:
        """Tells where a tensor comes from: a constant if nothing made it."""
        if not isinstance(x, torch.Tensor):
            return x
        node = self._find(x) or self._constant_nodes.get(id(x))
        if node is None:
            name = f"constant{len(self._constants)}"
            with self.graph.inserting_after(self._last_input):
                node = self._last_input = self.graph.placeholder(name)
            self._constants.append(x)
            self._constant_nodes[id(x)] = node
        return node

    def _know(self, x: Any, node: Any) -> None:
        self._known[id(x)] = TensorWeakRef(x), node

    def _find(self, x: Any) -> Any:
        reference, node = self._known.get(id(x), (lambda: None, None))
        return node if reference() is x else None

    def depends(self, x: Any) -> bool:
        """Whether it was made from the inputs."""
        return self._find(x) is not None


class _Watch(TorchFunctionMode):
    """Refuses that values leave for NumPy or Python, to decide there."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in TAKE_VALUES and self._recorder.depends(args[0]):
            self._recorder.refused = VALUE_DECIDES
        return func(*args, **(kwargs or {}))
