// How far a suggestion has been taken: typed into, or accepted in parts. No editor in here.

/** A suggestion that is shown, and the offset in its document at which its text begins. */
export interface Shown<Item> {
  item: Item;
  text: string;
  start: number;
}

/** A change of the document: `text` replaces what stood at `offset`. */
export interface Change {
  offset: number;
  text: string;
}

export type Taken =
  /** The document went another way: the suggestion is no longer of interest. */
  | { kind: "left" }
  /** One character at a time, as typing does. */
  | { kind: "typed"; length: number }
  /** More at once: accepted up to `length` UTF-16 units of the suggestion's text. */
  | { kind: "accepted"; length: number };

/** What `change` did to the suggestion. `text` is the document after it. */
export function taken<Item>(shown: Shown<Item>, change: Change, text: string): Taken {
  const length = change.offset + change.text.length - shown.start;
  const fits = change.text !== "" && change.offset >= shown.start && length <= shown.text.length
    && text.startsWith(shown.text.slice(0, length), shown.start);
  if (!fits) return { kind: "left" };
  return { kind: change.text.length > 1 ? "accepted" : "typed", length };
}

/** What is left of the suggestion at `cursor`, or undefined if the document does not lead up to it. */
export function rest<Item>(shown: Shown<Item>, cursor: number, text: string): string | undefined {
  const length = cursor - shown.start;
  if (length < 0 || length >= shown.text.length) return undefined;
  return text.startsWith(shown.text.slice(0, length), shown.start) ? shown.text.slice(length) : undefined;
}
