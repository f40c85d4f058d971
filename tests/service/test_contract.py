"""The OpenAPI document says what the service does: asked with what the document itself makes up."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.contract import ERRORS
from service.edge.access import PROBES
from service.flask_app.routes import flask_app
from service.native import admin_routes, payloads
from service.record import routes
from service.v2 import schema as v2_schema
from tests.conftest import SAMPLES
from tests.live import LiveService, multipart

FEW = settings(
    max_examples=20, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
# What is an image and what is none, no schema can say: whether a made-up body is accepted is not judged.
IMAGES = (positive_data_acceptance, negative_data_rejection)
WITH_IMAGES = [path for path in ERRORS if path.endswith(("/predict", "/infer", "/classificar"))]
CASES = [(path, GenerationMode.POSITIVE) for path in ERRORS] + [
    (path, GenerationMode.NEGATIVE) for path in WITH_IMAGES
]
WITH_TOKEN = ("/shutdown", "/admin", "/v1/predictions")
PARAMETERS = {"model": "cifar10", "version": "1"}


@pytest.fixture(scope="module")
def schema(live: LiveService) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{live.port}/openapi.json")


@pytest.fixture(scope="module")
def document(live: LiveService) -> dict[str, Any]:
    return live.request("GET", "/openapi.json").json()  # type: ignore[no-any-return]


def assert_as_described(case: Any, *unjudged: Any) -> Any:
    """Status, content type, headers and body are ones that the document has for the operation.

    503 and 504 are answers too, and described: a caller may ask for an answer within 1 ms.
    """
    response = case.call_and_validate(excluded_checks=[not_a_server_error, *unjudged])
    assert response.status_code != 500
    return response


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_every_answer_is_one_that_the_document_describes(
    schema: Any, path: str, mode: GenerationMode
) -> None:
    for operation in schema[path].values():

        @FEW
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            assert_as_described(case, *(IMAGES if path in WITH_IMAGES else ()))

        check()


@pytest.mark.parametrize("path", [path for path in ERRORS if not path.startswith(WITH_TOKEN)])
def test_a_model_that_is_there_is_answered_as_described_with_the_documents_own_example(
    schema: Any, document: dict[str, Any], path: str
) -> None:
    for method, operation in schema[path].items():
        parameters = {name: value for name, value in PARAMETERS.items() if f"{{{name}}}" in path}
        content = document["paths"][path][method].get("requestBody", {}).get("content", {})
        if "multipart/form-data" in content and "application/json" not in content:
            continue  # a file has no example
        body = {"body": content["application/json"]["example"]} if content else {}
        media_type = {"media_type": "application/json"} if content else {}
        case = operation.Case(path_parameters=parameters, **body, **media_type)
        assert assert_as_described(case).status_code == 200


@pytest.mark.parametrize("path", ERRORS)
def test_a_method_that_is_not_described_is_not_allowed_and_the_answer_says_which_are(
    live: LiveService, document: dict[str, Any], path: str
) -> None:
    allowed = {method.upper() for method in document["paths"][path]}
    where = path.format(**PARAMETERS)
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - allowed:
        response = live.request(method, where)
        assert response.status == 405, method
        assert set(response.headers["allow"].split(", ")) & allowed


@pytest.mark.parametrize("path", ERRORS)
def test_a_slash_too_many_is_not_found_and_leads_to_no_other_host(live: LiveService, path: str) -> None:
    for method in ("GET", "POST"):
        response = live.request(method, f"{path.format(**PARAMETERS)}/", headers={"Host": "evil.example"})
        assert response.status == 404
        assert "location" not in response.headers


@pytest.mark.parametrize("name", ["cat.jpg", "cat-32.png", "cat-face.webp"])
def test_one_image_gets_one_answer_from_every_protocol(live: LiveService, name: str) -> None:
    image = (SAMPLES / name).read_bytes()
    native = live.request("POST", "/v1/models/cifar10/predict", image).json()
    (flask,) = live.request("POST", "/predict", *multipart(("file", image))).json()["predictions"]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    answer = live.request("POST", "/v2/models/cifar10/infer", json.dumps({"inputs": [tensor]})).json()
    v2 = {output["name"]: output["data"][0] for output in answer["outputs"]}
    assert (flask["category"], flask["category_index"]) == (native["label"], native["index"])
    assert flask["confidence"] == native["confidence"]
    assert (v2["label"], v2["index"], v2["uncertain"]) == (
        native["label"],
        native["index"],
        native["uncertain"],
    )
    assert round(v2["confidence"], 6) == native["confidence"]


def test_every_route_is_described_and_every_described_path_has_its_errors(
    live: LiveService, document: dict[str, Any]
) -> None:
    rules = {rule.rule for rule in flask_app(live.service).url_map.iter_rules()}
    assert rules <= set(document["paths"])
    assert set(document["paths"]) == set(ERRORS)


def test_a_key_can_be_sent_wherever_keys_are_asked_for_and_need_not_be(document: dict[str, Any]) -> None:
    key = {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert document["components"]["securitySchemes"]["ApiKey"] == key
    for path, operations in document["paths"].items():
        optional: list[Any] = [] if path in PROBES else [{}, {"ApiKey": []}]
        for operation in operations.values():
            token = path.startswith(WITH_TOKEN)
            assert operation.get("security", []) == ([{"AdminToken": []}] if token else optional), path


def test_every_operation_has_an_example_of_its_answer_and_of_each_error(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            for status, response in operation["responses"].items():
                for media_type, content in response["content"].items():
                    assert has_example(document, content), f"{path} {status} {media_type}"


def has_example(document: dict[str, Any], content: dict[str, Any]) -> bool:
    """Beside the schema, or in the schema of each of its alternatives."""
    if "example" in content or "examples" in content:
        return True
    return any(
        "examples" in document["components"]["schemas"][each["$ref"].rpartition("/")[2]]
        for each in content["schema"].get("anyOf", [content["schema"]])
        if "$ref" in each
    )


def test_the_examples_are_of_the_form_that_they_show() -> None:
    for shown in (
        *vars(payloads).values(),
        *vars(v2_schema).values(),
        *vars(admin_routes).values(),
        *vars(routes).values(),
    ):
        extra = getattr(shown, "model_config", {}).get("json_schema_extra", {"examples": []})
        for example in extra["examples"]:
            shown.model_validate(example)


def test_native_errors_are_problem_documents_and_the_others_have_their_clients_shape(
    document: dict[str, Any],
) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            kinds = {
                kind
                for status, response in operation["responses"].items()
                for kind in response["content"]
                if status >= "400" and path != "/readyz"
            }
            native = path.startswith(("/v1", "/admin", "/metrics"))
            assert kinds <= {"application/problem+json" if native else "application/json"}, path
