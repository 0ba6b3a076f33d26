"""The stable codes of errors, as the source has them. ``python -m tests.packaging.error_codes`` writes the list."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("archive_service", "ingest", "retention", "search")
ROOT = Path(__file__).parent.parent.parent
LIST = ROOT / "archive_service/api/error_codes.txt"
_FRAME = re.compile(
    r"(request|http|rate|access_log)\.[a-z_]+|method_not_allowed|not_found|not_ready|internal|conflict"
)


def codes() -> list[str]:
    """Every code that stands in the source, sorted; of one that is put together, each that it may become."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    found = {code for path in files for code in _codes_of(ast.parse(path.read_text("utf-8")))} | set(_frame())
    return sorted(code for code in found if not code.startswith("*"))


def _codes_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "code":
            yield from _texts(node.value)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(each, ast.Name) and each.id == "code" for each in targets):
                yield from _texts(node.value)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in node.values)


def _frame() -> Iterator[str]:
    """What the API's own frame answers with, which names its codes in tables and calls."""
    for name in ("problems", "middleware", "guard", "routes/health"):
        for node in ast.walk(ast.parse((ROOT / f"archive_service/api/{name}.py").read_text("utf-8"))):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _FRAME.fullmatch(node.value)
            ):
                yield node.value


if __name__ == "__main__":
    LIST.write_text("".join(f"{code}\n" for code in codes()), "utf-8")
