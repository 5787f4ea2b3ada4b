"use strict";
// Escape closes the part that is open around the focus; where nothing is, a plan is left.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const part = document.activeElement.closest("details[open]");
  const cancel = document.querySelector("a.cancel");
  if (part) { part.open = false; part.querySelector("summary").focus(); } else if (cancel) cancel.click();
});
// The overview is rendered by the server; each picture that comes takes the place of the last one.
const live = document.getElementById("live");
if (live) {
  const events = new EventSource(live.dataset.from);
  const lost = document.createElement("p");
  lost.className = "banner";
  lost.setAttribute("role", "alert");
  lost.textContent = "This manager does not answer: what is shown may be old.";
  events.addEventListener("picture", (event) => {
    const focused = document.activeElement && document.activeElement.getAttribute("href");
    live.innerHTML = JSON.parse(event.data);
    if (focused && live.querySelector(`a[href="${CSS.escape(focused)}"]`)) {
      live.querySelector(`a[href="${CSS.escape(focused)}"]`).focus();
    }
  });
  events.addEventListener("end", () => { events.close(); location.reload(); });
  events.addEventListener("error", () => live.before(lost));
  events.addEventListener("open", () => lost.remove());
}
