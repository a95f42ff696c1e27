"""Follows tensors through the functions of a source file, by their names.

A name holds a tensor if it is an argument of a layer's `call`, or was made
from one. NumPy on such a value, and a Python decision on it, cannot be
compiled on every backend. What only depends on shapes, dtypes or `None` is
known when a model is traced, and is fine.
"""

import ast
from dataclasses import dataclass, field

from keras_multi.portability.report import Finding
from keras_multi.portability.syntax import (
    Function,
    bound,
    called,
    given_functions,
    methods_of,
    names_of,
    numpy_names,
    tensor_parameters,
)

# Attributes and functions of a tensor that give no tensor.
# fmt: off
_STATIC_ATTRIBUTES = {
    "shape", "ndim", "rank", "dtype", "name", "device", "_keras_mask",
}
_STATIC_FUNCTIONS = {
    "len", "isinstance", "issubclass", "type", "hasattr", "callable", "id",
    "print", "repr", "str", "shape", "ndim", "int_shape", "dtype", "keys",
    "standardize_dtype", "is_tensor", "is_keras_tensor", "is_int_dtype",
    "is_float_dtype", "result_type", "get_shape", "is_nested",
}
# fmt: on
_TO_PYTHON = {"float", "int", "bool", "any", "all"}
_TO_HOST = {"item", "numpy", "tolist"}


@dataclass
class _Scope:
    """Names in a function.

    Attributes:
        tensors: names that hold tensors.
        functions: functions that can be called by their names.
        methods: methods of the class, by name.
    """

    tensors: set[str] = field(default_factory=set)
    functions: dict[str, Function] = field(default_factory=dict)
    methods: dict[str, Function] = field(default_factory=dict)


def tensor_findings(tree: ast.Module) -> list[Finding]:
    """NumPy calls and Python decisions on tensors, with their lines.

    Args:
        tree: a module. The start is each method `call` of a class with bases,
            and each function given to a `Lambda` layer or as a loss.
    """
    return _Analysis(tree).run()


class _Analysis:
    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        self._numpy = numpy_names(tree)
        self._found: dict[tuple[int, str], Finding] = {}
        self._results: dict[tuple[Function, frozenset[str]], bool] = {}

    def run(self) -> list[Finding]:
        functions: dict[str, Function] = {
            node.name: node
            for node in self._tree.body
            if isinstance(node, ast.FunctionDef)
        }
        classes = {
            node.name: node
            for node in ast.walk(self._tree)
            if isinstance(node, ast.ClassDef)
        }
        for node in classes.values():
            methods = methods_of(node, classes)
            if node.bases and "call" in methods:
                call = methods["call"]
                self.function(
                    call,
                    tensor_parameters(call),
                    _Scope(set(), functions, methods),
                )
        for function in given_functions(self._tree, functions):
            self.function(
                function, tensor_parameters(function), _Scope(set(), functions)
            )
        return list(self._found.values())

    def add(self, node: ast.AST, kind: str, message: str) -> None:
        line = getattr(node, "lineno", 0)
        self._found[line, message] = Finding(kind, message, line=line)

    def function(
        self, function: Function, tensors: set[str], outer: _Scope
    ) -> bool:
        """Goes through a function; tells whether it returns a tensor."""
        key = (function, frozenset(tensors))
        if key not in self._results:
            self._results[key] = bool(tensors)  # what recursion is told
            scope = _Scope(
                (outer.tensors - names_of(function)) | tensors,
                dict(outer.functions),
                outer.methods,
            )
            walk = _Walk(self, scope, self._numpy)
            if isinstance(function, ast.Lambda):
                self._results[key] = walk.tensor(function.body)
            else:
                walk.block(function.body)
                self._results[key] = walk.returns
        return self._results[key]


class _Walk:
    """Goes through the statements of one function in their order."""

    def __init__(
        self, analysis: _Analysis, scope: _Scope, numpy: set[str]
    ) -> None:
        self._analysis = analysis
        self._scope = scope
        self._numpy = numpy
        self.returns = False

    def block(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.FunctionDef():
                self._scope.functions[node.name] = node
            case ast.Return(value=value) if value is not None:
                self.returns |= self.tensor(value)
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=value) if value:
                self._assign(target, value)
            case ast.AugAssign(target=target, value=value):
                self._bind(target, self.tensor(target) | self.tensor(value))
            case ast.If(test=test, body=body, orelse=orelse):
                self._decide(test, "if")
                self._branches(body, orelse)
            case ast.While(test=test, body=body):
                self._decide(test, "while")
                self._repeat(body)
            case ast.For(target=target, iter=iterable, body=body):
                self._bind_items(target, iterable)
                self._repeat(body)
            case ast.With(items=items, body=body):
                for item in items:
                    is_tensor = self.tensor(item.context_expr)
                    if item.optional_vars:
                        self._bind(item.optional_vars, is_tensor)
                self.block(body)
            case ast.Try():
                self.block([*node.body, *node.orelse, *node.finalbody])
                for handler in node.handlers:
                    self.block(handler.body)
            case ast.Assert(test=test):
                self._decide(test, "assert")
            case ast.Expr(value=value):
                self.tensor(value)
            case _:
                pass

    def _branches(self, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        """A name holds a tensor after it if it does after one branch."""
        before = set(self._scope.tensors)
        self.block(body)
        after = self._scope.tensors
        self._scope.tensors = before
        self.block(orelse)
        self._scope.tensors |= after

    def _repeat(self, body: list[ast.stmt]) -> None:
        """Twice, since a later line may make an earlier name a tensor."""
        for _ in range(2):
            self.block(body)

    def _decide(self, test: ast.expr, word: str) -> None:
        if self.tensor(test):
            self._analysis.add(
                test,
                "branch",
                f"`{word} {ast.unparse(test)}` decides on the value of a "
                "tensor, which cannot be traced; use keras.ops.where or "
                "keras.ops.cond",
            )

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Lambda) and isinstance(target, ast.Name):
            self._scope.functions[target.id] = value
        elif (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
        ):
            held = [self.tensor(part) for part in value.elts]
            for name, is_tensor in zip(target.elts, held, strict=True):
                self._bind(name, is_tensor)
        else:
            self._bind(target, self.tensor(value))

    def _bind(self, target: ast.expr, is_tensor: bool) -> None:
        match target:
            case ast.Name(id=name):
                if is_tensor:
                    self._scope.tensors.add(name)
                else:
                    self._scope.tensors.discard(name)
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for part in parts:
                    self._bind(part, is_tensor)
            case ast.Starred(value=value):
                self._bind(value, is_tensor)
            case ast.Subscript(value=ast.Name(id=name)) if is_tensor:
                self._scope.tensors.add(name)
            case _:
                pass

    def _bind_items(self, target: ast.expr, iterable: ast.expr) -> None:
        """Binds what a loop goes through; counters and keys are no tensors."""
        loop = called(iterable)
        if isinstance(target, ast.Tuple) and isinstance(iterable, ast.Call):
            if loop == "zip" and len(iterable.args) == len(target.elts):
                for part, argument in zip(
                    target.elts, iterable.args, strict=True
                ):
                    self._bind_items(part, argument)
                return
            if loop == "enumerate" and len(target.elts) == 2:
                self._bind(target.elts[0], False)
                self._bind_items(target.elts[1], iterable.args[0])
                return
            if loop == "items" and len(target.elts) == 2:
                self._bind(target.elts[0], False)
                self._bind(target.elts[1], self.tensor(iterable))
                return
        self._bind(target, self.tensor(iterable))

    def tensor(self, node: ast.expr | None) -> bool:
        """Whether an expression gives a tensor; findings are noted."""
        match node:
            case None | ast.Constant() | ast.Lambda() | ast.JoinedStr():
                return False
            case ast.Name(id=name):
                return name in self._scope.tensors
            case ast.Attribute(value=value, attr=attribute):
                return self.tensor(value) and (
                    attribute not in _STATIC_ATTRIBUTES
                )
            case ast.Call():
                return self._call(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._decide(test, "if")
                return self.tensor(body) | self.tensor(orelse)
            case ast.Subscript(value=value):
                return self.tensor(value)
            case ast.NamedExpr(target=target, value=value):
                is_tensor = self.tensor(value)
                self._bind(target, is_tensor)
                return is_tensor
            case ast.DictComp(generators=generators):
                self._generators(generators)
                return self.tensor(node.value)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp():
                self._generators(node.generators)
                return self.tensor(node.elt)
            case ast.Dict(values=values):
                return any([self.tensor(value) for value in values])
            case _:
                parts = [
                    self.tensor(child)
                    for child in ast.iter_child_nodes(node)
                    if isinstance(child, ast.expr)
                ]
                return any(parts)

    def _generators(self, generators: list[ast.comprehension]) -> None:
        for generator in generators:
            self._bind_items(generator.target, generator.iter)
            for condition in generator.ifs:
                self._decide(condition, "if")

    def _compare(self, node: ast.Compare) -> bool:
        sides = [self.tensor(s) for s in (node.left, *node.comparators)]
        if all(isinstance(o, ast.Is | ast.IsNot) for o in node.ops):
            return False
        if all(isinstance(o, ast.In | ast.NotIn) for o in node.ops):
            return sides[0]  # a key in a dictionary of tensors
        texts = (node.left, *node.comparators)
        if any(
            isinstance(t, ast.Constant) and isinstance(t.value, str)
            for t in texts
        ):
            return False
        return any(sides)

    def _call(self, node: ast.Call) -> bool:
        arguments = [
            *node.args,
            *(keyword.value for keyword in node.keywords),
        ]
        held = [self.tensor(argument) for argument in arguments]
        name = called(node)
        owner = isinstance(node.func, ast.Attribute) and self.tensor(
            node.func.value
        )
        if name in _STATIC_FUNCTIONS or self._static_getattr(node):
            return False
        if owner and name in _TO_HOST:
            self._analysis.add(
                node,
                "host",
                f"`{ast.unparse(node)}` takes a tensor's value out of the "
                "computation, which cannot be traced",
            )
            return False
        if isinstance(node.func, ast.Name) and name in _TO_PYTHON and any(held):
            self._analysis.add(
                node,
                "branch",
                f"`{ast.unparse(node)}` makes a Python value of a tensor, "
                "which cannot be traced; use keras.ops",
            )
            return False
        if any(held) and (function := self._numpy_function(node.func)):
            self._analysis.add(
                node,
                "numpy",
                f"NumPy's `{function}` on a tensor of the model leaves the "
                "backend and its gradient; use keras.ops",
            )
            return True
        if name in ("append", "extend", "insert") and any(held):
            assert isinstance(node.func, ast.Attribute)
            self._bind(
                ast.Subscript(node.func.value, ast.Constant(0), ast.Load()),
                True,
            )
            return False
        return self._known_call(node, arguments, held, owner)

    def _known_call(
        self,
        node: ast.Call,
        arguments: list[ast.expr],
        held: list[bool],
        owner: bool,
    ) -> bool:
        """Follows a call into a function of the file where it is one."""
        if function := self._function(node.func):
            tensors = bound(function, node, held)
            return self._analysis.function(function, tensors, self._scope)
        for argument in arguments:
            if any(held) and (given := self._function(argument)):
                self._analysis.function(
                    given, tensor_parameters(given), self._scope
                )
        return owner or any(held)

    def _function(self, node: ast.expr) -> Function | None:
        match node:
            case ast.Lambda():
                return node
            case ast.Name(id=name):
                return self._scope.functions.get(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return self._scope.methods.get(name)
        return None

    def _numpy_function(self, function: ast.expr) -> str | None:
        base = function
        while isinstance(base, ast.Attribute):
            base = base.value
        known = isinstance(base, ast.Name) and base.id in self._numpy
        return ast.unparse(function) if known else None

    def _static_getattr(self, node: ast.Call) -> bool:
        return (
            called(node) == "getattr"
            and len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
            and node.args[1].value in _STATIC_ATTRIBUTES
        )
