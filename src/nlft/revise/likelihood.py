"""How likely a response is to the student that sees nothing but the question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nlft.answer.local import LocalAnswerer
from nlft.answer.types import OnReply, Reply, Request, make_request
from nlft.prompts import PromptSet
from nlft.records import Attempt

__all__ = ["BaseLikelihood", "Likelihood"]

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
        settings = {"score": "base", "weights": weights["weights"], "dtype": weights["dtype"]}
        messages = [*self.prompts.base(row.question), {"role": "assistant", "content": row.response}]
        return make_request(settings, row, messages)  # type: ignore[arg-type]

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Score in batches; the responses to one question share its computation."""
        import torch

        from nlft.lm.encode import encode_prompt, encode_response
        from nlft.lm.logprobs import path_logprobs
        from nlft.lm.pack import TokenPath

        lm = self.answerer.loaded()
        for start in range(0, len(requests), BATCH):
            batch = requests[start : start + BATCH]
            paths = []
            for request in batch:
                *asked, response = request.messages
                ids = encode_response(lm.tokenizer, response["content"])
                paths.append(TokenPath(tuple(encode_prompt(lm.tokenizer, asked)), tuple(ids)))
            with torch.inference_mode():
                found, _ = path_logprobs(lm.model, paths)
            for request, path in zip(batch, found, strict=True):
                on_reply(request, Reply(repr(float(path.logp.mean())), requests=0))
