"""The images in a request body: raw, multipart, or base64 in JSON."""

from __future__ import annotations

import base64
import binascii

from service import strict_json
from service.errors import MalformedRequest
from service.multipart import form_files, is_form


def images_of(content_type: str, body: bytes, max_images: int) -> tuple[list[bytes], bool]:
    """The encoded images of a request, and whether they are to be answered as a list.

    One among several may be empty, and has its own error then. Raises MalformedRequest.
    """
    if is_form(content_type):
        images = [file.content for file in form_files(content_type, body, max_images)]
        is_list = len(images) > 1
    elif content_type.partition(";")[0].strip().lower() == "application/json":
        images, is_list = _json_images(body, max_images)
    else:  # the image's own first bytes tell what it is, whatever the header says
        images, is_list = [body], False
    if not any(images):
        raise MalformedRequest("the request holds no image, or an empty one")
    if len(images) > max_images:
        raise MalformedRequest(f"more than {max_images} images in one request")
    return images, is_list


def _json_images(body: bytes, max_images: int) -> tuple[list[bytes], bool]:
    # Base64 has no quotes, brackets or commas, so a document that could be ours has few; another one would
    # hold the event loop for seconds.
    if (
        body.count(b'"') > 2 * max_images + 4
        or body.count(b",") > max_images + 1
        or body.count(b"[") > 1
        or body.count(b"{") > 1
    ):
        raise MalformedRequest("the JSON is not of a form that is read here, or holds too many images")
    match strict_json.parse(body):
        case {"image": str(image), **rest} if not rest:
            return [_base64(image)], False
        case {"images": list(images), **rest} if not rest and all(isinstance(each, str) for each in images):
            return [_base64(image) for image in images], True
    raise MalformedRequest('the body must be {"image": BASE64} or {"images": [BASE64, ...]}')


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequest("an image is not valid base64") from error
