"""Writes the schema of `config` in the chart's values.schema.json, from that of routes.yaml.

Reads the output of `bridgehead schema` from standard input; `--check` only reports whether the copy
is current; `--chart` names another folder than this chart's. `make chart` runs this.

The copy checks the names of keys, types, choices and ranges. It differs from the original:

- Sections have no required keys, since the chart fills some in from `secrets` and `nats`. The
  templates and the gateway refuse a configuration that lacks one.
- Texts are not matched against patterns: Helm's message would repeat the text, which may be a secret.
  The gateway checks them, and explains the form that it expects.
- It is draft-07, which every Helm 3 knows, and has no descriptions and defaults.
"""

import argparse
import json
import sys
from pathlib import Path

# Definitions of the configuration, among those of the chart's own values.
PREFIX = "config."
# The chart derives ports and probes from these sections.
REQUIRED = ["edge", "admin"]
LEFT_OUT = {
    "$schema", "$id", "$defs", "title", "description", "default",
    "pattern", "patternErrorMessage", "propertyNames",
}  # fmt: skip
# In front of numbers and choices, this pattern distinguishes a variable from a mistake.
VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
NULL = {"type": "null"}


def converted(schema, definitions):
    """A schema, and those within it, as Helm's copy has them."""
    if "$ref" in schema:
        return {"$ref": schema["$ref"].replace("#/$defs/", f"#/$defs/{PREFIX}")}
    schema = {key: value for key, value in schema.items() if key not in LEFT_OUT}
    if "dependentRequired" in schema:
        schema["dependencies"] = schema.pop("dependentRequired")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            schema[key] = converted(schema[key], definitions)
    if "properties" in schema:
        schema["properties"] = {
            name: converted(value, definitions) for name, value in schema["properties"].items()
        }
    for key in ("anyOf", "oneOf"):
        if key in schema:
            schema[key] = simplified([converted(value, definitions) for value in schema[key]], definitions)
            if len(schema[key]) == 1:
                schema |= schema.pop(key)[0]
    return schema


def simplified(alternatives, definitions):
    """The same alternatives in fewer schemas: Helm reports each one that does not match."""
    variable = {"$ref": f"#/$defs/{PREFIX}Variable"}
    alternatives = [inner for one in alternatives for inner in (one["anyOf"] if one.keys() == {"anyOf"} else [one])]
    if any("string" in types(one) and one.keys() == {"type"} for one in alternatives):
        alternatives = [one for one in alternatives if one != variable]
    if all(one.keys() == {"type", "const"} for one in alternatives):
        return [{"enum": [one["const"] for one in alternatives]}]
    if NULL in alternatives:
        alternatives = [one for one in alternatives if one != NULL]
        first = alternatives[0]
        if "type" in first:
            alternatives[0] = first | {"type": [*types(first), "null"]}
        elif "enum" in first:
            alternatives[0] = first | {"enum": [*first["enum"], None]}
        elif not is_nullable(first.get("$ref", "").removeprefix(f"#/$defs/{PREFIX}"), definitions):
            alternatives.append(NULL)
    return alternatives


def types(schema):
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def is_nullable(name, definitions):
    """Mappings may be null: Helm deletes a value that way."""
    return definitions.get(name, {}).get("type") == "object"


def config_schema(original):
    """The schema of `config`, and the definitions that it uses, by their names in the chart."""
    definitions = original["$defs"]
    assert definitions["Variable"].items() >= VARIABLE.items(), "the form of variables has changed"
    config = converted(original, definitions)
    sections = {one.get("$ref") for one in config["properties"].values()}
    copies = {}
    for name, definition in definitions.items():
        copy = dict(VARIABLE) if name == "Variable" else converted(definition, definitions)
        if is_nullable(name, definitions):
            copy["type"] = ["object", "null"]
        if f"#/$defs/{PREFIX}{name}" in sections:
            for key in ("required", "oneOf", "dependencies"):
                copy.pop(key, None)
        copies[PREFIX + name] = copy
    return config | {"required": REQUIRED}, copies


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument("--chart", type=Path, default=Path(__file__).parent / "bridgehead")
    arguments = arguments.parse_args()
    file = arguments.chart / "values.schema.json"
    before = file.read_text()
    values = json.loads(before)
    config, definitions = config_schema(json.load(sys.stdin))
    values["properties"]["config"] = config
    own = {name: value for name, value in values["$defs"].items() if not name.startswith(PREFIX)}
    values["$defs"] = own | definitions
    wanted = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    if not arguments.check:
        file.write_text(wanted)
    elif before != wanted:
        sys.exit("values.schema.json: the schema of config is not current: make chart")


if __name__ == "__main__":
    main()
