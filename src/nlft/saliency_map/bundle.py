"""The page's sources as one HTML text: modules inlined, scripts and styles allowed only by their hash.

The sources under `static/` are plain modules that a browser could load as they are. A file opened by
double-click must not load modules, so each becomes a function in one script, in import order.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

STATIC = Path(__file__).parent / "static"
PAGES = {"map": ("index.html", "main"), "edit": ("edit.html", "edit")}

_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./([\w-]+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const|let) (\w+))", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A page and its Content-Security-Policy."""

    html: str
    policy: str


def assemble(data: str, *, connects: bool, name: str = "map") -> Page:
    """Insert data, style and script into the page.

    Args:
        data: JSON that is safe inside a script element.
        connects: Whether the page may talk to the server it came from.
        name: The page: "map" or "edit".
    """
    file, entry = PAGES[name]
    style, script = (STATIC / "page.css").read_text(encoding="utf-8"), bundle(entry)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src blob:",
            *(["connect-src 'self'"] if connects else []),
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    html = (STATIC / file).read_text(encoding="utf-8")
    parts = {
        "default-src 'none'": policy,
        '<link rel="stylesheet" href="page.css">': f"<style>{style}</style>",
        f'<script type="module" src="{entry}.js"></script>': f"<script>{script}</script>",
        # Last, so that the data cannot be mistaken for one of the placeholders above.
        ">null</script>": f">{data}</script>",
    }
    for place, content in parts.items():
        before, found, after = html.partition(place)
        if not found:
            raise AssertionError(f"{file} lacks {place}")
        html = before + content + after
    return Page(html, policy)


def script_safe_json(data: object) -> str:
    r"""JSON that is safe in a script element: ASCII, without characters special to HTML.

    >>> script_safe_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # In JSON these three occur only inside strings, where an escape means the same.
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


@functools.cache
def bundle(entry: str) -> str:
    """The module `entry` and all it imports, as one script."""
    order: list[str] = []
    _visit(entry, order)
    return '"use strict";\n' + "\n".join(_as_function(name) for name in order)


def _visit(name: str, order: list[str], open_: tuple[str, ...] = ()) -> None:
    if name in open_:
        raise AssertionError(f"modules import each other in a circle: {' > '.join([*open_, name])}")
    if name in order:
        return
    for _, imported in _IMPORT.findall(_source(name)):
        _visit(imported, order, (*open_, name))
    order.append(name)


def _as_function(name: str) -> str:
    source = _source(name)
    names = ", ".join(_EXPORT.findall(source))
    body = _EXPORT.sub("", _IMPORT.sub(r"const \1 = module_\2;", source))
    return f"// {name}.js\nconst module_{name} = (() => {{\n{body}\nreturn {{ {names} }};\n}})();"


def _source(name: str) -> str:
    return (STATIC / f"{name}.js").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
