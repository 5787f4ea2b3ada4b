"use strict";
// Logs are read while their part of the page is open and the page is seen.
const MAX_SHOWN = 2000;
const ESCAPES = /\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*(?:\x07|\x1b\\)|.)/g;
for (const part of document.querySelectorAll("[data-logs]")) {
  const shown = part.querySelector("pre");
  const form = part.querySelector("form");
  const said = part.querySelector(".said");
  let events = null;
  const stop = () => { if (events) { events.close(); events = null; } };
  const begin = () => {
    stop();
    shown.textContent = "";
    said.textContent = "Reading…";
    const asked = new URLSearchParams({ search: form.elements.search.value, follow: form.elements.follow.checked ? "1" : "0" });
    events = new EventSource(`${part.dataset.logs}?${asked}`);
    events.addEventListener("open", () => { said.textContent = form.elements.follow.checked ? "Following." : ""; });
    events.addEventListener("lines", (event) => add(JSON.parse(event.data)));
    events.addEventListener("problem", (event) => { said.textContent = JSON.parse(event.data); stop(); });
    events.addEventListener("end", () => { said.textContent = "The log ended here."; stop(); });
    events.addEventListener("error", () => { said.textContent = "The log was interrupted."; stop(); });
  };
  const add = (lines) => {
    const atEnd = shown.scrollTop + shown.clientHeight >= shown.scrollHeight - 5;
    for (const line of lines) {
      const row = document.createElement("div");
      row.className = line.stream;
      row.textContent = `${line.at} ${line.task} | ${line.text.replace(ESCAPES, "")}`;
      shown.append(row);
    }
    while (shown.childElementCount > MAX_SHOWN) shown.firstElementChild.remove();
    if (atEnd) shown.scrollTop = shown.scrollHeight;
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  form.elements.follow.addEventListener("change", begin);
  part.addEventListener("toggle", () => (part.open ? begin() : stop()));
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop(); else if (part.open && form.elements.follow.checked) begin();
  });
}
