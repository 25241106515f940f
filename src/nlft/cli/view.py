"""`nlft view`: the saliency map, as a file or served on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nlft.cli.options import make_app, with_settings
from nlft.cli.output import conclude
from nlft.saliency_map.config import ViewSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from nlft.records import Judged, Scored
    from nlft.saliency_map.loopback import LoopbackServer


app = make_app()


@app.command()
@with_settings(ViewSettings)
def view(
    scored: Annotated[Path, typer.Argument(help="JSONL that `nlft score` wrote; with --edit, judged rows.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="HTML file to write.")] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 until Ctrl-C.")] = False,
    edit: Annotated[
        bool, typer.Option("--edit", help="Correct the rows of FILE (judged or scored) on the served page.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 0,
    *,
    settings: ViewSettings,
) -> None:
    """Make the saliency map: each token's role and scale, with settings you can adjust without training."""
    from nlft.errors import ConfigError

    if edit:
        if not serve or output is not None or settings.model_fields_set:
            raise ConfigError("--edit serves a page of its own", remedy="give --serve, and of all else at most --port")
        _edit(scored, port)
        return
    if serve == (output is not None):
        raise ConfigError("no output given", remedy="add -o FILE.html or --serve")
    if output is not None:
        if settings.model is not None:
            raise ConfigError("--model needs --serve, to score new text", remedy="add --serve and drop -o")
        from nlft.saliency_map.export import page_file

        conclude(page_file(settings, scored, output))
        return
    from nlft.records import Scored, read_records
    from nlft.saliency_map.server import PageServer

    rows = list(read_records(scored, Scored))
    scorer = _scorer(settings, settings.model, rows[0]) if settings.model is not None else None
    _run(lambda: PageServer(rows, source=scored.name, score=scorer, port=port), port)


def _scorer(settings: ViewSettings, model: str, like: Scored) -> Callable[[Judged], Scored]:
    """Scores new text with the model, under the constants that a row was scored with."""
    from nlft.lm import load_as
    from nlft.score import score, settings_of

    lm, prompts = load_as(settings, model, adapter=settings.adapter), settings.prompt_set()
    constants = settings_of(like.scores)
    return lambda record: next(score([record], lm, prompts, constants))


def _edit(rows: Path, port: int) -> None:
    from nlft.files import edits_path, sole_writer
    from nlft.saliency_map.editor import EditServer

    with sole_writer(edits_path(rows)):
        _run(lambda: EditServer(rows, port=port), port)


def _run(make: Callable[[], LoopbackServer], port: int) -> None:
    from nlft.errors import ConfigError

    try:
        server = make()
    except OSError as error:
        raise ConfigError(f"cannot use port {port}: {error.strerror}", remedy="choose another --port") from None
    print(f"{server.url} (press Ctrl-C to stop)", flush=True)
    # Ctrl-C is the normal way to stop serving.
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
