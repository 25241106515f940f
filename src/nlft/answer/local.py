"""A model in this process as answerer, batched on `nlft.lm.generate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlft import processes
from nlft.answer.types import Answerer, OnReply, Reply, Request, make_request
from nlft.config import NamesFile
from nlft.errors import ConfigError, ModelError
from nlft.lm.config import LoadSettings, SamplingSettings
from nlft.progress import Outcome
from nlft.provenance import public_name

if TYPE_CHECKING:
    from nlft.lm import LanguageModel

# How many batches each process generates before replies reach the journal: what a killed run loses, at most.
BATCHES_PER_ROUND = 4


class LocalAnswerer:
    """Answers with a local model, which is loaded only once a reply is not in the journal.

    A reply's random numbers come from (seed, messages, sample number), so that what a row gets depends neither on its
    batch nor on what an earlier, interrupted run has finished (but for the rounding of products of another shape,
    which in bfloat16 may tip a draw).

    Args:
        model: A loaded model, or a folder, hub id or GGUF file.
        sampling: Temperature, length, seed, batch size.
        adapter: The folder of a LoRA adapter (for a model given by name).
        load: Dtype, device and the like (for a model given by name).
    """

    cacheable = True
    _leads = False

    def __init__(
        self,
        model: LanguageModel | str,
        sampling: SamplingSettings,
        *,
        adapter: str | Path | None = None,
        load: LoadSettings | None = None,
    ) -> None:
        self._lm = None if isinstance(model, str) else model
        self.model = model if isinstance(model, str) else model.name
        shown = public_name(self.model)
        self.name = shown if adapter is None else f"{shown}+{Path(adapter).name}"
        self.sampling, self.adapter, self.load = sampling, adapter, load or LoadSettings()

    @property
    def device(self) -> str:
        """Where the model is; the CPU as long as it is not loaded."""
        return str(self._lm.device) if self._lm is not None else "cpu"

    def settings(self) -> dict[str, Any]:
        """The weights by their content, the sampling and the dtype; where the files are decides nothing."""
        weights = [NamesFile().content(str(folder)) for folder in (self.model, self.adapter) if folder is not None]
        row = {"answerer": "local", "weights": weights}
        for kind, settings in ((SamplingSettings, self.sampling), (LoadSettings, self.load)):
            own = kind.model_validate(settings.model_dump(include=set(kind.model_fields)))
            row |= own.identity()
        return row

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Generate for all requests, in batches; `on_reply` is called as each ends (see `together` for processes)."""
        if not self._leads:
            self._generate(requests, on_reply)
            return
        rounds = -(-len(requests) // (processes.count() * self.sampling.batch_size * BATCHES_PER_ROUND))
        for start in range(rounds):
            for request, reply in self._share(processes.agree(requests[start::rounds])):
                on_reply(request, reply)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Within this context, the other processes, which `follow`, generate their share of every call of `reply`."""
        self._leads = True
        try:
            yield
        except Exception:
            processes.agree(None)
            raise
        finally:
            self._leads = False
        processes.agree(None)

    def follow(self) -> None:
        """Generate a share of what the leading process is asked, for as long as it leads."""
        asked: Sequence[Request] | None = ()
        while (asked := processes.agree(asked)) is not None:
            self._share(asked)

    def _share(self, requests: Sequence[Request]) -> list[tuple[Request, Reply]]:
        """Generate a share of this round of requests, and return everybody's replies."""
        own: list[tuple[Request, Reply]] = []
        failure: str | None = None
        try:
            share = requests[processes.rank() :: processes.count()]
            self._generate(share, lambda request, reply: own.append((request, reply)))
        except Exception as error:  # the others wait: tell them
            failure = f"{type(error).__name__}: {error}"
        everywhere = processes.gather((own, failure))
        failed = [(number, why) for number, (_, why) in enumerate(everywhere) if why is not None]
        if failed and self._leads:
            raise ModelError(f"process {failed[0][0]} failed: {failed[0][1]}")
        return [each for replies, _ in everywhere for each in replies]

    def _generate(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        if not requests:
            return
        from nlft.lm import encode_prompt
        from nlft.lm.generate import generate

        lm = self.loaded()
        fitting: list[Request] = []
        prompts: list[list[int]] = []
        for request in requests:
            try:
                ids = encode_prompt(lm.tokenizer, request.messages, request.tools)
            except ModelError as error:
                on_reply(request, Reply(failure=error.message))
                continue
            if lm.context_length is not None and len(ids) >= lm.context_length:
                reason = f"its prompt has {len(ids)} tokens, and the model takes {lm.context_length}"
                on_reply(request, Reply(failure=reason))
                continue
            fitting.append(request)
            prompts.append(ids)
        streams = [_stream(request) for request in fitting]
        for completion in generate(lm, prompts, self.sampling, streams=streams):
            read, written = len(prompts[completion.index]), len(completion.token_ids)
            reply = Reply(
                completion.text, completion.finish_reason, None, 1, read, written, thoughts=completion.thoughts
            )
            on_reply(fitting[completion.index], reply)

    def loaded(self) -> LanguageModel:
        """The model, loaded now if it was not."""
        if self._lm is None:
            from nlft.lm import load_as

            self._lm = load_as(self.load, self.model, adapter=self.adapter, merge=True)
        return self._lm


def together(answerer: Answerer, device: str, work: Callable[[], Outcome]) -> Outcome:
    """Let the leading process do the work, and the others generate their share of a local model's answers.

    Raises:
        ConfigError: for another answerer, whose work they cannot share.
    """
    if processes.count() == 1:
        return work()
    if not isinstance(answerer, LocalAnswerer):
        raise ConfigError(
            f"processes share the answers of a local model only, not of {answerer.name}", remedy="start one process"
        )
    processes.join(device)
    if not processes.leads():
        answerer.follow()
        return Outcome("")
    with answerer.leading():
        return work()


def _stream(request: Request) -> int:
    """The number of a request's random stream; not from its key, which depends on the weights."""
    return int(make_request({}, request.row, request.messages, request.sample).key[:15], 16)
