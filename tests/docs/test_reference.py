"""The page of the commands: every command and option is on it, and its exit codes are those of the errors."""

import importlib.util
import re
from typing import Any

from tests.docs.blocks import ROOT

from nlft import errors
from nlft.cli.app import VERBS, load_verb
from nlft.train.config import TrainSettings


def reference() -> str:
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs/hooks/commands.py")
    assert spec is not None
    assert spec.loader is not None
    hook: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    return str(hook.on_page_markdown(page))


def test_every_command_and_option_is_on_the_page() -> None:
    page = reference()
    sections = dict(re.findall(r"^##+ nlft ([\w -]+)\n(.*?)(?=^##+ |\Z)", page, re.DOTALL | re.MULTILINE))
    for verb in VERBS:
        command = load_verb(verb)
        parts = {f"{verb} {part}": each for part, each in getattr(command, "commands", {}).items()}
        for name, each in (parts or {verb: command}).items():
            for option in each.params:
                if option.param_type_name == "option" and not option.hidden:
                    assert any(word in sections[name] for word in option.opts), (name, option.opts)
    description = TrainSettings.model_fields["epochs"].description or ""
    assert description[1:] in sections["train"], "what it does is the field's own description"


def test_the_exit_codes_are_those_of_the_errors() -> None:
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", reference(), re.MULTILINE)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert told == raised | {0, 130, 141}
