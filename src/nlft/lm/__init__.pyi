from .config import ModelSettings, SamplingSettings
from .encode import EncodedExample, encode_example, encode_prompt
from .load import LanguageModel, load_as, load_model, load_tokenizer
from .logprobs import PathLogprobs, path_logprobs
from .pack import TokenPath
from .sampling import Completion

__all__ = [
    "Completion",
    "EncodedExample",
    "LanguageModel",
    "ModelSettings",
    "PathLogprobs",
    "SamplingSettings",
    "TokenPath",
    "encode_example",
    "encode_prompt",
    "load_as",
    "load_model",
    "load_tokenizer",
    "path_logprobs",
]
