// Shows what the server sends, and asks the admin API with the token that is typed. The server has escaped all that it sends;
// answers of the API are shown as text. The token is kept nowhere.

const byId = (id) => document.getElementById(id);
const live = byId("live");
const pause = byId("pause");
let events;

function follow() {
  events = new EventSource("events");
  events.onopen = () => { live.textContent = "Live"; };
  events.onerror = () => { live.textContent = "No connection; trying again"; };
  events.onmessage = (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = byId(id);
      if (part) part.innerHTML = html;
    }
  };
  pause.textContent = "Pause";
}

pause.hidden = false;
pause.onclick = () => {
  if (events.readyState === EventSource.CLOSED) return follow();
  events.close();
  live.textContent = "Paused";
  pause.textContent = "Go on";
};
follow();

async function ask(path, question, said, shown) {
  said.textContent = "…";
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Authorization": `Bearer ${byId("token").value.trim()}`, "Content-Type": "application/json" },
      body: JSON.stringify(question),
    });
    const told = await answer.json();
    said.textContent = answer.ok ? shown(told) : told.detail;
  } catch (error) {
    said.textContent = `No answer: ${error.message}`;
  }
}

byId("ask").hidden = false;
byId("explain").onsubmit = (event) => {
  event.preventDefault();
  const lines = (told) => [
    `${told.verdict}: ${told.because}`, `site: ${told.site}`, `key: ${told.key}`, ...told.origins.map((one) => `origin: ${one}`),
    ...(told.unkept ? [told.unkept] : []), ...told.rules,
    ...told.variants.map((one) => `${one.chosen ? "*" : "-"} ${one.status}, ${one.body_bytes} bytes, ${one.age_secs} of ${one.lifetime_secs} s`),
  ];
  ask("explain", { url: byId("explain-url").value }, byId("explain-said"), (told) => lines(told).join("\n"));
};
byId("purge").onsubmit = (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const counted = (told) => told.purged === null ? "Purged" : `${told.purged} stored responses purged`;
  ask("purge", { [form.get("kind")]: form.get("what"), soft: form.has("soft") }, byId("purge-said"), counted);
};
