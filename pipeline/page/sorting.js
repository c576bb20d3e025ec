/* A million numbers in order, within a moment: numbers of four bytes are sorted by two bytes at a time. */
(() => {
  const RADIX = 65536;

  /** Rows in the order of their values, the highest first or the lowest; of equal ones the first
      row first. Those without a value come last, whichever way. */
  finecut.sorted = (rows, values, lowestFirst) => {
    const count = rows.length;
    const floats = new Float32Array(count);
    // Adding 0 makes one of the two zeros.
    for (let at = 0; at < count; at += 1) floats[at] = values[rows[at]] + 0;
    const keys = new Uint32Array(floats.buffer);
    for (let at = 0; at < count; at += 1) {
      if (Number.isNaN(floats[at])) {
        keys[at] = 0xffffffff;
        continue;
      }
      const bits = keys[at];
      const up = (bits & 0x80000000 ? ~bits : bits | 0x80000000) >>> 0;
      keys[at] = lowestFirst ? up : ~up >>> 0;
    }
    const [low, order] = passed(keys, Uint32Array.from(rows), 0);
    return passed(low, order, 16)[1];
  };
  const passed = (keys, rows, shift) => {
    const counts = new Uint32Array(RADIX + 1);
    for (let at = 0; at < keys.length; at += 1) counts[((keys[at] >>> shift) & 0xffff) + 1] += 1;
    for (let at = 0; at < RADIX; at += 1) counts[at + 1] += counts[at];
    const keysOut = new Uint32Array(keys.length);
    const rowsOut = new Uint32Array(rows.length);
    for (let at = 0; at < keys.length; at += 1) {
      const to = counts[(keys[at] >>> shift) & 0xffff]++;
      keysOut[to] = keys[at];
      rowsOut[to] = rows[at];
    }
    return [keysOut, rowsOut];
  };

  /** The rows for which something holds, in place: as a filter, for arrays of numbers. */
  finecut.sieved = (rows, holds) => {
    let count = 0;
    for (let at = 0; at < rows.length; at += 1) if (holds(rows[at])) rows[count++] = rows[at];
    return rows.subarray(0, count);
  };
})();
