// Keeps each {% job_progress %} on the page up to date until its job has ended: by the events that
// the server sends, or by asking once a second where it sends none.
(() => {
  "use strict";
  const [EVERY, AWAY] = [1000, 5000];
  const [FIRST, SILENT] = [10000, 40000]; // longest waits for the first event, and for the next
  const TOGETHER = 50; // jobs of one stream
  const ENDED = ["done", "failed", "cancelled", "unknown"];
  const EVENTS = "text/event-stream";
  const streams = new Set();
  let streaming = true;

  const idOf = box => box.dataset.djqueueUrl.split("/").at(-2);
  const waits = box => !ENDED.includes(box.dataset.status);

  function show(box, job) {
    const [bar, text] = [box.querySelector("progress"), box.querySelector("[role=status]")];
    box.dataset.status = job.status;
    if (job.progress) bar.value = job.progress.percent;
    if (job.status === "done") bar.value = 100;
    const value = typeof job.value === "string" ? job.value : JSON.stringify(job.value);
    const said = job.progress ? job.progress.message || `${job.progress.percent} %` : "";
    const shown = { done: job.value === null ? "" : value, failed: job.error || "" };
    text.textContent = job.status in shown ? shown[job.status] : said;
    if (!waits(box)) box.dispatchEvent(new CustomEvent("djqueue:end", { bubbles: true, detail: job }));
  }

  async function take(box, answer) {
    if (answer.ok) show(box, await answer.json());
    else if (answer.status < 500) box.dataset.status = "unknown"; // no such result, or another user's
    else throw new Error(answer.status);
  }

  const ask = async box => take(box, await fetch(box.dataset.djqueueUrl, { credentials: "same-origin" }));

  // Shows what a stream says until its end. Returns the boxes of which nothing was heard.
  async function listen(boxes) {
    const [stream, url] = [new AbortController(), new URL(boxes[0].dataset.djqueueUrl, location.href)];
    boxes.slice(1).forEach(box => url.searchParams.append("also", idOf(box)));
    let timer = setTimeout(() => { streaming = false; stream.abort(); }, FIRST); // a proxy holds it back
    streams.add(stream);
    try {
      const headers = { Accept: `${EVENTS}, application/json` };
      const answer = await fetch(url, { credentials: "same-origin", headers, signal: stream.signal });
      if (!(answer.headers.get("Content-Type") || "").startsWith(EVENTS)) {
        await take(boxes[0], answer);
        return boxes.slice(1);
      }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let text = "", part; !(part = await reader.read()).done;) {
        clearTimeout(timer);
        timer = setTimeout(() => stream.abort(), SILENT);
        const events = (text + part.value).split("\n\n");
        text = events.pop();
        for (const event of events) {
          const data = event.split("\n").find(line => line.startsWith("data: "));
          if (!data) continue; // a sign of life
          const job = JSON.parse(data.slice(6));
          boxes.filter(box => idOf(box) === job.id && waits(box)).forEach(box => show(box, job));
        }
      }
      return [];
    } catch (error) {
      if (stream.signal.aborted) return boxes.filter(waits);
      throw error;
    } finally {
      clearTimeout(timer);
      streams.delete(stream);
      stream.abort();
    }
  }

  async function follow(boxes) {
    let wait = EVERY * (1 + Math.random() / 4);
    try {
      const rest = streaming && !document.hidden ? await listen(boxes) : boxes;
      await Promise.all(rest.map(ask));
    } catch {
      wait = AWAY; // the server is away
    }
    const left = boxes.filter(waits);
    if (left.length) setTimeout(follow, wait, left);
  }

  function begin() {
    const boxes = [...document.querySelectorAll("[data-djqueue-url]")];
    while (boxes.length) follow(boxes.splice(0, TOGETHER));
  }

  // A browser has few connections to a site: a page in a hidden tab leaves them to others, and asks.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) streams.forEach(stream => stream.abort());
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
