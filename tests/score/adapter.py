#!/usr/bin/env python3
"""Turns `calltrail export calls` into the dump that the captures' own score.py reads.

adapter.py < export.ndjson > dump.ndjson

Standard library only. Nothing is judged here: names are changed, nothing else.
"""
import json
import sys


def party(identity):
    return {"name": identity["name"]}


def leg(leg):
    dumped = {"source": leg["observer"]["kind"], "sha256": leg["line_sha256"]}
    # A Worker's line holds several calls; the span says which of its records this leg is.
    if leg["span_id"]:
        dumped["span"] = leg["span_id"]
    return dumped


def call(call):
    principal = call["principal"]
    return {
        "id": call["id"],
        "caller": party(call["caller"]),
        "callee": party(call["callee"]),
        "principal": {"subject": principal["subject"]} if principal else None,
        "legs": [leg(l) for l in call["legs"]],
        "basis": call["basis"],
        "findings": [f["kind"] for f in call["findings"]],
        "parent": call["parent_id"],
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(call(json.loads(line)), separators=(",", ":")))
