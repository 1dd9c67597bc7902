// Keeps each {% job_progress %} on the page up to date until its job has ended: by the events that
// the server sends, or by asking once a second where it sends none.
(() => {
  "use strict";
  const [EVERY, HIDDEN] = [1000, 15000]; // between two questions, and those of a hidden tab
  const [AWAY, LONGEST] = [5000, 60000]; // first and longest wait for a server that is away
  const [FIRST, SILENT] = [10000, 40000]; // longest waits for the first event, and for the next
  const AGAIN = 30000; // until a page that was not given a stream tries it again
  const TOGETHER = 50; // jobs of one stream
  const ENDED = ["done", "failed", "cancelled", "unknown"];
  const GONE = [401, 403, 404, 410]; // no such result, or another user's
  const EVENTS = "text/event-stream";
  const [streams, sleeping] = [new Set(), new Set()];
  let streamsFrom = 0;

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
    else if (!GONE.includes(answer.status)) throw new Error(answer.status); // it may be better later
    else show(box, { id: idOf(box), status: "unknown", progress: null, value: null, error: null, finished_at: null });
  }

  const ask = async box => take(box, await fetch(box.dataset.djqueueUrl, { credentials: "same-origin" }));

  // Shows what a stream says until its end. Returns the boxes of which nothing was heard.
  async function listen(boxes) {
    const [stream, url] = [new AbortController(), new URL(boxes[0].dataset.djqueueUrl, location.href)];
    boxes.slice(1).forEach(box => url.searchParams.append("also", idOf(box)));
    let timer = setTimeout(() => { streamsFrom = Infinity; stream.abort(); }, FIRST); // a proxy holds it back
    streams.add(stream);
    try {
      const headers = { Accept: `${EVENTS}, application/json` };
      const answer = await fetch(url, { credentials: "same-origin", headers, signal: stream.signal });
      if (!(answer.headers.get("Content-Type") || "").startsWith(EVENTS)) {
        if (answer.ok) streamsFrom = Date.now() + AGAIN; // there is no room, or no ASGI
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

  // Ends early when a hidden tab is seen again.
  const sleep = wait => new Promise(resolve => {
    const wake = () => { clearTimeout(timer); sleeping.delete(wake); resolve(); };
    const timer = setTimeout(wake, wait);
    sleeping.add(wake);
  });

  async function follow(boxes) {
    for (let away = AWAY; boxes.length; boxes = boxes.filter(waits)) {
      let wait = EVERY * (1 + Math.random() / 4); // pages that a server ended together come back apart
      try {
        const rest = Date.now() >= streamsFrom && !document.hidden ? await listen(boxes) : boxes;
        await Promise.all(rest.map(ask));
        away = AWAY;
      } catch {
        wait = away * (0.5 + Math.random());
        away = Math.min(2 * away, LONGEST);
      }
      if (boxes.some(waits)) await sleep(document.hidden ? Math.max(wait, HIDDEN) : wait);
    }
  }

  function begin() {
    const boxes = [...document.querySelectorAll("[data-djqueue-url]")];
    while (boxes.length) follow(boxes.splice(0, TOGETHER));
  }

  // A browser has few connections to a site: a page in a hidden tab leaves them to others, and asks.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) streams.forEach(stream => stream.abort());
    else sleeping.forEach(wake => wake());
  });
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
