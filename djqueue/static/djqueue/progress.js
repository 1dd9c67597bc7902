// Keeps each {% job_progress %} on the page up to date until its job has ended.
(() => {
  "use strict";
  const EVERY = 1000;
  const ENDED = ["done", "failed", "cancelled", "unknown"];

  function show(box, job) {
    const [bar, text] = [box.querySelector("progress"), box.querySelector("[role=status]")];
    box.dataset.status = job.status;
    if (job.progress) bar.value = job.progress.percent;
    if (job.status === "done") bar.value = 100;
    const value = typeof job.value === "string" ? job.value : JSON.stringify(job.value);
    const said = job.progress ? job.progress.message || `${job.progress.percent} %` : "";
    const shown = { done: job.value === null ? "" : value, failed: job.error || "" };
    text.textContent = job.status in shown ? shown[job.status] : said;
  }

  async function look(box) {
    let wait = EVERY;
    try {
      const answer = await fetch(box.dataset.djqueueUrl, { credentials: "same-origin" });
      if (answer.ok) {
        const job = await answer.json();
        show(box, job);
        if (ENDED.includes(job.status)) {
          box.dispatchEvent(new CustomEvent("djqueue:end", { bubbles: true, detail: job }));
          return;
        }
      } else if (answer.status < 500) {
        box.dataset.status = "unknown"; // no such result, or it is not this user's
        return;
      }
    } catch {
      wait = 5 * EVERY; // the server is away
    }
    setTimeout(look, wait, box);
  }

  const begin = () => document.querySelectorAll("[data-djqueue-url]").forEach(look);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
