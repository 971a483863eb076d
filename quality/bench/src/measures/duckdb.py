"""The work of `calltrail import`, as far as SQL over files goes: one row per request, joined by trace id, on the disk.

DuckDB keeps no raw lines, verifies no signature, judges nothing, and cannot take a line that comes later.
"""

import sys

import duckdb

directory, path = sys.argv[1:]
database = duckdb.connect(path)
database.execute(f"""
    create table worker as
    with lines as (
        select EventTimestampMs, Event, ScriptName, Outcome, WallTimeMs, Logs[1].Message[1] as head, Logs[2].Message[1] as record
        from read_json('{directory}/*-worker.ndjson.gz', format = 'newline_delimited', columns = {{
            EventTimestampMs: 'bigint', ScriptName: 'varchar', Outcome: 'varchar', WallTimeMs: 'bigint',
            Event: 'struct(RayID varchar, Request struct(URL varchar, Method varchar), Response struct(Status integer))',
            Logs: 'struct(Message varchar[])[]'}})
    )
    select head ->> 't' as trace_id, head ->> 'sub' as principal, head ->> 'kind' as principal_kind, head ->> 'd' as decision,
        head ->> 'pol' as policy, record ->> 's' as span, record ->> 'rid' as request_id, record ->> 'svc' as service,
        record ->> 'ur' as subrequest_ray, EventTimestampMs as started_ms, WallTimeMs as wall_ms, Event.RayID as ray,
        Event.Request.URL as url, Event.Response.Status as status, Outcome as outcome
    from lines
""")
database.execute(f"""
    create table mesh as
    select split_part(traceparent, '-', 2) as trace_id, *
    from read_json('{directory}/*-mesh.jsonl.gz', format = 'newline_delimited', columns = {{
        attempts: 'integer', bytes_received: 'bigint', bytes_sent: 'bigint', calltrail: 'varchar', connection_id: 'bigint',
        direction: 'varchar', downstream_direct_remote_address: 'varchar', downstream_local_address: 'varchar',
        downstream_local_uri_san: 'varchar', downstream_peer_uri_san: 'varchar', duration_ms: 'bigint', method: 'varchar',
        node_id: 'varchar', path: 'varchar', protocol: 'varchar', rbac: 'json', request_id: 'varchar', response_code: 'integer',
        response_code_details: 'varchar', response_flags: 'varchar', start_time: 'timestamp', traceparent: 'varchar',
        unique_id: 'varchar', upstream_cluster: 'varchar', upstream_host: 'varchar', upstream_local_address: 'varchar',
        upstream_local_uri_san: 'varchar', upstream_peer_uri_san: 'varchar'}})
""")
database.execute("""
    create table calls as
    select w.*, g.node_id as gateway, g.start_time as gateway_start, g.duration_ms as gateway_ms, g.upstream_host,
        g.upstream_local_address, g.upstream_peer_uri_san as asked, s.node_id as server, s.start_time, s.duration_ms, s.method, s.path,
        s.response_code, s.response_code_details, s.response_flags, s.rbac, s.attempts, s.bytes_received, s.bytes_sent,
        s.downstream_peer_uri_san as caller, s.downstream_local_uri_san as callee, s.protocol, s.connection_id, s.unique_id
    from worker w
    join mesh g on g.trace_id = w.trace_id and g.direction = '2'
    join mesh s on s.trace_id = w.trace_id and s.direction = '1'
""")
database.execute("drop table worker")
database.execute("drop table mesh")
database.execute("checkpoint")
# A question: the newest calls of somebody to something.
database.execute("""
    select * from calls
    where principal = (select principal from calls limit 1) and callee = (select callee from calls limit 1)
    order by start_time desc limit 50
""").fetchall()
print(database.execute("select count(*) from calls").fetchone()[0])
