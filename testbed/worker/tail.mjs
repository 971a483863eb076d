// A tail Worker: hands on what the runtime tells about each finished invocation.
export default {
  async tail(events, env) {
    await env.SINK.fetch("http://sink/", { method: "POST", body: JSON.stringify(events) });
  },
};
