import fs, { readFile } from 'fs';
import {
  a,
  b,
} from './x.js';

export const limits = {
  min: 1,
  nested: { max: 2 },
};

const pattern = /[{"'/]\/{2}/g;
const half = limits.min / 2;

export default function main(args) {
  const text = `a ${args.map((x) => {
    return `{${x}`;
  })} }`;
  for (const arg of args) {
    if (arg) {
      continue;
    } else {
      break;
    }
  }
  try {
    fs.open();
  } catch (error) {
    throw error;
  } finally {
    // don't { count
  }
  switch (text) {
    case 'a':
      return 1;
  }
  return () => text;
}

class Queue extends Base {
  #items = [];

  push(item) {
    this.#items.push(item);
  }

  static async *all() {
    yield 1;
  }
}

const handler = async (event) => {
  await event;
};

module.exports = {
  run: function () {
    return 1;
  },
};
