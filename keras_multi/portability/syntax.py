"""Functions, parameters and calls in the syntax tree of a source file."""

import ast

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_NO_TENSORS = {"self", "cls", "training"}
_PLAIN_NAMES = (
    "shape",
    "size",
    "length",
    "axis",
    "dim",
    "index",
    "mode",
    "name",
)
_PLAIN_TYPES = {"bool", "int", "float", "str"}
_TAKE_FUNCTIONS = ("loss", "activation", "function", "recurrent_activation")


def called(node: ast.expr) -> str:
    """The last name of the function in a call."""
    if not isinstance(node, ast.Call):
        return ""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def numpy_names(tree: ast.Module) -> set[str]:
    """Names that hold NumPy or its functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "numpy":
                    names.add(alias.asname or "numpy")
        elif isinstance(node, ast.ImportFrom) and node.module == "numpy":
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def methods_of(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> dict[str, Function]:
    """Methods of a class, with those of its bases in the file."""
    methods: dict[str, Function] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes.keys() - {
            node.name
        }:
            methods |= methods_of(classes[base.id], classes)
    own = {
        child.name: child
        for child in node.body
        if isinstance(child, ast.FunctionDef)
    }
    return methods | own


def given_functions(
    tree: ast.Module, functions: dict[str, Function]
) -> list[Function]:
    """Functions given to a `Lambda` layer, or as a loss or activation."""
    found: list[Function] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [k.value for k in node.keywords if k.arg in _TAKE_FUNCTIONS]
        if called(node) == "Lambda":
            given += node.args[:1]
        for value in given:
            if isinstance(value, ast.Lambda):
                found.append(value)
            elif isinstance(value, ast.Name) and value.id in functions:
                found.append(functions[value.id])
    return found


def parameters_of(function: Function) -> list[ast.arg]:
    """Parameters that have a name of their own."""
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def names_of(function: Function) -> set[str]:
    """Names of the parameters."""
    return {argument.arg for argument in parameters_of(function)}


def tensor_parameters(function: Function) -> set[str]:
    """Parameters that may hold tensors, by name, default and annotation."""
    parameters = function.args
    positional = [*parameters.posonlyargs, *parameters.args]
    defaults: dict[str, ast.expr | None] = dict(
        zip(
            [a.arg for a in reversed(positional)],
            reversed(parameters.defaults),
            strict=False,
        )
    )
    for argument, default in zip(
        parameters.kwonlyargs, parameters.kw_defaults, strict=True
    ):
        defaults[argument.arg] = default
    names = set()
    for argument in parameters_of(function):
        default = defaults.get(argument.arg)
        plain = isinstance(default, ast.Constant) and default.value is not None
        hint = ast.unparse(argument.annotation) if argument.annotation else ""
        kinds = {part.strip() for part in hint.split("|")} - {"None"}
        if argument.arg in _NO_TENSORS or argument.arg.endswith(_PLAIN_NAMES):
            continue
        if plain:
            continue
        if kinds - {""} and kinds <= _PLAIN_TYPES:
            continue
        names.add(argument.arg)
    if parameters.vararg:
        names.add(parameters.vararg.arg)
    return names


def bound(function: Function, call: ast.Call, held: list[bool]) -> set[str]:
    """Parameters that get a tensor in a call."""
    names = [
        argument.arg
        for argument in parameters_of(function)
        if argument.arg not in ("self", "cls")
    ]
    count = len(call.args)
    tensors = {
        name
        for name, is_tensor in zip(names, held[:count], strict=False)
        if is_tensor
    }
    for keyword, is_tensor in zip(call.keywords, held[count:], strict=True):
        if is_tensor and keyword.arg in names:
            tensors.add(str(keyword.arg))
    if function.args.vararg and any(held[len(names) : count]):
        tensors.add(function.args.vararg.arg)
    return tensors
