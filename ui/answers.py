"""Each image is asked about once, however often the page is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ui.client import Answer, ClientError, Model, ServiceClient
from ui.pictures import Picture, thumbnail

Key = tuple[str, str, str]  # model, version, digest of the image


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer and a small copy of its image, or the reason why there is none."""

    result: Answer | ClientError
    preview: bytes | None = field(default=None, repr=False)


class Answers:
    """What is known of the images on the page; one per session."""

    def __init__(self) -> None:
        self._known: dict[Key, Outcome] = {}

    def of(self, client: ServiceClient, model: Model, pictures: Sequence[Picture]) -> list[Outcome]:
        """An outcome for each; asks about those that are new, and forgets the ones that are gone."""
        keys = [(model.name, model.version, picture.digest) for picture in pictures]
        new = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._known}
        results = client.classify_all(model.name, [picture.content for picture in new.values()])
        for (key, picture), result in zip(new.items(), results, strict=True):
            answered = isinstance(result, Answer)
            self._known[key] = Outcome(result, thumbnail(picture.content) if answered else None)
        self._known = {key: self._known[key] for key in keys}
        return [self._known[key] for key in keys]

    def any_retryable(self) -> bool:
        return any(_is_retryable(outcome) for outcome in self._known.values())

    def forget_retryable(self) -> None:
        """Those are asked about again at the next drawing."""
        self._known = {key: each for key, each in self._known.items() if not _is_retryable(each)}


def _is_retryable(outcome: Outcome) -> bool:
    return isinstance(outcome.result, ClientError) and outcome.result.retryable
