"""Source with one condition changed: what a careless edit would do to a finding.

For each comparison: its opposite, and where it has an order, the neighbouring
boundary.  For each `and` and `or`: one operand left out.  For each `not`: gone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Collection
from collections.abc import Iterator
from types import ModuleType
from typing import TypeGuard

OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
}
NEIGHBOUR: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


def mutants(source: str, only: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield a description and the changed source, for each condition inside a function, or inside `only` these."""
    tree = ast.parse(source)
    for number, original in enumerate(_conditions(tree, only)):
        for variant in range(_variants(original)):
            changed = copy.deepcopy(tree)
            node = list(_conditions(changed, only))[number]
            before = ast.unparse(node)
            replacement = _vary(node, variant)
            _swap(changed, node, replacement)
            yield f"line {node.lineno}: {before} -> {ast.unparse(replacement)}", ast.unparse(changed)


def run(source: str, name: str) -> ModuleType:
    """Return the module that `source` makes, under the name of the original."""
    module = ModuleType(name)
    module.__dict__["__package__"] = name.rpartition(".")[0]
    exec(compile(source, f"<mutant of {name}>", "exec"), module.__dict__)
    return module


def _conditions(tree: ast.AST, only: Collection[str]) -> Iterator[ast.expr]:
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and (not only or function.name in only):
            for node in ast.walk(ast.Module(body=function.body, type_ignores=[])):
                if isinstance(node, ast.Compare | ast.BoolOp) or _is_not(node):
                    yield node


def _is_not(node: ast.AST) -> TypeGuard[ast.UnaryOp]:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)


def _variants(node: ast.expr) -> int:
    if isinstance(node, ast.BoolOp):
        return len(node.values)
    if isinstance(node, ast.Compare):
        return 2 if type(node.ops[0]) in NEIGHBOUR else 1
    return 1


def _vary(node: ast.expr, variant: int) -> ast.expr:
    if isinstance(node, ast.BoolOp):
        rest = [value for position, value in enumerate(node.values) if position != variant]
        return ast.BoolOp(op=node.op, values=rest) if len(rest) > 1 else rest[0]
    if isinstance(node, ast.Compare):
        table = NEIGHBOUR if variant else OPPOSITE
        return ast.Compare(
            left=node.left, ops=[table[type(node.ops[0])](), *node.ops[1:]], comparators=node.comparators
        )
    assert isinstance(node, ast.UnaryOp)
    return node.operand


def _swap(tree: ast.AST, old: ast.expr, new: ast.expr) -> None:
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, field, new)
            elif isinstance(value, list) and old in value:
                value[value.index(old)] = new
    ast.fix_missing_locations(tree)
