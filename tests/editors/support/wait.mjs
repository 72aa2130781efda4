// Waiting on conditions. A time-out is long because a busy machine of two cores takes its time; a test
// that works never reaches it.
import { setTimeout as pause } from "node:timers/promises";

export const patience = 60_000; // milliseconds

/** Calls `probe` until it returns something truthy, and returns that. */
export async function until(what, probe, limit = patience) {
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const found = await probe();
      if (found) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${limit / 1000} s in vain for: ${what} (last: ${last})`);
    await pause(50);
  }
}
