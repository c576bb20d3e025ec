/* Every film as a line. */
(() => {
  const { facts, sources, h, at } = finecut;
  const STATES = ["", "empty: too short for a clip", "failed", "not finished"];
  let order = [];

  const words = (source) => {
    const { kept, rejected, failed } = finecut.counted(source);
    const unknown = failed - sources.spans[source].length;
    const parts = [];
    if (kept) parts.push(`${finecut.number(kept)} kept`);
    if (rejected) parts.push(`${finecut.number(rejected)} rejected`);
    if (failed) parts.push(`${finecut.number(failed)} failed${unknown > 0 ? ` (${unknown === failed ? "" : `${unknown} of them `}at unknown places)` : ""}`);
    const state = STATES[sources.state[source]];
    if (state && !(failed && state === "failed")) parts.push(state);
    return parts.join(" · ");
  };
  const row = (index) => {
    const source = order[index];
    const name = sources.name[source];
    const parts = name.split("/");
    const file = parts.pop();
    const folder = parts.length ? `${parts.join("/")}/` : "";
    const button = h(
      "button",
      {
        type: "button",
        class: "source",
        "data-item": "",
        "aria-label": `Show the clips of ${name}: ${words(source)}`,
        onclick: () => finecut.showOnly({ source: name }),
      },
      h("span", { class: "name", title: name }, h("span", { class: "quiet", text: folder }), file),
      h("span", { class: "quiet", text: `${finecut.duration(sources.seconds[source])} · ${words(source)}` }),
    );
    return [button, finecut.track(source)];
  };
  const list = finecut.list({ place: at("sources"), least: 0, gap: 10, height: () => 92, make: row });

  const ORDERS = {
    films: () => 0,
    failed: (source) => -sources.lost[source] - (sources.state[source] === 2 ? 0.5 : 0),
    rejected: (source) => -finecut.counted(source).rejected,
    kept: (source) => -finecut.counted(source).kept,
    longest: (source) => -sources.seconds[source],
  };
  const sorted = (name) => {
    const keys = sources.name.map((_, source) => ORDERS[name](source));
    order = sources.name.map((_, source) => source).sort((one, other) => keys[one] - keys[other] || one - other);
    list.reset(order.length);
  };
  let ready = false;
  finecut.views.sources = () => {
    if (ready) {
      list.soon();
      return;
    }
    ready = true;
    const folder = facts.folder ? ` All are in ${facts.folder}` : "";
    at("about-sources").textContent =
      `${finecut.several(facts.sources, "source video")}: kept clips are tall, rejected ones are hatched, failed ones are empty outlines.${folder}`;
    const control = h("select", { id: "order-sources", onchange: () => sorted(control.value) });
    const choices = { films: "By name", failed: "Most failed first", rejected: "Most rejected first", kept: "Most kept first", longest: "Longest first" };
    for (const [value, text] of Object.entries(choices)) control.append(h("option", { value, text }));
    at("tools-sources").append(h("label", { class: "field" }, h("span", { text: "Order" }), control));
    sorted("films");
  };
})();
