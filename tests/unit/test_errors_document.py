"""docs/errors.md: made from the program, and each code has a test that meets it and applies its fix."""

import ast
import runpy
from pathlib import Path

import pytest

from pytask.cli.messages import explanations

ROOT = Path(__file__).parents[2]
MADE = runpy.run_path(str(ROOT / "docs" / "make_errors.py"))
# A file may meet a code under the name of its class, or count it beside others.
NAMES = {"PT027": "UnsupportedServer", "PT040": "as asked", "PT086": "unheard("}


def test_the_page_is_made_from_the_program():
    text = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert text == MADE["page"](), "run: python docs/make_errors.py > docs/errors.md"


def test_every_code_has_a_proof_or_none_to_have():
    assert set(MADE["PROOFS"]) | set(MADE["WITHOUT"]) == set(explanations())
    assert not set(MADE["PROOFS"]) & set(MADE["WITHOUT"])


@pytest.mark.parametrize("code", MADE["PROOFS"])
def test_the_proof_is_there_and_meets_the_code(code):
    file, name = MADE["proof"](code)
    source = (ROOT / file).read_text("utf-8")
    found = [
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    assert len(found) == 1, f"{file} has no {name}"
    body = ast.get_source_segment(source, found[0])
    marks = "".join(ast.unparse(mark) for mark in found[0].decorator_list)
    assert code in body + marks or NAMES.get(code, "?") in body
