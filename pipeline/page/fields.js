/* What is known of source videos besides: which clips are wanted by it, and how it is called. */
(() => {
  const { facts, h } = finecut;
  // By the names that lists gave them: what is wanted, in the whole or in part, and by which control.
  const wanted = new Map();
  const titled = (name) => {
    const words = name.replaceAll("_", " ").trim() || name;
    return words[0].toUpperCase() + words.slice(1);
  };

  /** Whether a clip's source says what is wanted: a menu means the whole value, a word a part. */
  const fits = (row) => {
    if (!wanted.size) return true;
    const told = new Map(finecut.told(row));
    for (const [name, { value, whole }] of wanted) {
      const text = told.get(name);
      if (text === undefined) return false;
      if (whole ? text !== value : !text.toLowerCase().includes(value.toLowerCase())) return false;
    }
    return true;
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
  finecut.fields = { fits, tools, chips, titled, clear: () => [...wanted.keys()].forEach(forget) };
})();
