"""The page on which a person corrects rows, on loopback; what it has answered to is on disk.

Its address holds a token of this session, so that only whoever was told the address reads the rows or changes them. A
change must also come from the page itself (Origin), and know the state of the row it changes: what another window has
changed in the meantime is not overwritten.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from nlft.config import Config
from nlft.edits import Edit, EditsFile, apply_edit
from nlft.errors import NLFTError
from nlft.records import Judged, read_numbered
from nlft.saliency_map.bundle import Page, assemble, script_safe_json
from nlft.saliency_map.loopback import LoopbackServer, RefusalError, read_body
from nlft.spans import column_spans


class Change(Config):
    """What the page sends: a change of one row, or the undoing of its last."""

    id: str
    version: int = Field(ge=0, description="the number of changes of the row that the page knows of")
    change: dict[str, Any] = Field(default_factory=dict)
    undo: bool = False


class EditServer(LoopbackServer):
    """Serve the rows of a file to be corrected. Hold `nlft.files.sole_writer` on the edits while it runs.

    Args:
        rows: A file of judged (or scored) rows.
        port: The port; 0 picks a free one.

    Raises:
        DataError: for rows or edits that cannot be read, or edits of other responses.
    """

    def __init__(self, rows: Path, *, port: int = 0) -> None:
        self.edits = EditsFile(rows)
        self.rows = {row.id: row.model_dump(mode="json") for _, row in read_numbered(rows, Judged, edited=False)}
        for row in self.rows.values():
            self.edits.apply(row)  # refuses edits of another response
        self.changing = threading.Lock()
        super().__init__(port, "/{token}/")
        self.source = rows.name
        self.page = self._assembled()

    def admit(self, path: str) -> None:
        """The page as the rows are now, for those who know its address."""
        self._refuse_strangers(path, self.home)
        with self.changing:
            self.page = self._assembled()

    def accept(self, path: str, headers: Message) -> Callable[[bytes], str]:
        """`edit`, below the page's address, for requests that the page sent."""
        self._refuse_strangers(path, f"{self.home}edit")
        if headers.get("Origin") not in {f"http://{name}" for name in self.names}:
            raise RefusalError(HTTPStatus.FORBIDDEN, "this request does not come from the page")
        return self._change

    def state(self, identity: str) -> dict[str, Any]:
        """A row as the page shows it."""
        row, edit = self.rows[identity], self.edits.now(identity)
        made = apply_edit(row, edit.model_copy(update={"skip": False})) or {}
        verdict = made.get("verdict") or {}
        return {
            **{name: made.get(name) for name in ("id", "question", "reference", "response", "judgment", "judge")},
            "correct": verdict.get("correct"),
            "reason": verdict.get("reason", ""),
            "marks": [span[:2] for span in column_spans(made, "marks", made["response"])],
            "skip": edit.skip,
            "edited": edit != Edit(),
            "undo": identity in self.edits,
            "version": self.edits.version(identity),
        }

    def server_close(self) -> None:
        """Close the file, too."""
        super().server_close()
        self.edits.close()

    def _assembled(self) -> Page:
        states = [self.state(identity) for identity in self.rows]
        data = {"source": self.source, "edits": self.edits.path.name, "rows": states}
        return assemble(script_safe_json(data), name="edit", connects=True)

    def _refuse_strangers(self, path: str, wanted: str) -> None:
        if not hmac.compare_digest(path.encode(), wanted.encode()):
            raise RefusalError(HTTPStatus.FORBIDDEN, "open the address that `nlft view` printed, with its token")

    def _change(self, body: bytes) -> str:
        asked = read_body(body, Change)
        with self.changing:
            row = self.rows.get(asked.id)
            if row is None:
                raise RefusalError(HTTPStatus.NOT_FOUND, "there is no such row")
            if asked.version != self.edits.version(asked.id):
                told = "not saved: this row was changed in another window; here it is as it is now"
                raise RefusalError(HTTPStatus.CONFLICT, told, row=self.state(asked.id))
            try:
                if not asked.undo:
                    edit = self.edits.now(asked.id).changed(asked.change, row["response"])
                    self.edits.change(asked.id, row["response"], edit)
                elif asked.id in self.edits:
                    self.edits.undo(asked.id, row["response"])
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                field = ".".join(str(part) for part in first["loc"])
                raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{field}: {first['msg']}") from None
            except ValueError as error:
                raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
            except NLFTError as error:  # the disk is full
                raise RefusalError(HTTPStatus.INSUFFICIENT_STORAGE, f"not saved: {error}") from None
            return json.dumps(self.state(asked.id))
