"""The JSON Schema of recipes."""

from __future__ import annotations

from typing import Any, Literal

from nlft.data.config import SOURCES
from nlft.pipeline.experiment import Experiment
from nlft.pipeline.recipe import Recipe

GRID = ("methods", "sizes", "epochs", "seeds")


def recipe_schema(kind: Literal["run", "experiment"]) -> dict[str, Any]:
    """The schema of a recipe as written: a section need not repeat the recipe's top-level keys."""
    schema = (Recipe if kind == "run" else Experiment).model_json_schema()
    for definition in schema["$defs"].values():
        definition.pop("required", None)
    named = [source for source in SOURCES if source != "file"]
    schema["$defs"]["FileSettings"]["properties"]["source"]["not"] = {"enum": named}
    for part in ("train", "evaluate"):
        schema["properties"][part].pop("required", None)
    wanted = ["name", "model", "data"] + (["title"] if kind == "experiment" else [])
    schema["required"] = wanted
    properties = schema["properties"]
    if kind == "experiment":
        grid = {name: properties[name] for name in GRID}
        properties["grid"] = {
            "type": "object",
            "additionalProperties": False,
            "description": "methods x sizes x epochs x seeds; these keys may also be at the top level",
            "properties": grid,
        }
        method = schema["$defs"]["Method"]["properties"]
        method["settings"] = {"type": "object", "description": "saliency constants that differ from the preset's"}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return schema
