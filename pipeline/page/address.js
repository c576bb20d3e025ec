/* What is shown, in the page's address: a reload or a copied link shows the same clips. */
(() => {
  const { wanted, at } = finecut;
  const PLAIN = ["words", "outcome", "reason", "source", "order"];
  const LIMIT = /^(-?[\d.e+-]*)\.\.(-?[\d.e+-]*)$/i;
  const USUAL = { words: "", outcome: "all", reason: "", source: "", order: "" };
  const end = (number) => (Number.isFinite(number) ? String(number) : "");
  const number = (text, otherwise) => (text === "" || Number.isNaN(Number(text)) ? otherwise : Number(text));

  const written = () => {
    const said = new URLSearchParams();
    for (const name of PLAIN) if (wanted[name] !== USUAL[name]) said.set(name, wanted[name]);
    for (const name of ["up", "ticked"]) if (wanted[name]) said.set(name, "yes");
    if (wanted.ids) said.set("ids", wanted.ids.join(","));
    for (const [name, { least, most }] of wanted.limits) said.set(`limit.${name}`, `${end(least)}..${end(most)}`);
    for (const [name, value] of finecut.fields.said()) said.set(`field.${name}`, value);
    return said.toString();
  };
  /** The filters of an address: those it says, and no others. */
  finecut.follow = (text) => {
    if (text === written()) return;
    const said = new URLSearchParams(text);
    const limits = {};
    const fields = [];
    for (const [name, value] of said) {
      const found = name.startsWith("limit.") && value.match(LIMIT);
      if (found) limits[name.slice(6)] = { least: number(found[1], -Infinity), most: number(found[2], Infinity) };
      if (name.startsWith("field.")) fields.push([name.slice(6), value]);
    }
    finecut.choose({
      search: said.get("words"),
      outcome: at(`outcome-${said.get("outcome")}`) ? said.get("outcome") : "all",
      reason: said.get("reason"),
      source: said.get("source"),
      order: said.get("order"),
      up: said.has("up"),
      ticked: said.has("ticked"),
      ids: said.has("ids") ? said.get("ids").split(",").filter(Boolean) : null,
      limits,
    });
    for (const [name, value] of fields) finecut.fields.want(name, value);
  };
  /** Write down what is shown now; it is no step that Back takes back. */
  finecut.noted = () => {
    const [view] = window.location.hash.slice(1).split("?");
    if (view !== "" && view !== "clips") return;
    const said = written();
    const address = said ? `#clips?${said}` : "#clips";
    if (window.location.hash !== address && (said || view)) window.history.replaceState(window.history.state, "", address);
  };
})();
