"""A stand-in for the hub on the loopback interface: as much of it as the library calls."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

PAGE = 3
"""Entries of a folder in one answer; the hub's own pages have 1000."""
BLOCK = 1024
LARGE = (".nc", ".pt", ".npy")
LICENSES = ("apache-2.0", "cc-by-4.0")


@dataclass
class StandInRepository:
    """Files by path at each commit, and which commit is main."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = ""

    def commit(self, files: dict[str, bytes]) -> str:
        content = json.dumps({p: hashlib.sha256(b).hexdigest() for p, b in files.items()})
        self.main = hashlib.sha1(content.encode()).hexdigest()
        self.commits[self.main] = files
        return self.main


@dataclass
class Request:
    """What was asked: method, host, path with query, headers."""

    method: str
    path: str
    headers: dict[str, str]


class StandInHub:
    """The hub's repositories, what was asked of it, and what it is to do wrong.

    ``faults`` are tried in order on every request; one that returns True has answered it.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, StandInRepository] = {}
        self.requests: list[Request] = []
        self.objects: dict[str, bytes] = {}
        self.faults: list[Callable[[Any], bool]] = []
        self.tokens: set[str] = set()
        self.body: Callable[[str, int, bytes], Iterator[bytes]] = _blocks
        """Blocks of a file's body: its path or digest, start, and all of it from there."""
        self.ranges = True
        handler = type("Handler", (_Handler,), {"hub": self})
        # The hub's large files are at another host, where its token must not go: here another port.
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self.endpoint, self.storage = (f"http://127.0.0.1:{s.server_port}" for s in self.servers)
        for server in self.servers:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """Make a repository such as ``datasets/LEAP/X`` or ``models/me/X``; return its commit."""
        self.repositories.setdefault(name, StandInRepository(**options))
        return self.repositories[name].commit(files)

    def files(self, name: str) -> dict[str, bytes]:
        """Return the files of a repository's main branch."""
        repository = self.repositories[name]
        return repository.commits[repository.main]

    def asked(self, text: str, method: str = "GET") -> list[Request]:
        """Return the requests whose path contains a text."""
        return [r for r in self.requests if r.method == method and text in unquote(r.path)]

    def refuse(self, text: str, status: int, times: int = 1_000_000, **headers: str) -> None:
        """Answer the next ``times`` requests with a text in their path with a status."""
        left = [times]

        def fault(handler: _Handler) -> bool:
            if text not in unquote(handler.path) or not left[0]:
                return False
            left[0] -= 1
            handler.answer(status, b"{}", **{k.replace("_", "-"): v for k, v in headers.items()})
            return True

        self.faults.append(fault)


def _blocks(name: str, start: int, content: bytes) -> Iterator[bytes]:
    for i in range(0, len(content), BLOCK):
        yield content[i : i + BLOCK]


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def handle(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the client was killed
            super().handle()

    def do_GET(self) -> None:
        self._dispatch()

    def do_POST(self) -> None:
        self._dispatch()

    def do_PUT(self) -> None:
        self._dispatch()

    def _dispatch(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.content = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.content = self._chunks()
        headers = {k.lower(): v for k, v in self.headers.items()}
        self.hub.requests.append(Request(self.command, self.path, headers))
        if any(fault(self) for fault in list(self.hub.faults)):
            return
        url = urlsplit(self.path)
        self.query = parse_qs(url.query)
        self._route([unquote(p) for p in url.path.strip("/").split("/")])

    def _chunks(self) -> bytes:
        content = b""
        while size := int(self.rfile.readline(), 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return content

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def say(self, value: Any, **headers: str) -> None:
        self.answer(200, json.dumps(value).encode(), **headers)

    def no(self, status: int, code: str, message: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message or code}
        self.answer(status, json.dumps({"error": message or code}).encode(), **headers)

    def _route(self, parts: list[str]) -> None:
        match parts:
            case ["cdn", digest]:
                self._body(digest, self.hub.objects[digest])
            case ["upload", digest] if self.command == "PUT":
                assert hashlib.sha256(self.content).hexdigest() == digest
                self.hub.objects[digest] = self.content
                self.answer(200)
            case ["api", "repos", "create"]:
                self._create(json.loads(self.content))
            case ["api", "validate-yaml"]:
                self._validate(json.loads(self.content)["content"])
            case ["api", ("datasets" | "models") as kind, owner, name, action, revision, *path]:
                self._repository(f"{kind}/{owner}/{name}", action, revision, "/".join(path))
            case ["datasets", owner, name, "resolve", revision, *path]:
                self._repository(f"datasets/{owner}/{name}", "resolve", revision, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                self._repository(f"models/{owner}/{name}", "resolve", revision, "/".join(path))
            case [owner, name, "info", "lfs", "objects", "batch"] if name.endswith(".git"):
                self._batch(json.loads(self.content))
            case _:
                self.no(404, "NotFound")

    def _repository(self, name: str, action: str, revision: str, path: str) -> None:
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and not self._token()):
            return self.no(404 if self._token() else 401, "RepoNotFound")
        if repository.gated and not self._token() and action == "resolve":
            return self.no(401, "GatedRepo", "Access is restricted")
        commit = repository.main if revision == "main" else revision
        files = repository.commits.get(commit)
        if files is None and commit:
            return self.no(404, "RevisionNotFound")
        if action in ("preupload", "commit") and not self._token():
            return self.no(401, "Unauthorized", "Invalid credentials in Authorization header")
        if action == "revision":
            assert self.query["expand[]"] == ["sha", "private"]  # never the list of all files
            return self.say({"sha": commit or "0" * 40, "private": repository.private})
        if action == "tree":
            return self._tree(files or {}, path)
        if action == "resolve":
            return self._resolve(files or {}, path, commit)
        if action == "preupload":
            modes = [
                {
                    "path": f["path"],
                    "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular",
                    "shouldIgnore": False,
                }
                for f in json.loads(self.content)["files"]
            ]
            return self.say({"files": modes})
        assert action == "commit"
        return self._commit(name, repository)

    def _token(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.hub.tokens

    def _tree(self, files: dict[str, bytes], folder: str) -> None:
        inside = f"{folder}/" if folder else ""
        below = [p for p in files if p.startswith(inside)]
        if folder and not below:
            return self.no(404, "EntryNotFound")
        names = sorted({inside + p[len(inside) :].split("/")[0] for p in below})
        start = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if start + PAGE < len(names):
            here = urlsplit(self.path).path
            url = f"{self.hub.endpoint}{here}?cursor={start + PAGE}"
            headers["Link"] = f'<{url}>; rel="next"'
        self.say([_entry(n, files) for n in names[start : start + PAGE]], **headers)

    def _resolve(self, files: dict[str, bytes], path: str, commit: str) -> None:
        if path not in files:
            return self.no(404, "EntryNotFound")
        content = files[path]
        if not path.endswith(LARGE):
            return self._body(
                path,
                content,
                {"X-Repo-Commit": commit, "ETag": f'"{_blob(content)}"'},
            )
        digest = hashlib.sha256(content).hexdigest()
        self.hub.objects[digest] = content
        self.answer(
            302,
            **{
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self.hub.storage}/cdn/{digest}",
            },
        )

    def _body(self, name: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        asked = self.headers.get("Range") if self.hub.ranges else None
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if asked and start >= len(content):
            return self.answer(416)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        sent = 0
        for block in self.hub.body(name, start, content[start:]):
            self.wfile.write(block)
            self.wfile.flush()
            sent += len(block)
        self.close_connection = sent < len(content) - start

    def _create(self, wanted: dict[str, Any]) -> None:
        if not self._token():
            return self.no(401, "Unauthorized", "Invalid credentials in Authorization header")
        name = f"{wanted['organization']}/{wanted['name']}"
        if f"models/{name}" in self.hub.repositories:
            known = {"error": "You already created it", "url": f"{self.hub.endpoint}/{name}"}
            return self.answer(409, json.dumps(known).encode())
        self.hub.repositories[f"models/{name}"] = StandInRepository(
            private=wanted["visibility"] == "private",
        )
        return self.say({"url": f"{self.hub.endpoint}/{name}"})

    def _validate(self, card: str) -> None:
        metadata = yaml.safe_load(card.split("---")[1])
        if metadata["license"] not in LICENSES:
            errors = [{"message": '"license" must be one of [apache-2.0, …]'}]
            return self.answer(400, json.dumps({"errors": errors, "warnings": []}).encode())
        return self.say({"errors": [], "warnings": []})

    def _batch(self, wanted: dict[str, Any]) -> None:
        self.say(
            {
                "transfer": "basic",
                "objects": [o | {"actions": self._upload(o["oid"])} for o in wanted["objects"]],
            }
        )

    def _upload(self, digest: str) -> dict[str, Any]:
        return {"upload": {"href": f"{self.hub.storage}/upload/{digest}"}}

    def _commit(self, name: str, repository: StandInRepository) -> None:
        files = dict(repository.commits.get(repository.main, {}))
        for line in map(json.loads, self.content.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        commit = repository.commit(files)
        self.say({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{commit}", "commitOid": commit})


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entry(path: str, files: dict[str, bytes]) -> dict[str, Any]:
    if path not in files:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
    content = files[path]
    entry = {"type": "file", "oid": _blob(content), "size": len(content), "path": path}
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return entry


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """Return a stand-in hub that the library of this process, and of its children, speaks to."""
    stand_in = StandInHub()
    home = tmp_path / "hf"
    for name, value in {
        "HF_ENDPOINT": stand_in.endpoint,
        "HF_HOME": str(home),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    monkeypatch.setattr(constants, "ENDPOINT", stand_in.endpoint)  # read from HF_ENDPOINT once
    template = stand_in.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(constants, name, str(home / name))
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    close_session()
    yield stand_in
    close_session()
    stand_in.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make the waiting between attempts short; return how long it would have been, in s."""
    from huggingface_hub.utils import _http

    from climlink.hub import transfer

    waited: list[float] = []

    class Clock:
        sleep = staticmethod(waited.append)
        time = staticmethod(time.time)

    monkeypatch.setattr(_http, "time", Clock)
    monkeypatch.setattr(transfer, "LONGEST_WAIT_S", 0.0)
    return waited
