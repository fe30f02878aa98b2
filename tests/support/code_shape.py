"""Generated code without its constants, names and documentation: what a text of a spec must not change."""

from __future__ import annotations

import ast
from typing import Any


class _Shape(ast.NodeTransformer):
    """Constants, names and documentation taken out."""

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = "text"
        for field in ("id", "attr", "name", "asname", "arg"):
            if isinstance(getattr(node, field, None), str):
                setattr(node, field, "union" if getattr(node, field) == "Union" else "name")
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [
                n
                for n in body
                if not (
                    isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)
                )
            ]  # type: ignore[attr-defined]  # it has one
        node = super().generic_visit(node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):  # a long `A | B` is written as Union[A, B]
            left = node.left.slice.elts if _is_union(node.left) else [node.left]  # type: ignore[attr-defined]  # a union's
            return ast.Subscript(ast.Name("union", ast.Load()), ast.Tuple([*left, node.right], ast.Load()), ast.Load())
        return node


def _is_union(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "union"


def shape(files: dict[str, str]) -> list[str]:
    """The trees of all Python files, from path -> text."""
    trees = [(path.count("/"), ast.parse(text)) for path, text in files.items() if path.endswith(".py")]
    for _, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                node.names = [ast.alias("name")]  # which and how many follow from the names
    return sorted(f"{depth} {ast.dump(_Shape().visit(tree))}" for depth, tree in trees)
