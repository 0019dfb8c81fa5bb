"""What the site needs besides the Markdown: pages and links outside docs/, links and fields in docstrings.

MkDocs calls the functions `on_...` (see `hooks` in mkdocs.yml), and Griffe uses the class.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path

import griffe
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
# Files of the repository that are pages, too, or are shown by one.
PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "benchmarks/results.svg": "results.svg",
    "conformance/README.md": "conformance.md",
}
SOURCES = {page: source for source, page in PAGES.items()}
FENCED = re.compile(r"^(`{3,}).*?^\1$|`[^`\n]+`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
RANGE = re.compile(r"\[([\w.]*[<>]=?[^\]\s]*)\]")  # of an option, such as [x>=1]
COMMENT = re.compile(r"\s# (?!type:|noqa|fmt:)(.+)$")
NAME = re.compile(r"`(pytask(?:\.\w+)+)`")
OPTIONAL_LINK = r'<autoref identifier="\1" optional><code>\1</code></autoref>'
FENCE = re.compile(r"^```(\w+) (.+)$", re.MULTILINE)
REQUEST = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=["']?(?:https?:)?//""")


def on_files(files, config):
    """Add the pages from outside of docs/."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_bytes()
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown, page, files, **_):
    """Let links lead to pages, and where there is none, be text; give titles to named blocks."""
    here = page.file.src_uri
    parts, end = [], 0
    for code in FENCED.finditer(markdown):
        parts += [_prose(markdown[end : code.start()], here, files), code[0]]
        end = code.end()
    parts.append(_prose(markdown[end:], here, files))
    return FENCE.sub(_fence, "".join(parts))


def on_post_page(output, page, **_):
    """Refuse what a reader's browser would fetch from another host."""
    found = REQUEST.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri} loads something from another host: {found[0]}")
    return output


def on_post_build(config):
    """Put the Markdown of each page beside it, for the links of llms.txt."""
    site = Path(config["site_dir"])
    sources = {page: ROOT / source for source, page in PAGES.items() if page.endswith(".md")}
    docs = Path(config["docs_dir"])
    sources |= {path.relative_to(docs).as_posix(): path for path in docs.rglob("*.md")}
    for page, source in sources.items():
        (site / page).parent.mkdir(parents=True, exist_ok=True)
        (site / page).write_bytes(source.read_bytes())


def _prose(text, here, files):
    return RANGE.sub(r"\\[\1\\]", LINK.sub(lambda link: _link(link, here, files), text))


def _link(link, here, files):
    picture, text, target = link.groups()
    path, mark, anchor = target.partition("#")
    if not path or ":" in path:
        return link[0]
    source = SOURCES.get(here, f"docs/{here}")
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    shown = PAGES.get(wanted, wanted.removeprefix("docs/"))
    if (wanted in PAGES or wanted.startswith("docs/")) and files.get_file_from_path(shown):
        return f"{picture}[{text}]({posixpath.relpath(shown, posixpath.dirname(here))}{mark}{anchor})"
    # A file of the repository that is no page; where there is none at all, MkDocs complains.
    return text if (ROOT / wanted).exists() else link[0]


def _fence(fence):
    language, name = fence.groups()
    return f"```{language}" if language == "console" else f'```{language} title="{name}"'


class Docstrings(griffe.Extension):
    """Names in docstrings are links; the comment beside a field is its description, as a string would be."""

    def on_object(self, *, obj, **_):
        """Link the names of pytask that have a section; the others stay as they are."""
        if obj.docstring:
            obj.docstring.value = NAME.sub(OPTIONAL_LINK, obj.docstring.value)

    def on_attribute_instance(self, *, node, attr, **_):
        """Show the default alone, and the comment or the text of a worker's figure if there is no other."""
        if not isinstance(node, ast.AnnAssign | ast.Assign) or not attr.parent.is_class:
            return
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "attrs.field":
            attr.value = _default(node.value)
        text = _figure(node) or _comment(attr.filepath, node)
        if text and not attr.docstring:
            attr.docstring = griffe.Docstring(text[0].upper() + text[1:] + ".", parent=attr)


def _default(call):
    given = {word.arg: ast.unparse(word.value) for word in call.keywords}
    return given.get("default", f"{given['factory']}()" if "factory" in given else None)


def _comment(file, node):
    lines = file.read_text("utf-8").splitlines()[node.lineno - 1 : node.end_lineno]
    found = (COMMENT.search(line) for line in lines)
    return next((comment[1] for comment in found if comment), "")


def _figure(node):
    """See `pytask.domain.figures`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_figure":
            text, unit = [*(one.value for one in call.args[1:3] if isinstance(one, ast.Constant)), ""][:2]
            return f"{text} ({unit})" if unit else text
    return ""
