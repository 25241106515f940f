"""The text a model sees: prompt sets as YAML files, and the messages built from them.

Text from data is only ever joined to a prompt, never formatted into it, so braces, `{question}` or
template syntax inside a problem stay text.
"""

from nlft.prompts.context import AROUND, CALLS, EARLIER, SYSTEM, TOOLS, Context, Message
from nlft.prompts.prompt_set import PromptSet, PromptSetName, available, load_prompts, says_correct

__all__ = [
    "AROUND",
    "CALLS",
    "EARLIER",
    "SYSTEM",
    "TOOLS",
    "Context",
    "Message",
    "PromptSet",
    "PromptSetName",
    "available",
    "load_prompts",
    "says_correct",
]
