"""What ties source code to one framework, read without running it."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from keras_multi.errors import UsageError
from keras_multi.portability.dataflow import tensor_findings
from keras_multi.portability.report import Finding

FRAMEWORKS = {
    "jax": "JAX",
    "jaxlib": "JAX",
    "flax": "JAX",
    "torch": "PyTorch",
    "torchvision": "PyTorch",
    "tensorflow": "TensorFlow",
    "tensorflow_addons": "TensorFlow",
    "tensorflow_hub": "TensorFlow",
    "tensorflow_probability": "TensorFlow",
    "tf_keras": "TensorFlow",
}


def findings(path: Path) -> list[Finding]:
    """Lists constructs that tie a file to one framework.

    These are imports of a framework and uses of what was imported; in a
    layer's or model's `call` and what it reaches, NumPy functions on tensors
    and Python branches on their values. Modules beside the file that it
    imports are read too. Code that stands under a test of the backend's name,
    or where an import may fail, gives findings of the kind `"guarded"`.

    Args:
        path: a Python file.

    Returns:
        Findings with file and line, in the order of the source.

    Raises:
        UsageError: if a file is not Python.

    Example:
        >>> from pathlib import Path
        >>> from keras_multi.portability import static
        >>> static.findings(Path("my_model.py"))  # doctest: +SKIP
        [Finding(kind='framework', message="`tf.nn.relu` is TensorFlow's...
    """
    found: dict[tuple[str | None, int | None, str], Finding] = {}
    for file, tree in _sources(path):
        for finding in sorted(
            [*_framework_findings(tree), *tensor_findings(tree)],
            key=lambda finding: finding.line or 0,
        ):
            placed = replace(finding, file=str(file))
            found[placed.file, placed.line, placed.message] = placed
    return list(found.values())


def _sources(path: Path) -> Iterator[tuple[Path, ast.Module]]:
    """The file and the modules of its folder that it imports."""
    folder = path.parent
    waiting, seen = [path], {path}
    while waiting:
        file = waiting.pop(0)
        try:
            tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            line = getattr(error, "lineno", 1)
            raise UsageError(
                f"{str(file)!r} is not Python: line {line}: "
                f"{getattr(error, 'msg', error)}"
            ) from error
        yield file, tree
        for node in ast.walk(tree):
            for module in _imported(node, file.parent, folder):
                if module not in seen:
                    seen.add(module)
                    waiting.append(module)


def _imported(node: ast.AST, here: Path, folder: Path) -> list[Path]:
    """Files below `folder` that a statement imports."""
    if isinstance(node, ast.Import):
        names = [(folder, alias.name) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        base = folder
        if node.level:
            base = here if node.level == 1 else here.parents[node.level - 2]
        stem = node.module or ""
        names = [(base, stem)] if stem else []
        for alias in node.names:
            names.append((base, f"{stem}.{alias.name}".lstrip(".")))
    else:
        return []
    files = []
    for base, name in names:
        place = base.joinpath(*name.split("."))
        candidates = (place.with_suffix(".py"), place / "__init__.py")
        files += [
            file
            for file in candidates
            if file.is_file() and "site-packages" not in file.parts
        ]
    return files


def _framework_findings(tree: ast.Module) -> list[Finding]:
    visitor = _Frameworks(tree)
    visitor.visit(tree)
    return visitor.found


class _Frameworks(ast.NodeVisitor):
    """Finds imports of frameworks and uses of the names they bind."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[Finding] = []
        self._guards = 0
        self._hidden: list[set[str]] = []
        self._names: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    owner = _framework(node, alias)
                    name = alias.asname or alias.name.partition(".")[0]
                    if owner:
                        self._names[name] = owner

    def _add(self, line: int, message: str) -> None:
        kind = "guarded" if self._guards else "framework"
        self.found.append(Finding(kind, message, line=line))

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if owner := _framework(node, alias):
                module = getattr(node, "module", None) or alias.name
                self._add(
                    node.lineno, f"import of `{module}` needs {owner} installed"
                )

    visit_ImportFrom = visit_Import

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            base = base.value
        if isinstance(base, ast.Name):
            self._use(base, ast.unparse(node))
        else:
            self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._use(node, node.id)

    def _use(self, name: ast.Name, text: str) -> None:
        owner = self._names.get(name.id)
        if owner and not any(name.id in hidden for hidden in self._hidden):
            self._add(
                name.lineno,
                f"`{text}` is {owner}'s; keras.ops and keras.layers work on "
                "every backend",
            )

    def visit_FunctionDef(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    ) -> None:
        arguments = node.args
        self._hidden.append(
            {
                a.arg
                for a in (
                    *arguments.posonlyargs,
                    *arguments.args,
                    *arguments.kwonlyargs,
                )
            }
        )
        self.generic_visit(node)
        self._hidden.pop()

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_Lambda = visit_FunctionDef

    def visit_If(self, node: ast.If) -> None:
        test = ast.unparse(node.test)
        if test.endswith("TYPE_CHECKING"):
            return
        self.visit(node.test)
        self._guards += is_backend_test(node.test)
        for child in (*node.body, *node.orelse):
            self.visit(child)
        self._guards -= is_backend_test(node.test)

    def visit_Try(self, node: ast.Try) -> None:
        caught = " ".join(
            ast.unparse(handler.type) if handler.type else "ImportError"
            for handler in node.handlers
        )
        optional = "ImportError" in caught or "ModuleNotFound" in caught
        self._guards += optional
        for child in node.body:
            self.visit(child)
        self._guards -= optional
        for other in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(other)


def _framework(
    node: ast.Import | ast.ImportFrom, alias: ast.alias
) -> str | None:
    """The framework that an import statement brings."""
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return None
        name = node.module or ""
    else:
        name = alias.name
    return FRAMEWORKS.get(name.partition(".")[0])


def is_backend_test(test: ast.expr) -> bool:
    """Whether a condition asks for the backend's name."""
    return any(
        isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith(
            ("backend.backend", "config.backend")
        )
        for node in ast.walk(test)
    ) or (
        isinstance(test, ast.Compare)
        and any(
            isinstance(side, ast.Constant)
            and side.value in ("jax", "torch", "tensorflow")
            for side in (test.left, *test.comparators)
        )
    )
