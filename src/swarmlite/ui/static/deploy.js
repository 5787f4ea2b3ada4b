"use strict";
// A file that is dropped on the text takes its place; a line that is named in an error is shown.
const file = document.getElementById("file");
const said = document.querySelector(".said");
const MAX_BYTES = 4 * 1024 * 1024;
file.addEventListener("dragover", (event) => event.preventDefault());
file.addEventListener("drop", async (event) => {
  const dropped = event.dataTransfer.files[0];
  if (!dropped) return;
  event.preventDefault();
  if (dropped.size > MAX_BYTES) { said.textContent = `${dropped.name} is larger than 4 MiB.`; return; }
  file.value = await dropped.text();
  said.textContent = `${dropped.name} was read.`;
});
for (const problem of document.querySelectorAll(".problem")) {
  const found = /stdin:(\d+)/.exec(problem.textContent);
  if (!found) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `Line ${found[1]}`;
  button.addEventListener("click", () => {
    const lines = file.value.split("\n");
    const at = lines.slice(0, found[1] - 1).join("\n").length + (found[1] > 1 ? 1 : 0);
    file.focus();
    file.setSelectionRange(at, at + (lines[found[1] - 1] || "").length);
  });
  problem.append(" ", button);
}
