"""Scripts that measure a page in the browser."""

from __future__ import annotations

# What the policy of the page does not allow is told to the test.
LISTEN = """
document.addEventListener("securitypolicyviolation", event =>
  window.djqComplain(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

# What is wider than the screen, or than the box of its list; on a tablet that may be scrolled.
OVERFLOW = """
(() => {
  const most = document.documentElement.clientWidth;
  const tablet = most > 640 && most < 1100;
  const cut = !tablet && [...document.querySelectorAll(".results")].some(
    list => list.scrollWidth > list.clientWidth);
  if (document.documentElement.scrollWidth <= most) return cut ? ["a list"] : [];
  const wide = [...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.right > most + 1 || box.left < -1;
  });
  return ["the page", ...wide.map(element => element.outerHTML.slice(0, 120))];
})()
"""

# The least contrast of a text on its own background, of all elements that fit the selector.
CONTRAST = """
selector => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = color => {
    const [r, g, b] = color.match(/[0-9.]+/g).map(Number);
    return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  };
  const shown = [...document.querySelectorAll(selector)].filter(each => each.checkVisibility());
  if (!shown.length) return null;
  return Math.min(...shown.map(element => {
    const style = getComputedStyle(element);
    let behind = element;
    while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") {
      behind = behind.parentElement;
    }
    const [a, b] = [light(style.color), light(getComputedStyle(behind).backgroundColor)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}
"""

# Waits until nothing moves.
SETTLED = "Promise.all(document.getAnimations().map(each => each.finished)).then(() => 0)"

# Times without their exact value in UTC.
TIMES = """
[...document.querySelectorAll("time")]
  .filter(each => !/\\d\\d:\\d\\d:\\d\\d UTC$/.test(each.title))
  .map(each => each.outerHTML)
"""

# Elements of ours that change slowly.
MOVING = """
[...document.querySelectorAll(".djq, .djq *, .djq-act *")].filter(each => {
  const style = getComputedStyle(each);
  const slow = list => list.split(", ").some(each => parseFloat(each) > 0);
  return slow(style.transitionDuration) || slow(style.animationDuration);
}).map(each => each.outerHTML.slice(0, 120))
"""
