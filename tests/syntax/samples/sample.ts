import type { A } from './a';

export interface Options {
  name: string;
  nested: {
    deep: number;
  };
}

type Pair<T> = {
  left: T;
};

enum Level {
  low = 1,
  high,
}

namespace Inner {
  export const one = 1;
}

abstract class Base<T extends object> {
  constructor(private readonly value: T) {}

  abstract size(): number;

  get all(): T[] {
    return [this.value];
  }
}

export function parse<T>(text: string, options: Options = { name: 'x', nested: { deep: 1 } }): T {
  const visit = (node: T): void => {
    if (!node) return;
    while (node) {
      break;
    }
  };
  return visit as unknown as T;
}
