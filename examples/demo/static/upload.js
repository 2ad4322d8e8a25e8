// The bar of one upload, live. What a job came to is rendered by the server, so the end loads that.
const at = id => document.getElementById(id);

quaff.watch(at("job").dataset.url, async job => {
  if ("value" in job || "error" in job) {
    const page = new DOMParser().parseFromString(await (await fetch(location)).text(), "text/html");
    document.title = page.title;
    return document.querySelector("main").replaceWith(page.querySelector("main"));
  }
  at("state").textContent = job.state;
  at("state").className = `state ${job.state}`;
  if (job.progress?.total) {
    const { done, total, note } = job.progress;
    at("bar").max = total;
    at("bar").value = done;
    at("note").textContent = `${done} of ${total} files${note && `: ${note}`}`;
  }
});
