// Follow a job by its ticket's URL:  const stop = quaff.watch(ticket.url, (job, event) => { ... });
// job is {state, progress, value | error}. event is {type, data}: "state", "progress", "log"; "value" of a task that
// yields, and "restart": forget those. It listens, or where that is refused asks again, until the job has ended.
export function watch(url, callback) {
  let job = {}, tag = '""', failures = 0, timer, source;
  const gone = new AbortController(), signal = gone.signal;

  function stop() {
    source?.close();
    clearTimeout(timer);
    gone.abort();
  }

  function tell(type, data) {
    if (signal.aborted) return;
    if (type == "state") job = data;
    if (type == "progress") job = { ...job, progress: data };
    if ("value" in job || "error" in job) stop();
    callback(job, { type, data });
  }

  function listen() {
    source = new EventSource(url + "/events");
    for (const type of ["state", "progress", "log", "value", "gap", "restart"])
      source.addEventListener(type, event => {
        clearTimeout(timer);
        tell(type, JSON.parse(event.data));
      });
    source.onerror = () => source.readyState == 2 && fallBack(); // closed: refused
    timer = setTimeout(fallBack, 5000); // something on the way keeps the events
  }

  function fallBack() {
    source.close();
    clearTimeout(timer);
    ask();
  }

  async function ask() {
    let pause, told;
    try {
      const answer = await fetch(url + "?wait=10", { headers: { "If-None-Match": tag }, signal });
      if (answer.ok || answer.status == 404) told = await answer.json();
      failures = told || answer.status == 304 ? 0 : failures + 1;
      tag = answer.headers.get("ETag") ?? tag;
      pause = answer.headers.get("Retry-After");
    } catch {
      failures++;
    }
    if (signal.aborted) return;
    timer = setTimeout(ask, Math.max(pause, 2 ** Math.min(failures, 5)) * 1000);
    if (told) tell("state", told);
  }

  globalThis.EventSource ? listen() : ask();
  return stop;
}

globalThis.quaff = { watch };
