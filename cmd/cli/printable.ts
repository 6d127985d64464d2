/**
 * Makes text from outside safe to show on a terminal.
 *
 * @module
 */

/** What nearly every text is, and what is told much sooner than that it has no hazard. */
const plain = /^[ -~]*$/;

let known: RegExp | undefined;

/**
 * Controls (C0, DEL, C1), half surrogate pairs, marks that turn the direction of text, line
 * ends. No literal: those are looked up in Unicode's tables whether they are used or not.
 */
function hazard(): RegExp {
  return known ??= new RegExp("[\\p{Cc}\\p{Cs}\\p{Bidi_Control}\\u2028\\u2029]", "gu");
}

/**
 * `text` with each character that could command a terminal written out, as in `\x1b`
 * and `\u202e`. What stays is one line.
 */
export function printable(text: string): string {
  return plain.test(text) ? text : text.replace(hazard(), escape);
}

/** {@linkcode printable}, but of text that may have several lines and tabs. */
export function printableLines(text: string): string {
  return text.replace(
    hazard(),
    (found) => found === "\n" || found === "\t" ? found : escape(found),
  );
}

function escape(character: string): string {
  const code = character.charCodeAt(0);
  if (character === "\n") return "\\n";
  if (character === "\r") return "\\r";
  if (character === "\t") return "\\t";
  const hex = code.toString(16);
  return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`;
}
