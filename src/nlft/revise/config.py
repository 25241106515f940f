"""The settings of `nlft revise`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from nlft.config import Idle, by_comma, refused
from nlft.errors import ConfigError
from nlft.grade.config import CreditSettings, GraderName
from nlft.lm.config import ChatSettings, ModelSettings, SamplingSettings
from nlft.revise.ways import Way


class ReviseSettings(SamplingSettings, ModelSettings, ChatSettings, CreditSettings):
    """How the student answers again, and which of its answers are kept."""

    ways: Annotated[list[Way], BeforeValidator(by_comma)] = Field(
        default=["answer", "steps", "judgment"],
        min_length=1,
        description="what the student is shown, comma-separated: the final answer (answer), the first steps of the "
        "standard answer (steps), its response and the judgment (judgment); or its response's beginning to continue "
        "from the first error, with the final answer shown (stitch) or not (stitch-plain), or from the step that the "
        "judgment puts in its place (correction); or nothing but the question (question)",
    )
    samples: int = Field(default=4, ge=1, description="answers per way; more than one need a temperature")
    rows: Literal["wrong", "all"] = Field(default="wrong", description="revise wrong responses, or all of them")
    otherwise: Literal["auto", "reference", "leave-out"] = Field(
        default="auto",
        description="a wrong response without a revision gets the standard answer, or its row is left out; auto leaves "
        "it out where the standard answer shows no working",
    )
    shortest: float = Field(
        default=0.6, ge=0, description="least length of a revised response, as a share of the standard answer's"
    )
    grader: GraderName = Field(default="gsm8k-flexible", description="the grader that decides whether it is right")
    retry_failed: Annotated[bool, Idle()] = Field(default=False, description="ask again what failed for good")

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if len(set(self.ways)) < len(self.ways):
            raise refused(ConfigError("a way is named twice", remedy="name each way once"))
        if self.samples > 1 and self.temperature == 0:
            raise refused(
                ConfigError("greedy samples are all the same", remedy="give a temperature, or set samples to 1")
            )
        return self
