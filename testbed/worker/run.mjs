// Runs the Worker of edge.mjs in the real Workers runtime, sends it three visitors, and prints one JSON object:
// `lines`, what Logpush would upload of them (dataset workers_trace_events), and `upstream`, the headers that the callee saw.
import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { join, relative } from "node:path";
import { pathToFileURL } from "node:url";

const packages = process.env.CALLTRAIL_TEST_NODE_MODULES;
const { Miniflare, Response } = createRequire(join(packages, "/"))("miniflare");
const joseFolder = join(packages, "jose/dist/webapi");
const { exportJWK, generateKeyPair, SignJWT } = await import(pathToFileURL(join(joseFolder, "index.js")));

const ISSUER = "https://idp.example.com/";
const AUDIENCE = "calltrail-edge";

// --- the callee, who tells what reached it
const upstream = [];
const callee = http.createServer((request, response) => {
  upstream.push(request.headers);
  response.end("ok");
});
await new Promise((listening) => callee.listen(0, "127.0.0.1", listening));

// --- visitors' tokens
const { publicKey, privateKey } = await generateKeyPair("ES256");
const jwk = { ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256" };
const token = (scope) =>
  new SignJWT({ scope }).setProtectedHeader({ alg: "ES256", kid: "k1" }).setIssuer(ISSUER).setAudience(AUDIENCE)
    .setSubject("alice@example.com").setIssuedAt().setExpirationTime("5m").sign(privateKey);

// --- the runtime
const events = [];
let arrived = () => {};
const sink = async (request) => {
  events.push(...(await request.json()));
  arrived();
  return new Response("ok");
};
const here = (name) => readFileSync(new URL(name, import.meta.url), "utf8");
const module = (path, contents) => ({ type: "ESModule", path, contents });
const jose = readdirSync(joseFolder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".js"))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .map((path) => module(`jose/${relative(joseFolder, path)}`, readFileSync(path, "utf8")));
const compatibilityDate = "2026-04-01";
const runtime = new Miniflare({
  // What the Workers log reaches us by the tail; standard output is for the result.
  handleRuntimeStdio: (out, err) => { out.resume(); err.pipe(process.stderr); },
  workers: [
    {
      name: "edge",
      compatibilityDate,
      modules: [module("edge.mjs", here("edge.mjs")), ...jose],
      bindings: {
        JWKS: { keys: [jwk] }, ISSUER, AUDIENCE, TRAIL_KEY: "a-key-for-tests",
        GATEWAY: `http://127.0.0.1:${callee.address().port}`,
      },
      tails: ["tail"],
    },
    { name: "tail", compatibilityDate, modules: [module("tail.mjs", here("tail.mjs"))], serviceBindings: { SINK: sink } },
  ],
});
const edge = await runtime.ready;

// --- the visitors, one after the other; each is done when the runtime has told about it
const visit = async (ray, headers) => {
  const told = new Promise((resolve) => { arrived = resolve; });
  const response = await fetch(new URL("/orders", edge), { headers: { "cf-ray": `${ray}-AMS`, ...headers } });
  await response.text();
  await told;
};
await visit("9e1a000000000001", { authorization: `Bearer ${await token("orders:read")}` });
await visit("9e1a000000000002", { authorization: `Bearer ${await token("nothing")}` });
await visit("9e1a000000000003", {});

// --- as Logpush spells it (developers.cloudflare.com, dataset workers_trace_events)
const logpush = (event) => ({
  CPUTimeMs: event.cpuTime,
  DispatchNamespace: event.dispatchNamespace ?? "",
  Entrypoint: event.entrypoint ?? "",
  Event: {
    RayID: event.event.request.headers["cf-ray"].split("-")[0],
    Request: { URL: event.event.request.url, Method: event.event.request.method },
    Response: { Status: event.event.response?.status },
  },
  EventTimestampMs: event.eventTimestamp,
  EventType: "fetch",
  Exceptions: event.exceptions.map((e) => ({ Name: e.name, Message: e.message, TimestampMs: e.timestamp })),
  Logs: event.logs.map((log) => ({ Level: log.level, Message: log.message, TimestampMs: log.timestamp })),
  Outcome: event.outcome,
  ScriptName: event.scriptName ?? "edge",
  ScriptTags: [],
  ScriptVersion: { ID: event.scriptVersion?.id ?? "", Message: "", Tag: "" },
  WallTimeMs: event.wallTime,
});
console.log(JSON.stringify({ lines: events.map((event) => JSON.stringify(logpush(event))), upstream }));
await runtime.dispose();
callee.close();
