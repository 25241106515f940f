"""Every constant of the paper's method, with its equation and where its value is from.

This module loads no torch, so a command line can check settings before it pays for that.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nlft.errors import ConfigError

Role = Literal["salient", "sub_salient", "irrelevant", "error"]
"""What a token is: the three of a correct response, and `error`, the salient token of an incorrect one."""


def _setting(default: Any, description: str, source: str) -> Any:
    return field(default=default, metadata={"description": description, "source": source})


@dataclass(frozen=True)
class SaliencySettings:
    """How tokens are found salient, scaled and trained; the defaults are the preset `paper`.

    `describe()` gives each field's meaning and source.

    Raises:
        ConfigError: naming the field whose value does not fit.
    """

    # Which tokens are salient (§3.3)
    p0_correct: float = _setting(
        0.95, "a token of a correct response is salient above this P(standard); in (0, 1)", "paper 4.2; eq. 3"
    )
    p0_incorrect: float = _setting(
        0.01, "a token of an incorrect response is salient only above this P(judge); in [0, 1)", "paper 4.2"
    )
    r0: float = _setting(1.5, "the ratio r1 at which eq. 4 gives 1, and the threshold of both ratios", "paper 4.2")
    ratio_threshold: float | None = _setting(
        None,
        "the threshold of r1 and r2 where it is not r0",
        "the authors' code compares with 1.5 whatever its flag says, and uses the flag in eq. 4 only",
    )
    cluster: Literal["similarity", "distance", "none"] = _setting(
        "similarity",
        "a neighbour joins a phrase while its cosine similarity, or its distance 1 - cosine, to the centre is high",
        "paper 3.3 says semantic similarity; the authors' code takes a distance for one; none is an ablation",
    )
    cluster_threshold: float = _setting(
        0.6, "similarity or distance above which a neighbour joins", "paper: not given, 0.6 is ours; authors' code: 0.4"
    )

    # Scales (eqs. 3, 4)
    c1: float = _setting(5.0, "exponent of a salient token's scale", "paper 4.2; eq. 3")
    c2: float = _setting(0.3, "exponent of a sub-salient token's scale", "paper 4.2; eq. 3")
    c3: float = _setting(0.6, "exponent of an irrelevant token's scale", "paper 4.2; eq. 3")
    incorrect_rest: Literal["zero", "standard"] = _setting(
        "zero",
        "the tokens of an incorrect response outside errors and their phrases: S = 0, or P(standard)^rest_exponent "
        "on log P(base)",
        "paper 3.3: zero; authors' code: standard",
    )
    rest_exponent: float = _setting(0.5, "exponent of that scale", "authors' code")

    # Filter (§6.1)
    filter: Literal["drop", "mask", "off"] = _setting(
        "drop",
        "an incorrect response with too large a share of salient tokens is dropped, or keeps its salient tokens only",
        "paper 6.1: drop; authors' code: mask",
    )
    filter_threshold: float = _setting(0.06, "the share of salient tokens above which it is", "authors' code")

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
    )
    factor: float = _setting(1.0, "the whole loss is multiplied by this", "authors' code: 10")
    unlikelihood_floor: float = _setting(
        1e-6, "the least 1 - P(base) in log(1 - P), so that P = 1 stays finite and keeps a gradient", "ours"
    )

    # Numbers
    zero_probability: float = _setting(
        0.0, "a probability that underflowed to 0 becomes this constant; 0 keeps its logarithm", "authors' code: 1e-5"
    )
    float32_incorrect: bool = _setting(
        False,
        "float64 probabilities of an incorrect response are rounded to float32 in the weighted term",
        "the authors' code, whose recorded float64 cases it reproduces; no effect in any other precision",
    )

    # Ablations
    ones: tuple[Role, ...] = _setting((), "roles whose scale is 1 instead of eq. 3 or 4", "ablation")
    correct_weight: Literal["threshold", "log_ratio"] = _setting(
        "threshold",
        "log_ratio: salient where P(standard)/P(base) is above the ratio threshold, and "
        "S = 2 / (1 + exp(-(log P(standard) - log P(base)))) for every token of a correct response",
        "ablation",
    )
    use_judge: bool = _setting(True, "without the judge path every incorrect response is excluded", "ablation")
    mean_one: bool = _setting(
        False, "divide an example's scales by their mean, so that a learning rate means the same", "ablation"
    )

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = _checked(item, hints[item.name], getattr(self, item.name))
            object.__setattr__(self, item.name, value)
        _require(0 < self.p0_correct < 1, "p0_correct", self.p0_correct, "give a probability between 0 and 1")
        _require(0 <= self.p0_incorrect < 1, "p0_incorrect", self.p0_incorrect, "give a probability, 0 <= p < 1")
        _require(self.r0 > 0, "r0", self.r0, "give a ratio above 0")
        threshold = self.ratio_threshold
        _require(threshold is None or threshold > 0, "ratio_threshold", threshold, "give a ratio above 0")
        for name in ("c1", "c2", "c3", "rest_exponent", "likelihood", "filter_threshold"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "give a number of at least 0")
        _require(self.factor > 0, "factor", self.factor, "give a number above 0")
        _require(0 < self.unlikelihood_floor < 1, "unlikelihood_floor", self.unlikelihood_floor, "give e.g. 1e-6")
        _require(0 <= self.zero_probability < 1, "zero_probability", self.zero_probability, "give e.g. 1e-5, or 0")

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
        """The preset of that name, `paper` or `authors`.

        Raises:
            ConfigError: for any other name.
        """
        if name not in PRESETS:
            raise ConfigError(f'there is no preset "{name}"', remedy=nearest(name, PRESETS))
        return cls.authors() if name == "authors" else cls.paper()

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> SaliencySettings:
        """Settings from a YAML mapping: any fields by name, on top of `preset` (`paper` where it is not given).

        >>> SaliencySettings.from_mapping({"preset": "authors", "c1": 4}).c1
        4.0

        Raises:
            ConfigError: for a key that is no field, with the nearest one, and for a value that does not fit.
        """
        changes = dict(mapping)
        base = cls.preset(changes.pop("preset", "paper"))
        known = [item.name for item in fields(cls)]
        for key in changes:
            if key not in known:
                raise ConfigError(f'unknown saliency setting "{key}"', remedy=nearest(str(key), [*known, "preset"]))
        return replace(base, **changes)

    def to_mapping(self) -> dict[str, Any]:
        """All fields as JSON takes them; `from_mapping` reads them back."""
        return {**asdict(self), "ones": list(self.ones)}

    @classmethod
    def describe(cls) -> dict[str, str]:
        """Each field's meaning and, in brackets, its source."""
        return {item.name: f"{item.metadata['description']} [{item.metadata['source']}]" for item in fields(cls)}

    @property
    def least_ratio(self) -> float:
        """The threshold that r1 and r2 must exceed."""
        return self.r0 if self.ratio_threshold is None else self.ratio_threshold


PRESETS = ("paper", "authors")


def nearest(word: str, known: Iterable[str]) -> str:
    """The remedy for a name that does not exist; `nlft.config` has the same, but needs pydantic."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else "known are: " + ", ".join(known)


def _require(fits: bool, name: str, value: object, remedy: str) -> None:
    if not fits:
        raise ConfigError(f'the saliency setting "{name}" cannot be {value!r}', remedy=remedy)


def _checked(item: Field[Any], hint: Any, value: Any) -> Any:
    """The value in its field's type; whole numbers pass for floats, as YAML writes them."""
    if item.name == "ones":
        fits = isinstance(value, list | tuple) and all(role in get_args(Role) for role in value)
        _require(fits, item.name, value, "give a list of " + ", ".join(get_args(Role)))
        return tuple(value)
    if get_origin(hint) is Literal:
        options = get_args(hint)
        _require(value in options, item.name, value, nearest(str(value), options))
        return value
    if hint is bool:
        _require(isinstance(value, bool), item.name, value, "give true or false")
        return value
    if value is None and type(None) in get_args(hint):
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    _require(number and math.isfinite(value), item.name, value, "give a finite number")
    return float(value)
