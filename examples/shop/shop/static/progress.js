// The bar of one upload: it follows the job until its end, and then the server shows what came of it.
import { watch } from "/jobs/quaff.js";

const bar = document.querySelector("progress"), state = document.getElementById("state");

watch(bar.dataset.job, job => {
  if (job.progress) bar.value = job.progress.done;
  if ("value" in job) location.reload();
  if ("error" in job) state.textContent = `It failed: ${job.error.message}`;
});
