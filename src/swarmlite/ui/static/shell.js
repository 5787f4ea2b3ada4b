"use strict";
// A terminal that knows lines, carriage returns and erasing: what a shell with TERM=dumb says.
const MAX_LINES = 1000;
class Screen {
  constructor(place) { this.place = place; this.lines = [""]; this.column = 0; this.rest = ""; }
  write(text) {
    text = this.rest + text;
    this.rest = "";
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (c === "\n") { this.lines.push(""); this.column = 0; if (this.lines.length > MAX_LINES) this.lines.shift(); }
      else if (c === "\r") this.column = 0;
      else if (c === "\b") this.column = Math.max(0, this.column - 1);
      else if (c === "\x1b") {
        const found = /^\x1b(?:\[([0-9;?]*)([ -/]*[@-~])|\][^\x07]*(?:\x07|\x1b\\)|[^[\]])/.exec(text.slice(i));
        if (!found) { if (text.length - i < 200) { this.rest = text.slice(i); break; } continue; }
        this.order(found[2], parseInt(found[1], 10));
        i += found[0].length - 1;
      } else if (c >= " " || c === "\t") this.put(c);
    }
    this.draw();
  }
  put(c) {
    const line = this.lines[this.lines.length - 1].padEnd(this.column);
    this.lines[this.lines.length - 1] = line.slice(0, this.column) + c + line.slice(this.column + 1);
    this.column += 1;
  }
  order(kind, number) {
    const last = this.lines.length - 1;
    if (kind === "K" || kind === "J") this.lines[last] = number === 2 ? "" : this.lines[last].slice(0, this.column);
    else if (kind === "C") this.column = Math.min(this.column + (number || 1), 1000);
    else if (kind === "D") this.column = Math.max(0, this.column - (number || 1));
    else if (kind === "G") this.column = Math.min((number || 1) - 1, 1000);
  }
  draw() { this.place.textContent = this.lines.join("\n"); this.place.scrollTop = this.place.scrollHeight; }
}
for (const part of document.querySelectorAll("[data-shell]")) {
  const [opening, typing] = part.querySelectorAll("form");
  const said = part.querySelector(".said");
  const place = part.querySelector("pre");
  const line = typing.elements.line;
  const past = [];
  let back = 0;
  let socket = null;
  const size = () => {
    const probe = document.createElement("span");
    probe.textContent = "0".repeat(20);
    place.append(probe);
    const width = probe.getBoundingClientRect().width / 20 || 9;
    probe.remove();
    return { rows: 24, columns: Math.max(20, Math.floor((place.clientWidth - 20) / width)) };
  };
  let columns = 0;
  new ResizeObserver(() => {
    const now = size();
    if (!socket || socket.readyState !== 1 || now.columns === columns) return;
    columns = now.columns;
    socket.send(JSON.stringify(now));
  }).observe(place);
  const send = (text) => { if (socket && socket.readyState === 1) socket.send(new TextEncoder().encode(text)); };
  opening.addEventListener("submit", (event) => {
    event.preventDefault();
    if (socket) socket.close();
    const screen = new Screen(place);
    const decoder = new TextDecoder();
    const mine = socket = new WebSocket(`wss://${location.host}${part.dataset.shell}`);
    let why = "";
    socket.binaryType = "arraybuffer";
    said.textContent = "Connecting…";
    screen.draw();
    socket.addEventListener("open", () => {
      said.textContent = "Open.";
      const now = size();
      columns = now.columns;
      socket.send(JSON.stringify({ token: part.dataset.token, command: opening.elements.command.value, ...now }));
      line.focus();
    });
    socket.addEventListener("message", (event) => {
      if (typeof event.data !== "string") { screen.write(decoder.decode(event.data, { stream: true })); return; }
      const told = JSON.parse(event.data);
      why = told.error || (told.ended === null ? "It ended." : `It ended with ${told.ended}.`);
    });
    socket.addEventListener("close", () => { if (socket === mine) said.textContent = why || "The connection ended."; });
  });
  typing.addEventListener("submit", (event) => {
    event.preventDefault();
    if (line.value) past.push(line.value);
    back = past.length;
    send(`${line.value}\r`);
    line.value = "";
  });
  typing.addEventListener("click", (event) => { if (event.target.value && event.target.type === "button") { send(event.target.value); line.focus(); } });
  line.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key === "c" && line.selectionStart === line.selectionEnd) { event.preventDefault(); send("\x03"); line.value = ""; }
    else if (event.ctrlKey && event.key === "d") { event.preventDefault(); send("\x04"); }
    else if (event.key === "ArrowUp" && back > 0) { event.preventDefault(); line.value = past[--back]; }
    else if (event.key === "ArrowDown" && back < past.length) { event.preventDefault(); line.value = past[++back] || ""; }
  });
}
