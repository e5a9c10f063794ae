"""Every setting of the server, declared once: flag, environment variable, key of the TOML file, and help."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gatehouse_server.setting_types import (
    Count,
    Folders,
    Milliseconds,
    Names,
    Port,
    Seconds,
    SecondsOrNone,
)

ENVIRONMENT_PREFIX = "GATEHOUSE_"

FILE_KEY = "_from_file"
"""Of the arguments of `Settings`: what the file says."""


class Settings(BaseSettings):
    """What the server can be told. Units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=False
    )

    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address of the gRPC port; 0.0.0.0 for all."
    )
    port: Port = Field(default=50_051, description="gRPC port; 0 takes a free one.")
    http_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address of the HTTP port (metrics and probes); :: for all.",
    )
    http_port: Port = Field(default=8080, description="HTTP port; 0 takes a free one.")
    admin_host: str = Field(
        default="127.0.0.1", min_length=1, description="Address of the gRPC port for operators."
    )
    admin_port: Port = Field(default=50_052, description="gRPC port for operators; 0 takes a free one.")

    models: Folders = Field(
        default=(), description="Folder that holds <name>/<version>/; may be given several times."
    )
    embedded_models: bool = Field(
        default=True, description="Serve the models that come with the package too."
    )
    require_models: Names = Field(
        default=(),
        description="Model (name or name@version) without which the server is not ready; several times.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to compute: auto takes a GPU when there is one."
    )
    threads: Count = Field(
        default=1,
        description="Threads that compute parts of a large online tick beside each other, on a CPU; each takes a core.",
    )
    precision: Literal["float32", "int8", "bfloat16", "float16"] = Field(
        default="float32",
        description="Of factors in matrix products: int8 is smaller and less exact, on a CPU faster; "
        "bfloat16 and float16 are for a GPU.",
    )
    tf32: bool = Field(
        default=False,
        description="On a GPU, round the factors of float32 products to 10 bits: faster, and other answers.",
    )
    reproducible: bool = Field(
        default=False,
        description="Answers that do not depend on the batch to the bit, also where that takes longer: on a GPU. "
        "On a CPU they do not anyway, wherever that could be proved.",
    )
    fold_limit_bytes: int = Field(
        default=201_326_592, ge=0, description="Most bytes of precomputed input tables per model."
    )

    max_sessions: Count = Field(
        default=1_000_000, description="Most sessions that the server knows, wherever they are."
    )
    max_live_sessions: Count = Field(
        default=10_000, description="Most sessions in the state table; the least recently used ones leave it."
    )
    max_resident_sessions: Count = Field(
        default=100_000, description="Most sessions in memory when there is a state store to move others to."
    )
    session_idle_seconds: Seconds = Field(
        default=3600.0, description="A session not used for this long ends, seconds."
    )
    session_rest_seconds: Seconds = Field(
        default=60.0, description="A session not used for this long leaves the state table, seconds."
    )
    state_store: str = Field(
        default="memory",
        min_length=1,
        description="What keeps sessions: memory, sqlite:PATH, redis://HOST:PORT/DB or rediss://...",
    )
    durability: Literal["async", "sync"] = Field(
        default="async",
        description="With a state store: answer writes at once and store them a moment later, or store first.",
    )
    store_interval_seconds: Seconds = Field(
        default=0.05, description="Least time between two writes to the store, seconds (async)."
    )
    max_store_lag_seconds: Seconds = Field(
        default=60.0, description="Refuse writes when the oldest one not stored is older, seconds (async)."
    )
    store_tokens: bool = Field(
        default=True,
        description="Keep tapes in the state store; without them a session that comes back can only go on.",
    )
    export_key: str = Field(
        default="",
        description="Key that seals exported sessions, the same for all servers that exchange them; "
        "by default one that the state store keeps, or of this process alone.",
    )
    recent_writes: Count = Field(
        default=8, description="Writes of a session that may be unanswered, and that can be answered again."
    )
    max_write_steps: Count = Field(default=4096, description="Most steps of one write.")
    max_tape_steps: Count = Field(default=1_000_000, description="Most steps that a session remembers.")
    max_text_bytes: Count = Field(default=65_536, description="Most bytes of a text in one online operation.")
    max_generated_steps: Count = Field(
        default=1024, description="Most steps that one Generate call may ask for."
    )
    max_alternatives: Count = Field(default=16, description="Most continuations of one Generate call.")
    max_continuations: Count = Field(
        default=256, description="Continuations of all Generate calls that may be under way."
    )
    max_sessions_per_tick: Count = Field(default=256, description="Most sessions in one online batch.")
    chunk_steps: Count = Field(default=16, description="Most steps of one write in one tick.")
    online_latency_target_ms: Milliseconds = Field(
        default=3.0,
        description="Documents hold up sessions only so far that these are answered within this time, milliseconds.",
    )

    max_document_steps: Count = Field(default=100_000, description="Most steps of a document.")
    max_document_bytes: Count = Field(
        default=4_194_304, description="Most bytes of a document, all parts together."
    )
    max_document_output_bytes: Annotated[int, Field(gt=0, le=16_711_680)] = Field(
        default=8_388_608, description="Most bytes of a document's result."
    )
    max_output_steps: Count = Field(default=512, description="Most tokens of what a transducer writes.")
    max_beam_size: Annotated[int, Field(gt=0, le=1024)] = Field(
        default=32, description="Most hypotheses that a transducer may be asked to follow."
    )
    batch_tokens: Count = Field(default=65_536, description="Most steps in one batch of documents.")
    max_documents_in_flight_per_stream: Count = Field(
        default=256, description="Documents of one call that may be under way before it is read no further."
    )

    max_queued_operations: Count = Field(
        default=16_384,
        description="Operations of all calls that may wait for an answer, and as many documents.",
    )
    max_operations_in_flight_per_stream: Count = Field(
        default=1024,
        description="Operations of one stream that may be under way before it is read no further.",
    )

    max_connection_age_seconds: SecondsOrNone = Field(
        default=0.0,
        description="A users' connection older than this is asked to end, so that its client may reach another server, "
        "seconds; 0 for never.",
    )
    max_connection_age_grace_seconds: SecondsOrNone = Field(
        default=60.0, description="How long calls on such a connection may go on, seconds."
    )
    drain_delay_seconds: SecondsOrNone = Field(
        default=0.0,
        description="How long after SIGTERM work is still taken, while readiness says no, seconds: "
        "as long as load balancers take to notice.",
    )
    drain_grace_seconds: Seconds = Field(
        default=20.0, description="How long running work may take to finish after that, seconds."
    )
    stuck_turn_seconds: Seconds = Field(
        default=60.0, description="A turn of the engine longer than this fails /healthz, seconds."
    )
    traces: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Traces of calls, sent where the OTEL_* variables say; auto is on when these name an exporter or "
        "an endpoint. Needs the extra `otel`.",
    )
    trace_stream_seconds: SecondsOrNone = Field(
        default=1.0,
        description="Of a traced stream, one operation or document has a span each so many seconds; 0 for all of them.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto", description="auto is text on a terminal, else JSON."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level to log."
    )
    log_user_text: bool = Field(
        default=False,
        description="For debugging: tracebacks with all that exceptions say, which may quote what users wrote.",
    )

    @field_validator("models", "require_models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """The environment has lists as one text, separated by commas."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line, the environment, and the file, given among the first under FILE_KEY."""
        assert isinstance(init_settings, InitSettingsSource)
        given = dict(init_settings.init_kwargs)
        from_file = given.pop(FILE_KEY, {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=given),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=from_file),
        )


def flag_of(name: str) -> str:
    """The flag for a field: `--max-sessions`."""
    return "--" + name.replace("_", "-")


def variable_of(name: str) -> str:
    """The environment variable for a field: `GATEHOUSE_MAX_SESSIONS`."""
    return ENVIRONMENT_PREFIX + name.upper()
