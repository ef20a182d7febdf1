// Asks for this page's own files again and shows what the edge said of each answer.
"use strict";

const FILES = ["/", "/style.css", "/app.js", "/logo.svg", "/path.svg", "/horizon.png", "/origin.json"];

// RFC 9211: the first member is the cache nearest to the origin; here there is one cache.
function verdict(response) {
  const status = response.headers.get("cache-status");
  if (!response.ok) return "failed";
  if (!status) return "direct";
  if (/;\s*hit\b/.test(status)) return "hit";
  return /;\s*fwd=(bypass|method|request)\b/.test(status) || !/;\s*stored\b/.test(status) ? "pass" : "miss";
}

// The files are sent with max-age=0, so the browser asks each time; s-maxage lets the edge answer.
async function ask(path) {
  const started = performance.now();
  try {
    const response = await fetch(path);
    await response.arrayBuffer();
    return {
      path,
      verdict: verdict(response),
      age: response.headers.get("age"),
      status: response.headers.get("cache-status") || "–",
      via: response.headers.get("via"),
      took: performance.now() - started,
    };
  } catch (error) {
    return { path, verdict: "failed", age: null, status: String(error), via: null, took: performance.now() - started };
  }
}

function cell(text, className) {
  const td = document.createElement("td");
  td.textContent = text;
  if (className) td.className = className;
  return td;
}

function row(answer, asked) {
  const tr = document.createElement("tr");
  tr.dataset.path = answer.path;
  tr.dataset.verdict = answer.verdict;
  const chip = document.createElement("span");
  chip.className = `chip ${answer.verdict}`;
  chip.textContent = answer.verdict;
  const said = document.createElement("td");
  said.append(chip);
  tr.append(
    cell(answer.path, "code"),
    said,
    cell(answer.age === null ? "–" : `${answer.age} s`, "number"),
    cell(answer.status, "code status"),
    cell(`${answer.took.toFixed(1)} ms`, "number"),
    cell(asked === undefined ? "–" : String(asked), "number"),
  );
  return tr;
}

function fill(where) {
  for (const element of document.querySelectorAll("[data-fill]")) {
    const value = where[element.dataset.fill];
    if (value) element.textContent = value;
  }
}

async function origin() {
  try {
    return await (await fetch("/origin.json")).json();
  } catch {
    return { asked: {}, demo: {} };
  }
}

async function report() {
  const button = document.getElementById("again");
  button.disabled = true;
  document.body.dataset.report = "running";
  const answers = [];
  for (const path of FILES) answers.push(await ask(path));
  const count = await origin();
  fill({ edge: location.origin, ...count.demo });
  document.getElementById("report").replaceChildren(...answers.map((answer) => row(answer, count.asked[answer.path])));
  const hits = answers.filter((answer) => answer.verdict === "hit").length;
  document.getElementById("summary").textContent =
    `${hits} of ${answers.length} came from the edge's memory. /origin.json says no-store, so it never does.`;
  const via = answers.map((answer) => answer.via).find(Boolean);
  document.getElementById("node").textContent = via ? `Via: ${via}.` : "";
  document.body.dataset.report = answers.some((answer) => answer.verdict === "failed") ? "failed" : "done";
  button.disabled = false;
}

document.getElementById("again").addEventListener("click", report);
addEventListener("load", report);
