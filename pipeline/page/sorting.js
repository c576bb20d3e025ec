/* A million numbers in order, within a moment: numbers of four bytes are sorted by eleven bits at a time. */
(() => {
  const BITS = 11;
  const RADIX = 1 << BITS;

  /** Rows in the order of their values, the highest first or the lowest; of equal ones the first
      row first. Those without a value come last, whichever way. */
  finecut.sorted = (values, lowestFirst) => {
    const count = values.length;
    const floats = new Float32Array(count);
    // Adding 0 makes one of the two zeros.
    for (let row = 0; row < count; row += 1) floats[row] = values[row] + 0;
    let keys = new Uint32Array(floats.buffer);
    for (let row = 0; row < count; row += 1) {
      const bits = keys[row];
      if ((bits & 0x7fffffff) > 0x7f800000) {
        keys[row] = 0xffffffff; // not a number
        continue;
      }
      const up = bits & 0x80000000 ? ~bits : bits | 0x80000000;
      keys[row] = lowestFirst ? up : ~up;
    }
    let rows = finecut.everyRow(count);
    for (let shift = 0; shift < 32; shift += BITS) [keys, rows] = passed(keys, rows, shift);
    return rows;
  };
  const passed = (keys, rows, shift) => {
    const places = new Uint32Array(RADIX + 1);
    for (let at = 0; at < keys.length; at += 1) places[((keys[at] >>> shift) & (RADIX - 1)) + 1] += 1;
    for (let at = 0; at < RADIX; at += 1) places[at + 1] += places[at];
    const keysOut = new Uint32Array(keys.length);
    const rowsOut = new Uint32Array(rows.length);
    for (let at = 0; at < keys.length; at += 1) {
      const to = places[(keys[at] >>> shift) & (RADIX - 1)]++;
      keysOut[to] = keys[at];
      rowsOut[to] = rows[at];
    }
    return [keysOut, rowsOut];
  };
  finecut.everyRow = (count) => {
    const rows = new Uint32Array(count);
    for (let row = 0; row < count; row += 1) rows[row] = row;
    return rows;
  };

  /** The rows for which something holds, in place: as a filter, for arrays of numbers. */
  finecut.sieved = (rows, holds) => {
    let count = 0;
    for (let at = 0; at < rows.length; at += 1) if (holds(rows[at])) rows[count++] = rows[at];
    return rows.subarray(0, count);
  };
})();
