/**
 * Amounts as appc and Kubernetes write them: `500m`, `1.5`, `64Mi`, `1G`.
 *
 * @module
 * @see appc spec 0.8.11, ace.md, "Resource Isolators"
 */

const factors: Readonly<Record<string, number>> = {
  m: 1e-3,
  "": 1,
  K: 1e3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * The amount in base units, or undefined if `value` is none: not negative, and at most
 * 2^53 - 1.
 */
export function quantity(value: unknown): number | undefined {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text !== "string" || text.length > 32) return undefined;
  const [, number, suffix] = /^(\d+(?:\.\d+)?)([a-zA-Z]{0,2})$/.exec(text) ?? [];
  if (number === undefined || !Object.hasOwn(factors, suffix)) return undefined;
  const amount = Number(number) * factors[suffix];
  return amount <= Number.MAX_SAFE_INTEGER ? amount : undefined;
}
