"""A model in this process as answerer, batched on `nlft.lm.generate`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlft.answer.types import OnReply, Reply, Request, make_request
from nlft.provenance import public_name

if TYPE_CHECKING:
    from nlft.lm import LanguageModel, SamplingSettings

__all__ = ["LocalAnswerer"]

TAIL = 1 << 20


class LocalAnswerer:
    """Answers with a local model; it is loaded only once a reply is not in the journal.

    A reply's random numbers come from (seed, messages, sample number), so that what a row gets depends
    neither on its batch nor on what an earlier, broken-off run has finished (but for the rounding of
    products of another shape, which in bfloat16 may tip a draw).

    Args:
        model: A loaded model, or a folder, hub id or GGUF file.
        sampling: Temperature, length, seed, batch size.
        adapter: The folder of a LoRA adapter (for a model given by name).
        load: Further arguments of `nlft.lm.load_model`, such as dtype and device.
    """

    cacheable = True

    def __init__(
        self,
        model: LanguageModel | str,
        sampling: SamplingSettings,
        *,
        adapter: str | Path | None = None,
        **load: Any,
    ) -> None:
        self._lm = None if isinstance(model, str) else model
        self.model = model if isinstance(model, str) else model.name
        shown = public_name(self.model)
        self.name = shown if adapter is None else f"{shown}+{Path(adapter).name}"
        self.sampling, self.adapter, self.load = sampling, adapter, load

    def settings(self) -> dict[str, Any]:
        """Model, weights' fingerprint and sampling; the batch size decides nothing."""
        sampling = self.sampling.identity()
        weights = [_fingerprint(folder) for folder in (self.model, self.adapter) if folder is not None]
        return {"answerer": "local", "model": self.name, "weights": weights, "load": self.load, **sampling}

    def reply(self, requests: Sequence[Request], on_reply: OnReply) -> None:
        """Generate for all requests, in batches; `done` is called as each ends."""
        if not requests:
            return
        from nlft.lm import encode_prompt
        from nlft.lm.generate import generate

        lm = self._loaded()
        fitting: list[Request] = []
        prompts: list[list[int]] = []
        for request in requests:
            ids = encode_prompt(lm.tokenizer, request.messages)
            if lm.context_length is not None and len(ids) >= lm.context_length:
                reason = f"its prompt has {len(ids)} tokens, and the model takes {lm.context_length}"
                on_reply(request, Reply(failure=reason))
                continue
            fitting.append(request)
            prompts.append(ids)
        streams = [_stream(request) for request in fitting]
        for completion in generate(lm, prompts, self.sampling, streams=streams):
            request = fitting[completion.index]
            on_reply(
                request,
                Reply(
                    completion.text,
                    completion.finish_reason,
                    requests=1,
                    prompt_tokens=len(prompts[completion.index]),
                    completion_tokens=len(completion.token_ids),
                ),
            )

    def _loaded(self) -> LanguageModel:
        if self._lm is None:
            from nlft.lm import load_model

            self._lm = load_model(self.model, adapter=self.adapter, merge=True, **self.load)
        return self._lm


def _stream(request: Request) -> int:
    """The number of a request's random stream; not from its key, which holds the folder the model is in."""
    return int(make_request({}, request.row, request.messages, request.sample).key[:15], 16)


def _fingerprint(folder: str | Path) -> str:
    """Tells one state of a local folder's weights from another; empty for a hub id.

    Names, sizes and the last MiB of each weight file: an adapter that was trained anew under the same
    path must not be taken for the old one, and a model of many GB must not be read through for it.
    """
    digest = hashlib.sha256()
    files = sorted(Path(folder).glob("*.safetensors")) if Path(folder).is_dir() else [Path(folder)]
    present = [file for file in files if file.is_file()]
    for file in present:
        size = file.stat().st_size
        with file.open("rb") as stream:
            stream.seek(max(0, size - TAIL))
            digest.update(f"{file.name}:{size}:".encode() + stream.read())
    return digest.hexdigest()[:16] if present else ""
