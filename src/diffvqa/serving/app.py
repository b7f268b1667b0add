"""The routes: the page, the answers, what the page shows of files, examples, and the description."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from PIL import Image as PillowImage
from starlette.concurrency import run_in_threadpool

from diffvqa import __version__
from diffvqa.answering.answer import Answer
from diffvqa.errors import InputError
from diffvqa.images.radiograph import Radiograph
from diffvqa.serving import description
from diffvqa.serving.decoding import Decoder
from diffvqa.serving.example_pairs import EXAMPLES, IMAGES, draw_example, truth_of
from diffvqa.serving.guard import HEALTH, LOCAL, Guard
from diffvqa.serving.turns import turn
from diffvqa.serving.uploads import LARGEST_FILE, Form, read_form

if TYPE_CHECKING:
    from diffvqa.answering.answerer import Answerer

PAGE = Path(__file__).parent / "page"
FORMS = 4
"""How many forms of a kind are in memory at once, from their first byte to their answer."""

_FLAGS = ("trust_order", "trust_identity")


def create_app(answerer: Answerer, priors: int = 1, hosts: Collection[str] = (), origin: str | None = None) -> Guard:
    """The application.

    priors: how many earlier radiographs the model takes; hosts: its names beside those of here; origin: as of Guard.
    """
    decoder, pictures, answers = Decoder(), CapacityLimiter(1), CapacityLimiter(1)
    picture_forms, answer_forms = CapacityLimiter(FORMS), CapacityLimiter(FORMS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        decoder.close()

    app = FastAPI(title="diffvqa", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.openapi = lambda: description.describe(app)  # type: ignore[method-assign]  # how FastAPI says to do it
    app.add_exception_handler(InputError, lambda _, error: _error(422, str(error)))
    app.add_exception_handler(Exception, lambda *_: _error(500, "something went wrong; the server's log says where"))

    @app.post("/answer", **description.for_answers(priors))
    async def answer(request: Request) -> JSONResponse:
        async with turn(answer_forms):
            form = await read_form(request, {"current": 1, "prior": priors}, ("question", *_FLAGS))
            async with turn(answers):  # not before: an upload may be slow
                found = await run_in_threadpool(_answer, answerer, decoder, form)
        return JSONResponse(found.as_dict())

    @app.post("/picture", response_class=Response, **description.for_pictures())
    async def picture(request: Request) -> Response:
        async with turn(picture_forms):
            form = await read_form(request, {"image": 1})
            content = _required(form, "image")
            async with turn(pictures):
                radiograph = await run_in_threadpool(decoder, content, "image")
                png = await run_in_threadpool(_png, radiograph)
        return Response(png, headers={"Diffvqa-Stored": _stored(radiograph)}, media_type="image/png")

    @app.get(
        "/examples",
        summary="Synthetic pairs to try, and what has changed in them",
        response_description="Their pictures are /examples/NAME/prior.png and /examples/NAME/current.png.",
    )
    def examples() -> list[dict[str, str]]:
        return [{"name": name, "title": one.title, "truth": truth_of(name)} for name, one in EXAMPLES.items()]

    @app.get("/examples/{name}/{image}.png", include_in_schema=False)
    def example(name: str, image: str) -> Response:
        if name not in EXAMPLES or image not in IMAGES:
            raise HTTPException(404, f"expected one of {', '.join(EXAMPLES)} and one of {', '.join(IMAGES)}")
        return Response(draw_example(name, image), media_type="image/png")

    @app.get(
        HEALTH,
        summary="Whether the server is there, its model and its limits",
        response_description="The status is ready, or busy while it answers; this comes at once in any case.",
    )
    async def health() -> dict[str, Any]:
        return {
            "status": "ready" if answers.available_tokens else "busy",
            "model": asdict(answerer.version),
            "limits": {"priors": priors, "file_bytes": LARGEST_FILE},
        }

    for path, name in (("/", "index.html"), ("/docs", "docs.html")):
        app.get(path, include_in_schema=False)(_page(name))
    app.mount("/page", StaticFiles(directory=PAGE))
    return Guard(app, (*LOCAL, *hosts), origin)


def _answer(answerer: Answerer, decoder: Decoder, form: Form) -> Answer:
    trusted = {name: _flag(form, name) for name in _FLAGS}
    _required(form, "current")
    read = {field: [decoder(content, field) for content in contents] for field, contents in form.files.items()}
    return answerer(
        current=read["current"][0], prior=read.get("prior", []), question=form.values.get("question") or None, **trusted
    )


def _required(form: Form, field: str) -> bytes:
    if field not in form.files:
        raise InputError("expected a PNG, JPEG or DICOM radiograph, found none", argument=field)
    return form.files[field][0]


def _flag(form: Form, field: str) -> bool:
    value = form.values.get(field, "false")
    if value not in ("true", "false", "on"):  # the last is what a form of HTML sends
        raise InputError("expected true or false, found another value", argument=field)
    return value != "false"


def _stored(radiograph: Radiograph) -> str:
    """The stored orientation of a picture in words, so that the page can move boxes along and mark the sides."""
    said = {**asdict(radiograph.orientation), "sides": radiograph.has_sides}
    return " ".join(word for word, is_so in said.items() if is_so)


def _png(radiograph: Radiograph) -> bytes:
    file = io.BytesIO()
    PillowImage.fromarray(radiograph.upright).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def _page(name: str) -> Callable[[], FileResponse]:
    return lambda: FileResponse(PAGE / name)


def _error(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
