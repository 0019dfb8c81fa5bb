"""Modules and classes stay short enough to be read in one go; CONTRIBUTING.md gives the numbers."""

import ast
from pathlib import Path

import pytask

ROOT = Path(pytask.__file__).parent
LONGEST_MODULE, LONGEST_CLASS = 400, 300  # lines


def test_no_module_and_no_class_is_too_long():
    too_long = []
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        if (lines := text.count("\n")) > LONGEST_MODULE:
            too_long.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > LONGEST_CLASS:
                    too_long.append(f"{path.relative_to(ROOT)}: class {node.name}: {lines} lines")
    assert too_long == []
