// A Worker at the edge, for tests/real_worker.rs: checks the visitor's token, decides, calls a service of the mesh, and logs
// what docs/wire.md asks for: a head before anything else, and one slim record for each subrequest. Each record is one string,
// because the order of several arguments is not kept on the way.
import { createLocalJWKSet, jwtVerify } from "./jose/index.js";

const VERSION = 1;
const POLICIES = { "/orders": { name: "orders-read", scope: "orders:read", service: "orders" } };

export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const trail = new Trail(request);
    const policy = POLICIES[url.pathname];
    const who = await authenticate(request, env);
    if (!who.sub) return trail.head(who, "deny", "authn", who.why, new Response("unauthorized", { status: 401 }));
    if (!policy || !who.scopes.includes(policy.scope)) {
      return trail.head(who, "deny", policy?.name ?? "default-deny", "scope", new Response("forbidden", { status: 403 }));
    }
    trail.head(who, "allow", policy.name);
    const answer = await trail.call(env, ctx, policy.service, `${env.GATEWAY}${url.pathname}`);
    return new Response(await answer.text(), { status: answer.status });
  },
};

class Trail {
  constructor(request) {
    this.trace = hex(16);
    this.span = hex(8);
    this.ray = request.headers.get("cf-ray")?.split("-")[0];
    this.sequence = 0;
  }

  // Who, and by whose leave. Logged before the first subrequest: should the Worker be stopped later, this much is known.
  head(who, decision, policy, why, response) {
    this.who = who;
    const { iss, sub, kind } = who;
    this.log({ k: "h", w: this.span, ray: this.ray, iss, sub, kind, d: decision, pol: policy, why });
    return response;
  }

  // A subrequest with a span of its own, told to the callee by traceparent and by the signed header.
  async call(env, ctx, service, target) {
    const span = hex(8);
    const started = Date.now();
    const requestId = crypto.randomUUID();
    const url = new URL(target);
    const principal = `${this.who.kind}:${this.who.sub}`;
    const signature = await sign(env.TRAIL_KEY, `${this.trace}.${span}.${principal}.${started}`);
    const headers = {
      traceparent: `00-${this.trace}-${span}-01`,
      "x-request-id": requestId,
      "x-calltrail-principal": `v1;c=${this.trace}-${span};p=${principal};t=${started};m=${signature}`,
    };
    const record = { k: "c", s: span, rid: requestId, svc: service, host: url.host, m: "GET", p: url.pathname, ts: started };
    const done = (more) => this.log({ ...record, ms: Date.now() - started, ...more });
    const answered = fetch(target, { headers }).then(
      (response) => {
        done({ st: response.status, ur: response.headers.get("cf-ray")?.split("-")[0] });
        return response;
      },
      (error) => {
        done({ st: 0, err: String(error?.message ?? error).slice(0, 120) });
        throw error;
      },
    );
    // Lives on when the visitor has gone.
    ctx.waitUntil(answered.catch(() => {}));
    return answered;
  }

  log(record) {
    console.log(JSON.stringify({ ct: VERSION, t: this.trace, ...record, q: this.sequence++ }));
  }
}

// The subject is never logged: only its keyed hash, together with the issuer's name.
async function authenticate(request, env) {
  const token = request.headers.get("authorization")?.replace(/^Bearer /i, "");
  if (!token) return { why: "no_token" };
  try {
    const checks = { issuer: env.ISSUER, audience: env.AUDIENCE };
    const { payload } = await jwtVerify(token, createLocalJWKSet(env.JWKS), checks);
    const sub = await sign(env.TRAIL_KEY, `${payload.iss}\0${payload.sub}`);
    return { iss: payload.iss, sub, kind: "user", scopes: payload.scope?.split(" ") ?? [] };
  } catch (error) {
    return { why: error.code ?? "verify_error" };
  }
}

async function sign(key, text) {
  const bytes = (s) => new TextEncoder().encode(s);
  const secret = await crypto.subtle.importKey("raw", bytes(key), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const mac = new Uint8Array(await crypto.subtle.sign("HMAC", secret, bytes(text)));
  const base64 = btoa(String.fromCharCode(...mac)).replaceAll("+", "-").replaceAll("/", "_");
  return base64.slice(0, 22);
}

function hex(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
