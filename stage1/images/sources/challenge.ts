/**
 * What a server wants to see before it answers: the `WWW-Authenticate` header.
 *
 * @module
 * @see RFC 9110, section 11.6.1; RFC 6750; distribution "Token Authentication Specification"
 */

/** One way to authenticate that a server offers. */
export interface Challenge {
  /** In lower case: `bearer`, `basic`, … */
  readonly scheme: string;
  /** By name in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

const maxHeaderLength = 8192;

// Each matches at one place and consumes what it matches, so a header is read in one pass.
const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const quoted = /"((?:[^"\\]|\\.)*)"/y;
const parameter = /([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?=["!#$%&'*+.^_`|~0-9A-Za-z-])/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const separators = /[ \t,]*/y;
const blanks = /[ \t]*/y;

/** The challenges in a header, in order; what cannot be read ends the list. */
export function parseChallenges(header: string | null): Challenge[] {
  const challenges: Challenge[] = [];
  if (header === null || header.length > maxHeaderLength) return challenges;
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match) at = pattern.lastIndex;
    return match;
  };
  take(separators);
  while (at < header.length) {
    const scheme = take(token);
    if (scheme === null) break;
    take(blanks);
    const parameters = new Map<string, string>();
    challenges.push({ scheme: scheme[0].toLowerCase(), parameters });
    for (let first = true;; first = false) {
      const name = take(parameter);
      if (name === null) {
        if (first) take(token68); // A bare value, as Negotiate has; none of ours.
        break;
      }
      const value = take(quoted);
      const text = value ? value[1].replace(/\\(.)/g, "$1") : take(token)?.[0];
      if (text === undefined) return challenges;
      parameters.set(name[1].toLowerCase(), text);
      take(separators);
    }
    take(separators);
  }
  return challenges;
}
