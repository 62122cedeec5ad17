"""Writes src/membox/types.py from the API's document of a box: `python generate_types.py http://127.0.0.1:8420`.

What requests and answers are made of are TypedDicts: plain dictionaries at run time, known to type checkers.
A field that a newer box adds is simply there.
"""

from __future__ import annotations

import json
import keyword
import sys
import textwrap
import urllib.request
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "src/membox/types.py"
HEAD = '''"""What requests and answers are made of. Written by generate_types.py from the box's OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:  # at run time annotations are text, and Python 3.10 has neither of these
    from collections.abc import Sequence

    from typing_extensions import NotRequired, TypeAlias

Json: TypeAlias = Any
"""Any JSON."""

Vector: TypeAlias = "Sequence[float] | str | bytes | Any"
"""Numbers, a NumPy array, little-endian float32 bytes, or their base64."""
'''
# Routes of other products are used by their own clients.
OURS = ("/v1/", "/health", "/ready", "/info", "/tokenize")
# A vector may also be given as an array; `membox.vectors` makes base64 of it.
OWN_TYPES = {("NewRecord", "vector"): "Vector", ("RecallRequest", "vector"): "Vector | None"}
OWN_TYPES["RecallOptions", "vector"] = OWN_TYPES["RecallRequest", "vector"]

# What a call takes by position is none of its options.
OPTIONS = {"RecallOptions": ("RecallRequest", "query")}


def references(schema: Any) -> set[str]:
    """The names of the schemas that one refers to."""
    if isinstance(schema, dict):
        found = {schema["$ref"].rsplit("/", 1)[-1]} if "$ref" in schema else set()
        return found.union(*(references(value) for value in schema.values())) if schema else found
    return set().union(*(references(value) for value in schema)) if isinstance(schema, list) else set()


def union(types: list[str]) -> str:
    """Types joined, each once, None last."""
    flat = list(dict.fromkeys(types))
    return " | ".join([one for one in flat if one != "None"] + (["None"] if "None" in flat else []))


def type_of(schema: Any, depth: int = 0) -> str:
    """A schema as a Python type."""
    if not isinstance(schema, dict) or not schema:
        return "Json"
    if "$ref" in schema:
        return schema["$ref"].rsplit("/", 1)[-1]
    for joint in ("oneOf", "anyOf"):
        if joint in schema:
            return union([type_of(one) for one in schema[joint]])
    if "allOf" in schema:
        return type_of(schema["allOf"][0]) if len(schema["allOf"]) == 1 else "dict[str, Json]"
    if "enum" in schema:
        return f"Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]"
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    names = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    found = []
    for kind in kinds:
        if kind == "array":
            found.append(f"list[{type_of(schema.get('items', {}))}]")
        elif kind == "object":
            values = schema.get("additionalProperties")
            found.append(f"dict[str, {type_of(values) if isinstance(values, dict) else 'Json'}]")
        else:
            found.append(names[kind])
    return union(found) if found else "Json"


def documented(text: str | None, indent: str) -> str:
    """A docstring."""
    text = " ".join((text or "").replace("\\", "\\\\").replace('"""', "'''").split())
    if not text:
        return ""
    text += " " if text.endswith('"') else ""
    lines = textwrap.wrap(text, 116 - len(indent) - 6, break_long_words=False, break_on_hyphens=False)
    if len(lines) == 1:
        return f'{indent}"""{lines[0]}"""\n'
    return f'{indent}"""' + f"\n{indent}".join(lines) + f'\n{indent}"""\n'


def properties(schema: dict[str, Any], schemas: dict[str, Any]) -> tuple[dict[str, Any], set[str]] | None:
    """The fields of an object, and which of them are always there. None where it is no object with fields."""
    if "allOf" in schema:
        fields: dict[str, Any] = {}
        required: set[str] = set()
        for part in schema["allOf"]:
            whole = schemas[part["$ref"].rsplit("/", 1)[-1]] if "$ref" in part else part
            more = properties(whole, schemas)
            if more:
                fields |= more[0]
                required |= more[1]
        return (fields, required) if fields else None
    if "properties" in schema:
        return schema["properties"], set(schema.get("required", []))
    return None


def written(name: str, schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """The definition of one type."""
    found = properties(schema, schemas)
    if found is None:
        alias = type_of(schema)
        quoted = json.dumps(alias) if "Literal" not in alias else alias
        if len(name) + len(quoted) > 100 and alias.startswith("Literal"):
            values = "".join(f"    {one.strip()},\n" for one in alias[8:-1].split(","))
            quoted = f"Literal[\n{values}]"
        return f"{name}: TypeAlias = {quoted}\n" + documented(schema.get("description"), "")
    fields, required = found
    lines = [f"class {name}(TypedDict):\n", documented(schema.get("description"), "    ") or '    """."""\n']
    if any(keyword.iskeyword(field) for field in fields):
        # `from` cannot be a name of a class's body.
        items = "".join(
            f'        "{field}": "{type_of(value) if field in required else "NotRequired[" + type_of(value) + "]"}",\n'
            for field, value in fields.items()
        )
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{items}    }},\n)\n' + documented(
            schema.get("description"), ""
        )
    for field, value in fields.items():
        kind = OWN_TYPES.get((name, field)) or type_of(value)
        lines.append(f"    {field}: {kind if field in required else f'NotRequired[{kind}]'}\n")
        lines.append(documented(value.get("description"), "    "))
    return "".join(lines).replace('    """."""\n', "")


def generate(document: dict[str, Any]) -> str:
    """The module's text."""
    schemas = document["components"]["schemas"]
    wanted: set[str] = set()
    fresh = set().union(
        *(references(operations) for path, operations in document["paths"].items() if path.startswith(OURS))
    )
    while fresh:
        wanted |= fresh
        fresh = set().union(*(references(schemas[name]) for name in fresh)) - wanted
    for name, (whole, left_out) in OPTIONS.items():
        fields = {field: value for field, value in schemas[whole]["properties"].items() if field != left_out}
        schemas[name] = {**schemas[whole], "properties": fields}
        wanted.add(name)
    parts = [written(name, schemas[name], schemas) for name in sorted(wanted)]
    return HEAD + "".join(f"\n\n{part}" for part in parts)


if __name__ == "__main__":
    with urllib.request.urlopen(f"{sys.argv[1]}/openapi.json") as answer:
        TARGET.write_text(generate(json.load(answer)), encoding="utf-8")
