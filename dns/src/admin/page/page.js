// Shows what the server sends, and asks for explanations with the token that is typed. The server has escaped all that it
// sends; explanations are shown as text. The token is kept nowhere.

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

const subnet = ({ subnet: { network, believed, scope }, from }) => believed
  ? `subnet ${network}: it chooses; scope /${scope}`
  : `subnet ${network}: ignored, since ${from} is not in subnet_from`;

const lines = (told) => [
  ...(told.subnet ? [subnet(told)] : []), `${told.view}: ${told.view_because}`, `zone: ${told.zone ? `${told.zone.zone} (${told.zone.file})` : "none in this view"}`,
  `${told.rcode}: ${told.kind}`, ...told.answer, ...told.authority, ...told.additional,
  ...told.steered.flatMap((pool) => pool.members.map((one) => `pool ${pool.pool}: ${one.address} is ${one.fate}`)),
  ...told.hidden_from_outside.map((one) => `hidden by ${one.rule}: ${one.record}`),
  ...told.undecided.map((one) => `undecided: ${one.record}`),
];

byId("explain").hidden = false;
byId("explain").onsubmit = async (event) => {
  event.preventDefault();
  const said = byId("said");
  said.textContent = "…";
  try {
    const question = new URLSearchParams(new FormData(event.target));
    const answer = await fetch(`explain?${question}`, { headers: { "Authorization": `Bearer ${byId("token").value.trim()}` } });
    const told = await answer.json();
    said.textContent = answer.ok ? lines(told).join("\n") : told.detail;
  } catch (error) {
    said.textContent = `No answer: ${error.message}`;
  }
};
