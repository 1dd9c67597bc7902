// Keeps the part of a page that has data-djq-live up to date. Without this script the page has a
// link that loads it again.
(() => {
  "use strict";
  const SLOWEST = 60;
  const QUIET = 30000; // milliseconds between two sentences to a screen reader
  const KEY = "djqueue-paused";

  function remembered() {
    try { return localStorage.getItem(KEY) === "yes"; } catch { return false; }
  }

  function remember(paused) {
    try { localStorage.setItem(KEY, paused ? "yes" : "no"); } catch { /* not allowed: for this page alone */ }
  }

  function begin(box) {
    const said = document.querySelector("[data-djq-said]");
    const button = document.querySelector("[data-djq-pause]");
    const usual = Number(box.dataset.djqEvery) || 5;
    let [wait, away, last, spoken, paused] = [usual, false, box.innerHTML, Date.now(), remembered()];

    // Nothing moves under the hands of somebody who reads, types or chooses.
    const busy = () => paused || document.hidden || box.contains(document.activeElement)
      || box.matches(":hover") || document.querySelector("input.action-select:checked");

    function show(text) {
      if (text === last || busy()) return;
      box.innerHTML = last = text;
      const summary = box.querySelector("[data-djq-summary]");
      if (said && summary && Date.now() - spoken > QUIET) {
        said.textContent = summary.textContent;
        spoken = Date.now();
      }
    }

    async function look() {
      if (!busy()) {
        const began = performance.now();
        try {
          const answer = await fetch(box.dataset.djqLive, { credentials: "same-origin", cache: "no-store" });
          if (answer.redirected || answer.status === 403) {
            if (said) said.textContent = said.dataset.djqOut;
            return;
          }
          if (!answer.ok) throw new Error(answer.status);
          const text = await answer.text();
          if (away && said) said.textContent = "";
          show(text);
          away = false;
          // A server for which the answer is hard work has nine tenths of its time for others.
          wait = Math.max(usual, (performance.now() - began) / 100);
        } catch {
          away = true;
          wait = Math.min(wait * 2, SLOWEST);
          if (said) said.textContent = said.dataset.djqAway;
        }
      }
      setTimeout(look, wait * 1000);
    }

    if (button) {
      const mark = () => button.setAttribute("aria-pressed", String(paused));
      button.hidden = false;
      mark();
      button.addEventListener("click", () => {
        paused = !paused;
        remember(paused);
        mark();
      });
    }
    setTimeout(look, wait * 1000);
  }

  document.querySelectorAll("[data-djq-live]").forEach(begin);
  // An act in steps goes on by itself; "Pause" leads to the same page without this.
  document.querySelectorAll("form[data-djq-continue]").forEach(form => {
    const timer = setTimeout(() => form.submit(), 300);
    document.querySelectorAll("a").forEach(link => link.addEventListener("click", () => clearTimeout(timer)));
  });
})();
