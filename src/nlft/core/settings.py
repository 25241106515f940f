"""Every constant of the paper's method, with its equation and the source of its value.

This module loads no torch, so that a command line can check settings quickly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, ValidationError

from nlft.config import Config, did_you_mean
from nlft.errors import ConfigError

Role = Literal["salient", "sub_salient", "irrelevant", "error"]
"""What a token is: the three of a correct response, and `error`, the salient token of an incorrect one."""

PRESETS = ("paper", "authors")


def _setting(default: Any, description: str, source: str, **limits: Any) -> Any:
    return Field(default=default, description=f"{description} [{source}]", **limits)


class SaliencySettings(Config):
    """How tokens are found salient, scaled and trained; the defaults are the preset `paper`.

    `describe()` gives each field's meaning and source. The constructor raises pydantic's `ValidationError` for a
    invalid value; `from_mapping` and `replace` raise `ConfigError`, naming the field.
    """

    # Integers are accepted as floats, as YAML writes them; text and booleans are not.
    model_config = ConfigDict(strict=True)

    # Which tokens are salient (§3.3)
    p0_correct: float = _setting(
        0.95, "a token of a correct response is salient above this P(standard)", "paper 4.2; eq. 3", gt=0, lt=1
    )
    p0_incorrect: float = _setting(
        0.01, "a token of an incorrect response is salient only above this P(judge)", "paper 4.2", ge=0, lt=1
    )
    r0: float = _setting(
        1.5, "the ratio r1 at which eq. 4 gives 1, and the threshold of both ratios", "paper 4.2", gt=0
    )
    ratio_threshold: float | None = _setting(
        None,
        "the threshold of r1 and r2, if not r0",
        "the authors' code compares with 1.5 whatever its flag says, and uses the flag in eq. 4 only",
        gt=0,
    )
    cluster: Literal["similarity", "distance", "none"] = _setting(
        "similarity",
        "a neighbour joins a phrase while its cosine similarity, or its distance 1 - cosine, to the centre is high",
        "paper 3.3 says semantic similarity; the authors' code uses a distance; none is an ablation",
    )
    cluster_threshold: float = _setting(
        0.6, "similarity or distance above which a neighbour joins", "paper: not given, 0.6 is ours; authors' code: 0.4"
    )

    # Scales (eqs. 3, 4)
    c1: float = _setting(5.0, "exponent of a salient token's scale", "paper 4.2; eq. 3", ge=0)
    c2: float = _setting(0.3, "exponent of a sub-salient token's scale", "paper 4.2; eq. 3", ge=0)
    c3: float = _setting(0.6, "exponent of an irrelevant token's scale", "paper 4.2; eq. 3", ge=0)
    incorrect_rest: Literal["zero", "standard"] = _setting(
        "zero",
        "the tokens of an incorrect response outside errors and their phrases: S = 0, or P(standard)^rest_exponent "
        "on log P(base)",
        "paper 3.3: zero; authors' code: standard",
    )
    rest_exponent: float = _setting(0.5, "exponent of that scale", "authors' code", ge=0)

    # Filter (§6.1)
    filter: Literal["drop", "mask", "off"] = _setting(
        "drop",
        "an incorrect response with too large a share of salient tokens is dropped, or keeps only its salient tokens",
        "paper 6.1: drop; authors' code: mask",
    )
    filter_threshold: float = _setting(
        0.06, "the share of salient tokens above which the filter applies", "authors' code", ge=0
    )

    # Loss (eq. 5)
    incorrect_term: Literal["literal", "unlikelihood"] = _setting(
        "literal",
        "what a salient token of an incorrect response adds: -S (1 - log P), unbounded below, or -S log(1 - P)",
        "eq. 5 to the letter; the authors' code and CUT use the unlikelihood",
    )
    likelihood: float = _setting(
        0.0,
        "weight of the extra mean negative log-likelihood: base path of a correct response, judge path (with gradient) "
        "of an incorrect one",
        "paper: none; authors' code: 1",
        ge=0,
    )
    factor: float = _setting(1.0, "multiplier of the whole loss", "authors' code: 10", gt=0)
    unlikelihood_floor: float = _setting(
        1e-6, "the least 1 - P(base) in log(1 - P), so that P = 1 stays finite and keeps a gradient", "ours", gt=0, lt=1
    )

    # Numbers
    zero_probability: float = _setting(
        0.0,
        "a P(base) that underflowed to 0 becomes this constant; 0 keeps its logarithm",
        "authors' code: 1e-5",
        ge=0,
        lt=1,
    )
    float32_incorrect: bool = _setting(
        False,
        "float64 probabilities of an incorrect response are rounded to float32 in the weighted term",
        "the authors' code, whose recorded float64 cases it reproduces; no effect in any other precision",
    )

    # Ablations
    ones: Annotated[tuple[Role, ...], Field(strict=False)] = _setting(
        (), "roles whose scale is 1 instead of eq. 3 or 4", "ablation"
    )
    correct_weight: Literal["threshold", "log_ratio"] = _setting(
        "threshold",
        "log_ratio: salient where P(standard)/P(base) is above the ratio threshold, and "
        "S = 2 / (1 + exp(-(log P(standard) - log P(base)))) for every token of a correct response",
        "ablation",
    )
    use_judge: bool = _setting(True, "false: skip the judge path, which excludes every incorrect response", "ablation")
    mean_one: bool = _setting(
        False, "divide an example's scales by their mean, so that learning rates are comparable", "ablation"
    )

    @classmethod
    def paper(cls) -> SaliencySettings:
        """What the paper says.

        >>> SaliencySettings.paper().incorrect_term
        'literal'
        """
        return cls()

    @classmethod
    def authors(cls) -> SaliencySettings:
        """What the authors' released code does.

        >>> SaliencySettings.authors().factor
        10.0
        """
        return cls(
            ratio_threshold=1.5,
            cluster="distance",
            cluster_threshold=0.4,
            incorrect_rest="standard",
            filter="mask",
            incorrect_term="unlikelihood",
            likelihood=1.0,
            factor=10.0,
            zero_probability=1e-5,
            float32_incorrect=True,
        )

    @classmethod
    def preset(cls, name: str) -> SaliencySettings:
        """The preset with that name, `paper` or `authors`.

        Raises:
            ConfigError: for any other name.
        """
        if name not in PRESETS:
            raise ConfigError(f'there is no preset "{name}"', remedy=did_you_mean(str(name), PRESETS))
        return cls.authors() if name == "authors" else cls.paper()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> SaliencySettings:
        """Settings from a YAML mapping: any fields by name, on top of `preset` (default: `paper`).

        >>> SaliencySettings.from_mapping({"preset": "authors", "c1": 4}).c1
        4.0

        Raises:
            ConfigError: for an unknown field, with the nearest one, and for an invalid value.
        """
        changes = dict(mapping)
        return cls.preset(changes.pop("preset", "paper")).replace(**{str(key): value for key, value in changes.items()})

    def replace(self, **changes: Any) -> Self:
        """These settings with some fields changed, and checked.

        Raises:
            ConfigError: like `from_mapping`.
        """
        kind = type(self)
        try:
            return kind.model_validate(self.model_dump() | changes)
        except ValidationError as error:
            # Report an unknown field first: its value was meant for another.
            found = min(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
        name, value = str(found["loc"][0]), found["input"]
        if found["type"] == "extra_forbidden":
            remedy = did_you_mean(name, [*kind.model_fields, "preset"])
            raise ConfigError(f'unknown saliency setting "{name}"', remedy=remedy)
        remedy = found["msg"][:1].lower() + found["msg"][1:]
        if found["type"] == "literal_error" and isinstance(value, str):
            choices = get_args(Role if name == "ones" else kind.model_fields[name].annotation)
            remedy = did_you_mean(value, choices)
        raise ConfigError(f'the saliency setting "{name}" cannot be {value!r}', remedy=remedy)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON takes them; `from_mapping` reads them back."""
        return self.model_dump(mode="json")

    @classmethod
    def describe(cls) -> dict[str, str]:
        """Each field's meaning and, in brackets, its source."""
        return {name: field.description or "" for name, field in cls.model_fields.items()}

    @property
    def least_ratio(self) -> float:
        """The threshold that r1 and r2 must exceed."""
        return self.r0 if self.ratio_threshold is None else self.ratio_threshold
