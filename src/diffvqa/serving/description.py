"""The description of the server for programs, OpenAPI 3.1; answer.schema.json describes its answers."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from diffvqa.answering.answer import NOTICE
from diffvqa.answering.case import LONGEST_QUESTION
from diffvqa.serving.uploads import LARGEST_FILE

_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_RADIOGRAPH = f"PNG, JPEG or DICOM, told by its content; at most {LARGEST_FILE // 2**20} MB"
_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/error"}}}
_MEANINGS = {
    400: "The request names another server, or ends too early.",
    403: "A page of another site sent the request.",
    408: "The form did not arrive in time.",
    413: "A file is too large.",
    415: "The content is not multipart/form-data.",
    422: "A field is missing or cannot be used; the detail names it and the reason.",
    500: "Something went wrong in the server; its log says where.",
    429: "Busy with other requests; try again after the seconds in Retry-After.",
}
_ERRORS: dict[int, dict[str, Any]] = {
    status: {"description": meaning, "content": _ERROR} for status, meaning in _MEANINGS.items()
}

ERROR = {
    "type": "object",
    "required": ["detail"],
    "properties": {"detail": {"type": "string", "description": "What was expected, what was found, what to do."}},
}


def for_answers(priors: int) -> dict[str, Any]:
    """The description of a route that answers questions. priors: how many earlier radiographs the model takes."""
    prior: dict[str, Any] = {**_FILE, "description": f"The prior radiograph: {_RADIOGRAPH}."}
    if priors > 1:
        earlier = f"The prior radiographs, the nearest first, at most {priors}: {_RADIOGRAPH}."
        prior = {"type": "array", "items": _FILE, "maxItems": priors, "description": earlier}
    trusted = {"type": "boolean", "default": False}
    fields = {
        "current": {**_FILE, "description": f"The current radiograph: {_RADIOGRAPH}."},
        "prior": prior,
        "question": {
            "type": "string",
            "minLength": 1,
            "maxLength": LONGEST_QUESTION,
            "description": "The question; if not given: what has changed, or what one radiograph shows.",
        },
        "trust_order": {
            **trusted,
            "description": "Continue even if DICOM headers say that the prior is the later one.",
        },
        "trust_identity": {**trusted, "description": "Continue even if DICOM headers say that the patients differ."},
    }
    answer = {"application/json": {"schema": {"$ref": "#/components/schemas/answer"}}}
    return {
        "summary": "What has changed between two radiographs, or what one shows",
        "openapi_extra": _form(fields, "current"),
        "responses": {200: {"description": "The answer.", "content": answer}, **_ERRORS},
    }


def for_pictures() -> dict[str, Any]:
    """The description of the route that decodes a file."""
    stored = (
        "The stored orientation, in words: transposed, mirrored_x, mirrored_y, in the order that turns the image "
        "upright; sides, if the patient's right is at the left edge."
    )
    picture = {
        "description": "The pixels in 8-bit grey, as the model reads them, upright. Boxes are in pixels of the file.",
        "headers": {"Diffvqa-Stored": {"schema": {"type": "string"}, "description": stored}},
        "content": {"image/png": {}},
    }
    return {
        "summary": "A radiograph as a browser can show it",
        "openapi_extra": _form({"image": {**_FILE, "description": f"A radiograph: {_RADIOGRAPH}."}}, "image"),
        "responses": {200: picture, **_ERRORS},
    }


def describe(app: FastAPI) -> dict[str, Any]:
    """The whole description."""
    text = resources.files("diffvqa.answering").joinpath("answer.schema.json").read_text(encoding="utf-8")
    answer = json.loads(text.replace("#/$defs/", "#/components/schemas/"))
    answer.pop("$schema")
    described = get_openapi(title=app.title, version=app.version, description=NOTICE, routes=app.routes)
    described["components"] = {"schemas": {"answer": answer, "error": ERROR, **answer.pop("$defs")}}
    return described


def _form(fields: dict[str, Any], required: str) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "required": [required], "properties": fields}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
