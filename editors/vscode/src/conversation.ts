// A conversation with a model: its turns, and what of them goes to the server, which keeps none. No editor
// in here.

/** Zero-based, in UTF-16 units, as LSP counts. */
export interface Place {
  line: number;
  character: number;
}

/** A document, or a part of it, that a question is about. */
export interface Attachment {
  uri: string;
  /** Missing: all of it. */
  range?: { start: Place; end: Place };
  /** Of the document when it was attached. */
  version: number;
  /** For people: "inventory.py:43–45". */
  label: string;
}

/** What a review found, by the server's name for it. */
export interface Finding {
  uri: string;
  fingerprint: string;
  message: string;
  range: { start: Place; end: Place };
}

export interface Turn {
  id: number;
  question: string;
  attachment?: Attachment;
  /** What the model was shown, quotation and all; known once it has answered. */
  asked?: string;
  text: string;
  thinking: string;
  state: "running" | "done" | "stopped" | "failed";
  /** Which model answered, or what went wrong. */
  note: string;
  /** Why that model. */
  reason: string;
}

export interface Message {
  role: "user" | "assistant";
  content: string;
}

/** What the server gives for a question. */
export interface Answer {
  text: string;
  thinking?: string;
  asked: string;
  stop: string;
  timings: { route: { model: string; reason: string } };
}

/** Only what LSP has of a place. */
export function placeOf({ line, character }: Place): Place {
  return { line, character };
}

/** Shown of a place: the file's name, and the lines where there is a range. */
export function labelOf(name: string, range?: { start: Place; end: Place }): string {
  if (!range) return name;
  const first = range.start.line + 1;
  // Whole lines end where the next one begins.
  const last = Math.max(first, range.end.character === 0 ? range.end.line : range.end.line + 1);
  return `${name}:${first === last ? first : `${first}–${last}`}`;
}

const same = (one: Attachment, other: Attachment): boolean =>
  one.uri === other.uri && one.version === other.version && JSON.stringify(one.range) === JSON.stringify(other.range);

export class Conversation {
  turns: Turn[] = [];
  private last = 0;

  begin(question: string, attachment?: Attachment): Turn {
    const turn: Turn = { id: ++this.last, question, attachment, text: "", thinking: "", state: "running", note: "", reason: "" };
    this.turns.push(turn);
    return turn;
  }

  find(id: number): Turn | undefined {
    return this.turns.find((turn) => turn.id === id);
  }

  /** All that was said before `turn`, and its question. Turns without an answer are not told. */
  messages(turn: Turn): Message[] {
    const before = this.before(turn).filter(({ text }) => text !== "").flatMap((each): Message[] => [
      { role: "user", content: each.asked ?? each.question },
      { role: "assistant", content: each.text },
    ]);
    return [...before, { role: "user", content: turn.question }];
  }

  /** The turn's attachment, unless the model knows it from an earlier turn as it is now. */
  fresh(turn: Turn): Attachment | undefined {
    const { attachment } = turn;
    if (!attachment) return undefined;
    const known = this.before(turn).some((each) =>
      each.text !== "" && each.asked !== undefined && each.attachment && same(each.attachment, attachment));
    return known ? undefined : attachment;
  }

  private before(turn: Turn): Turn[] {
    return this.turns.slice(0, this.turns.indexOf(turn));
  }

  answered(turn: Turn, answer: Answer): void {
    const { route } = answer.timings;
    turn.text = answer.text;
    turn.thinking = answer.thinking ?? "";
    turn.asked = answer.asked;
    turn.state = "done";
    turn.note = route.model;
    turn.reason = route.reason;
  }

  clear(): void {
    this.turns = [];
  }
}

/** The server's name for a finding, which it sent along with the diagnostic. */
export function fingerprintOf(diagnostic: object): string | undefined {
  const { data } = diagnostic as { data?: { fingerprint?: unknown } };
  return typeof data?.fingerprint === "string" ? data.fingerprint : undefined;
}

/** The lines of a block with another indentation than its first one has; the first goes where the cursor is. */
export function indented(block: string, indent: string): string {
  const lines = block.replace(/\n$/, "").split("\n");
  const own = /^[ \t]*/.exec(lines[0] ?? "")?.[0] ?? "";
  return lines
    .map((line) => (line.startsWith(own) ? line.slice(own.length) : line))
    .map((line, n) => (n > 0 && line.trim() !== "" ? indent + line : line))
    .join("\n");
}
