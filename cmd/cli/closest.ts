/**
 * Guesses what a misspelt word was meant to be.
 *
 * @module
 */

/** The word of `known` that `typed` is most likely to mean, or undefined if none is near. */
export function closest(typed: string, known: Iterable<string>): string | undefined {
  const word = typed.slice(0, 64).toLowerCase();
  let best: string | undefined;
  // A third of the letters may be wrong, and a beginning of at least three counts as right.
  let limit = Math.max(1, Math.floor(word.length / 3));
  for (const candidate of known) {
    const begun = word.length >= 3 && candidate.startsWith(word);
    const distance = begun ? 0.5 : editDistance(word, candidate);
    if (distance <= limit && distance < candidate.length) {
      best = candidate;
      limit = distance - 0.25;
    }
  }
  return best;
}

/**
 * Letters to insert, remove, replace or swap with their neighbour to make `a` into `b`:
 * the optimal string alignment distance.
 */
export function editDistance(a: string, b: string): number {
  let previous: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replaced, row[j] + 1, next[j - 1] + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        next[j] = Math.min(next[j], previous[j - 2] + 1);
      }
    }
    [previous, row] = [row, next];
  }
  return row[b.length];
}
