"""Everything an operator can set, from `ROTULO_*` variables or flags; read here and nowhere else."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, HttpUrl, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from models.catalog import SHIPPED_MODELS
from service.edge.hosts import AllowedHosts
from service.edge.rates import Rate
from service.process.cpus import available_cpus
from service.targets import DEFAULT_MS, LatencyTargets

PREFIX = "ROTULO_"
_HEADER_TOKEN = re.compile(r"[!-~]([ -~]*[!-~])?")
_RECORD_URL = re.compile(r"sqlite:///(?!:memory:)[^?]+|postgresql\+psycopg://.+")


class BadSettings(Exception):
    """One line that names the setting and says what is wrong with it."""


class Settings(BaseSettings):
    """The service's configuration. Durations are in the unit that their name ends with."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        cli_prog_name="python -m service",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
    )

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8000, ge=0, le=65535, description="port to listen on; 0 picks a free one")
    models_dir: Path = Field(default=SHIPPED_MODELS, description="directory that holds name/version/")
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="cpu, cuda or cuda:N")
    engine: Literal["auto", "torch", "openvino"] = Field(default="auto", description="what runs the network")
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="auto: the fastest whose measured loss of accuracy is allowed; no bf16 or int8 on torch",
    )
    max_accuracy_loss_points: float = Field(
        default=0.3, ge=0, le=100, description="what auto may lose against fp32, in points of accuracy"
    )
    workers: int = Field(
        default=1, ge=1, le=256, description="processes that serve, each with models and a queue of its own"
    )
    threads: int = Field(
        default_factory=available_cpus,
        ge=1,
        le=1024,
        description="threads of the network and of decoding; of each worker, which share what is not set",
    )
    latency_target_ms: str = Field(
        default=f"{DEFAULT_MS:g}",
        coerce_numbers_to_str=True,
        description="answers later than this are of no use to the callers; by model: 100,large=500",
    )
    max_batch_size: int = Field(default=32, ge=1, le=1024, description="images in one batch, at most")
    max_waiting: int = Field(default=1024, ge=1, le=1_000_000, description="images waiting, per model")
    cache_entries: int = Field(
        default=0, ge=0, le=10_000_000, description="answers kept per model; 0: none, every image is run"
    )
    max_body_bytes: int = Field(default=10_485_760, ge=1024, description="largest request body")
    max_bytes_held: int = Field(default=268_435_456, ge=1024, description="all request bodies in memory")
    body_timeout_seconds: float = Field(
        default=30, gt=0, le=3600, description="how long a request body may take to arrive"
    )
    header_timeout_seconds: float = Field(
        default=10, gt=0, le=3600, description="how long a request's headers may take to arrive"
    )
    max_header_bytes: int = Field(
        default=32_768, ge=1024, le=1_048_576, description="request line and headers together"
    )
    send_timeout_seconds: float = Field(
        default=30, gt=0, le=3600, description="how long a client may leave its answer unread"
    )
    max_pixels: int = Field(default=25_000_000, ge=1, description="largest image, width times height")
    max_images: int = Field(default=64, ge=1, le=10_000, description="images in one request")
    drain_grace_seconds: float = Field(
        default=1.0, ge=0, le=600, description="how long to answer on, not ready, before the listener closes"
    )
    drain_timeout_seconds: float = Field(
        default=30.0, gt=0, le=3600, description="how long accepted requests may take after that"
    )
    hang_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="not ready once a batch takes so long; above any batch's time",
    )
    hang_exit_seconds: float = Field(
        default=30.0, gt=0, le=86_400, description="after that, how long until the process ends with code 70"
    )
    keep_alive_seconds: int = Field(
        default=75, ge=1, le=3600, description="idle connections; above a load balancer's own timeout"
    )
    admin_token: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        default=None,
        description="bearer token of /shutdown, /admin and /v1/predictions; generated where none is set",
    )
    api_keys_file: Path | None = Field(
        default=None, description="file of name:key or name:sha256:hex lines; X-API-Key is asked for then"
    )
    metrics_need_key: bool = Field(default=False, description="ask for a key on /metrics too")
    rate_limit: str | None = Field(
        default=None, description="requests of one key, or else one address, like 100/second"
    )
    trusted_proxies: str = Field(
        default="", description="addresses or networks, by comma, whose X-Forwarded-For is believed"
    )
    allowed_hosts: str = Field(
        default="", description="names in Host that are answered, by comma, like *.example.com; none: any"
    )
    ssl_certfile: Path | None = Field(default=None, description="certificate chain in PEM; turns TLS on")
    ssl_keyfile: Path | None = Field(
        default=None, validate_default=True, description="its private key, where not in the same file"
    )
    record_url: SecretStr | None = Field(
        default=None, description="where predictions are recorded: sqlite:///FILE or postgresql+psycopg://..."
    )
    record_days: int = Field(default=90, ge=1, le=36_500, description="how long they are kept")
    record_rows: int = Field(
        default=1_000_000, ge=1, le=1_000_000_000, description="how many are kept, the newest"
    )
    record_images: bool = Field(default=False, description="record the images too, of up to 4 MiB each")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="what is less grave is not logged"
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="text for people, or json: one object a line, for machines"
    )

    otel_endpoint: HttpUrl | None = Field(
        default=None, description="URL of an OTLP/HTTP collector, like http://localhost:4318; turns traces on"
    )

    @field_validator("latency_target_ms")
    @classmethod
    def _are_targets(cls, value: str) -> str:
        LatencyTargets.parse(value)
        return value

    @field_validator("max_bytes_held")
    @classmethod
    def _room_for_one_body(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("max_body_bytes", 0):
            raise ValueError("must be at least max_body_bytes, or the largest bodies are always refused")
        return value

    @field_validator("max_images")
    @classmethod
    def _room_for_one_request(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("max_waiting", value):
            raise ValueError("must be at most max_waiting, or the largest requests are always refused")
        return value

    @field_validator("admin_token")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _HEADER_TOKEN.fullmatch(value.get_secret_value()):
            raise ValueError("must be printable ASCII, without space or a line's end around it")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None:
            Rate.parse(value)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: str) -> str:
        networks = [part.strip() for part in value.split(",") if part.strip()]
        return ",".join(str(ipaddress.ip_network(network)) for network in networks)

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: str) -> str:
        AllowedHosts(value)
        return value

    @field_validator("record_url")
    @classmethod
    def _is_of_a_database(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _RECORD_URL.fullmatch(value.get_secret_value()):
            raise ValueError("must be sqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE")
        return value

    @field_validator("ssl_keyfile")
    @classmethod
    def _fits_the_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        certificate = info.data.get("ssl_certfile")
        if certificate is None and value is not None:
            raise ValueError("needs ssl_certfile beside it")
        if certificate is not None:
            _try_to_load(certificate, value)
        return value


def _try_to_load(certificate: Path, key: Path | None) -> None:
    """Before the models are; an encrypted key would make uvicorn ask for its password on the terminal."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:  # ssl.SSLError is one
        reason = error.strerror or error
        raise ValueError(f"{certificate} with {key or 'the key in it'} cannot be used: {reason}") from error


def read_settings(arguments: Sequence[str]) -> Settings:
    """Flags first, then the environment, then the defaults; raises BadSettings in one line."""
    _refuse_unknown(os.environ)
    try:
        return Settings(_cli_parse_args=list(arguments), _cli_exit_on_error=False)  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0])
        raise BadSettings(f"{flag(name)} ({PREFIX}{name.upper()}): {first['msg']}") from error
    except SettingsError as error:
        raise BadSettings(str(error).splitlines()[0]) from error


def flag(name: str) -> str:
    """The command-line flag of a setting: `max_body_bytes` -> `--max-body-bytes`."""
    return "--" + name.replace("_", "-")


def _refuse_unknown(environment: Iterable[str]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for name in environment:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            raise BadSettings(f"{name}: no such setting")
