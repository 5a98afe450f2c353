-- oldest: 1
CREATE TABLE stratarouter_executions (
    id              text PRIMARY KEY,
    request_id      text NOT NULL,
    tenant          text NOT NULL,
    family          text NOT NULL,
    route           text NOT NULL,
    started_at      timestamptz NOT NULL,
    duration        double precision,            -- seconds; NULL where no end is known
    outcome         text NOT NULL,               -- Success, or the error's reason; empty where no end is known
    status          integer,
    cache           text NOT NULL,
    pool            text NOT NULL,
    provider        text NOT NULL,
    model           text NOT NULL,
    finish_reason   text NOT NULL,
    input_tokens    bigint,
    output_tokens   bigint,
    cached_tokens   bigint,
    usage_estimated boolean NOT NULL,
    cost_usd        numeric,                     -- without scale: exact as computed
    saved_usd       numeric,
    decision        jsonb NOT NULL,
    plan            jsonb NOT NULL,
    attempts        jsonb NOT NULL
);

CREATE INDEX stratarouter_executions_by_start ON stratarouter_executions (started_at);
CREATE INDEX stratarouter_executions_by_tenant ON stratarouter_executions (tenant, started_at);

-- Of a stream: text is what it said since the checkpoint before.
CREATE TABLE stratarouter_stream_checkpoints (
    execution_id text NOT NULL,
    step         bigint NOT NULL,                -- chunks so far
    text         text NOT NULL,
    created_at   timestamptz NOT NULL,
    truncated    boolean NOT NULL,
    PRIMARY KEY (execution_id, step)
);

CREATE INDEX stratarouter_stream_checkpoints_by_time ON stratarouter_stream_checkpoints (created_at);

-- Of an app: json, not jsonb, keeps what was given as it was, escaped NUL characters and lone surrogates too.
CREATE TABLE stratarouter_checkpoints (
    execution_id text NOT NULL,
    step         bigint NOT NULL,
    data         json NOT NULL,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (execution_id, step)
);
