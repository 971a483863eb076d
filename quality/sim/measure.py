#!/usr/bin/env python3
"""measure.py DIR [DIR ...]: how long things take in a capture with ground truth, or in a simulated world, side by side.

Reads DIR/mesh/*.jsonl, DIR/http_requests.ndjson and DIR/truth.jsonl, and prints quantiles in microseconds (lines tell durations in whole
milliseconds only). The figures of src/world/distributions.rs were read off its output for the captures; run it with a simulated world as
a second directory to see how well they are met.
"""
import collections
import datetime
import json
import os
import sys

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def epoch_us(text):
    at = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp() * 1_000_000)


class Capture:
    def __init__(self, folder):
        self.folder, self.files = folder, {}
        with open(os.path.join(folder, "truth.jsonl")) as lines:
            self.calls = [json.loads(line) for line in lines]
        self.figures = collections.defaultdict(list)

    def line(self, leg):
        name = leg["file"]
        if name not in self.files:
            with open(os.path.join(self.folder, name)) as lines:
                self.files[name] = [json.loads(line) for line in lines]
        return self.files[name][leg["line"] - 1]

    def spans(self, call, *roles):
        """(start, duration, line) of each line in one of the roles, by time."""
        lines = [self.line(leg) for leg in call["lines"] if leg["role"] in roles]
        return sorted(((epoch_us(l["start_time"]), l["duration_ms"] * 1000, l) for l in lines), key=lambda s: s[0])


def sides(capture):
    """Both ends of each call: delays, retries, time at the callee."""
    figures, served = capture.figures, {}
    ids = "truth_call_id" if "truth_call_id" in capture.calls[0] else "call"
    parents = {call["parent"] for call in capture.calls}
    for call in capture.calls:
        client, server = capture.spans(call, "caller", "gateway"), capture.spans(call, "callee")
        by = "gateway" if any(leg["role"] == "gateway" for leg in call["lines"]) else call["kind"]
        if by == "http" and server and server[0][2]["protocol"] == "HTTP/2":
            by = "http2"
        if call["kind"] == "edge_call" and "http_requests.ndjson" not in "".join(l["file"] for l in call["lines"]):
            continue
        if server:
            served[call[ids]] = server[0]
        if len(client) == 1 and len(server) == 1:
            figures[f"start at the caller's proxy -> at the callee's, {by}"].append(server[0][0] - client[0][0])
            figures["end at the callee's proxy -> at the caller's (ms)"].append(sum(client[0][:2]) - sum(server[0][:2]))
        for failed, again in zip(server, server[1:]):
            figures["retry: end of the attempt -> start of the next"].append(again[0] - sum(failed[:2]))
        answered = server and server[0][2]["response_code"] == 200 and server[0][1] < 400_000
        if answered and call[ids] not in parents and call["kind"] in ("http", "http2", "edge_call"):
            figures["service that calls nobody (ms)"].append(server[0][1])
        if call["kind"] == "tcp" and server:
            figures["TCP conversation (ms)"].append(server[0][1])
    return ids, served


def causes(capture, ids, served):
    """What a call causes, within it."""
    figures, children = capture.figures, collections.defaultdict(list)
    for call in capture.calls:
        if call["parent"] in served:
            children[call["parent"]] += capture.spans(call, "caller")[:1]
    for parent, spans in children.items():
        start, duration, _ = served[parent]
        spans = sorted((s for s in spans if s[0] <= start + duration + 1_000), key=lambda s: s[0])
        if not spans:
            continue
        figures["start of a call -> start of the first that it causes"].append(spans[0][0] - start)
        figures["end of the last call caused -> end of the cause (ms)"].append(start + duration - max(sum(s[:2]) for s in spans))
        for one, other in zip(spans, spans[1:]):
            gap = other[0] - sum(one[:2])
            name = "one after the other: end -> start" if gap > -500 else "at the same time: start -> start"
            figures[name].append(gap if gap > -500 else other[0] - one[0])


def edge(capture):
    figures, starts = capture.figures, []
    for call in capture.calls:
        if call["kind"] == "edge":
            starts.append(call.get("start_us") or call["start_ms"] * 1000)
        gateway = capture.spans(call, "gateway")
        zone = [capture.line(leg) for leg in call["lines"] if leg["role"] == "zone"]
        if gateway and zone:
            start, duration, _ = gateway[0]
            figures["zone -> gateway (start)"].append(start - epoch_us(zone[0]["EdgeStartTimestamp"]))
            figures["gateway -> zone (end, ms)"].append(epoch_us(zone[0]["EdgeEndTimestamp"]) - start - duration)
    starts.sort()
    figures["visitor -> next visitor"] = [b - a for a, b in zip(starts, starts[1:])]


def connections(capture):
    uses = collections.Counter()
    for file, lines in capture.files.items():
        for line in lines:
            if line.get("direction") == "2" and line["upstream_local_address"] and line["protocol"] == "HTTP/1.1":
                uses[file, line["upstream_host"], line["upstream_local_address"]] += 1
    capture.figures["requests per upstream connection, HTTP/1.1"] = list(uses.values())
    paths = collections.Counter((c["callee"], c.get("path")) for c in capture.calls if c["kind"] != "edge")
    capture.figures["calls per callee and path"] = list(paths.values())


def main():
    captures = [Capture(folder) for folder in sys.argv[1:]] or sys.exit(__doc__)
    for capture in captures:
        ids, served = sides(capture)
        causes(capture, ids, served)
        edge(capture)
        connections(capture)
    print(f"{'':58}{'n':>7}" + "".join(f"{'p' + format(q * 100, 'g'):>11}" for q in QUANTILES))
    for name in sorted({name for capture in captures for name in capture.figures}):
        label = f"{name[:56]:58}"
        for capture in captures:
            values = sorted(capture.figures.get(name, []))
            if values:
                row = [values[min(len(values) - 1, int(q * len(values)))] for q in QUANTILES]
                print(f"{label}{len(values):7}" + "".join(f"{value:11,.0f}" for value in row))
                label = " " * 58


main()
