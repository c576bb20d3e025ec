/* What is known of source videos besides: which clips are wanted by it, and how it is called. */
(() => {
  const { facts, h } = finecut;
  // By the names that lists gave them: what is wanted, in the whole or in part, and by which control.
  const wanted = new Map();
  const titled = (name) => {
    const words = name.replaceAll("_", " ").trim() || name;
    return words[0].toUpperCase() + words.slice(1);
  };

  const says = (told, name, { value, whole }) => {
    const pair = told.find(([each]) => each === name);
    if (!pair) return false;
    return whole ? pair[1] === value : pair[1].toLowerCase().includes(value.toLowerCase());
  };
  /** For each source whether it says what is wanted (a menu means the whole value, a word a part);
      nothing where nothing is wanted. */
  const fitting = () => {
    if (!wanted.size) return null;
    const pairs = [...wanted];
    return Uint8Array.from(finecut.sources.told, (told) => (pairs.every(([name, one]) => says(told, name, one)) ? 1 : 0));
  };
  const choose = (name, control, value, whole) => {
    if (value === "") wanted.delete(name);
    else wanted.set(name, { control, value, whole });
    finecut.sift();
  };
  const menu = (name, values, id) => {
    const control = h("select", { id, onchange: () => choose(name, control, control.value && values[Number(control.value)][0], true) });
    control.append(h("option", { value: "", text: "Any" }));
    for (const [at, [text, count]] of values.entries()) {
      control.append(h("option", { value: at, text: `${text.slice(0, 80)} (${finecut.number(count)})` }));
    }
    return control;
  };
  const part = (name, id) => {
    const control = h("input", { type: "search", id, placeholder: "Any", autocomplete: "off", spellcheck: "false", oninput: () => choose(name, control, control.value, false) });
    return control;
  };
  const field = ({ name, values }, index) => {
    const control = values ? menu(name, values, `field-${index}`) : part(name, `field-${index}`);
    return h("label", { class: "field" }, h("span", { text: titled(name) }), control);
  };
  const forget = (name) => {
    wanted.get(name).control.value = "";
    wanted.delete(name);
  };
  /** Menus where a field has few values, places for words where it has many; none without fields. */
  const tools = () => {
    if (!facts.fields.length) return [];
    const summary = h("summary", { text: "About the source videos" });
    return [h("details", { class: "limits" }, summary, h("div", { class: "tools", id: "fields" }, facts.fields.map(field)))];
  };
  /** What is wanted: words, and what takes it back. */
  const chips = () => [...wanted].map(([name, { value }]) => [`${titled(name)}: ${value}`, () => forget(name)]);
  const said = () => [...wanted].map(([name, { value }]) => [name, value]);
  /** The same from outside: a value of a field, in its control as well. */
  const want = (name, value) => {
    const index = facts.fields.findIndex((each) => each.name === name);
    const control = index >= 0 && document.getElementById(`field-${index}`);
    if (!control) return;
    const { values } = facts.fields[index];
    const place = values ? values.findIndex(([text]) => text === value) : -1;
    if (values && place < 0) return;
    control.value = values ? place : value;
    wanted.set(name, { control, value, whole: Boolean(values) });
  };
  finecut.fields = { fitting, tools, chips, titled, said, want, clear: () => [...wanted.keys()].forEach(forget) };
})();
