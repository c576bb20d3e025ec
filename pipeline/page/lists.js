/* Long lists of which only what is seen exists. The page itself scrolls; a list is as high as all its
   items, and those near the window are made. One item can be reached by Tab, the others by arrows. */
(() => {
  const { h } = finecut;
  const BEYOND = 400;
  // Browsers cannot place what lies farther down, so a list of more is turned over like a book.
  const DEEPEST = 15000000;
  const PAGE = 50000;

  /** options: place, least (width of a column; 0 for one column), gap, height(width), make(index, list),
      turned(list): another page of it is shown */
  finecut.list = ({ place, least, gap, height, make, turned = () => {} }) => {
    // Items from `from` on are on the page that is shown, up to `to`.
    const list = { count: 0, current: 0, from: 0, to: 0, page: PAGE };
    const items = new Map();
    let columns = 1;
    let width = 0;
    let step = 1;
    let asked = 0;

    const measured = () => {
      const whole = place.clientWidth;
      columns = least ? Math.max(1, Math.floor((whole + gap) / (least + gap))) : 1;
      width = (whole - gap * (columns - 1)) / columns;
      step = height(width) + gap;
      list.page = Math.min(PAGE, Math.floor(DEEPEST / step) * columns);
      list.from = Math.floor(list.from / list.page) * list.page;
      list.to = Math.min(list.count, list.from + list.page);
      place.style.height = `${Math.max(0, Math.ceil((list.to - list.from) / columns) * step - gap)}px`;
    };
    const put = (item, index) => {
      const at = index - list.from;
      const left = (at % columns) * (width + gap);
      item.style.transform = `translate(${left}px, ${Math.floor(at / columns) * step}px)`;
      item.style.width = `${width}px`;
      item.style.height = `${step - gap}px`;
    };
    const focusable = (item) => item.querySelector("[data-item]");
    const made = (index) => {
      const item = h("li", { "aria-setsize": list.count, "aria-posinset": index + 1 });
      item.append(...[make(index)].flat());
      focusable(item).tabIndex = index === list.current ? 0 : -1;
      put(item, index);
      items.set(index, item);
      place.append(item);
      return item;
    };
    const removed = (index) => {
      items.get(index).remove();
      items.delete(index);
    };
    const drawn = () => {
      asked = 0;
      if (!place.offsetParent || !list.count) return;
      const top = -place.getBoundingClientRect().top;
      const first = list.from + Math.max(0, Math.floor((top - BEYOND) / step)) * columns;
      const last = Math.min(
        list.to,
        list.from + Math.ceil((top + window.innerHeight + BEYOND) / step) * columns,
      );
      for (const [index, item] of items) {
        const keep = item.contains(document.activeElement) || index === list.current;
        if ((index < first || index >= last) && !keep) removed(index);
      }
      for (let index = first; index < last; index += 1) if (!items.has(index)) made(index);
    };
    const soon = () => {
      asked = asked || requestAnimationFrame(drawn);
    };
    const again = () => {
      const before = columns * 1e6 + width;
      measured();
      if (before !== columns * 1e6 + width) for (const [index, item] of items) put(item, index);
      soon();
    };
    window.addEventListener("scroll", soon, { passive: true });
    new ResizeObserver(again).observe(place);

    /** Show so many items, from the first on. */
    list.reset = (count) => {
      for (const index of [...items.keys()]) removed(index);
      list.count = count;
      list.current = 0;
      list.from = 0;
      measured();
      turned(list);
      drawn();
    };
    /** Show the page that an item is on. */
    list.turn = (index) => {
      for (const each of [...items.keys()]) removed(each);
      list.from = Math.floor(index / list.page) * list.page;
      list.current = index;
      measured();
      turned(list);
      drawn();
    };
    /** Make the items again that are there: what they say has changed. */
    list.refresh = () => {
      const focused = list.current;
      const had = items.has(focused) && items.get(focused).contains(document.activeElement);
      for (const index of [...items.keys()]) removed(index);
      drawn();
      if (had) list.focus(focused);
    };
    list.focus = (index) => {
      const to = Math.max(0, Math.min(list.count - 1, index));
      if (to < list.from || to >= list.to) list.turn(to);
      if (items.has(list.current)) focusable(items.get(list.current)).tabIndex = -1;
      list.current = to;
      const item = items.get(to) || made(to);
      focusable(item).tabIndex = 0;
      focusable(item).focus({ preventScroll: true });
      item.scrollIntoView({ block: "nearest" });
      soon();
    };
    list.columns = () => columns;
    list.soon = again;

    place.addEventListener("keydown", (event) => {
      if (event.target.dataset.item === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      const page = Math.max(1, Math.floor(window.innerHeight / step)) * columns;
      const moves = {
        ArrowDown: columns,
        ArrowUp: -columns,
        PageDown: page,
        PageUp: -page,
        Home: list.from - list.current,
        End: list.to - 1 - list.current,
      };
      if (columns > 1 || least) Object.assign(moves, { ArrowRight: 1, ArrowLeft: -1 });
      if (!(event.key in moves)) return;
      event.preventDefault();
      list.focus(list.current + moves[event.key]);
    });
    place.addEventListener("focusin", (event) => {
      const item = event.target.closest("li");
      for (const [index, known] of items) {
        if (known === item && index !== list.current) {
          if (items.has(list.current)) focusable(items.get(list.current)).tabIndex = -1;
          list.current = index;
          focusable(item).tabIndex = 0;
        }
      }
    });
    return list;
  };
})();
