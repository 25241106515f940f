"""`nlft push`, the real command in a process of its own, against a hub on loopback."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from nlft.cli.app import run as cli

KEY = "hf_of_the_test"


class Hub:
    """The few endpoints that an upload takes, and what they were sent."""

    def __init__(self, server: HTTPServer) -> None:
        self.server = server
        self.created: dict[str, Any] = {}
        self.stored: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.keys: set[str | None] = set()
        for path, handler in {
            "/api/repos/create": self.create,
            "/api/validate-yaml": self.validate,
            "/api/models/me/a/preupload/main": self.preupload,
            "/me/a.git/info/lfs/objects/batch": self.batch,
            "/api/models/me/a/commit/main": self.commit,
        }.items():
            server.expect_request(path, method="POST").respond_with_handler(handler)

    def create(self, request: Request) -> Response:
        self.created = request.get_json()
        return self.answer(request, {"url": self.server.url_for("/me/a")})

    def validate(self, request: Request) -> Response:
        return self.answer(request, {"errors": [], "warnings": []})

    def preupload(self, request: Request) -> Response:
        names = [file["path"] for file in request.get_json()["files"]]
        modes = ["lfs" if name.endswith(".safetensors") else "regular" for name in names]
        files = [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in zip(names, modes, strict=True)]
        return self.answer(request, {"files": files})

    def batch(self, request: Request) -> Response:
        objects = []
        for each in request.get_json(force=True)["objects"]:
            place = f"/lfs/{each['oid']}"
            self.server.expect_request(place, method="PUT").respond_with_handler(self.put)
            objects.append({**each, "actions": {"upload": {"href": self.server.url_for(place), "header": {}}}})
        return self.answer(request, {"transfer": "basic", "objects": objects})

    def put(self, request: Request) -> Response:
        self.stored[request.path.rpartition("/")[2]] = request.get_data()
        return Response("")

    def commit(self, request: Request) -> Response:
        for line in request.get_data().splitlines():
            row = json.loads(line)
            if row["key"] == "file":
                self.files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            elif row["key"] == "lfsFile":
                self.files[row["value"]["path"]] = self.stored[row["value"]["oid"]]
        return self.answer(request, {"commitUrl": self.server.url_for("/me/a/commit/0a1b"), "commitOid": "0a1b"})

    def answer(self, request: Request, value: Any) -> Response:
        self.keys.add(request.headers.get("authorization"))
        return Response(json.dumps(value), content_type="application/json")


def push(server: HTTPServer, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the hub on loopback; Xet has a protocol of its own, which no test can stand in for."""
    own = {"HF_ENDPOINT": server.url_for("").rstrip("/"), "HF_TOKEN": KEY, "HF_HUB_DISABLE_XET": "1"}
    own |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-m", "nlft", "push", *words]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)


def test_a_dry_run_shows_files_and_card_and_asks_nobody(adapter: Path, httpserver: HTTPServer, tmp_path: Path) -> None:
    done = push(httpserver, tmp_path, str(adapter), "me/a")
    assert done.returncode == 0, done.stderr
    weights = (adapter / "adapter_model.safetensors").stat().st_size
    assert f"{weights:>12,}  adapter_model.safetensors" in done.stdout
    assert "judged.jsonl\n" not in done.stdout
    assert "base_model: org/tiny" in done.stdout
    assert done.stdout.endswith("dry run: nothing was uploaded to me/a; add --upload\n")
    assert httpserver.log == []


def test_what_is_uploaded(adapter: Path, httpserver: HTTPServer, tmp_path: Path) -> None:
    """The files that are handed over and no other; a card for this repository; the key from the environment."""
    hub = Hub(httpserver)
    before = {path: path.read_bytes() for path in adapter.rglob("*") if path.is_file()}
    done = push(httpserver, tmp_path, str(adapter), "me/a", "--upload", "--license", "mit")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"uploaded: {httpserver.url_for('/me/a/commit/0a1b')}\n"
    assert (hub.created["name"], hub.created["organization"], hub.created["visibility"]) == ("a", "me", "private")
    assert set(hub.files) == {
        "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "prompts.yaml",
        "settings.json", "tokenizer.json", "tokenizer_config.json", "train.json",
    }  # fmt: skip
    assert hub.files["adapter_model.safetensors"] == (adapter / "adapter_model.safetensors").read_bytes()
    card = hub.files["README.md"].decode()
    assert '"org/tiny"), "me/a")' in card
    assert "license: mit" in card
    assert f"Bearer {KEY}" in hub.keys
    assert KEY not in done.stdout + done.stderr
    assert before == {path: path.read_bytes() for path in adapter.rglob("*") if path.is_file()}


def test_the_rows_go_only_if_asked(adapter: Path, httpserver: HTTPServer, tmp_path: Path) -> None:
    hub = Hub(httpserver)
    more = ["--upload", "--public", "--data", str(adapter / "judged.jsonl"), "--base-model", "other/base"]
    assert push(httpserver, tmp_path, str(adapter), "me/a", *more).returncode == 0
    assert hub.files["judged.jsonl"] == (adapter / "judged.jsonl").read_bytes()
    assert hub.created["visibility"] == "public"
    assert json.loads(hub.files["adapter_config.json"])["base_model_name_or_path"] == "other/base"


def test_a_hub_that_refuses(adapter: Path, httpserver: HTTPServer, tmp_path: Path) -> None:
    httpserver.expect_request("/api/repos/create", method="POST").respond_with_json({"error": "no"}, status=403)
    done = push(httpserver, tmp_path, str(adapter), "me/a", "--upload")
    assert done.returncode == 1
    assert "error: the hub did not take me/a: " in done.stderr
    assert "set HF_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_pushed(adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from nlft.adapter import copy_adapter

    assert cli(["push", str(adapter), "just-a-name"]) == 2
    assert "give OWNER/NAME" in capsys.readouterr().err
    assert cli(["push", str(tmp_path), "me/a"]) == 1
    assert "no record of its training" in capsys.readouterr().err
    copy_adapter(adapter, tmp_path / "local")
    record = tmp_path / "local" / "settings.json"
    record.write_text(record.read_text().replace("org/tiny", "tiny"))
    assert cli(["push", str(tmp_path / "local"), "me/a"]) == 2
    assert "give its hub id with --base-model" in capsys.readouterr().err
    assert cli(["push", str(tmp_path / "local"), "me/a", "--base-model", "org/tiny"]) == 0
