/**
 * The Huffman code of HPACK. It is canonical: the lengths of its codes are all there is
 * to know, codes of one length count up in the order of their symbols.
 *
 * @module
 * @see RFC 7541, section 5.2 and appendix B
 */

/** Bits of each symbol's code, by octet; the last one is the end of the string. */
const lengths = Uint8Array.from(
  `13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 6
   10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7 7 7
   7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7 7 7 7
   15 11 14 13 28 20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23 21 22 23
   22 23 23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20 22 22 22 23
   22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21 21 26 26 28 27
   27 27 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27 28 27 27 27 27 27
   26 30`.trim().split(/\s+/).map(Number),
);

const endOfString = 256;
const longest = 30;

/** Symbols by length and then by value; those of length n begin at `starts[n]`. */
const symbols = Uint16Array.from(
  lengths.keys().toArray().sort((a, b) => lengths[a] - lengths[b] || a - b),
);
const starts = new Uint16Array(longest + 2);
/** The first code of each length. */
const firstCodes = new Uint32Array(longest + 2);
/** The code of each symbol. */
const codes = new Uint32Array(lengths.length);
{
  let code = 0;
  let at = 0;
  for (let length = 1; length <= longest; length++) {
    code *= 2;
    starts[length] = at;
    firstCodes[length] = code;
    for (; lengths[symbols[at]] === length; at++) codes[symbols[at]] = code++;
  }
  starts[longest + 1] = at;
}

/**
 * The octets of a Huffman-coded string, as text with one character an octet.
 *
 * @returns undefined if it is coded wrongly: the end of the string inside, padding of
 *   more than 7 bits or not all ones.
 */
export function huffmanText(bytes: Uint8Array): string | undefined {
  let text = "";
  let code = 0;
  let length = 0;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = code * 2 + ((byte >> bit) & 1);
      length++;
      const index = code - firstCodes[length];
      if (index < starts[length + 1] - starts[length]) {
        const symbol = symbols[starts[length] + index];
        if (symbol === endOfString) return undefined;
        text += String.fromCharCode(symbol);
        code = length = 0;
      }
    }
  }
  return length <= 7 && code === 2 ** length - 1 ? text : undefined;
}

/** The Huffman code of text with one character an octet. */
export function huffmanBytes(text: string): Uint8Array {
  const bytes: number[] = [];
  let bits = 0n;
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const symbol = text.charCodeAt(at);
    bits = (bits << BigInt(lengths[symbol])) | BigInt(codes[symbol]);
    for (count += lengths[symbol]; count >= 8; count -= 8) {
      bytes.push(Number(bits >> BigInt(count - 8)) & 0xff);
      bits &= (1n << BigInt(count - 8)) - 1n;
    }
  }
  if (count > 0) bytes.push((Number(bits) << (8 - count)) | (0xff >> count));
  return Uint8Array.from(bytes);
}
