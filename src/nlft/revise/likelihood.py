"""How likely a response is to the student that sees nothing but the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nlft.answer.local import LocalAnswerer
from nlft.answer.types import OnReply, Reply, Request, make_request
from nlft.lm.config import TemplateSettings
from nlft.prompts import Context, Message, PromptSet
from nlft.records import Attempt

BATCH = 8


class Likelihood(Protocol):
    """Scores responses; implement these two to add one."""

    def request(self, row: Attempt) -> Request:
        """What is asked about a row's response; its key covers everything that decides the score."""
        ...

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Call `on_reply` for each request, with the score as text; see `nlft.answer.Answerer`."""
        ...


class BaseLikelihood:
    """The mean log-probability of a response's tokens under the base prompt, ⟨question⟩, in nats.

    Args:
        answerer: The student.
        prompts: Its `base` is the prompt.
    """

    def __init__(self, answerer: LocalAnswerer, prompts: PromptSet) -> None:
        self.answerer, self.prompts = answerer, prompts

    def request(self, row: Attempt) -> Request:
        """Weights, base prompt and response."""
        weights = self.answerer.settings()
        decides = ("weights", "dtype", *TemplateSettings.model_fields)
        settings = {"score": "base", **{name: weights[name] for name in decides}}
        context = Context.of(row)
        said: Message = {"role": "assistant", "content": row.response}
        return make_request(settings, row, [*self.prompts.base(row.question, context), said], 0, context.tools)

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Score in batches; the responses to one question share its computation."""
        import torch

        from nlft.lm.encode import encode_prompt, encode_response
        from nlft.lm.frame import frame_of
        from nlft.lm.logprobs import path_logprobs
        from nlft.lm.pack import TokenPath

        lm = self.answerer.loaded()
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            paths = []
            for request in batch:
                *asked, response = request.messages
                frame = frame_of(lm.tokenizer, asked, request.tools)
                ids = encode_response(lm.tokenizer, response["content"], frame).ids
                paths.append(TokenPath(tuple(encode_prompt(lm.tokenizer, asked, request.tools)), ids))
            with torch.inference_mode():
                found, _ = path_logprobs(lm.model, paths)
            for request, path in zip(batch, found, strict=True):
                on_reply(request, Reply(repr(float(path.logp.mean())), requests=0))
