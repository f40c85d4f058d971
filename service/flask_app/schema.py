"""The Flask routes as the OpenAPI page shows them, since mounted routes do not describe themselves."""

from __future__ import annotations

from typing import Any

_FILE = {"type": "string", "format": "binary"}
_FILES = {"type": "array", "items": _FILE, "minItems": 1}
_PREDICTION = {
    "type": "object",
    "required": ["category", "category_index", "confidence"],
    "properties": {
        "category": {"type": "string"},
        "category_index": {"type": "integer", "minimum": 0},
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
    },
}
_PREDICTIONS = {
    "type": "object",
    "required": ["predictions"],
    "properties": {
        "predictions": {
            "type": "array",
            "items": {"anyOf": [_PREDICTION, {"$ref": "#/components/schemas/Error"}]},
        }
    },
}
_STATUS = {
    "type": "object",
    "required": ["status", "confidence"],
    "properties": {
        "status": {"enum": ["aberta", "fechada"], "description": "the likelier of the two"},
        "confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "its probability, calibrated, among open, closed and unknown",
        },
        "incerto": {"const": True, "description": "present where the model cannot tell"},
    },
}
_SHUTTING_DOWN = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string"}},
}


def _multipart(fields: dict[str, Any], **rules: Any) -> dict[str, Any]:
    """A required form of these fields."""
    schema = {"type": "object", "properties": fields, **rules}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


# Path -> method -> operation; `service.contract` adds the errors.
FLASK_OPERATIONS: dict[str, Any] = {
    "/predict": {
        "post": {
            "tags": ["Flask"],
            "operationId": "flask_predict",
            "summary": "Classify for clients of the old CIFAR-10 service",
            "description": "Files in the field `file` (or `image`), answered in order. A bad one among "
            "several carries its own `error`; alone, its error is the response's status.",
            "requestBody": _multipart(
                {"file": _FILES, "image": _FILES}, anyOf=[{"required": ["file"]}, {"required": ["image"]}]
            ),
            "responses": {
                "200": {
                    "description": "an answer for every file, in order",
                    "content": {
                        "application/json": {
                            "schema": _PREDICTIONS,
                            "example": {
                                "predictions": [{"category": "cat", "category_index": 3, "confidence": 0.97}]
                            },
                        }
                    },
                }
            },
        }
    },
    "/classificar": {
        "post": {
            "tags": ["Flask"],
            "operationId": "flask_classificar",
            "summary": "Is the bottle open? For clients of the old bottle service",
            "description": "One file in the field `image`. Errors are in Portuguese.",
            "requestBody": _multipart({"image": _FILE}, required=["image"]),
            "responses": {
                "200": {
                    "description": "open or closed",
                    "content": {
                        "application/json": {
                            "schema": _STATUS,
                            "example": {"status": "fechada", "confidence": 0.998},
                        }
                    },
                }
            },
        }
    },
    "/shutdown": {
        "post": {
            "tags": ["Flask"],
            "operationId": "flask_shutdown",
            "summary": "A controlled stop",
            "description": "Not ready at once; what was accepted is answered; then the process ends with 0.",
            "security": [{"AdminToken": []}],
            "responses": {
                "202": {
                    "description": "stopping",
                    "content": {
                        "application/json": {
                            "schema": _SHUTTING_DOWN,
                            "example": {"status": "shutting down"},
                        }
                    },
                }
            },
        }
    },
}
