"""The only place that runs a language model: load, encode, score, sample."""

from nlft.lm.encode import EncodedExample, encode_example, encode_prompt
from nlft.lm.load import LanguageModel, load_model, load_tokenizer
from nlft.lm.logprobs import PathLogprobs, path_logprobs
from nlft.lm.pack import TokenPath
from nlft.lm.sample import Completion, SamplingSettings, generate

__all__ = [
    "Completion",
    "EncodedExample",
    "LanguageModel",
    "PathLogprobs",
    "SamplingSettings",
    "TokenPath",
    "encode_example",
    "encode_prompt",
    "generate",
    "load_model",
    "load_tokenizer",
    "path_logprobs",
]
